/** What to offer to whom. The server decides (`realtime/rooms/policy.py`); this only hides what it would refuse. */
import type { Role, Room } from "../wire";

const RANK: Record<Role, number> = { member: 0, admin: 1, owner: 2 };

/** Whether the members of such a room change at all, as far as this release knows. */
function hasFreeMembers(room: Room): boolean {
  return room.kind === "public" || room.kind === "private";
}

export function mayManage(room: Room): boolean {
  return hasFreeMembers(room) && (room.role === "admin" || room.role === "owner");
}

export function mayLeave(room: Room): boolean {
  return hasFreeMembers(room) && room.role !== undefined;
}

/** Only its author edits a message. */
export function mayEditMessage(room: Room, own: boolean): boolean {
  return room.role !== undefined && own;
}

export function mayDeleteMessage(room: Room, own: boolean): boolean {
  return room.role !== undefined && (own || room.role === "admin" || room.role === "owner");
}

/** The roles that `room.role` may give to a member whose role is `current`. */
export function grantable(room: Room, current: Role): readonly Role[] {
  if (!mayManage(room) || !room.role || height(current) > RANK[room.role]) return [];
  const mine = RANK[room.role];
  return (["member", "admin", "owner"] as const).filter((role) => RANK[role] <= mine);
}

export function mayRemove(room: Room, current: Role): boolean {
  return mayManage(room) && (room.role === "owner" || (room.role === "admin" && height(current) < RANK.admin));
}

/** How high somebody stands; whose role is of a newer release may stand above everybody. */
function height(role: Role): number {
  return RANK[role] ?? RANK.owner;
}
