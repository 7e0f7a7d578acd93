/** What others see of oneself: a status, and a line in one's own words. */
import { useState } from "preact/hooks";
import { sentence } from "../core/sentences";
import { CHOICES, LIVES, lifeSeconds, textOf, until } from "../core/status";
import { asRefused } from "../errors";
import * as presence from "../state/presence";
import type { Choice } from "../wire";
import { Dialog } from "./Dialog";

const TEXT_MAX = 140;

export function StatusDialog({ onClose, onAccount }: { onClose(): void; onAccount(): void }) {
  const own = presence.own.value;
  const [choice, setChoice] = useState<Choice>(own?.status ?? "online");
  const [text, setText] = useState(textOf(own, Date.now()));
  /** Index into LIVES; null: as long as it was to last. */
  const [life, setLife] = useState<number | null>(textOf(own, Date.now()) && own?.text_expires_at ? null : 0);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const held = until(own, Date.now());

  async function submit(event: Event): Promise<void> {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    try {
      const words = text.replace(/\s+/g, " ").trim();
      const same = words === textOf(own, Date.now()) && (life === null || (life === 0 && !held));
      await presence.choose(choice, same ? undefined : { text: words, lifeS: lifeSeconds(life, own, Date.now()) });
      onClose();
    } catch (thrown) {
      setError(sentence(asRefused(thrown)));
      setBusy(false);
    }
  }

  return (
    <Dialog title="Your status" onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        <fieldset class="choices">
          <legend>How others see you, on all your devices</legend>
          {CHOICES.map((one) => (
            <label class="choice" key={one.choice}>
              <input
                type="radio"
                name="status"
                data-testid={`status-${one.choice}`}
                checked={choice === one.choice}
                onChange={() => setChoice(one.choice)}
              />
              <span class="choice-text">
                <strong>{one.label}</strong>
                <small>{one.hint}</small>
              </span>
              <i class="status-dot" data-status={one.shown} aria-hidden="true" />
            </label>
          ))}
        </fieldset>
        <label class="field">
          <span>In your own words {held && <small>({held})</small>}</span>
          <input
            data-testid="status-text"
            placeholder="At the bakery"
            maxLength={TEXT_MAX}
            autocomplete="off"
            value={text}
            onInput={(event) => setText(event.currentTarget.value)}
          />
        </label>
        {text.trim() !== "" && (
          <label class="field">
            <span>How long</span>
            <select
              data-testid="status-life"
              value={life === null ? "" : String(life)}
              onChange={(event) => setLife(event.currentTarget.value === "" ? null : Number(event.currentTarget.value))}
            >
              {held && <option value="">{`As it was: ${held}`}</option>}
              {LIVES.map((one, index) => (
                <option key={one.label} value={String(index)}>
                  {one.label}
                </option>
              ))}
            </select>
          </label>
        )}
        <p class="form-error" role="alert">
          {error}
        </p>
        <button class="button primary wide" type="submit" data-testid="status-save" disabled={busy}>
          Show this
        </button>
      </form>
      <button class="link" type="button" data-testid="account-open" onClick={onAccount}>
        Password and signed-in devices
      </button>
    </Dialog>
  );
}
