/** The conversations that were opened: history over REST, live events behind it, holes filled. */
import { type Signal, signal } from "@preact/signals";
import * as api from "../api";
import * as pure from "../core/timeline";
import { asRefused } from "../errors";
import type { Message, RoomEvent } from "../wire";
import * as rooms from "./rooms";

export interface View {
  readonly timeline: pure.Timeline | null;
  readonly loading: "latest" | "older" | null;
  /** The code of the reason why the last load failed. */
  readonly code: string | null;
}

const EMPTY: View = { timeline: null, loading: null, code: null };
const AT_MOST_ROOMS = 20;
const KEEP_MESSAGES = 400;
const FILL_PAGES = 5;
const SETTLE_MS = 250;

const views = new Map<string, Signal<View>>();
const filling = new Set<string>();
/** Events applied while an older page is on its way. */
const meanwhile = new Map<string, RoomEvent[]>();

export function view(room: string): Signal<View> {
  let found = views.get(room);
  if (!found) {
    found = signal(EMPTY);
    views.set(room, found);
  }
  return found;
}

/** The `seq` up to which everything is held; undefined for a room whose history is not loaded. */
export function held(room: string): number | undefined {
  const at = views.get(room)?.peek();
  return at?.timeline && at.loading !== "latest" ? at.timeline.held : undefined;
}

/** Load a room's latest page unless it is there, and let go of rooms opened long ago. */
export function open(room: string): void {
  const at = view(room);
  views.delete(room);
  views.set(room, at); // the last one in the map is the one opened last
  for (const other of [...views.keys()].slice(0, -AT_MOST_ROOMS)) drop(other);
  const { timeline } = at.peek();
  if (timeline) at.value = { ...at.peek(), timeline: pure.trim(timeline, KEEP_MESSAGES) };
  else void load(room);
}

export function drop(room: string): void {
  views.delete(room);
  meanwhile.delete(room);
}

export function reset(): void {
  views.clear();
  meanwhile.clear();
  filling.clear();
}

/** Read the latest page, in place of what was held. */
export async function load(room: string): Promise<void> {
  const at = view(room);
  if (at.peek().loading === "latest") return;
  at.value = { ...at.peek(), loading: "latest", code: null };
  try {
    const page = await api.listMessages(room);
    if (views.get(room) !== at) return; // let go of in between
    at.value = { timeline: pure.fromHistory(page), loading: null, code: null };
    rooms.atHead(room, page.head_seq);
    fillIfBehind(room);
  } catch (error) {
    at.value = { ...at.peek(), loading: null, code: asRefused(error).code };
  }
}

/** Read the page above the oldest message. */
export async function older(room: string): Promise<void> {
  const at = view(room);
  const { timeline, loading } = at.peek();
  const first = timeline?.messages[0];
  if (!first || !timeline.hasBefore || loading) return;
  at.value = { ...at.peek(), loading: "older", code: null };
  const applied: RoomEvent[] = [];
  meanwhile.set(room, applied);
  try {
    const page = await api.listMessages(room, first.seq);
    const now = at.peek();
    if (views.get(room) !== at || now.loading !== "older" || !now.timeline) return;
    at.value = { timeline: pure.prepend(now.timeline, page, applied), loading: null, code: null };
  } catch (error) {
    if (at.peek().loading === "older") at.value = { ...at.peek(), loading: null, code: asRefused(error).code };
  } finally {
    if (meanwhile.get(room) === applied) meanwhile.delete(room);
  }
}

/** A live event. What comes while the latest page is on its way is found behind it. */
export function receive(event: RoomEvent): void {
  apply(event.room, (timeline) => pure.receive(timeline, event));
}

/**
 * The answer to a subscription with `since`.
 *
 * @param more The rest follows by itself, at the pace of the line: asking for it would bring it twice.
 */
export function resume(room: string, events: readonly RoomEvent[], more: boolean): void {
  apply(room, (timeline) => pure.resume(timeline, events));
  if (!more) fillIfBehind(room);
}

/** Read everything that is held anew. */
export function reload(): void {
  for (const [room, at] of views) {
    if (at.peek().timeline) void load(room);
  }
}

export function acked(message: Message): void {
  change(message.room, (timeline) => pure.acked(timeline, message));
}

export function amended(event: Parameters<typeof pure.amended>[1]): void {
  change(event.room, (timeline) => pure.amended(timeline, event));
}

/** Read the events between what is held and what is known to be there. */
export function fillIfBehind(room: string): void {
  if (!isBehind(room) || filling.has(room)) return;
  filling.add(room);
  fill(room)
    .catch((error: unknown) => {
      // Without a connection the next subscription brings the rest.
      if (!asRefused(error).retryable) view(room).value = { ...view(room).peek(), code: asRefused(error).code };
    })
    .finally(() => filling.delete(room));
}

async function fill(room: string): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS)); // mostly the missing event is just late
  for (let page = 0; isBehind(room); page += 1) {
    if (page === FILL_PAGES) return load(room);
    const answer = await api.listEvents(room, held(room) ?? 0);
    apply(room, (timeline) => pure.resume(timeline, answer.events));
  }
}

function isBehind(room: string): boolean {
  const holds = held(room);
  if (holds === undefined) return false;
  const head = rooms.rooms.peek().get(room)?.head_seq ?? 0;
  return head > holds || (views.get(room)?.peek().timeline?.early.size ?? 0) > 0;
}

function apply(room: string, step: (timeline: pure.Timeline) => pure.Applied): void {
  const at = views.get(room);
  const now = at?.peek();
  if (!at || !now?.timeline || now.loading === "latest") return;
  const done = step(now.timeline);
  meanwhile.get(room)?.push(...done.applied);
  if (done.timeline !== now.timeline) at.value = { ...now, timeline: done.timeline };
  if (done.gap) fillIfBehind(room);
}

function change(room: string, step: (timeline: pure.Timeline) => pure.Timeline): void {
  const at = views.get(room);
  const now = at?.peek();
  if (at && now?.timeline) at.value = { ...now, timeline: step(now.timeline) };
}
