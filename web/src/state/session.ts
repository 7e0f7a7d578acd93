/**
 * Who is signed in here. The access token lives in memory, the refresh token in localStorage, shared by all tabs.
 *
 * A refresh token works once, so tabs renew one at a time and always with the token that is stored at that moment.
 */

import { signal } from "@preact/signals";
import { SCOPE } from "../base";
import { isFresh, parseStored, renewInMs, type Stored } from "../core/tokens";
import { asRefused, Refused } from "../errors";
import { http } from "../http";
import type { Account, SignedIn } from "../wire";
import { exclusively } from "./lock";
import * as storage from "./storage";

const KEY = `${SCOPE}realtime.session`;
const LOCK = `${SCOPE}realtime.refresh`;
/** Other tabs' writes reach this one late, most of all after it slept; a token that was replaced would end the session. */
const SETTLE_MS = 100;

interface Access {
  readonly token: string;
  readonly expiresAtMs: number;
}

/** Who is signed in; null shows the sign-in screen. */
export const user = signal<Account | null>(null);
/** The code of the reason why the sign-in screen shows; null when the person knows. */
export const notice = signal<string | null>(null);

let access: Access | null = null;
let renewal: Promise<string> | null = null;
let timer: ReturnType<typeof setTimeout> | undefined;
let onRenewed: (token: string) => void = () => undefined;

/** Take up the sign-in that this device remembers, and follow what other tabs do with it. */
export function restore(): void {
  user.value = parseStored(storage.get(KEY))?.user ?? null;
  storage.watch(KEY, () => {
    const stored = parseStored(storage.get(KEY));
    if (!stored) end("signed_out_elsewhere");
    else if (!user.value) user.value = stored.user;
    else if (user.value.id !== stored.user.id) location.reload(); // somebody else signed in: nothing of ours may stay
  });
  document.addEventListener("visibilitychange", () => {
    // Timers of a sleeping device fire late.
    if (!document.hidden && user.value && access && !isFresh(access.expiresAtMs, Date.now())) void renewInBackground();
  });
}

/** Called with every new access token, so that open connections can have it. */
export function whenRenewed(callback: (token: string) => void): void {
  onRenewed = callback;
}

/** @param wanted In place of a password that works once. */
export async function signIn(username: string, password: string, wanted?: string): Promise<void> {
  const body = wanted === undefined ? { username, password } : { username, password, new_password: wanted };
  begin(await http<SignedIn>("/auth/login", { method: "POST", body }));
}

export async function register(username: string, password: string, displayName: string): Promise<void> {
  const body = displayName ? { username, password, display_name: displayName } : { username, password };
  begin(await http<SignedIn>("/auth/register", { method: "POST", body }));
}

/**
 * Change the password: every other session ends, this one goes on with new tokens in all tabs.
 *
 * It has the lock of the renewal, since it replaces the refresh token: one that another tab sent at the same time would
 * end the session.
 *
 * @throws Refused
 */
export function changePassword(current: string, wanted: string): Promise<void> {
  return exclusively(LOCK, async () => {
    for (let attempt = 0; ; attempt += 1) {
      const token = access && isFresh(access.expiresAtMs, Date.now()) ? access.token : await rotate();
      const before = parseStored(storage.get(KEY));
      try {
        const body = { current_password: current, new_password: wanted };
        const answer = await http<SignedIn>("/me/password", { method: "POST", body, token });
        if (!takes(before, answer)) throw ended();
        return keep(answer);
      } catch (error) {
        const { code } = asRefused(error);
        if (code === "session_ended" && user.value) expel(code);
        if ((code !== "token_expired" && code !== "token_invalid") || attempt > 0) throw error;
        reject(token);
      }
    }
  });
}

/** Sign out here and in the other tabs. The server is told; should it not hear, the tokens run out by themselves. */
export function signOut(): void {
  const refreshToken = parseStored(storage.get(KEY))?.refresh_token;
  storage.remove(KEY);
  end(null);
  if (refreshToken) abandon(refreshToken);
}

/** The server ended this sign-in. */
export function expel(code: string): void {
  storage.remove(KEY);
  end(code);
}

/**
 * An access token that is good now.
 *
 * @throws Refused: `network` and the like; after a refusal of the refresh token the sign-in screen shows already.
 */
export async function accessToken(): Promise<string> {
  if (access && isFresh(access.expiresAtMs, Date.now())) return access.token;
  return renew();
}

/** The server did not take this token: get another, unless that has happened already. */
export function reject(token: string): void {
  if (access?.token === token) access = null;
}

function renew(): Promise<string> {
  renewal ??= exclusively(LOCK, rotate).finally(() => {
    renewal = null;
  });
  return renewal;
}

async function rotate(): Promise<string> {
  if (access) await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  for (;;) {
    const stored = parseStored(storage.get(KEY));
    if (!stored) throw ended();
    try {
      const answer = await http<SignedIn>("/auth/refresh", {
        method: "POST",
        body: { refresh_token: stored.refresh_token },
        repeatable: true, // the token is taken until its replacement was used
      });
      if (!takes(stored, answer)) {
        if (parseStored(storage.get(KEY))?.user.id === answer.user.id) continue; // the tokens of another tab are newer
        throw ended();
      }
      keep(answer);
      return answer.access_token;
    } catch (error) {
      const refused = asRefused(error);
      const dead = refused.code === "refresh_token_invalid" || refused.code === "session_ended";
      // A tab without the lock may have been faster: then its token is stored by now.
      const newer = parseStored(storage.get(KEY))?.refresh_token;
      if (dead && newer !== undefined && newer !== stored.refresh_token) continue;
      if (dead && newer !== undefined) expel(refused.code);
      throw refused;
    }
  }
}

/** May these tokens take the place of the ones that were stored when they were asked for? Not after a sign-out. */
function takes(before: Stored | null, answer: SignedIn): boolean {
  const now = parseStored(storage.get(KEY));
  if (now?.user.id !== answer.user.id) {
    abandon(answer.refresh_token);
    return false;
  }
  return now.refresh_token === before?.refresh_token || now.refresh_token === answer.refresh_token;
}

function ended(): Refused {
  return new Refused({ code: "session_ended", message: "", retryable: false });
}

function begin(answer: SignedIn): void {
  // Another tab has signed in meanwhile: that sign-in shows here, and stays.
  if (user.value) {
    abandon(answer.refresh_token);
    return;
  }
  keep(answer);
  notice.value = null;
}

function keep(answer: SignedIn): void {
  storage.set(KEY, JSON.stringify({ user: answer.user, refresh_token: answer.refresh_token }));
  access = { token: answer.access_token, expiresAtMs: Date.now() + answer.expires_in * 1000 };
  const known = user.value;
  const same = known?.id === answer.user.id && known.display_name === answer.user.display_name;
  if (!same || known.admin !== answer.user.admin) user.value = answer.user;
  clearTimeout(timer);
  timer = setTimeout(() => void renewInBackground(), renewInMs(answer.expires_in, Math.random()));
  onRenewed(answer.access_token);
}

async function renewInBackground(): Promise<void> {
  try {
    await renew();
  } catch (error) {
    if (!user.value || !asRefused(error).retryable) return; // signed out: the screen says so
    clearTimeout(timer);
    timer = setTimeout(() => void renewInBackground(), 5000 + Math.random() * 5000);
  }
}

function end(code: string | null): void {
  clearTimeout(timer);
  access = null;
  if (!user.value) return;
  notice.value = code;
  user.value = null;
}

function abandon(refreshToken: string): void {
  http("/auth/logout", { method: "POST", body: { refresh_token: refreshToken }, keepalive: true }).catch(
    (error: unknown) => console.info("The server was not told about the sign-out:", asRefused(error).code),
  );
}
