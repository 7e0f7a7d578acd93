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

export function write(
  outbox: readonly Unsent[],
  room: string,
  clientId: string,
  body: string,
  at: number,
): readonly Unsent[] {
  return [...outbox, { room, client_id: clientId, body, at, state: "pending", attempts: 0 }];
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

/** Read what another run of the page left behind; anything else than a list of unsent messages is nothing. */
export function parse(text: string | null): readonly Unsent[] {
  if (text === null) return [];
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return []; // not ours: some other version, or a person with the developer tools
  }
  return Array.isArray(value) ? value.filter(isUnsent) : [];
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
