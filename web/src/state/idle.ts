/** Tells the server when nobody touches this page for a while, and when somebody does again. */
import { Idleness } from "../core/idle";
import { asRefused } from "../errors";
import * as connection from "./connection";

const SIGNS = ["pointerdown", "pointermove", "keydown", "wheel", "touchstart"] as const;

let idleness = new Idleness(0);

/** Watch until the returned function is called. */
export function watch(): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  idleness = new Idleness(Date.now());

  function look(): void {
    const inMs = idleness.look(Date.now());
    if (inMs > 0) timer = setTimeout(look, inMs);
    else tell();
  }
  function touched(): void {
    if (!idleness.touched(Date.now())) return;
    tell();
    look();
  }
  const seen = () => {
    if (!document.hidden) touched();
  };
  look();
  for (const sign of SIGNS) addEventListener(sign, touched, { passive: true });
  document.addEventListener("visibilitychange", seen);
  return () => {
    clearTimeout(timer);
    for (const sign of SIGNS) removeEventListener(sign, touched);
    document.removeEventListener("visibilitychange", seen);
  };
}

export function isIdle(): boolean {
  return idleness.idle;
}

/** A new connection is not idle for the server before it is told. */
export function tellAgain(): void {
  if (idleness.idle) tell();
}

function tell(): void {
  if (connection.status.peek() !== "online") return; // `tellAgain` says it with the next connection
  connection.request("presence.set", { idle: idleness.idle }).catch((error: unknown) => {
    console.info("The server was not told about being idle:", asRefused(error).code);
  });
}
