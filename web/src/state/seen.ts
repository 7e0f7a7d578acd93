/** How far the person has read, kept per account on this device and shared by its tabs. */

import { signal } from "@preact/signals";
import { SCOPE } from "../base";
import * as pure from "../core/seen";
import type { Room } from "../wire";
import * as storage from "./storage";

export const seen = signal<pure.Seen>({});

let key: string | null = null;
let firstTime = false;

export function open(user: string): void {
  key = `${SCOPE}realtime.seen.${user}`;
  const stored = parse(storage.get(key));
  firstTime = stored === null;
  seen.value = stored ?? {};
}

export function close(): void {
  key = null;
  seen.value = {};
}

/** Take over what other tabs have read. */
export function follow(): void {
  addEventListener("storage", (event) => {
    if (key === null || event.key !== key) return;
    for (const [room, seq] of Object.entries(parse(event.newValue) ?? {})) {
      seen.value = pure.read(seen.value, room, seq);
    }
  });
}

export function meet(rooms: readonly Room[]): void {
  keep(pure.meet(firstTime ? null : seen.value, rooms));
  firstTime = false;
}

export function read(room: string, seq: number): void {
  keep(pure.read(seen.value, room, seq));
}

/** An event that is nobody's news. */
export function quiet(room: string, seq: number): void {
  keep(pure.quiet(seen.value, room, seq));
}

function keep(next: pure.Seen): void {
  if (key === null || next === seen.value) return;
  seen.value = next;
  storage.set(key, JSON.stringify(next));
}

function parse(text: string | null): pure.Seen | null {
  if (text === null) return null;
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null) return null;
    return Object.fromEntries(Object.entries(value).filter(([, seq]) => Number.isSafeInteger(seq)));
  } catch {
    return null; // not ours: as on a new device
  }
}
