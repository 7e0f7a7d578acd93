/** Who is typing: told to others at most every 3 s, shown for 5 s. */
import { signal } from "@preact/signals";
import * as pure from "../core/typing";
import * as connection from "./connection";

export const typing = signal<pure.Typing>(new Map());

const toldAt = new Map<string, number>();
let timer: ReturnType<typeof setTimeout> | undefined;

/** The person changed the text in the composer of a room. */
export function typed(room: string): void {
  const now = Date.now();
  if (now - (toldAt.get(room) ?? 0) < pure.REPEAT_MS) return;
  toldAt.set(room, now);
  connection.tell("signal", { room, kind: "typing" });
}

/** The message is out: the next keystroke is told at once. */
export function sent(room: string): void {
  toldAt.delete(room);
}

export function heard(room: string, user: string): void {
  typing.value = pure.note(typing.value, room, user, Date.now());
  expireLater();
}

export function stopped(room: string, user: string): void {
  typing.value = pure.stop(typing.value, room, user);
}

export function reset(): void {
  clearTimeout(timer);
  timer = undefined;
  toldAt.clear();
  typing.value = new Map();
}

function expireLater(): void {
  timer ??= setTimeout(() => {
    timer = undefined;
    typing.value = pure.expire(typing.value, Date.now());
    if (typing.value.size > 0) expireLater();
  }, 500);
}
