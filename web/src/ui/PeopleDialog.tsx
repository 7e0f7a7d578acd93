/** Find somebody by the beginning of their username, to talk to or to add to a room. */
import { useEffect, useState } from "preact/hooks";
import * as api from "../api";
import { sentence } from "../core/sentences";
import { asRefused } from "../errors";
import * as people from "../state/people";
import { user as me } from "../state/session";
import type { User } from "../wire";
import { Avatar } from "./Avatar";
import { Dialog } from "./Dialog";

const PAUSE_MS = 180;

interface Props {
  title: string;
  hint: string;
  /** Users that cannot be picked, with the word that says why. */
  taken?: ReadonlyMap<string, string>;
  /** What a pick does; the dialog closes when it is done. */
  pick(user: User): Promise<void>;
  onClose(): void;
}

export function PeopleDialog({ title, hint, taken, pick, onClose }: Props) {
  const [query, setQuery] = useState("");
  const [found, setFound] = useState<{ query: string; users: readonly User[] } | null>(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const wanted = query.trim().replace(/^@/, "");

  useEffect(() => {
    if (!wanted) return setFound(null);
    let stale = false;
    const timer = setTimeout(() => {
      api.findUsers(wanted).then(
        (users) => {
          if (stale) return;
          people.meet(users);
          setError(null);
          setFound({ query: wanted, users: users.filter((user) => user.id !== me.value?.id) });
        },
        (thrown: unknown) => {
          if (!stale) setError(sentence(asRefused(thrown)));
        },
      );
    }, PAUSE_MS);
    return () => {
      stale = true;
      clearTimeout(timer);
    };
  }, [wanted]);

  async function choose(user: User): Promise<void> {
    setBusy(true);
    try {
      await pick(user);
      onClose();
    } catch (thrown) {
      setError(sentence(asRefused(thrown)));
      setBusy(false);
    }
  }

  return (
    <Dialog title={title} onClose={onClose}>
      <label class="field">
        <span class="sr-only">Username</span>
        <input
          type="search"
          data-testid="people-search"
          placeholder="Username"
          autocapitalize="none"
          autocomplete="off"
          spellcheck={false}
          maxLength={32}
          value={query}
          onInput={(event) => setQuery(event.currentTarget.value)}
        />
      </label>
      <p class="form-error" role="alert">
        {error}
      </p>
      <div aria-live="polite">
        {!wanted && <p class="empty">{hint}</p>}
        {wanted && found?.query === wanted && found.users.length === 0 && (
          <p class="empty">Nobody's username begins with “{wanted}”.</p>
        )}
      </div>
      <ul class="picks">
        {(found?.users ?? []).map((user) => (
          <li key={user.id}>
            <button
              class="pick"
              type="button"
              data-testid="people-result"
              data-user={user.id}
              disabled={busy || taken?.has(user.id)}
              onClick={() => choose(user)}
            >
              <Avatar id={user.id} name={people.nameIn(user)} />
              <span class="pick-text">
                <strong>
                  <bdi>{people.nameIn(user)}</bdi>
                </strong>
                <small>@{user.username}</small>
              </span>
              {taken?.has(user.id) && <small class="tag">{taken.get(user.id)}</small>}
            </button>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}
