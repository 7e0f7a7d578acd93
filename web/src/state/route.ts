/** Which room is open, as the address says: back and reload keep working. */
import { signal } from "@preact/signals";
import { format, parse } from "../core/route";

export const openRoom = signal<string | null>(parse(location.hash));

addEventListener("hashchange", () => {
  openRoom.value = parse(location.hash);
});

export function go(room: string | null): void {
  if (openRoom.value !== room) location.hash = format(room);
}

/** Go to the list without leaving a way back, for a room that is no longer there. */
export function leave(room: string): void {
  if (openRoom.value !== room) return;
  history.replaceState(null, "", format(null));
  openRoom.value = null;
}
