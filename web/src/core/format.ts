/** Times, names and numbers as people read them. The locale and the present are arguments. */

const MINUTE_MS = 60_000;
const GROUP_MS = 5 * MINUTE_MS;

/** The local calendar day, as a key: two times are on one day when their keys are equal. */
export function dayKey(atMs: number): string {
  const date = new Date(atMs);
  return `${date.getFullYear()}-${date.getMonth() + 1}-${date.getDate()}`;
}

export function dayLabel(atMs: number, nowMs: number, locale?: string): string {
  const now = new Date(nowMs);
  if (dayKey(atMs) === dayKey(nowMs)) return "Today";
  const yesterday = new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1);
  if (dayKey(atMs) === dayKey(yesterday.getTime())) return "Yesterday";
  const date = new Date(atMs);
  const year = date.getFullYear() === now.getFullYear() ? {} : { year: "numeric" as const };
  return date.toLocaleDateString(locale, { weekday: "long", day: "numeric", month: "long", ...year });
}

export function clock(atMs: number, locale?: string): string {
  return new Date(atMs).toLocaleTimeString(locale, { hour: "2-digit", minute: "2-digit" });
}

/** "Today, 14:05", or the day alone when that is long ago. */
export function dayAndClock(atMs: number, nowMs: number, locale?: string): string {
  const day = dayLabel(atMs, nowMs, locale);
  return day === "Today" || day === "Yesterday" ? `${day.toLowerCase()}, ${clock(atMs, locale)}` : day;
}

export function fullTime(atMs: number, locale?: string): string {
  return new Date(atMs).toLocaleString(locale, { dateStyle: "full", timeStyle: "short" });
}

/** Does a message continue the one above it: same author, same day, a few minutes apart? */
export function continues(above: { author: string; atMs: number }, below: { author: string; atMs: number }): boolean {
  return (
    above.author === below.author && below.atMs - above.atMs < GROUP_MS && dayKey(above.atMs) === dayKey(below.atMs)
  );
}

/** One or two letters for an avatar. */
export function initials(name: string): string {
  const words = name.match(/[\p{L}\p{N}]+/gu) ?? [];
  const letters = words.length > 1 ? [words[0], words.at(-1)] : [words[0]];
  return letters.map((word) => [...(word ?? "")][0]?.toUpperCase() ?? "").join("") || "?";
}

/** A steady number in `0 … count-1` for an id (FNV-1a), to give everybody a colour of their own. */
export function hue(id: string, count: number): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < id.length; index += 1) hash = Math.imul(hash ^ id.charCodeAt(index), 0x01000193);
  hash ^= hash >>> 15; // UUIDv7s of one moment differ in few bits
  return (hash >>> 0) % count;
}

export function typingLine(names: readonly string[]): string {
  if (names.length === 0) return "";
  if (names.length === 1) return `${names[0]} is typing`;
  if (names.length === 2) return `${names[0]} and ${names[1]} are typing`;
  return `${names[0]}, ${names[1]} and ${names.length - 2} more are typing`;
}
