/** What to do after a connection ended or did not come about. Pure. */

export interface Ended {
  /** The code of `closing`, or of the refusal to connect. */
  readonly code?: string;
  readonly retryAfterMs?: number;
  /** The node asked us to come back after this pause. */
  readonly drainMs?: number;
  /** The connection was given up: it did not answer any more, or its network is gone. */
  readonly dead?: boolean;
  /** The connection had become ready. */
  readonly wasReady: boolean;
}

export type Next =
  | { readonly step: "sign_out"; readonly code: string }
  | { readonly step: "renew" }
  | { readonly step: "wait"; readonly ms: number };

const STALE_TOKEN = new Set(["token_expired", "token_invalid", "token_missing"]);

/**
 * @param attempt How many connections in a row did not become ready.
 * @param backoff The pause for that attempt, milliseconds.
 */
export function next(ended: Ended, attempt: number, backoff: number): Next {
  if (ended.code === "session_ended") return { step: "sign_out", code: ended.code };
  // A new token that is refused as well is no reason to ask in a tight circle.
  if (ended.code && STALE_TOKEN.has(ended.code) && attempt < 2) return { step: "renew" };
  if (ended.dead) return { step: "wait", ms: 0 };
  if (ended.drainMs !== undefined) return { step: "wait", ms: ended.drainMs };
  if (ended.retryAfterMs !== undefined) return { step: "wait", ms: Math.max(ended.retryAfterMs, backoff) };
  return { step: "wait", ms: backoff };
}
