/** Where everything meets: what the connection says goes to the stores; what is shown is subscribed to. */
import { batch, effect, untracked } from "@preact/signals";
import * as api from "../api";
import { roomEvent } from "../core/events";
import { isolated } from "../core/names";
import { followed, title } from "../core/rooms";
import { asRefused } from "../errors";
import type { PresenceChange, Ready, Room, RoomEvent, SubscribedRoom } from "../wire";
import * as connection from "./connection";
import * as dialog from "./dialog";
import * as drafts from "./drafts";
import * as idle from "./idle";
import * as members from "./members";
import * as notices from "./notices";
import * as outbox from "./outbox";
import * as people from "./people";
import * as presence from "./presence";
import * as rooms from "./rooms";
import * as route from "./route";
import * as seen from "./seen";
import * as session from "./session";
import * as timelines from "./timelines";
import * as typing from "./typing";

const SUBSCRIBE_AT_ONCE = 100; // keeps request and answer well under the limit of a packet
const SUBSCRIBE_TIMEOUT_MS = 60_000; // on a slow line; a dead one is noticed sooner
/** How often rooms are looked at that the connection does not follow. */
const LOOK_MS = 30_000;
const RETRY_MS = 1500;
const GONE = new Set(["room_not_found", "not_a_member"]);

/** Rooms that this connection receives, or has asked for. */
let subscribed = new Set<string>();
let limit = Number.POSITIVE_INFINITY;
let looking: ReturnType<typeof setTimeout> | undefined;
/** Of the history that is held. */
let epoch: string | undefined;

/** Follow the sign-in: connected while there is one, everything forgotten when there is none. */
export function start(): void {
  seen.follow();
  outbox.follow();
  session.restore();
  let stop: (() => void) | null = null;
  let who: string | null = null;
  effect(() => {
    const user = session.user.value;
    untracked(() => {
      if ((user?.id ?? null) === who) return;
      stop?.();
      stop = null;
      who = user?.id ?? null;
      if (user) {
        people.meet([user]);
        stop = begin(user.id);
      }
    });
  });
  effect(() => {
    const room = rooms.current.value?.id;
    untracked(() => {
      if (room && !subscribed.has(room) && connection.status.value === "online") void subscribe();
      if (!room) return members.close();
      timelines.open(room);
      void members.open(room);
    });
  });
}

function begin(user: string): () => void {
  seen.open(user);
  outbox.open(user);
  drafts.open(user);
  const stopPresence = presence.start();
  const stopIdle = idle.watch();
  const stopConnection = connection.start({
    ready,
    lost,
    idle: idle.isIdle,
    event: (name, payload) => dispatch(name, payload, user),
  });
  return () => {
    stopConnection();
    stopPresence();
    stopIdle();
    batch(() => {
      lost();
      for (const store of [rooms, timelines, people, typing]) store.reset();
      for (const store of [members, outbox, seen, dialog, presence]) store.close();
    });
  };
}

function ready(answer: Ready): void {
  subscribed = new Set();
  // The server's database was restored from a back-up: what is held may never have happened.
  if (epoch !== undefined && answer.epoch !== epoch) timelines.reload();
  epoch = answer.epoch;
  idle.tellAgain();
  void learnOwnPresence();
  limit = answer.limits.subscriptions;
  void subscribe();
  void refreshRooms();
  const open = rooms.current.value?.id;
  if (open) {
    timelines.open(open);
    void members.open(open);
  }
  outbox.flush();
}

/** The server tells changes; what was chosen before has to be asked for. */
async function learnOwnPresence(): Promise<void> {
  const connected = subscribed;
  try {
    const own = await api.ownPresence();
    if (connected === subscribed) presence.own.value = own;
  } catch (error) {
    const { retryable, retry_after_ms } = asRefused(error);
    if (!retryable) return; // signed out meanwhile: the screen says so
    setTimeout(() => {
      if (connected === subscribed) void learnOwnPresence();
    }, retry_after_ms ?? RETRY_MS);
  }
}

function lost(): void {
  clearTimeout(looking);
  subscribed = new Set();
  presence.lost();
  typing.reset();
}

/** Learn what changed in the list of rooms while there was no connection. */
async function refreshRooms(): Promise<void> {
  const connected = subscribed;
  for (;;) {
    const ids = await rooms.reload();
    if (connected !== subscribed || connection.status.value !== "online") return;
    if (ids) return subscribe();
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

/** Follow the rooms that matter most, as many as a connection may; what happens in the others is looked up now and then. */
async function subscribe(): Promise<void> {
  const connected = subscribed;
  const known = rooms.rooms.value;
  const wanted = followed(known, route.openRoom.value, limit);
  rooms.leftOut.value = known.size - wanted.length;
  clearTimeout(looking);
  if (rooms.leftOut.value > 0) looking = setTimeout(() => void refreshRooms(), LOOK_MS);
  const fresh = wanted.filter((id) => !connected.has(id));
  const keep = new Set(wanted);
  const left = [...connected].filter((id) => !keep.has(id));
  for (const id of left) connected.delete(id);
  for (const id of fresh) connected.add(id);
  if (left.length > 0) connection.request("room.unsubscribe", { rooms: left }).catch(notices.complain);
  for (let start = 0; start < fresh.length; start += SUBSCRIBE_AT_ONCE) {
    await ask(fresh.slice(start, start + SUBSCRIBE_AT_ONCE), connected);
  }
}

async function ask(ids: readonly string[], connected: Set<string>): Promise<void> {
  const wanted = ids.map((room) => {
    const since = timelines.held(room);
    return since === undefined ? { room } : { room, since };
  });
  try {
    const answer = await connection.request<{ rooms: SubscribedRoom[] }>(
      "room.subscribe",
      {
        rooms: wanted,
        ...(epoch === undefined ? {} : { epoch }),
      },
      SUBSCRIBE_TIMEOUT_MS,
    );
    batch(() => {
      for (const one of answer.rooms) joined(one);
    });
    const again = answer.rooms.flatMap((one) => (one.error?.retryable ? [one.room] : []));
    if (again.length > 0) askLater(again, connected, RETRY_MS);
  } catch (error) {
    const { code, retryable, retry_after_ms } = asRefused(error);
    if (code === "network") return; // a new connection asks by itself
    if (retryable) askLater(ids, connected, retry_after_ms ?? RETRY_MS);
    else notices.complain(error);
  }
}

function askLater(ids: readonly string[], connected: Set<string>, ms: number): void {
  setTimeout(() => {
    if (connected === subscribed) void ask(ids, connected);
  }, ms);
}

function joined(one: SubscribedRoom): void {
  if (one.error) {
    if (GONE.has(one.error.code)) forget(one.room);
    return;
  }
  rooms.atHead(one.room, one.head_seq ?? 0);
  if (one.reset) void timelines.load(one.room);
  else timelines.resume(one.room, one.events ?? [], one.behind !== undefined);
}

function dispatch(name: string, payload: unknown, me: string): void {
  const event = roomEvent(name, payload);
  if (event) {
    batch(() => happened(event, me));
  } else if (name === "presence") {
    presence.apply(payload as PresenceChange);
  } else if (name === "signal") {
    const { room, user, kind } = payload as { room: string; user: string; kind: string };
    if (kind === "typing" && user !== me) typing.heard(room, user);
  } else if (name === "room.added") {
    adopt((payload as { room: Room }).room);
  } else if (name === "room.removed") {
    removed(payload as { room: string; reason: string });
  } else if (name === "room.reset") {
    const { room, head_seq } = payload as { room: string; head_seq: number };
    rooms.atHead(room, head_seq);
    if (timelines.held(room) !== undefined) void timelines.load(room);
  }
}

function happened(event: RoomEvent, me: string): void {
  const news = event.kind === "message.created" && event.actor !== me;
  if (!news) seen.quiet(event.room, event.seq);
  rooms.apply(event, me);
  timelines.receive(event);
  members.apply(event);
  if (event.kind !== "message.created") return;
  typing.stopped(event.room, event.actor);
  if (event.actor === me) outbox.remove(event.client_id);
  else if (event.room === route.openRoom.value) notices.speak(`${isolated(people.nameOf(event.actor))}: ${event.body}`);
}

/** One has become a member of a room, here or on another device. */
export function adopt(room: Room): void {
  rooms.add(room);
  if (connection.status.value === "online") void subscribe();
}

function removed({ room, reason }: { room: string; reason: string }): void {
  const known = rooms.rooms.value.get(room);
  if (known && reason !== "left") {
    notices.tell(`You were ${reason === "banned" ? "banned" : "removed"} from ${isolated(title(known))}.`);
  }
  forget(room);
}

export function forget(room: string): void {
  subscribed.delete(room);
  const name = rooms.rooms.value.get(room);
  if (outbox.discardRoom(room) && name)
    notices.tell(`What you wrote in ${isolated(title(name))} could not be sent any more.`);
  batch(() => {
    rooms.remove(room);
    timelines.drop(room);
    route.leave(room);
  });
}

/** Sign out; whoever comes next begins at the list of rooms. */
export function signOut(): void {
  outbox.discardAll();
  drafts.discardAll();
  session.signOut();
  route.go(null);
}

/** Open the direct room with somebody. */
export async function talkTo(user: string): Promise<void> {
  const room = await api.openDirect(user);
  adopt(room);
  route.go(room.id);
}
