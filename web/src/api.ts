/** The REST surface for somebody who is signed in: one function per request. */
import { asRefused, Refused } from "./errors";
import { type Call, http } from "./http";
import * as session from "./state/session";
import type {
  Ban,
  Block,
  ClusterStatus,
  MayAdd,
  Member,
  Messages,
  OwnPresence,
  Role,
  Room,
  RoomEvent,
  Session,
  User,
} from "./wire";

const PAGE = 50;
const MANY = 200;
const MAX_PAGES = 5;
const MAX_OWN_PAGES = 100;
/** As many members are listed at most. */
export const MAX_MEMBERS = MANY * MAX_PAGES;

async function call<T>(path: string, options: Call = {}): Promise<T> {
  for (let attempt = 0; ; attempt += 1) {
    const who = session.user.value?.id;
    const token = await session.accessToken();
    try {
      const answer = await http<T>(path, { ...options, token });
      // What was asked for in one sign-in is nothing to the next.
      if (session.user.value?.id !== who) throw new Refused({ code: "session_ended", message: "", retryable: false });
      return answer;
    } catch (error) {
      if (session.user.value?.id !== who) throw error;
      const refused = asRefused(error);
      if (refused.code === "session_ended") session.expel(refused.code);
      const stale = refused.code === "token_expired" || refused.code === "token_invalid";
      if (!stale || attempt > 0) throw refused;
      session.reject(token);
    }
  }
}

/** All rooms that one is in, up to 20,000, or public ones, up to 1,000. */
export async function listRooms(scope: "mine" | "public"): Promise<readonly Room[]> {
  const rooms: Room[] = [];
  for (let page = 0; page < (scope === "mine" ? MAX_OWN_PAGES : MAX_PAGES); page += 1) {
    const after = rooms.at(-1)?.id;
    const answer = await call<{ rooms: Room[]; has_more?: boolean }>("/rooms", {
      query: { scope, after, limit: MANY },
    });
    rooms.push(...answer.rooms);
    if (!answer.has_more) break;
  }
  return rooms;
}

export function getRoom(room: string): Promise<Room> {
  return call<Room>(`/rooms/${room}`);
}

export function createRoom(kind: "public" | "private", name: string): Promise<Room> {
  return call<Room>("/rooms", { method: "POST", body: { kind, name } });
}

/** The direct room with somebody: a new one, or the one that there was. */
export function openDirect(user: string): Promise<Room> {
  return call<Room>("/rooms", { method: "POST", body: { kind: "direct", members: [user] } });
}

export function joinRoom(room: string): Promise<Room> {
  return call<Room>(`/rooms/${room}/join`, { method: "POST" });
}

export function leaveRoom(room: string): Promise<void> {
  return call(`/rooms/${room}/leave`, { method: "POST" });
}

/** All members, up to 1,000. */
export async function listMembers(room: string): Promise<readonly Member[]> {
  const members: Member[] = [];
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const after = members.at(-1)?.user.id;
    const answer = await call<{ members: Member[]; has_more?: boolean }>(`/rooms/${room}/members`, {
      query: { after, limit: MANY },
    });
    members.push(...answer.members);
    if (!answer.has_more) break;
  }
  return members;
}

export function addMember(room: string, user: string): Promise<Member> {
  return call<Member>(`/rooms/${room}/members`, { method: "POST", body: { user } });
}

export function changeRole(room: string, user: string, role: Role): Promise<Member> {
  return call<Member>(`/rooms/${room}/members/${user}`, { method: "PATCH", body: { role } });
}

export function removeMember(room: string, user: string): Promise<void> {
  return call(`/rooms/${room}/members/${user}`, { method: "DELETE" });
}

export async function findUsers(query: string): Promise<readonly User[]> {
  return (await call<{ users: User[] }>("/users", { query: { query } })).users;
}

/** Up to 100 at once; those that do not exist are left out. */
export async function usersById(ids: readonly string[]): Promise<readonly User[]> {
  return (await call<{ users: User[] }>("/users", { query: { ids: ids.join(",") } })).users;
}

export function listMessages(room: string, before?: number): Promise<Messages> {
  return call<Messages>(`/rooms/${room}/messages`, { query: { before, limit: PAGE } });
}

export function listEvents(
  room: string,
  since: number,
): Promise<{ events: RoomEvent[]; head_seq: number; has_more: boolean }> {
  return call(`/rooms/${room}/events`, { query: { since, limit: MANY } });
}

/** Keep somebody out of a room until the ban is lifted; a member is none any more. */
export function ban(room: string, user: string): Promise<Ban> {
  return call<Ban>(`/rooms/${room}/bans/${user}`, { method: "PUT" });
}

export function unban(room: string, user: string): Promise<void> {
  return call(`/rooms/${room}/bans/${user}`, { method: "DELETE" });
}

/** Up to 200. */
export async function listBans(room: string): Promise<readonly Ban[]> {
  return (await call<{ bans: Ban[] }>(`/rooms/${room}/bans`, { query: { limit: MANY } })).bans;
}

/** Close a direct room: nobody writes in it until one opens it again. */
export function closeRoom(room: string): Promise<void> {
  return call(`/rooms/${room}/closed`, { method: "PUT" });
}

export function reopenRoom(room: string): Promise<void> {
  return call(`/rooms/${room}/closed`, { method: "DELETE" });
}

export function settings(): Promise<{ may_add: MayAdd }> {
  return call("/me/settings");
}

export function changeSettings(may_add: MayAdd): Promise<void> {
  return call("/me/settings", { method: "PATCH", body: { may_add } });
}

/** Up to 200. */
export async function listBlocks(): Promise<readonly Block[]> {
  return (await call<{ blocks: Block[] }>("/me/blocks", { query: { limit: MANY } })).blocks;
}

export async function isBlocked(user: string): Promise<boolean> {
  try {
    await call(`/me/blocks/${user}`);
    return true;
  } catch (error) {
    if (asRefused(error).code === "block_not_found") return false;
    throw error;
  }
}

/** Somebody who is blocked adds one to no room, and does not write in the direct room of the two. */
export function block(user: string): Promise<void> {
  return call(`/me/blocks/${user}`, { method: "PUT" });
}

export function unblock(user: string): Promise<void> {
  return call(`/me/blocks/${user}`, { method: "DELETE" });
}

export function ownPresence(): Promise<OwnPresence> {
  return call<OwnPresence>("/me/presence");
}

export async function listSessions(): Promise<readonly Session[]> {
  return (await call<{ sessions: Session[] }>("/me/sessions")).sessions;
}

export function endSession(session: string): Promise<void> {
  return call(`/me/sessions/${session}`, { method: "DELETE" });
}

/** How all nodes are; for administrators. */
export function clusterStatus(): Promise<ClusterStatus> {
  return call<ClusterStatus>("/admin/status");
}
