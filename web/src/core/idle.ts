/** When somebody counts as idle. Pure: the present comes in. */

export const IDLE_AFTER_MS = 10 * 60_000;

export class Idleness {
  private touchedAtMs: number;
  private isIdle = false;

  constructor(nowMs: number) {
    this.touchedAtMs = nowMs;
  }

  get idle(): boolean {
    return this.isIdle;
  }

  /** Somebody is here. Returns whether they were idle until now. */
  touched(nowMs: number): boolean {
    const was = this.isIdle;
    this.touchedAtMs = nowMs;
    this.isIdle = false;
    return was;
  }

  /** Look whether the time is over. Returns how long until it is worth a look again; 0: idle from now on. */
  look(nowMs: number): number {
    const leftMs = this.touchedAtMs + IDLE_AFTER_MS - nowMs;
    if (leftMs > 0) return leftMs;
    this.isIdle = true;
    return 0;
  }
}
