/** Who is in the open room. */
import { signal } from "@preact/signals";
import * as api from "../api";
import { applyToMembers } from "../core/rooms";
import { asRefused } from "../errors";
import type { Member, RoomEvent } from "../wire";
import * as people from "./people";

export interface Members {
  readonly room: string;
  readonly list: readonly Member[] | null;
  readonly code: string | null;
}

export const members = signal<Members | null>(null);

let asked = 0;

export async function open(room: string): Promise<void> {
  if (members.peek()?.room !== room) members.value = { room, list: null, code: null };
  await read(room);
}

export function close(): void {
  asked += 1;
  members.value = null;
}

export function put(room: string, member: Member): void {
  const now = members.peek();
  if (now?.room !== room || !now.list) return;
  people.meet([member.user]);
  const list = now.list.some((one) => one.user.id === member.user.id)
    ? now.list.map((one) => (one.user.id === member.user.id ? member : one))
    : [...now.list, member];
  members.value = { ...now, list };
}

export function apply(event: RoomEvent): void {
  const now = members.peek();
  if (now?.room !== event.room || !event.kind.startsWith("member.")) return;
  if (event.kind === "member.joined") void read(event.room);
  else if (now.list) members.value = { ...now, list: applyToMembers(now.list, event) };
}

async function read(room: string): Promise<void> {
  asked += 1;
  const mine = asked;
  try {
    const list = await api.listMembers(room);
    if (mine !== asked) return;
    people.meet(list.map((member) => member.user));
    members.value = { room, list, code: null };
  } catch (error) {
    if (mine === asked) members.value = { room, list: members.peek()?.list ?? null, code: asRefused(error).code };
  }
}
