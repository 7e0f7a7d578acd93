/**
 * When a connection that says nothing is asked, and when it is taken for dead. Pure: the present comes in.
 *
 * A WebSocket whose network changed says nothing for as long as TCP tries, minutes. What arrives proves that it lives;
 * an answer that is still on its way on a slow line is given time for as long as anything arrives.
 */

/** A request that waits for longer makes one ask whether the connection still carries. */
export const UNANSWERED_MS = 5000;
/** The server sends a heartbeat every 25 s: after more silence than that one asks. */
const QUIET_MS = 30_000;
const PATIENCE_MS = 3000;
const MAX_PATIENCE_MS = 24_000;

export type Verdict = "alive" | "dead" | { readonly waitMs: number };

/** Judges the connections of a page, one after the other. */
export class Liveness {
  private heardAtMs: number;
  private askedAtMs: number | null = null;
  private sinceMs = 0;
  private patienceMs = PATIENCE_MS;

  constructor(nowMs: number) {
    this.heardAtMs = nowMs;
  }

  /** A new connection is up. */
  began(nowMs: number): void {
    this.heardAtMs = nowMs;
    this.askedAtMs = null;
  }

  /** Something arrived. */
  heard(nowMs: number): void {
    this.heardAtMs = nowMs;
  }

  get asking(): boolean {
    return this.askedAtMs !== null;
  }

  isQuiet(nowMs: number): boolean {
    return this.askedAtMs === null && nowMs - this.heardAtMs > QUIET_MS;
  }

  /** The connection is asked. Returns how long to wait before `judge`. */
  asked(nowMs: number): number {
    this.askedAtMs = nowMs;
    this.sinceMs = nowMs;
    return this.patienceMs;
  }

  answered(nowMs: number): void {
    this.heardAtMs = nowMs;
    if (this.askedAtMs !== null && nowMs - this.askedAtMs <= PATIENCE_MS) this.patienceMs = PATIENCE_MS;
    this.askedAtMs = null;
  }

  /** The time to wait is over. A dead connection makes the next one be given more time: the line may just be slow. */
  judge(nowMs: number): Verdict {
    if (this.askedAtMs === null) return "alive";
    if (this.heardAtMs > this.sinceMs) {
      this.sinceMs = nowMs;
      return { waitMs: this.patienceMs };
    }
    this.askedAtMs = null;
    this.patienceMs = Math.min(MAX_PATIENCE_MS, this.patienceMs * 2);
    return "dead";
  }
}
