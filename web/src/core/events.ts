/** Which of the things that the server emits are events of a room, also of kinds that only a newer release knows. Pure. */
import { EVENT_KINDS, type RoomEvent } from "../wire";

const KINDS: ReadonlySet<string> = new Set(EVENT_KINDS);

/** Whether this release knows what an event of this kind changes. The others take a `seq`, and change nothing that is shown. */
export function isKnown(kind: string): boolean {
  return KINDS.has(kind);
}

/**
 * The event of a room that an emit brings; null when it is something else. Every event has a room and its number there: one of a
 * newer kind must be taken like the others, or there would be a gap where it belongs.
 */
export function roomEvent(name: string, payload: unknown): RoomEvent | null {
  if (typeof payload !== "object" || payload === null) return null;
  const { room, seq, at } = payload as Record<string, unknown>;
  if (typeof room !== "string" || typeof at !== "string" || !Number.isSafeInteger(seq)) return null;
  return { ...payload, kind: name } as RoomEvent;
}
