/** One's own account: the devices that are signed in, and the password. */
import { useEffect, useState } from "preact/hooks";
import * as api from "../api";
import { device } from "../core/device";
import { dayAndClock } from "../core/format";
import { sentence } from "../core/sentences";
import { asRefused } from "../errors";
import * as notices from "../state/notices";
import * as session from "../state/session";
import type { Session } from "../wire";
import { Dialog } from "./Dialog";
import { Privacy } from "./Privacy";

const PASSWORD_MIN = 8;

export function AccountDialog({ onClose }: { onClose(): void }) {
  const [sessions, setSessions] = useState<readonly Session[] | null>(null);
  const [error, setError] = useState<string | null>(null);

  useEffect(() => {
    api.listSessions().then(setSessions, (thrown: unknown) => setError(sentence(asRefused(thrown))));
  }, []);

  async function end(one: Session): Promise<void> {
    try {
      await api.endSession(one.id);
      setSessions((now) => now?.filter((other) => other.id !== one.id) ?? null);
      setError(null);
    } catch (thrown) {
      setError(sentence(asRefused(thrown)));
    }
  }

  return (
    <Dialog title="Your account" onClose={onClose}>
      <section class="stack" aria-labelledby="account-devices">
        <h3 id="account-devices">Signed-in devices</h3>
        <p class="form-error" role="alert">
          {error}
        </p>
        {!sessions && !error && <p class="empty">Looking…</p>}
        <ul class="picks">
          {(sessions ?? []).map((one) => (
            <li class="pick" key={one.id} data-testid="session" data-current={one.current ?? false}>
              <span class="pick-text">
                <strong>{device(one.agent)}</strong>
                <small title={one.agent}>last used {dayAndClock(Date.parse(one.last_used_at), Date.now())}</small>
              </span>
              {one.current ? (
                <small class="tag">this one</small>
              ) : (
                <button
                  class="button small"
                  type="button"
                  data-testid="session-end"
                  aria-label={`Sign out ${device(one.agent)}`}
                  onClick={() => end(one)}
                >
                  Sign out
                </button>
              )}
            </li>
          ))}
        </ul>
      </section>
      <Privacy />
      <ChangePassword
        onDone={() => {
          notices.tell("Your password is changed. Your other devices are signed out.");
          onClose();
        }}
      />
    </Dialog>
  );
}

function ChangePassword({ onDone }: { onDone(): void }) {
  const [current, setCurrent] = useState("");
  const [wanted, setWanted] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);

  async function submit(event: Event): Promise<void> {
    event.preventDefault();
    if (busy) return;
    if ([...wanted].length < PASSWORD_MIN) return setError(`A password has at least ${PASSWORD_MIN} characters.`);
    setBusy(true);
    try {
      await session.changePassword(current, wanted);
      onDone();
    } catch (thrown) {
      setError(sentence(asRefused(thrown)));
      setBusy(false);
    }
  }

  return (
    <form class="stack" aria-labelledby="account-password" onSubmit={submit}>
      <h3 id="account-password">Password</h3>
      <input
        class="sr-only"
        type="text"
        aria-label="Username"
        autocomplete="username"
        tabIndex={-1}
        value={session.user.value?.username}
        readOnly
      />
      <label class="field">
        <span>The one you have</span>
        <input
          type="password"
          data-testid="password-current"
          autocomplete="current-password"
          required
          value={current}
          onInput={(event) => setCurrent(event.currentTarget.value)}
        />
      </label>
      <label class="field">
        <span>
          A new one <small>Your other devices will be signed out.</small>
        </span>
        <input
          type="password"
          data-testid="password-new"
          autocomplete="new-password"
          required
          maxLength={256}
          aria-invalid={error !== null}
          aria-describedby="account-password-error"
          value={wanted}
          onInput={(event) => setWanted(event.currentTarget.value)}
        />
      </label>
      <p class="form-error" role="alert" id="account-password-error" data-testid="password-error">
        {error}
      </p>
      <button class="button wide" type="submit" data-testid="password-save" disabled={busy}>
        Change password
      </button>
    </form>
  );
}
