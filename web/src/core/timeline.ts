/**
 * What one room's conversation looks like on this device. Pure: every function returns a new timeline.
 *
 * Invariants: `messages` ascends strictly by `seq`, each once. Every event up to `held` is in it (as far down as `from`),
 * so `held` is what a resume may name as `since`. Events that come early wait in `early` until the hole is filled.
 */
import type { Message, MessageDeleted, MessageEdited, Messages, RoomEvent } from "../wire";

export interface Timeline {
  readonly messages: readonly Message[];
  readonly held: number;
  readonly hasBefore: boolean;
  readonly early: ReadonlyMap<number, RoomEvent>;
}

/** What has to be done after an event: nothing more, or the events behind `held` must be asked for. */
export interface Applied {
  readonly timeline: Timeline;
  readonly gap: boolean;
  readonly applied: readonly RoomEvent[];
}

const NONE: ReadonlyMap<number, RoomEvent> = new Map();

/** Start from the latest page of history. */
export function fromHistory(page: Messages): Timeline {
  return { messages: merge([], page.messages), held: page.head_seq, hasBefore: page.has_before, early: NONE };
}

/**
 * Put an older page in front. What is held already is newer knowledge and stays.
 *
 * @param meanwhile The events that were applied since the page was asked for: the page may have been read before an edit
 *   of one of its messages, whose event found nothing to change then.
 */
export function prepend(timeline: Timeline, page: Messages, meanwhile: readonly RoomEvent[]): Timeline {
  let messages = merge(page.messages, timeline.messages);
  for (const event of meanwhile) if (event.kind !== "message.created") messages = change(messages, event, false);
  return { ...timeline, messages, hasBefore: page.has_before };
}

/** Forget the oldest messages beyond `keep`; scrolling up loads them again. */
export function trim(timeline: Timeline, keep: number): Timeline {
  if (timeline.messages.length <= keep) return timeline;
  return { ...timeline, messages: timeline.messages.slice(-keep), hasBefore: true };
}

/** Take a live event: old ones are dropped, the next one is applied, one from beyond a hole waits. */
export function receive(timeline: Timeline, event: RoomEvent): Applied {
  if (event.seq <= timeline.held) return { timeline, gap: false, applied: [] };
  if (event.seq > timeline.held + 1) {
    return { timeline: { ...timeline, early: new Map(timeline.early).set(event.seq, event) }, gap: true, applied: [] };
  }
  return drain(timeline, [event]);
}

/** Take the answer to a resume: every event behind `held`, in order, and then whatever had come early. */
export function resume(timeline: Timeline, events: readonly RoomEvent[]): Applied {
  return drain(
    timeline,
    events.filter((event) => event.seq > timeline.held),
  );
}

/** Show one's own message as soon as it is acked; its event follows and changes nothing. */
export function acked(timeline: Timeline, message: Message): Timeline {
  const first = timeline.messages[0];
  // An old answer to a late retry may lie above the oldest loaded page: scrolling there will show it.
  if (timeline.hasBefore && first && message.seq < first.seq) return timeline;
  return { ...timeline, messages: merge([message], timeline.messages) };
}

/** Show one's own edit or deletion as soon as it is acked; its event follows and says the same. */
export function amended(timeline: Timeline, event: MessageEdited | MessageDeleted): Timeline {
  return { ...timeline, messages: change(timeline.messages, event, timeline.hasBefore) };
}

function drain(start: Timeline, events: readonly RoomEvent[]): Applied {
  let messages = start.messages;
  let held = start.held;
  const early = new Map(start.early);
  const applied: RoomEvent[] = [];
  const take = (event: RoomEvent): void => {
    messages = change(messages, event, start.hasBefore);
    held = event.seq;
    early.delete(event.seq);
    applied.push(event);
  };
  for (const event of events) {
    if (event.seq === held + 1) take(event);
    else if (event.seq > held) early.set(event.seq, event);
  }
  for (let next = early.get(held + 1); next; next = early.get(held + 1)) take(next);
  for (const seq of early.keys()) if (seq <= held) early.delete(seq);
  return { timeline: { ...start, messages, held, early }, gap: early.size > 0, applied };
}

function change(messages: readonly Message[], event: RoomEvent, hasBefore: boolean): readonly Message[] {
  switch (event.kind) {
    case "message.created": {
      const { room, seq, at, actor, client_id, body, edited_at, deleted_at } = event;
      const message: Message = { room, seq, at, author: actor, client_id, body };
      if (edited_at) message.edited_at = edited_at;
      if (deleted_at) message.deleted_at = deleted_at;
      const first = messages[0];
      if (hasBefore && first && seq < first.seq) return messages;
      return merge([message], messages);
    }
    case "message.edited":
      return replace(messages, event.target, (message) =>
        message.deleted_at ? message : { ...message, body: event.body, edited_at: event.at },
      );
    case "message.deleted":
      return replace(messages, event.target, (message) => ({ ...message, body: "", deleted_at: event.at }));
    default:
      return messages;
  }
}

function replace(messages: readonly Message[], seq: number, make: (message: Message) => Message): readonly Message[] {
  const index = messages.findIndex((message) => message.seq === seq);
  const found = messages[index];
  return found ? messages.with(index, make(found)) : messages;
}

/** Union by `seq`, ascending. Where both have a message, `newer` wins. */
function merge(older: readonly Message[], newer: readonly Message[]): readonly Message[] {
  const bySeq = new Map<number, Message>();
  for (const message of older) bySeq.set(message.seq, message);
  for (const message of newer) bySeq.set(message.seq, message);
  return [...bySeq.values()].sort((a, b) => a.seq - b.seq);
}
