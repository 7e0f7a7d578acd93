/** Why a request did not do what was asked: the server's refusal, or that it could not be asked. Branch on `code`. */
import type { WireError } from "./wire";

export class Refused extends Error implements WireError {
  readonly code: string;
  readonly retryable: boolean;
  readonly retry_after_ms?: number;

  constructor(error: WireError) {
    super(error.message);
    this.name = "Refused";
    this.code = error.code;
    this.retryable = error.retryable;
    if (error.retry_after_ms !== undefined) this.retry_after_ms = error.retry_after_ms;
  }
}

/** Nobody answered: no connection, or not in time. It is not known whether the request was carried out. */
export function unanswered(code: "network" | "no_answer"): Refused {
  return new Refused({ code, message: "", retryable: true });
}

export function asRefused(error: unknown): Refused {
  if (error instanceof Refused) return error;
  return new Refused({ code: "internal", message: error instanceof Error ? error.message : "", retryable: false });
}
