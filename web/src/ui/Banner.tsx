/** Says when there is no live connection, and what happens about it. */
import { useEffect, useState } from "preact/hooks";
import { sentence } from "../core/sentences";
import * as connection from "../state/connection";
import { Icon } from "./Icon";

/** Reasons that help the person; any other is just no connection. */
const TOLD = new Set([
  "too_many_connections",
  "overloaded",
  "draining",
  "unavailable",
  "rate_limited",
  "origin_refused",
]);
const PATIENCE_MS = 1200; // a short break is nobody's concern

export function Banner() {
  const status = connection.status.value;
  const [late, setLate] = useState(false);
  const [offline, setOffline] = useState(!navigator.onLine);
  const [now, setNow] = useState(Date.now());
  const retryAt = connection.retryAtMs.value;

  useEffect(() => {
    const look = () => setOffline(!navigator.onLine);
    addEventListener("online", look);
    addEventListener("offline", look);
    return () => {
      removeEventListener("online", look);
      removeEventListener("offline", look);
    };
  }, []);

  const away = status !== "online";
  useEffect(() => {
    if (!away) return setLate(false);
    const timer = setTimeout(() => setLate(true), PATIENCE_MS);
    return () => clearTimeout(timer);
  }, [away]);

  useEffect(() => {
    if (!late) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [late]);

  const shown = away && (late || offline);
  const code = connection.trouble.value ?? "";
  const reason = TOLD.has(code) ? sentence({ code }) : "No connection.";
  const seconds = retryAt === null ? 0 : Math.ceil((retryAt - now) / 1000);
  return (
    <div class="banner-place" role="status">
      {shown && (
        <div class="banner" data-testid="banner" data-state={offline ? "offline" : status}>
          <Icon name="pulse" />
          <span>
            {offline
              ? "You are offline. "
              : `${reason} ${seconds > 1 ? `Next try in ${seconds} s. ` : "Reconnecting… "}`}
            <span class="banner-more">What you write is kept and sent later.</span>
          </span>
          {status === "waiting" && !offline && (
            <button class="link" type="button" onClick={connection.retryNow}>
              Try now
            </button>
          )}
        </div>
      )}
    </div>
  );
}
