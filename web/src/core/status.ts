/** Being there and not, in words. The present and the locale are arguments. Pure. */
import type { Choice, OwnPresence, PresenceOf, Status } from "../wire";
import { clock, dayLabel } from "./format";

export const STATUS_NAMES: Record<Status, string> = {
  online: "online",
  away: "away",
  dnd: "do not disturb",
  offline: "offline",
};

export const CHOICES: readonly { choice: Choice; shown: Status; label: string; hint: string }[] = [
  { choice: "online", shown: "online", label: "Online", hint: "Away by itself after ten quiet minutes." },
  { choice: "away", shown: "away", label: "Away", hint: "Whatever you do here." },
  { choice: "dnd", shown: "dnd", label: "Do not disturb", hint: "People see that you would rather not be asked." },
  { choice: "invisible", shown: "offline", label: "Invisible", hint: "Others see you as offline; you see everything." },
];

/** A status as it can be shown: what a newer release says of somebody who is there is `online`. */
export function shownStatus(status: string): Status {
  return Object.hasOwn(STATUS_NAMES, status) ? (status as Status) : "online";
}

/** How others see somebody who chose this. */
export function shownAs(choice: Choice): Status {
  return choice === "invisible" ? "offline" : shownStatus(choice);
}

/** How long a text may last, in seconds; undefined: until it is changed. */
export const LIVES: readonly { label: string; seconds: number | undefined }[] = [
  { label: "Until I change it", seconds: undefined },
  { label: "For 30 minutes", seconds: 30 * 60 },
  { label: "For an hour", seconds: 3600 },
  { label: "For 4 hours", seconds: 4 * 3600 },
  { label: "For a day", seconds: 24 * 3600 },
  { label: "For a week", seconds: 7 * 24 * 3600 },
];

/** For how long a text is to last that was changed; null: until the one before would have ended. */
export function lifeSeconds(life: number | null, own: OwnPresence | null, nowMs: number): number | undefined {
  if (life !== null) return LIVES[life]?.seconds;
  const untilMs = Date.parse(own?.text_expires_at ?? "");
  return Number.isFinite(untilMs) ? Math.max(1, Math.ceil((untilMs - nowMs) / 1000)) : undefined;
}

/** The text of somebody that still holds; empty when there is none. */
export function textOf(
  presence: Pick<PresenceOf, "text" | "text_expires_at"> | OwnPresence | null | undefined,
  nowMs: number,
): string {
  if (!presence?.text) return "";
  return presence.text_expires_at && Date.parse(presence.text_expires_at) <= nowMs ? "" : presence.text;
}

/** One line about somebody: in their own words, else when they were last there; empty when there is nothing to say. */
export function about(presence: PresenceOf | undefined, nowMs: number, locale?: string): string {
  const text = textOf(presence, nowMs);
  if (text) return text;
  if (presence?.status !== "offline" || !presence.last_seen_at) return "";
  return `last seen ${lastSeen(Date.parse(presence.last_seen_at), nowMs, locale)}`;
}

function lastSeen(atMs: number, nowMs: number, locale?: string): string {
  const minutes = Math.floor((nowMs - atMs) / 60_000);
  if (minutes < 2) return "just now";
  if (minutes < 60) return `${minutes} minutes ago`;
  const day = dayLabel(atMs, nowMs, locale);
  if (day === "Today") return `at ${clock(atMs, locale)}`;
  return day === "Yesterday" ? `yesterday at ${clock(atMs, locale)}` : day;
}

/** Until when one's own text holds, as a short remark; empty: until it is changed. */
export function until(own: OwnPresence | null, nowMs: number, locale?: string): string {
  if (!own?.text || !own.text_expires_at) return "";
  const atMs = Date.parse(own.text_expires_at);
  if (atMs <= nowMs) return "";
  const day = dayLabel(atMs, nowMs, locale);
  return day === "Today" ? `until ${clock(atMs, locale)}` : `until ${day}, ${clock(atMs, locale)}`;
}
