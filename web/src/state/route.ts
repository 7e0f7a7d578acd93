/** Which room is open, as the address says: back and reload keep working. */
import { signal } from "@preact/signals";
import { format, OPERATOR, parse } from "../core/route";

export const openRoom = signal<string | null>(parse(location.hash));

/** Whether the operator's page is open. */
export const operatorOpen = signal(location.hash === OPERATOR);

addEventListener("hashchange", () => {
  operatorOpen.value = location.hash === OPERATOR;
  openRoom.value = parse(location.hash);
});

export function go(room: string | null): void {
  if (openRoom.value !== room || operatorOpen.value) location.hash = format(room);
}

export function goOperator(): void {
  location.hash = OPERATOR;
}

/** Go to the list without leaving a way back, for a room that is no longer there. */
export function leave(room: string): void {
  if (openRoom.value !== room) return;
  history.replaceState(null, "", format(null));
  openRoom.value = null;
}
