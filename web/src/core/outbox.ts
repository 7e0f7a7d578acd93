/**
 * What was written and is not acked yet. Pure; `state/outbox.ts` keeps it in localStorage.
 *
 * A message keeps its `client_id` over every retry and reload, so that the server can tell a retry from a second message.
 */
import type { WireError } from "../wire";

export interface Unsent {
  readonly room: string;
  readonly client_id: string;
  readonly body: string;
  /** When it was written, Unix milliseconds. */
  readonly at: number;
  readonly state: "pending" | "failed";
  readonly attempts: number;
  /** The code of the last refusal. */
  readonly code?: string;
}

/** After so many refusals or timeouts on a live connection the person decides: retry or discard. */
export const MAX_ATTEMPTS = 5;

/** Add a message behind all others: `at` grows strictly, so that the order survives a reload. */
export function write(
  outbox: readonly Unsent[],
  room: string,
  clientId: string,
  body: string,
  nowMs: number,
): readonly Unsent[] {
  const at = Math.max(nowMs, (outbox.at(-1)?.at ?? 0) + 1);
  return [...outbox, { room, client_id: clientId, body, at, state: "pending", attempts: 0 }];
}

/** Take a message in its newest state, in its place by time. */
export function put(outbox: readonly Unsent[], item: Unsent): readonly Unsent[] {
  return [...remove(outbox, item.client_id), item].sort((a, b) => a.at - b.at);
}

export function remove(outbox: readonly Unsent[], clientId: string): readonly Unsent[] {
  return outbox.filter((item) => item.client_id !== clientId);
}

/** The person asks for another try: the same message, the same `client_id`. */
export function retry(outbox: readonly Unsent[], clientId: string): readonly Unsent[] {
  return outbox.map((item) => {
    if (item.client_id !== clientId) return item;
    const { code: _, ...rest } = item;
    return { ...rest, state: "pending", attempts: 0 };
  });
}

export interface Refusal {
  readonly outbox: readonly Unsent[];
  /** Milliseconds until the next try; null when there is none by itself. */
  readonly retryInMs: number | null;
}

/**
 * Note that a send was refused, or (without `error`) was not answered in time.
 * A refusal that says it is retryable is tried again with growing pauses; any other has failed at once.
 */
export function refused(outbox: readonly Unsent[], clientId: string, error?: WireError): Refusal {
  const item = outbox.find((candidate) => candidate.client_id === clientId);
  if (!item) return { outbox, retryInMs: null };
  const attempts = item.attempts + 1;
  const again = (error?.retryable ?? true) && attempts < MAX_ATTEMPTS;
  const changed: Unsent = {
    ...item,
    attempts,
    state: again ? "pending" : "failed",
    code: error?.code ?? "no_answer",
  };
  return {
    outbox: outbox.map((candidate) => (candidate === item ? changed : candidate)),
    retryInMs: again ? Math.max(error?.retry_after_ms ?? 0, Math.min(8000, 500 * 2 ** (attempts - 1))) : null,
  };
}

/** Read a message that another run of the page, or another tab, left behind; null for anything else. */
export function parse(text: string | null): Unsent | null {
  if (text === null) return null;
  try {
    const value: unknown = JSON.parse(text);
    return isUnsent(value) ? value : null;
  } catch {
    return null; // not ours: some other version, or a person with the developer tools
  }
}

function isUnsent(value: unknown): value is Unsent {
  if (typeof value !== "object" || value === null) return false;
  const item = value as Record<string, unknown>;
  return (
    typeof item.room === "string" &&
    typeof item.client_id === "string" &&
    typeof item.body === "string" &&
    typeof item.at === "number" &&
    typeof item.attempts === "number" &&
    (item.state === "pending" || item.state === "failed")
  );
}
