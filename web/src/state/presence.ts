/** Who of the people on the screen is there. */
import { computed, effect, signal } from "@preact/signals";
import { asRefused } from "../errors";
import { MAX_WATCHED_USERS, type PresenceChange, type Status } from "../wire";
import * as connection from "./connection";
import { members } from "./members";
import { ordered } from "./rooms";

const SETTLE_MS = 150;
const RETRY_MS = 2000;

const there = signal<ReadonlyMap<string, Status>>(new Map());

/** Partners of direct rooms first, then the open room's members, as many as may be watched. */
const wanted = computed(() => {
  const peers = ordered.value.flatMap((room) => (room.peer ? [room.peer.id] : []));
  const others = (members.value?.list ?? []).map((member) => member.user.id);
  return [...new Set([...peers, ...others])].slice(0, MAX_WATCHED_USERS);
});

let timer: ReturnType<typeof setTimeout> | undefined;
let watched = "";

export function statusOf(user: string): Status {
  return there.value.get(user) ?? "offline";
}

export function isOnline(user: string): boolean {
  return there.value.has(user);
}

/** Keep watching whoever is shown. */
export function start(): () => void {
  return effect(() => {
    const key = [...wanted.value].sort().join();
    if (connection.status.value !== "online") {
      watched = "";
      return;
    }
    if (key !== watched) watchIn(SETTLE_MS);
  });
}

export function apply(change: PresenceChange): void {
  const next = new Map(change.snapshot ? [] : there.value);
  for (const { user, status } of change.users) {
    if (status === "offline") next.delete(user);
    else next.set(user, status);
  }
  there.value = next;
}

/** Without a connection nobody is known to be there. */
export function lost(): void {
  there.value = new Map();
}

function watchIn(ms: number): void {
  clearTimeout(timer);
  timer = setTimeout(() => void watch(), ms);
}

async function watch(): Promise<void> {
  const users = wanted.peek();
  const key = [...users].sort().join();
  try {
    await connection.request("presence.watch", { users });
    watched = key;
  } catch (error) {
    const { code, retryable, retry_after_ms } = asRefused(error);
    if (code !== "network" && retryable) watchIn(retry_after_ms ?? RETRY_MS); // a new connection watches by itself
  }
}
