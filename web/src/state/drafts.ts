/** What is half written, per room, for as long as the tab lives, a reload included. */
import { SCOPE } from "../base";

const PREFIX = `${SCOPE}realtime.draft.`;
const kept = new Map<string, string>();

export function get(room: string): string {
  try {
    return kept.get(room) ?? sessionStorage.getItem(PREFIX + room) ?? "";
  } catch {
    return ""; // storage is forbidden by the browser's settings
  }
}

export function set(room: string, text: string): void {
  kept.set(room, text);
  try {
    if (text) sessionStorage.setItem(PREFIX + room, text);
    else sessionStorage.removeItem(PREFIX + room);
  } catch {
    return; // forbidden or full: the page still remembers
  }
}

export function reset(): void {
  kept.clear();
  try {
    for (const key of Object.keys(sessionStorage)) if (key.startsWith(PREFIX)) sessionStorage.removeItem(key);
  } catch {
    return; // forbidden: there is nothing to forget
  }
}
