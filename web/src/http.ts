/** One HTTP request to the REST surface, its answer or a `Refused`. */
import { BASE } from "./base";
import { Refused, unanswered } from "./errors";

const PREFIX = `${BASE}api/v1`;
const TIMEOUT_MS = 15_000;
/** An answer that has begun to come may be long, and the line slow. */
const BODY_MS = 60_000;
/** A request that may be repeated is, when not even the head of its answer comes: it may have gone out on a dead connection. */
const HEAD_MS = 5000;
const REPEATS = 2;

export interface Call {
  method?: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  body?: unknown;
  query?: Record<string, string | number | undefined>;
  token?: string;
  /** The request does the same when it is carried out twice; a GET always does. */
  repeatable?: boolean;
  /** Let the request outlive the page. */
  keepalive?: boolean;
}

/**
 * @returns The decoded JSON, or undefined for an answer without content.
 * @throws Refused: what the server said; `network` when nobody answered.
 */
export async function http<T>(path: string, call: Call = {}): Promise<T> {
  const headers: Record<string, string> = { Accept: "application/json" };
  if (call.token) headers.Authorization = `Bearer ${call.token}`;
  const init: RequestInit = { method: call.method ?? "GET", headers, cache: "no-store", credentials: "omit" };
  if (call.body !== undefined) {
    headers["Content-Type"] = "application/json";
    init.body = JSON.stringify(call.body);
  }
  if (call.keepalive) init.keepalive = true;
  const repeats = call.repeatable || init.method === "GET" ? REPEATS : 0;
  let response: Response;
  let text: string;
  try {
    response = await answered(PREFIX + path + search(call.query), init, repeats);
    text = await response.text();
  } catch {
    throw unanswered("network"); // fetch tells no more than that
  }
  const value = parse(text);
  if (response.ok) return value as T;
  throw refusal(response, value);
}

/** Aborting a request closes its connection, so that the next one goes out on another. */
async function answered(url: string, init: RequestInit, repeats: number): Promise<Response> {
  if (init.keepalive) return fetch(url, init);
  for (let left = repeats; ; left -= 1) {
    const stop = new AbortController();
    const whole = setTimeout(() => stop.abort(), BODY_MS);
    const head = setTimeout(() => stop.abort(), left > 0 ? HEAD_MS : TIMEOUT_MS);
    try {
      return await fetch(url, { ...init, signal: stop.signal });
    } catch (error) {
      clearTimeout(whole);
      if (left === 0 || !stop.signal.aborted) throw error;
    } finally {
      clearTimeout(head);
    }
  }
}

function search(query: Call["query"]): string {
  const pairs = Object.entries(query ?? {}).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, String(value)] as [string, string]],
  );
  return pairs.length > 0 ? `?${new URLSearchParams(pairs)}` : "";
}

function parse(text: string): unknown {
  if (text === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // a page of a proxy in between; its status says enough
  }
}

function refusal(response: Response, value: unknown): Refused {
  const problem = typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  const seconds = Number(response.headers.get("Retry-After") ?? Number.NaN);
  const afterMs = typeof problem.retry_after_ms === "number" ? problem.retry_after_ms : seconds * 1000;
  const gatewayTrouble = response.status >= 502 && response.status <= 504;
  return new Refused({
    code: typeof problem.code === "string" ? problem.code : gatewayTrouble ? "network" : "internal",
    message: typeof problem.detail === "string" ? problem.detail : "",
    retryable: typeof problem.retryable === "boolean" ? problem.retryable : gatewayTrouble,
    ...(Number.isFinite(afterMs) ? { retry_after_ms: afterMs } : {}),
  });
}
