/** The live connection: kept up for as long as somebody is signed in, one socket after the other. */

import { signal } from "@preact/signals";
import { io, type Socket } from "socket.io-client";
import { BASE } from "../base";
import { backoffMs } from "../core/backoff";
import { Liveness, UNANSWERED_MS } from "../core/liveness";
import { type Ended, next } from "../core/reconnect";
import { asRefused, Refused, unanswered } from "../errors";
import type { Ack, Ready } from "../wire";
import * as session from "./session";

export type Status = "connecting" | "online" | "waiting";

export interface Listener {
  /** The connection is open for requests. */
  ready(ready: Ready): void;
  lost(): void;
  /** Nobody touches the page. */
  idle(): boolean;
  event(name: string, payload: unknown): void;
}

/** The time for the first try; each that fails gives the next one more, as a slow line needs it. */
const READY_TIMEOUT_MS = 6000;
const MAX_READY_TIMEOUT_MS = 15_000;
/** A try that is younger has begun on the network that there is now. */
const YOUNG_MS = 1000;
const REQUEST_TIMEOUT_MS = 10_000;
const LOOK_MS = 5000;

export const status = signal<Status>("connecting");
/** The code of the reason why the last try came to nothing; null while all is well. */
export const trouble = signal<string | null>(null);
/** When the next try is due, Unix milliseconds; null while one is under way. */
export const retryAtMs = signal<number | null>(null);

let live: Socket | null = null;
let hurry: () => void = () => undefined;
/** Give up the connection, or the try, that there is. */
let giveUp: () => void = () => undefined;
let beganAtMs = 0;
let webSocketWorks = false;
let isIdle: () => boolean = () => false;
const liveness = new Liveness(Date.now());

/** Keep a connection until the returned function is called. */
export function start(listener: Listener): () => void {
  const stopping = new AbortController();
  session.whenRenewed((token) => {
    // The connection outlives its token only when it is given the new one.
    if (live) request("auth.refresh", { token }).catch((error: unknown) => console.info("auth.refresh:", error));
    else hurry(); // the server answers again
  });
  const seen = () => {
    if (!document.hidden) check();
  };
  isIdle = listener.idle;
  const looking = setInterval(() => {
    if (liveness.isQuiet(Date.now())) check();
  }, LOOK_MS);
  const signs: readonly [EventTarget | undefined, string, () => void][] = [
    [window, "online", check],
    [window, "pageshow", seen],
    [document, "visibilitychange", seen],
    [document, "resume", seen],
    [(navigator as { connection?: EventTarget }).connection, "change", check],
  ];
  for (const [target, name, heed] of signs) target?.addEventListener(name, heed);
  void keep(listener, stopping.signal);
  return () => {
    clearInterval(looking);
    for (const [target, name, heed] of signs) target?.removeEventListener(name, heed);
    stopping.abort();
    hurry();
  };
}

/** Do not wait any longer for the next try. */
export function retryNow(): void {
  hurry();
}

/** The network may have changed, or the device has slept: ask whether the connection still carries, or try again at once. */
function check(): void {
  if (status.peek() === "waiting") hurry();
  else if (live) probe(live);
  else if (Date.now() - beganAtMs > YOUNG_MS) giveUp();
}

/** Ask the server for an ack that it gives from memory. Without one the connection is given up. */
function probe(socket: Socket): void {
  if (liveness.asking || socket !== live) return;
  const judge = () => {
    if (socket !== live) return;
    const verdict = liveness.judge(Date.now());
    if (verdict === "dead") giveUp();
    else if (verdict !== "alive") setTimeout(judge, verdict.waitMs);
  };
  setTimeout(judge, liveness.asked(Date.now()));
  socket.emit("presence.set", { idle: isIdle() }, () => {
    if (socket === live) liveness.answered(Date.now());
  });
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
  const doubt = setTimeout(() => probe(socket), UNANSWERED_MS);
  try {
    ack = await socket.timeout(timeoutMs).emitWithAck(event, payload);
  } catch {
    throw unanswered(socket.connected ? "no_answer" : "network");
  } finally {
    clearTimeout(doubt);
  }
  if (ack.ok) return ack;
  throw new Refused(ack.error);
}

/** Tell the server something that may get lost. */
export function tell(event: string, payload: unknown): void {
  if (live?.connected) live.volatile.emit(event, payload);
}

async function keep(listener: Listener, stopping: AbortSignal): Promise<void> {
  for (let failed = 0; !stopping.aborted; ) {
    status.value = "connecting";
    retryAtMs.value = null;
    const ended = await once(listener, stopping, failed);
    if (stopping.aborted) break;
    trouble.value = ended.code ?? null;
    const attempt = ended.wasReady ? 0 : failed;
    failed = ended.wasReady ? 0 : failed + 1;
    const step = next(ended, attempt, backoffMs(attempt, Math.random()));
    if (step.step === "sign_out") {
      session.expel(step.code);
      break;
    }
    if (step.step === "wait") await wait(step.ms, stopping);
  }
}

/**
 * One connection, from its first packet to its end.
 *
 * @param failed How many in a row did not become ready before it.
 */
async function once(listener: Listener, stopping: AbortSignal, failed: number): Promise<Ended> {
  beganAtMs = Date.now();
  let token: string;
  try {
    token = await session.accessToken();
  } catch (error) {
    const { code, retry_after_ms } = asRefused(error);
    return { code, wasReady: false, ...(retry_after_ms === undefined ? {} : { retryAfterMs: retry_after_ms }) };
  }
  if (stopping.aborted) return { wasReady: false };
  // Where a WebSocket came about, the next one is opened directly: it is faster, and polling could get one of the
  // browser's kept HTTP connections, which a change of the network leaves dead.
  const direct = webSocketWorks && failed % 2 === 0;
  const socket = io({
    path: `${BASE}socket.io/`,
    auth: (send) => send({ token }),
    reconnection: false,
    forceNew: true,
    autoConnect: false,
    ...(direct ? { transports: ["websocket"] } : {}),
  });
  const ended = await new Promise<Ended>((resolve) => {
    let wasReady = false;
    let code: string | undefined;
    let drainMs: number | undefined;
    const end = (more: Partial<Ended> = {}) =>
      resolve({ wasReady, ...(code ? { code } : {}), ...(drainMs === undefined ? {} : { drainMs }), ...more });
    const late = setTimeout(end, Math.min(MAX_READY_TIMEOUT_MS, READY_TIMEOUT_MS * (1 + failed)));
    giveUp = () => end({ dead: true });
    socket.onAny((name: string, payload: unknown) => {
      if (name === "ready") {
        wasReady = true;
        clearTimeout(late);
        live = socket;
        liveness.began(Date.now());
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
    socket.on("connect_error", (error: Unconnected) => {
      const { code: refusal = refusalOf(error), retry_after_ms: after } = error.data ?? {};
      end({ ...(refusal ? { code: refusal } : {}), ...(after === undefined ? {} : { retryAfterMs: after }) });
    });
    socket.on("disconnect", () => queueMicrotask(end));
    stopping.addEventListener("abort", () => end(), { once: true });
    socket.connect();
    socket.io.engine.on("packet", () => liveness.heard(Date.now()));
  });
  live = null;
  giveUp = () => undefined;
  if (ended.wasReady) webSocketWorks = socket.io.engine.transport.name === "websocket";
  socket.offAny();
  socket.removeAllListeners();
  socket.disconnect();
  if (ended.code === "token_expired" || ended.code === "token_invalid") session.reject(token);
  if (ended.wasReady) listener.lost();
  return ended;
}

/** As Socket.IO tells it: `data` from the server, or the HTTP status and the request that was refused. */
interface Unconnected extends Error {
  data?: { code?: string; retry_after_ms?: number };
  description?: unknown;
  context?: { responseText?: string };
}

/** Why a handshake was refused by HTTP. 403 is the origin of the page: nothing else is judged before the token. */
function refusalOf(error: Unconnected): string | undefined {
  try {
    const { code } = JSON.parse(error.context?.responseText ?? "{}") as { code?: unknown };
    if (typeof code === "string") return code === "origin_not_allowed" ? "origin_refused" : code;
  } catch {
    // the page of a proxy: the status says enough
  }
  return error.description === 403 ? "origin_refused" : undefined;
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
