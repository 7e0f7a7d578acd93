/** Sign in, or make an account. */
import { useEffect, useRef, useState } from "preact/hooks";
import { sentence } from "../core/sentences";
import { asRefused } from "../errors";
import * as session from "../state/session";
import { Icon } from "./Icon";

/** `renew`: the password was right and works once, so that a new one is needed. */
type Mode = "sign-in" | "register" | "renew";

const USERNAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?$/;

/** What is wrong with the fields, before the server is asked; null when nothing is. */
function flaw(mode: Mode, username: string, password: string): string | null {
  if (!username) return "Enter your username.";
  if (!password) return "Enter your password.";
  if (mode === "sign-in") return null;
  if (username.length < 2 || username.length > 32) return "A username has 2 to 32 characters.";
  if (!USERNAME.test(username)) return "A username has only letters, digits, and . _ - between them.";
  if ([...password].length < 8) return "Use a password of at least 8 characters.";
  return null;
}

export function AuthScreen() {
  const [mode, setMode] = useState<Mode>("sign-in");
  const [username, setUsername] = useState("");
  const [displayName, setDisplayName] = useState("");
  const [password, setPassword] = useState("");
  const [wanted, setWanted] = useState("");
  const [shown, setShown] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const nameField = useRef<HTMLInputElement>(null);
  const notice = session.notice.value;
  const isNew = mode === "register";
  const renews = mode === "renew";
  const wantedField = useRef<HTMLInputElement>(null);

  useEffect(() => (renews ? wantedField : nameField).current?.focus({ preventScroll: true }), [renews, mode]);

  async function submit(event: Event): Promise<void> {
    event.preventDefault();
    if (busy) return;
    const problem = flaw(mode, username.trim(), renews ? wanted : password);
    setError(problem);
    if (problem) return;
    setBusy(true);
    try {
      if (isNew) await session.register(username.trim(), password, displayName.trim());
      else await session.signIn(username.trim(), password, renews ? wanted : undefined);
    } catch (thrown) {
      const refused = asRefused(thrown);
      if (refused.code === "password_change_required" && !renews) setMode("renew");
      else setError(sentence(refused));
      setBusy(false); // after success this screen is gone
    }
  }

  function turn(): void {
    setMode(isNew || renews ? "sign-in" : "register");
    setWanted("");
    setError(null);
  }

  return (
    <main class="auth">
      <section class="auth-hero" aria-label="About">
        <p class="brand">
          <span class="brand-mark">
            <Icon name="pulse" />
          </span>
          Roomwire
        </p>
        <h1>
          Say it.
          <br /> It’s there.
        </h1>
        <p class="auth-lead">Rooms, people and messages that arrive the moment they are written, and none gets lost.</p>
        <svg class="auth-pulse" viewBox="0 0 800 120" preserveAspectRatio="none" aria-hidden="true" focusable="false">
          <path
            d="M0 70H210l22-40 34 76 28-94 30 88 18-30H470l16-22 26 44 18-22H800"
            pathLength="1"
            vector-effect="non-scaling-stroke"
          />
        </svg>
      </section>
      <section class="auth-card" aria-labelledby="auth-title">
        <h2 id="auth-title">{isNew ? "Create your account" : renews ? "Choose a new password" : "Welcome back"}</h2>
        {renews && (
          <p class="auth-notice" role="status">
            Your password works once. Choose one of your own to sign in.
          </p>
        )}
        {notice && !renews && (
          <p class="auth-notice" role="status">
            {sentence({ code: notice })}
          </p>
        )}
        <form data-testid="auth-form" data-mode={mode} onSubmit={submit} noValidate>
          <label class="field">
            <span>Username</span>
            <input
              ref={nameField}
              data-testid="auth-username"
              name="username"
              autocomplete="username"
              autocapitalize="none"
              spellcheck={false}
              maxLength={64}
              value={username}
              onInput={(event) => setUsername(event.currentTarget.value)}
            />
          </label>
          {isNew && (
            <label class="field">
              <span>
                Name others see <small>optional</small>
              </span>
              <input
                data-testid="auth-display-name"
                name="name"
                autocomplete="name"
                maxLength={64}
                value={displayName}
                onInput={(event) => setDisplayName(event.currentTarget.value)}
              />
            </label>
          )}
          <label class="field">
            <span>Password {isNew && <small>at least 8 characters</small>}</span>
            <input
              data-testid="auth-password"
              name="password"
              {...(shown ? { type: "text" as const } : { type: "password" as const })}
              autocomplete={isNew ? "new-password" : "current-password"}
              maxLength={256}
              aria-invalid={isNew && error !== null}
              aria-describedby="auth-error"
              value={password}
              onInput={(event) => setPassword(event.currentTarget.value)}
            />
          </label>
          {renews && (
            <label class="field">
              <span>
                New password <small>at least 8 characters</small>
              </span>
              <input
                ref={wantedField}
                data-testid="auth-new-password"
                name="new-password"
                {...(shown ? { type: "text" as const } : { type: "password" as const })}
                autocomplete="new-password"
                maxLength={256}
                aria-invalid={error !== null}
                aria-describedby="auth-error"
                value={wanted}
                onInput={(event) => setWanted(event.currentTarget.value)}
              />
            </label>
          )}
          <label class="check">
            <input type="checkbox" checked={shown} onChange={(event) => setShown(event.currentTarget.checked)} />
            Show password
          </label>
          <p class="auth-error" id="auth-error" data-testid="auth-error" role="alert">
            {error}
          </p>
          <button class="button primary wide" data-testid="auth-submit" type="submit" aria-busy={busy} disabled={busy}>
            {busy ? "One moment…" : isNew ? "Create account" : renews ? "Set password and sign in" : "Sign in"}
          </button>
        </form>
        <p class="auth-turn">
          {isNew ? "You have one already?" : renews ? "Not you?" : "New here?"}{" "}
          <button class="link" type="button" data-testid="auth-switch" onClick={turn}>
            {isNew || renews ? "Sign in" : "Create an account"}
          </button>
        </p>
      </section>
    </main>
  );
}
