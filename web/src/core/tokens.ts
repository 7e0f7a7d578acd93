/** What a sign-in leaves on the device, and when its access token is renewed. Pure. */
import type { Account } from "../wire";

export interface Stored {
  readonly user: Account;
  readonly refresh_token: string;
}

/** Read what an earlier run of the page stored; anything else is no sign-in. */
export function parseStored(text: string | null): Stored | null {
  if (text === null) return null;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null; // not ours: some other version, or a person with the developer tools
  }
  const { user, refresh_token } = (value ?? {}) as { user?: Partial<Account>; refresh_token?: unknown };
  if (typeof refresh_token !== "string" || typeof user?.id !== "string") return null;
  const { id, username, display_name } = user;
  if (typeof username !== "string" || typeof display_name !== "string") return null;
  const admin = user.admin === true ? { admin: true } : {};
  return { user: { id, username, display_name, ...admin }, refresh_token };
}

/** How long to wait until a token that lives `expiresInS` is renewed: about three quarters of its life, tabs spread. */
export function renewInMs(expiresInS: number, random: number): number {
  return Math.max(1000, expiresInS * 1000 * (0.7 + 0.1 * random));
}

/** Is the token good for a request that starts now? */
export function isFresh(expiresAtMs: number, nowMs: number): boolean {
  return nowMs < expiresAtMs - 5000;
}
