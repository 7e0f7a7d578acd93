/** Who is in the open room. */
import { signal } from "@preact/signals";
import * as api from "../api";
import { isKnown } from "../core/events";
import { applyToMembers } from "../core/rooms";
import { asRefused } from "../errors";
import type { Member, RoomEvent } from "../wire";
import * as people from "./people";
import * as rooms from "./rooms";

export interface Members {
  readonly room: string;
  readonly list: readonly Member[] | null;
  readonly code: string | null;
}

export const members = signal<Members | null>(null);

let asked = 0;
let asking = false;
let again = false;
/** Members whose names are not known yet. */
const joining = new Set<string>();

export async function open(room: string): Promise<void> {
  if (members.peek()?.room !== room) members.value = { room, list: null, code: null };
  await read(room);
}

export function close(): void {
  asked += 1;
  asking = false;
  joining.clear();
  members.value = null;
}

export function put(room: string, member: Member): void {
  const now = members.peek();
  if (now?.room !== room || !now.list) return;
  people.meet([member.user]);
  const list = now.list.some((one) => one.user.id === member.user.id)
    ? now.list.map((one) => (one.user.id === member.user.id ? member : one))
    : [...now.list, member];
  hold({ ...now, list });
}

export function apply(event: RoomEvent): void {
  const now = members.peek();
  if (now?.room !== event.room || !event.kind.startsWith("member.")) return;
  if (asking) {
    again = true; // what is being read may not know of this
  } else if (!now.list || !isKnown(event.kind)) {
    void read(event.room);
  } else if (event.kind === "member.joined") {
    const { room, user: id, role, at } = event;
    // One name is asked for, with others that are wanted at the same time, and not the whole list by everybody who looks.
    joining.add(id);
    void people.met(id).then((user) => {
      if (joining.delete(id)) put(room, { user, role, joined_at: at });
    });
  } else {
    if ("user" in event && event.kind !== "member.role_changed") joining.delete(event.user);
    hold({ ...now, list: applyToMembers(now.list, event) });
  }
}

/** A list that is whole says how many there are; of a ban alone nobody knows whether it made one less. */
function hold(next: Members): void {
  members.value = next;
  if (next.list && next.list.length < api.MAX_MEMBERS) rooms.counted(next.room, next.list.length);
}

async function read(room: string): Promise<void> {
  asked += 1;
  asking = true;
  again = false;
  joining.clear();
  const mine = asked;
  try {
    const list = await api.listMembers(room);
    if (mine !== asked) return;
    people.meet(list.map((member) => member.user));
    asking = false;
    hold({ room, list, code: null });
    if (again) void read(room);
  } catch (error) {
    if (mine !== asked) return;
    asking = false;
    members.value = { room, list: members.peek()?.list ?? null, code: asRefused(error).code };
  }
}
