/** The contract as the server declares it (`realtime/wire/`). Clients ignore fields that they do not know. */

export type RoomKind = "public" | "private" | "direct";
export type Role = "owner" | "admin" | "member";

export interface User {
  id: string;
  username: string;
  display_name: string;
}

/** Oneself, as REST tells it. */
export interface Account extends User {
  /** Looks after the server. */
  admin?: boolean;
}

/** Whom one blocks. */
export interface Block {
  user: User;
  at: string;
}

/** Who may make one a member of a room, a direct room too. */
export type MayAdd = "everybody" | "shared_rooms" | "nobody";

export interface Room {
  id: string;
  kind: RoomKind;
  name: string | null;
  head_seq: number;
  last_event_at: string;
  created_at: string;
  member_count: number;
  role?: Role;
  peer?: User;
}

export interface Member {
  user: User;
  role: Role;
  joined_at: string;
}

/** A message as REST history shows it: as it is now. */
export interface Message {
  room: string;
  seq: number;
  at: string;
  author: string;
  client_id: string;
  body: string;
  edited_at?: string;
  deleted_at?: string;
}

interface EventBase {
  room: string;
  seq: number;
  at: string;
  actor: string;
}
export interface MessageCreated extends EventBase {
  kind: "message.created";
  client_id: string;
  body: string;
  edited_at?: string;
  deleted_at?: string;
}
export interface MessageEdited extends EventBase {
  kind: "message.edited";
  target: number;
  body: string;
}
export interface MessageDeleted extends EventBase {
  kind: "message.deleted";
  target: number;
}
export interface MemberJoined extends EventBase {
  kind: "member.joined";
  user: string;
  role: Role;
}
export interface MemberGone extends EventBase {
  kind: "member.left" | "member.removed" | "member.banned";
  user: string;
}
export interface MemberUnbanned extends EventBase {
  kind: "member.unbanned";
  user: string;
}
export interface MemberRoleChanged extends EventBase {
  kind: "member.role_changed";
  user: string;
  role: Role;
}
export type RoomEvent =
  | MessageCreated
  | MessageEdited
  | MessageDeleted
  | MemberJoined
  | MemberGone
  | MemberUnbanned
  | MemberRoleChanged;

export const EVENT_KINDS = [
  "message.created",
  "message.edited",
  "message.deleted",
  "member.joined",
  "member.left",
  "member.removed",
  "member.banned",
  "member.unbanned",
  "member.role_changed",
] as const satisfies readonly RoomEvent["kind"][];

export interface SignedIn {
  user: Account;
  access_token: string;
  refresh_token: string;
  expires_in: number;
}

export interface Messages {
  messages: Message[];
  head_seq: number;
  has_before: boolean;
  has_after: boolean;
}

/** Why something was refused. Branch on `code`. */
export interface WireError {
  code: string;
  message: string;
  retryable: boolean;
  retry_after_ms?: number;
}

export type Ack<T> = ({ ok: true } & T) | { ok: false; error: WireError };
export type Appended = { seq: number; at: string; duplicate?: boolean };

export interface SubscribedRoom {
  room: string;
  head_seq?: number;
  role?: Role;
  events?: RoomEvent[];
  /** So many more events are there already and follow by themselves. */
  behind?: number;
  reset?: boolean;
  error?: WireError;
}

export interface Ready {
  user: User;
  session: string;
  /** Of the history that is served; a restore from a back-up replaces it. Older servers have none. */
  epoch?: string;
  limits: { body_chars: number; subscriptions: number };
}

export type Status = "online" | "away" | "dnd" | "offline";

/** What one chooses to show; `invisible` is for others the same as not being there. */
export type Choice = "online" | "away" | "dnd" | "invisible";

export interface PresenceOf {
  user: string;
  status: Status;
  text?: string;
  text_expires_at?: string;
  last_seen_at?: string;
}

export interface OwnPresence {
  status: Choice;
  text?: string;
  text_expires_at?: string;
}

export interface PresenceChange {
  users: PresenceOf[];
  rooms?: { room: string; online: number }[];
  own?: OwnPresence;
  snapshot?: boolean;
}

/** A sign-in on some device. */
export interface Session {
  id: string;
  created_at: string;
  last_used_at: string;
  agent: string;
  current?: boolean;
}

export interface Ban {
  user: User;
  by: string;
  at: string;
}

/** A few seconds of a node: rates a second and times of that span. */
export interface NodeSample {
  at: string;
  connections: number;
  requests_per_s: number;
  committed_per_s: number;
  delivered_per_s: number;
  waiting: number;
  answer_p99_ms?: number;
  flush_p99_ms?: number;
  loop_lag_p99_ms?: number;
  bus_p99_ms?: number;
}

export interface NodeStatus {
  node: string;
  version: string;
  started_at: string;
  heard_at: string;
  state: "ok" | "unready" | "draining" | "gone" | "silent";
  checks: Record<string, string>;
  websocket: number;
  polling: number;
  users: number;
  rooms: number;
  subscriptions: number;
  closes: Record<string, number>;
  refusals: Record<string, number>;
  memory_bytes?: number;
  samples?: NodeSample[];
}

export interface ClosedConnection {
  at: string;
  node: string;
  reason: string;
  transport: string;
  connection: string;
  user?: string;
}

export interface ClusterStatus {
  at: string;
  node: string;
  sample_s: number;
  nodes: NodeStatus[];
  closes: ClosedConnection[];
}

export const MAX_BODY_CHARS = 8000;
export const MAX_WATCHED_USERS = 200;
