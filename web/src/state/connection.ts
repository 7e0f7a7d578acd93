/** The live connection: kept up for as long as somebody is signed in, one socket after the other. */
import { signal } from "@preact/signals";
import { io, type Socket } from "socket.io-client";
import { backoffMs } from "../core/backoff";
import { type Ended, next } from "../core/reconnect";
import { asRefused, Refused, unanswered } from "../errors";
import type { Ack, Ready } from "../wire";
import * as session from "./session";

export type Status = "connecting" | "online" | "waiting";

export interface Listener {
  /** The connection is open for requests. */
  ready(ready: Ready): void;
  lost(): void;
  event(name: string, payload: unknown): void;
}

const READY_TIMEOUT_MS = 15_000;
const REQUEST_TIMEOUT_MS = 10_000;

export const status = signal<Status>("connecting");
/** The code of the reason why the last try came to nothing; null while all is well. */
export const trouble = signal<string | null>(null);
/** When the next try is due, Unix milliseconds; null while one is under way. */
export const retryAtMs = signal<number | null>(null);

let live: Socket | null = null;
let hurry: () => void = () => undefined;

/** Keep a connection until the returned function is called. */
export function start(listener: Listener): () => void {
  const stopping = new AbortController();
  session.whenRenewed((token) => {
    // The connection outlives its token only when it is given the new one.
    if (live) request("auth.refresh", { token }).catch((error: unknown) => console.info("auth.refresh:", error));
    else hurry(); // the server answers again
  });
  const online = () => hurry();
  const seen = () => {
    if (!document.hidden) hurry();
  };
  addEventListener("online", online);
  document.addEventListener("visibilitychange", seen);
  void keep(listener, stopping.signal);
  return () => {
    removeEventListener("online", online);
    document.removeEventListener("visibilitychange", seen);
    stopping.abort();
    hurry();
  };
}

/** Do not wait any longer for the next try. */
export function retryNow(): void {
  hurry();
}

/**
 * Ask the server and wait for its ack.
 *
 * @throws Refused: what the server said; `network` when there is no connection or it broke; `no_answer`.
 */
export async function request<T>(event: string, payload: unknown, timeoutMs = REQUEST_TIMEOUT_MS): Promise<T> {
  const socket = live;
  if (!socket?.connected) throw unanswered("network");
  let ack: Ack<T>;
  try {
    ack = await socket.timeout(timeoutMs).emitWithAck(event, payload);
  } catch {
    throw unanswered(socket.connected ? "no_answer" : "network");
  }
  if (ack.ok) return ack;
  throw new Refused(ack.error);
}

/** Tell the server something that may get lost. */
export function tell(event: string, payload: unknown): void {
  if (live?.connected) live.volatile.emit(event, payload);
}

async function keep(listener: Listener, stopping: AbortSignal): Promise<void> {
  for (let attempt = 0; !stopping.aborted; attempt += 1) {
    status.value = "connecting";
    retryAtMs.value = null;
    const ended = await once(listener, stopping);
    if (stopping.aborted) break;
    if (ended.wasReady) attempt = 0;
    trouble.value = ended.code ?? null;
    const step = next(ended, attempt, backoffMs(attempt, Math.random()));
    if (step.step === "sign_out") {
      session.expel(step.code);
      break;
    }
    if (step.step === "wait") await wait(step.ms, stopping);
  }
}

/** One connection, from its first packet to its end. */
async function once(listener: Listener, stopping: AbortSignal): Promise<Ended> {
  let token: string;
  try {
    token = await session.accessToken();
  } catch (error) {
    const { code, retry_after_ms } = asRefused(error);
    return { code, wasReady: false, ...(retry_after_ms === undefined ? {} : { retryAfterMs: retry_after_ms }) };
  }
  if (stopping.aborted) return { wasReady: false };
  const socket = io({ auth: (send) => send({ token }), reconnection: false, forceNew: true, autoConnect: false });
  const ended = await new Promise<Ended>((resolve) => {
    let wasReady = false;
    let code: string | undefined;
    let drainMs: number | undefined;
    const end = (more: Partial<Ended> = {}) =>
      resolve({ wasReady, ...(code ? { code } : {}), ...(drainMs === undefined ? {} : { drainMs }), ...more });
    const late = setTimeout(end, READY_TIMEOUT_MS);
    socket.onAny((name: string, payload: unknown) => {
      if (name === "ready") {
        wasReady = true;
        clearTimeout(late);
        live = socket;
        status.value = "online";
        trouble.value = null;
        listener.ready(payload as Ready);
      } else if (name === "closing") {
        code = (payload as { code: string }).code;
      } else if (name === "server.drain") {
        // The node still serves during the pause; its close may come first, and then the rest of the pause is waited.
        const askedAt = Date.now();
        const pauseMs = (payload as { reconnect_after_ms: number }).reconnect_after_ms;
        const timer = setTimeout(() => end({ drainMs: 0 }), pauseMs);
        socket.on("disconnect", () => {
          clearTimeout(timer);
          end({ drainMs: Math.max(0, askedAt + pauseMs - Date.now()) });
        });
      } else {
        listener.event(name, payload);
      }
    });
    socket.on("connect_error", (error: Error & { data?: { code?: string; retry_after_ms?: number } }) => {
      const { code: refusal, retry_after_ms: after } = error.data ?? {};
      end({ ...(refusal ? { code: refusal } : {}), ...(after === undefined ? {} : { retryAfterMs: after }) });
    });
    socket.on("disconnect", () => queueMicrotask(end));
    stopping.addEventListener("abort", () => end(), { once: true });
    socket.connect();
  });
  live = null;
  socket.offAny();
  socket.removeAllListeners();
  socket.disconnect();
  if (ended.code === "token_expired" || ended.code === "token_invalid") session.reject(token);
  if (ended.wasReady) listener.lost();
  return ended;
}

function wait(ms: number, stopping: AbortSignal): Promise<void> {
  if (ms <= 0 || stopping.aborted) return Promise.resolve();
  status.value = "waiting";
  retryAtMs.value = Date.now() + ms;
  return new Promise((resolve) => {
    const timer = setTimeout(done, ms);
    function done(): void {
      clearTimeout(timer);
      hurry = () => undefined;
      resolve();
    }
    hurry = done;
  });
}
