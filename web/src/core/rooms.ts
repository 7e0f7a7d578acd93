/** The rooms that one is a member of: room id → room. Pure. */

import type { Member, Room, RoomEvent } from "../wire";
import { shownName } from "./names";

export type Rooms = ReadonlyMap<string, Room>;

export function title(room: Room): string {
  if (room.peer) return shownName(room.peer.display_name, `@${room.peer.username}`);
  return shownName(room.name ?? "", "Unnamed room");
}

/** Latest first. */
export function sorted(rooms: Rooms): readonly Room[] {
  return [...rooms.values()].sort((a, b) => (a.last_event_at < b.last_event_at ? 1 : -1));
}

/** The rooms that one connection follows, when it may follow `limit`: the open one, then those where something happened last. */
export function followed(rooms: Rooms, open: string | null, limit: number): readonly string[] {
  const ids = sorted(rooms).map((room) => room.id);
  const first = open !== null && rooms.has(open) ? [open] : [];
  return [...first, ...ids.filter((id) => id !== first[0])].slice(0, limit);
}

/** Put the list that the server gave in place of ours; what live events told beyond it stays. */
export function listed(rooms: Rooms, list: readonly Room[]): Rooms {
  return new Map(list.map((room) => [room.id, later(rooms.get(room.id), room)]));
}

export function put(rooms: Rooms, room: Room): Rooms {
  return new Map(rooms).set(room.id, later(rooms.get(room.id), room));
}

export function drop(rooms: Rooms, id: string): Rooms {
  if (!rooms.has(id)) return rooms;
  const next = new Map(rooms);
  next.delete(id);
  return next;
}

/** Take the head that a subscription reported. */
export function atHead(rooms: Rooms, id: string, headSeq: number): Rooms {
  const room = rooms.get(id);
  return room && room.head_seq < headSeq ? new Map(rooms).set(id, { ...room, head_seq: headSeq }) : rooms;
}

export function counted(rooms: Rooms, id: string, memberCount: number): Rooms {
  const room = rooms.get(id);
  if (!room || room.member_count === memberCount) return rooms;
  return new Map(rooms).set(id, { ...room, member_count: memberCount });
}

export function applyEvent(rooms: Rooms, event: RoomEvent, me: string): Rooms {
  const room = rooms.get(event.room);
  if (!room || event.seq <= room.head_seq) return rooms;
  const next: Room = { ...room, head_seq: event.seq, last_event_at: event.at };
  if (event.kind === "member.joined") next.member_count += 1;
  if (event.kind === "member.left" || event.kind === "member.removed") next.member_count -= 1;
  if (event.kind === "member.role_changed" && event.user === me) next.role = event.role;
  return new Map(rooms).set(event.room, next);
}

/** A room's members after an event; somebody new is left to the caller, who has to look their name up. */
export function applyToMembers(members: readonly Member[], event: RoomEvent): readonly Member[] {
  switch (event.kind) {
    case "member.left":
    case "member.removed":
    case "member.banned":
      return members.filter((member) => member.user.id !== event.user);
    case "member.role_changed":
      return members.map((member) => (member.user.id === event.user ? { ...member, role: event.role } : member));
    default:
      return members;
  }
}

function later(known: Room | undefined, told: Room): Room {
  if (!known || known.head_seq <= told.head_seq) return told;
  return { ...told, head_seq: known.head_seq, last_event_at: known.last_event_at };
}
