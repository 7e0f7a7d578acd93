/** Who is typing where: room → user → until when (Unix milliseconds). Pure. */
export type Typing = ReadonlyMap<string, ReadonlyMap<string, number>>;

export const SHOWN_MS = 5000;
export const REPEAT_MS = 3000;

export function note(typing: Typing, room: string, user: string, nowMs: number): Typing {
  return new Map(typing).set(room, new Map(typing.get(room)).set(user, nowMs + SHOWN_MS));
}

/** Somebody stopped: their message came, or they left. */
export function stop(typing: Typing, room: string, user: string): Typing {
  const users = new Map(typing.get(room));
  if (!users.delete(user)) return typing;
  return withUsers(typing, room, users);
}

/** Forget those whose time is over. */
export function expire(typing: Typing, nowMs: number): Typing {
  let next = typing;
  for (const [room, users] of typing) {
    const left = new Map([...users].filter(([, until]) => until > nowMs));
    if (left.size < users.size) next = withUsers(next, room, left);
  }
  return next;
}

function withUsers(typing: Typing, room: string, users: ReadonlyMap<string, number>): Typing {
  const next = new Map(typing);
  if (users.size > 0) next.set(room, users);
  else next.delete(room);
  return next;
}
