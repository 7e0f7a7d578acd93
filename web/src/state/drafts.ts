/**
 * What is half written, per account and room, for as long as the tab lives: over a reload, and over the end of a session,
 * whose person signs in again. Who signs out leaves nothing.
 */
import { SCOPE } from "../base";

const PREFIX = `${SCOPE}realtime.draft.`;
const kept = new Map<string, string>();
let prefix = PREFIX;

/** Whose drafts these are from now on. */
export function open(user: string): void {
  prefix = `${PREFIX}${user}.`;
}

export function get(room: string): string {
  const key = prefix + room;
  try {
    return kept.get(key) ?? sessionStorage.getItem(key) ?? "";
  } catch {
    return ""; // storage is forbidden by the browser's settings
  }
}

export function set(room: string, text: string): void {
  const key = prefix + room;
  kept.set(key, text);
  try {
    if (text) sessionStorage.setItem(key, text);
    else sessionStorage.removeItem(key);
  } catch {
    return; // forbidden or full: the page still remembers
  }
}

/** Forget what this account was writing. */
export function discardAll(): void {
  for (const key of [...kept.keys()]) if (key.startsWith(prefix)) kept.delete(key);
  try {
    for (const key of Object.keys(sessionStorage)) if (key.startsWith(prefix)) sessionStorage.removeItem(key);
  } catch {
    return; // forbidden: there is nothing to forget
  }
}
