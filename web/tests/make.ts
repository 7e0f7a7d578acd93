import type { Message, MessageCreated, Messages, Room } from "../src/wire";

export const ROOM = "room-1";

export function created(seq: number, more: Partial<MessageCreated> = {}): MessageCreated {
  return {
    kind: "message.created",
    room: ROOM,
    seq,
    at: at(seq),
    actor: "ada",
    client_id: `c${seq}`,
    body: `text ${seq}`,
    ...more,
  };
}

export function message(seq: number, more: Partial<Message> = {}): Message {
  return { room: ROOM, seq, at: at(seq), author: "ada", client_id: `c${seq}`, body: `text ${seq}`, ...more };
}

export function page(seqs: readonly number[], more: Partial<Messages> = {}): Messages {
  return {
    messages: seqs.map((seq) => message(seq)),
    head_seq: seqs.at(-1) ?? 0,
    has_before: false,
    has_after: false,
    ...more,
  };
}

export function room(more: Partial<Room> = {}): Room {
  return {
    id: ROOM,
    kind: "public",
    name: "One",
    head_seq: 5,
    last_event_at: at(5),
    created_at: at(0),
    member_count: 2,
    role: "member",
    ...more,
  };
}

/** `seconds` after noon, local time, so that days do not depend on the machine's time zone. */
export function at(seconds: number): string {
  return new Date(new Date(2026, 2, 14, 12, 0, 0).getTime() + seconds * 1000).toISOString();
}
