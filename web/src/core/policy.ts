/** What to offer to whom. The server decides (`realtime/rooms/policy.py`); this only hides what it would refuse. */
import type { Role, Room } from "../wire";

const RANK: Record<Role, number> = { member: 0, admin: 1, owner: 2 };

export function mayManage(room: Room): boolean {
  return room.kind !== "direct" && (room.role === "admin" || room.role === "owner");
}

export function mayLeave(room: Room): boolean {
  return room.kind !== "direct" && room.role !== undefined;
}

/** Only its author edits a message. */
export function mayEditMessage(room: Room, own: boolean): boolean {
  return room.role !== undefined && own;
}

export function mayDeleteMessage(room: Room, own: boolean): boolean {
  return room.role !== undefined && (own || room.role !== "member");
}

/** The roles that `room.role` may give to a member whose role is `current`. */
export function grantable(room: Room, current: Role): readonly Role[] {
  if (!mayManage(room) || !room.role || RANK[current] > RANK[room.role]) return [];
  const mine = RANK[room.role];
  return (["member", "admin", "owner"] as const).filter((role) => RANK[role] <= mine);
}

export function mayRemove(room: Room, current: Role): boolean {
  return mayManage(room) && (room.role === "owner" || (room.role === "admin" && RANK[current] < RANK.admin));
}
