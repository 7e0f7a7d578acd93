/**
 * Sends what was written: per room one after the other, so that the order stays; each with the same `client_id` until acked.
 *
 * Each message has a key of its own in localStorage: tabs run in processes whose views of it lag behind one another, so
 * a list under one key would be overwritten. The tab in which a message was written sends it; one that was left behind
 * (tab closed, browser crashed) is taken over. Two tabs that send the same message do no harm: it is stored once.
 */

import { batch, signal } from "@preact/signals";
import { SCOPE } from "../base";
import { uuid4 } from "../core/id";
import * as pure from "../core/outbox";
import { asRefused } from "../errors";
import type { Appended } from "../wire";
import * as connection from "./connection";
import * as storage from "./storage";
import * as timelines from "./timelines";

const ORPHAN_MS = 20_000;
const SWEEP_MS = 10_000;

export const unsent = signal<readonly pure.Unsent[]>([]);

let me: string | null = null;
let prefix = "";
let mine = new Set<string>();
let busyRooms = new Set<string>();
let sweep: ReturnType<typeof setInterval> | undefined;

export function open(user: string): void {
  me = user;
  prefix = `${SCOPE}realtime.outbox.${user}.`;
  const left = storage.keys(prefix).flatMap((key) => pure.parse(storage.get(key)) ?? []);
  unsent.value = left.reduce(pure.put, [] as readonly pure.Unsent[]);
  mine = new Set(unsent.value.map((item) => item.client_id));
  busyRooms = new Set();
  sweep = setInterval(flush, SWEEP_MS);
}

export function close(): void {
  clearInterval(sweep);
  me = null;
  unsent.value = [];
}

/** Throw away everything that was not sent. */
export function discardAll(): void {
  change(() => []);
}

/** Throw away what can no longer be sent. Returns whether there was something. */
export function discardRoom(room: string): boolean {
  const left = unsent.value.filter((item) => item.room !== room);
  const some = left.length < unsent.value.length;
  if (some) change(() => left);
  return some;
}

/** See what other tabs write, send and discard. */
export function follow(): void {
  addEventListener("storage", (event) => {
    if (me === null || !event.key?.startsWith(prefix)) return;
    const item = pure.parse(event.newValue);
    unsent.value = item ? pure.put(unsent.value, item) : pure.remove(unsent.value, event.key.slice(prefix.length));
  });
}

export function write(room: string, body: string): void {
  const clientId = uuid4();
  mine.add(clientId);
  change((outbox) => pure.write(outbox, room, clientId, body, Date.now()));
  flush();
}

export function retry(clientId: string): void {
  mine.add(clientId);
  change((outbox) => pure.retry(outbox, clientId));
  flush();
}

/** Take a message out: discarded, or seen to be stored. */
export function remove(clientId: string): void {
  if (unsent.value.some((item) => item.client_id === clientId)) change((outbox) => pure.remove(outbox, clientId));
}

/** Send what waits, in every room that is not sending already. */
export function flush(): void {
  if (connection.status.value !== "online") return;
  for (const { room } of unsent.value) if (!busyRooms.has(room)) void send(room);
}

async function send(room: string): Promise<void> {
  const [busy, user] = [busyRooms, me];
  busy.add(room);
  try {
    for (let item = due(room); item && me === user; item = due(room)) {
      const pauseMs = await once(item, user);
      if (pauseMs === null) return;
      if (pauseMs > 0) await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  } finally {
    busy.delete(room);
  }
}

/** The room's next message to send; one that other tabs are still busy with is theirs. */
function due(room: string): pure.Unsent | undefined {
  const item = unsent.value.find((candidate) => candidate.room === room && candidate.state === "pending");
  if (!item) return undefined;
  return mine.has(item.client_id) || Date.now() - item.at > ORPHAN_MS ? item : undefined;
}

/** Try one message. Returns the pause until the next try, or null when the connection has to come back first. */
async function once(item: pure.Unsent, user: string | null): Promise<number | null> {
  const { room, client_id, body } = item;
  try {
    const answer = await connection.request<Appended>("message.send", { room, client_id, body });
    if (me !== user || user === null) return null;
    batch(() => {
      timelines.acked({ room, seq: answer.seq, at: answer.at, author: user, client_id, body });
      remove(client_id);
    });
    return 0;
  } catch (error) {
    const refused = asRefused(error);
    if (refused.code === "network" || me !== user) return null;
    const after = { retryInMs: null as number | null };
    change((outbox) => {
      const result = pure.refused(outbox, client_id, refused);
      after.retryInMs = result.retryInMs;
      return result.outbox;
    });
    return after.retryInMs ?? 0;
  }
}

function change(step: (outbox: readonly pure.Unsent[]) => readonly pure.Unsent[]): void {
  if (me === null) return;
  const before = unsent.value;
  const after = step(before);
  unsent.value = after;
  for (const item of after) if (!before.includes(item)) storage.set(prefix + item.client_id, JSON.stringify(item));
  const left = new Set(after.map((item) => item.client_id));
  for (const { client_id } of before) if (!left.has(client_id)) storage.remove(prefix + client_id);
}
