/** The state of all nodes, read again and again while somebody looks. */
import { signal } from "@preact/signals";
import * as api from "../api";
import { asRefused } from "../errors";
import type { ClusterStatus, WireError } from "../wire";

const FIRST_S = 5;

export const status = signal<ClusterStatus | null>(null);
/** Why the last look failed; null while all is well. */
export const failure = signal<Pick<WireError, "code" | "message"> | null>(null);
/** When the last look succeeded, Unix milliseconds. */
export const lookedAtMs = signal(0);
export const paused = signal(false);

/** Look now and then until the returned function is called; not while paused, and not in a tab that nobody sees. */
export function follow(): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let over = false;
  let busy = false;

  async function look(): Promise<void> {
    clearTimeout(timer);
    if (over || busy || document.hidden) return;
    busy = true;
    if (!paused.peek()) await read(() => over);
    busy = false;
    if (!over) timer = setTimeout(look, (status.peek()?.sample_s ?? FIRST_S) * 1000);
  }

  const seen = () => void look();
  document.addEventListener("visibilitychange", seen);
  const stop = paused.subscribe(() => void look());
  return () => {
    over = true;
    clearTimeout(timer);
    stop();
    document.removeEventListener("visibilitychange", seen);
    status.value = null;
    failure.value = null;
    paused.value = false;
  };
}

/** An answer that comes when nobody looks any more is nothing to the next who does: it may be another person. */
async function read(isOver: () => boolean): Promise<void> {
  try {
    const answer = await api.clusterStatus();
    if (isOver()) return;
    status.value = answer;
    lookedAtMs.value = Date.now();
    failure.value = null;
  } catch (error) {
    if (!isOver()) failure.value = asRefused(error);
  }
}
