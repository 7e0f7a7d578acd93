/** The address inside the page: `#/room/<id>`, `#/server`, or nothing for the list of rooms. Pure. */

const ROOM = /^#\/room\/([0-9a-zA-Z-]{1,64})$/;

export const OPERATOR = "#/server";

export function parse(hash: string): string | null {
  return ROOM.exec(hash)?.[1] ?? null;
}

export function format(room: string | null): string {
  return room ? `#/room/${room}` : "#/";
}
