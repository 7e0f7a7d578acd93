/** Names by user id. Ids met without a name are looked up, many at once. */
import { type Signal, signal } from "@preact/signals";
import * as api from "../api";
import { shownName } from "../core/names";
import { asRefused } from "../errors";
import type { User } from "../wire";

const BATCH = 100;
const GATHER_MS = 20;
const RETRY_MS = 3000;

const known = new Map<string, Signal<User | null>>();
const wanted = new Set<string>();
let timer: ReturnType<typeof setTimeout> | undefined;

/** Somebody's name, now or as soon as it is known. */
export function person(id: string): Signal<User | null> {
  let found = known.get(id);
  if (!found) {
    found = signal<User | null>(null);
    known.set(id, found);
    want([id], GATHER_MS);
  }
  return found;
}

export function nameOf(id: string): string {
  const found = person(id).value;
  return found ? nameIn(found) : "…";
}

/** The name of somebody as it is shown; one that shows nothing gives way to the username. */
export function nameIn(user: User): string {
  return shownName(user.display_name, user.username ? `@${user.username}` : "Somebody");
}

/** Somebody, as soon as they are known. */
export function met(id: string): Promise<User> {
  const found = person(id);
  return new Promise((resolve) => {
    const stop = found.subscribe((user) => {
      if (!user) return;
      resolve(user);
      queueMicrotask(() => stop());
    });
  });
}

/** Remember people that came with something else. */
export function meet(users: readonly User[]): void {
  for (const user of users) {
    wanted.delete(user.id);
    const found = known.get(user.id);
    if (!found) known.set(user.id, signal<User | null>(user));
    else if (found.peek()?.display_name !== user.display_name) found.value = user;
  }
}

export function reset(): void {
  clearTimeout(timer);
  timer = undefined;
  known.clear();
  wanted.clear();
}

function want(ids: readonly string[], inMs: number): void {
  for (const id of ids) wanted.add(id);
  timer ??= setTimeout(() => void ask(), inMs);
}

async function ask(): Promise<void> {
  timer = undefined;
  const ids = [...wanted].slice(0, BATCH);
  for (const id of ids) wanted.delete(id);
  if (ids.length === 0) return;
  try {
    const users = await api.usersById(ids);
    meet(users);
    const found = new Set(users.map((user) => user.id));
    meet(ids.filter((id) => !found.has(id)).map((id) => ({ id, username: "", display_name: "Somebody" })));
  } catch (error) {
    if (asRefused(error).retryable) want(ids, RETRY_MS);
  }
  if (wanted.size > 0) want([], GATHER_MS);
}
