/** One tab at a time. `navigator.locks` exists only in secure contexts, and a LAN address is none: there a lease in localStorage serves. */
import { uuid4 } from "../core/id";
import * as storage from "./storage";

const LEASE_MS = 40_000;
const SETTLE_MS = 40;
const PATIENCE_MS = 60_000;

export async function exclusively<T>(name: string, work: () => Promise<T>): Promise<T> {
  if (navigator.locks) return navigator.locks.request(name, work);
  const key = `${name}.lease`;
  const mine = uuid4();
  await acquire(key, mine);
  try {
    return await work();
  } finally {
    if (storage.get(key)?.startsWith(mine)) storage.remove(key);
  }
}

/** Whoever wrote last, when everybody who saw it free has written, holds the lease. Late is better than never: patience ends. */
async function acquire(key: string, mine: string): Promise<void> {
  const giveUpAt = Date.now() + PATIENCE_MS;
  while (Date.now() < giveUpAt) {
    const until = Number(storage.get(key)?.split(" ")[1] ?? 0);
    if (!(until > Date.now())) {
      storage.set(key, `${mine} ${Date.now() + LEASE_MS}`);
      await pause(SETTLE_MS);
      if (storage.get(key)?.startsWith(mine)) return;
    }
    await pause(SETTLE_MS + Math.random() * SETTLE_MS);
  }
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
