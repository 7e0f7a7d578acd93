/** The rooms that one is a member of. */
import { computed, signal } from "@preact/signals";
import * as api from "../api";
import * as pure from "../core/rooms";
import { unread } from "../core/seen";
import { asRefused } from "../errors";
import type { Room, RoomEvent } from "../wire";
import * as people from "./people";
import { openRoom } from "./route";
import * as seen from "./seen";

export const rooms = signal<pure.Rooms>(new Map());
/** The list has come at least once. */
export const loaded = signal(false);
/** Why it has not. */
export const trouble = signal<string | null>(null);

/** How many rooms the connection does not follow, as it may follow only so many. */
export const leftOut = signal(0);

export const ordered = computed(() => pure.sorted(rooms.value));
export const current = computed(() => rooms.value.get(openRoom.value ?? "") ?? null);
export const unreadRooms = computed(() => ordered.value.filter((room) => unread(seen.seen.value, room) > 0).length);

let asked = 0;

/** Ask for the list anew. Returns the ids in it, or null when it did not come or is out of date already. */
export async function reload(): Promise<readonly string[] | null> {
  asked += 1;
  const mine = asked;
  try {
    const list = await api.listRooms("mine");
    if (mine !== asked) return null;
    people.meet(list.flatMap((room) => (room.peer ? [room.peer] : [])));
    seen.meet(list);
    rooms.value = pure.listed(rooms.value, list);
    loaded.value = true;
    trouble.value = null;
    return list.map((room) => room.id);
  } catch (error) {
    if (mine === asked) trouble.value = asRefused(error).code;
    return null;
  }
}

/** A room that one has become a member of. A list that was asked for before may not know it: that one is not taken. */
export function add(room: Room): void {
  if (!rooms.value.has(room.id)) asked += 1;
  if (room.peer) people.meet([room.peer]);
  seen.meet([room]);
  rooms.value = pure.put(rooms.value, room);
}

export function remove(id: string): void {
  asked += 1;
  rooms.value = pure.drop(rooms.value, id);
}

export function apply(event: RoomEvent, me: string): void {
  rooms.value = pure.applyEvent(rooms.value, event, me);
}

/** How many members a room has, as a whole list of them says. */
export function counted(id: string, memberCount: number): void {
  rooms.value = pure.counted(rooms.value, id, memberCount);
}

export function atHead(id: string, headSeq: number): void {
  rooms.value = pure.atHead(rooms.value, id, headSeq);
}

export function reset(): void {
  asked += 1;
  rooms.value = new Map();
  loaded.value = false;
  leftOut.value = 0;
  trouble.value = null;
}
