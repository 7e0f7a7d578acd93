/** Who of the people on the screen is there, what they say of themselves, and what one shows oneself. */
import { computed, effect, signal } from "@preact/signals";
import { CHOICES, shownStatus } from "../core/status";
import { asRefused } from "../errors";
import {
  type Choice,
  MAX_WATCHED_USERS,
  type OwnPresence,
  type PresenceChange,
  type PresenceOf,
  type Status,
} from "../wire";
import * as connection from "./connection";
import { members } from "./members";
import { current, ordered } from "./rooms";

const SETTLE_MS = 150;
const RETRY_MS = 2000;
/** Members above which the server counts a room instead of naming who is there (`ROOMWIRE_PRESENCE_ROOM_MEMBERS`). */
const COUNTED_FROM = 100;

const known = signal<ReadonlyMap<string, PresenceOf>>(new Map());
const counts = signal<ReadonlyMap<string, number>>(new Map());
/** What one chose to show, on whatever device; null as long as it is not known. */
export const own = signal<OwnPresence | null>(null);

/** Partners of direct rooms first, then the open room's members, as many as may be watched. */
const wanted = computed(() => {
  const peers = ordered.value.flatMap((room) => (room.peer ? [room.peer.id] : []));
  const others = (members.value?.list ?? []).map((member) => member.user.id);
  const open = current.value;
  return {
    users: [...new Set([...peers, ...others])].slice(0, MAX_WATCHED_USERS),
    rooms: open && open.member_count > COUNTED_FROM ? [open.id] : [],
  };
});

let timer: ReturnType<typeof setTimeout> | undefined;
let watched = "";

export function statusOf(user: string): Status {
  return shownStatus(known.value.get(user)?.status ?? "offline");
}

export function isOnline(user: string): boolean {
  return statusOf(user) !== "offline";
}

/** What somebody says of themselves, and when they were last there, where that is known. */
export function presenceOf(user: string): PresenceOf | undefined {
  return known.value.get(user);
}

/** How many members of a large room are there; undefined for rooms that are small enough to look. */
export function onlineIn(room: string): number | undefined {
  return counts.value.get(room);
}

/** Keep watching whoever is shown. */
export function start(): () => void {
  return effect(() => {
    const key = keyOf(wanted.value);
    if (connection.status.value !== "online") {
      watched = "";
      return;
    }
    if (key !== watched) watchIn(SETTLE_MS);
  });
}

export function apply(change: PresenceChange): void {
  if (change.own) own.value = change.own;
  const next = new Map(change.snapshot ? [] : known.value);
  for (const one of change.users) next.set(one.user, one);
  known.value = next;
  if (change.rooms || change.snapshot) {
    const numbers = new Map(change.snapshot ? [] : counts.value);
    for (const { room, online } of change.rooms ?? []) numbers.set(room, online);
    counts.value = numbers;
  }
}

/** Without a connection nobody is known to be there. */
export function lost(): void {
  known.value = new Map();
  counts.value = new Map();
}

export function close(): void {
  lost();
  own.value = null;
}

/**
 * Choose what others see, on all devices.
 *
 * @throws Refused
 */
export async function choose(status: Choice, text?: { text: string; lifeS: number | undefined }): Promise<void> {
  const life = text?.text && text.lifeS !== undefined ? { text_expires_in_s: text.lifeS } : {};
  const words = text ? { text: text.text, ...life } : {}; // what is left out stays as it is, and as long
  // One of a newer release stays as it is.
  const chosen = CHOICES.some((one) => one.choice === status) ? { status } : {};
  const answer = await connection.request<{ presence?: OwnPresence }>("presence.set", { ...chosen, ...words });
  if (answer.presence) own.value = answer.presence;
}

function keyOf({ users, rooms }: { users: readonly string[]; rooms: readonly string[] }): string {
  return `${[...users].sort().join()};${rooms.join()}`;
}

function watchIn(ms: number): void {
  clearTimeout(timer);
  timer = setTimeout(() => void watch(), ms);
}

async function watch(): Promise<void> {
  const now = wanted.peek();
  try {
    await connection.request("presence.watch", now);
    watched = keyOf(now);
  } catch (error) {
    const { code, retryable, retry_after_ms } = asRefused(error);
    // A new connection watches by itself; a room that is not subscribed yet will be in a moment.
    if (code !== "network" && (retryable || code === "not_subscribed")) watchIn(retry_after_ms ?? RETRY_MS);
  }
}
