/**
 * How far the person has read each room, on this device: room id → `seq`. Pure.
 *
 * Every event takes a `seq`, but only messages of others should show a badge: an event that is not, arriving when all
 * before it was read, counts as read.
 */
export type Seen = Readonly<Record<string, number>>;

/** Rooms that this device meets for the first time: on a new device the past counts as read, later rooms as new. */
export function meet(seen: Seen | null, rooms: readonly { id: string; head_seq: number }[]): Seen {
  const next: Record<string, number> = { ...seen };
  for (const room of rooms) next[room.id] ??= seen === null ? room.head_seq : 0;
  return next;
}

export function read(seen: Seen, room: string, seq: number): Seen {
  return (seen[room] ?? 0) >= seq ? seen : { ...seen, [room]: seq };
}

/** An event that is nobody's news: one's own, or no message. */
export function quiet(seen: Seen, room: string, seq: number): Seen {
  return (seen[room] ?? 0) === seq - 1 ? { ...seen, [room]: seq } : seen;
}

export function unread(seen: Seen, room: { id: string; head_seq: number }): number {
  return Math.max(0, room.head_seq - (seen[room.id] ?? 0));
}
