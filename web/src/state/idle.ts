/** Tells the server when nobody touches this page for a while, and when somebody does again. */
import { asRefused } from "../errors";
import * as connection from "./connection";

export const IDLE_AFTER_MS = 10 * 60_000;
const SIGNS = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"] as const;

let idle = false;

/** Watch until the returned function is called. */
export function watch(): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let touchedAtMs = Date.now();

  function due(): void {
    const leftMs = touchedAtMs + IDLE_AFTER_MS - Date.now();
    if (leftMs > 0) timer = setTimeout(due, leftMs);
    else say(true);
  }
  function touched(): void {
    touchedAtMs = Date.now();
    if (!idle) return;
    say(false);
    due();
  }
  const seen = () => {
    if (!document.hidden) touched();
  };
  idle = false;
  due();
  for (const sign of SIGNS) addEventListener(sign, touched, { passive: true });
  document.addEventListener("visibilitychange", seen);
  return () => {
    clearTimeout(timer);
    for (const sign of SIGNS) removeEventListener(sign, touched);
    document.removeEventListener("visibilitychange", seen);
  };
}

/** A new connection is not idle for the server before it is told. */
export function tellAgain(): void {
  if (idle) send();
}

function say(now: boolean): void {
  idle = now;
  send();
}

function send(): void {
  if (connection.status.peek() !== "online") return; // `tellAgain` says it with the next connection
  connection.request("presence.set", { idle }).catch((error: unknown) => {
    console.info("The server was not told about being idle:", asRefused(error).code);
  });
}
