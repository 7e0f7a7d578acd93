/** Who may add one to rooms, and whom one has blocked. */
import { useEffect, useState } from "preact/hooks";
import * as api from "../api";
import { isolated } from "../core/names";
import { sentence } from "../core/sentences";
import { asRefused } from "../errors";
import * as people from "../state/people";
import type { Block, MayAdd } from "../wire";
import { Avatar } from "./Avatar";

const CHOICES: readonly { value: MayAdd; label: string; hint: string }[] = [
  { value: "everybody", label: "Everybody", hint: "All users of this server." },
  { value: "shared_rooms", label: "People you know", hint: "Members of a room that you are in." },
  { value: "nobody", label: "Nobody", hint: "You join rooms yourself, and begin your own chats." },
];

export function Privacy() {
  const [mayAdd, setMayAdd] = useState<MayAdd | null>(null);
  const [blocks, setBlocks] = useState<readonly Block[] | null>(null);
  const [error, setError] = useState<string | null>(null);

  useEffect(() => {
    const complain = (thrown: unknown) => setError(sentence(asRefused(thrown)));
    api.settings().then((found) => setMayAdd(found.may_add), complain);
    api.listBlocks().then((found) => {
      people.meet(found.map((block) => block.user));
      setBlocks(found);
    }, complain);
  }, []);

  async function choose(value: MayAdd): Promise<void> {
    const before = mayAdd;
    setMayAdd(value);
    setError(null);
    try {
      await api.changeSettings(value);
    } catch (thrown) {
      setMayAdd(before);
      setError(sentence(asRefused(thrown)));
    }
  }

  async function lift(block: Block): Promise<void> {
    try {
      await api.unblock(block.user.id);
      setBlocks((now) => now?.filter((one) => one !== block) ?? null);
      setError(null);
    } catch (thrown) {
      setError(sentence(asRefused(thrown)));
    }
  }

  return (
    <>
      <fieldset class="choices">
        <legend>Who may add you to rooms and write to you first</legend>
        {CHOICES.map((choice) => (
          <label class="choice" key={choice.value}>
            <input
              type="radio"
              name="may-add"
              data-testid={`may-add-${choice.value}`}
              disabled={mayAdd === null}
              checked={mayAdd === choice.value}
              onChange={() => choose(choice.value)}
            />
            <span>
              <strong>{choice.label}</strong>
              <small>{choice.hint}</small>
            </span>
          </label>
        ))}
      </fieldset>
      <section class="stack" aria-labelledby="account-blocks">
        <h3 id="account-blocks">Blocked people</h3>
        <p class="form-error" role="alert">
          {error}
        </p>
        {blocks?.length === 0 && <p class="empty">You have blocked nobody.</p>}
        <ul class="picks">
          {(blocks ?? []).map((block) => (
            <li class="pick" key={block.user.id} data-testid="block" data-user={block.user.id}>
              <Avatar id={block.user.id} name={people.nameIn(block.user)} />
              <span class="pick-text">
                <strong>
                  <bdi>{people.nameIn(block.user)}</bdi>
                </strong>
                <small>@{block.user.username}</small>
              </span>
              <button
                class="button small"
                type="button"
                data-testid="block-lift"
                aria-label={`Unblock ${isolated(people.nameIn(block.user))}`}
                onClick={() => lift(block)}
              >
                Unblock
              </button>
            </li>
          ))}
        </ul>
      </section>
    </>
  );
}
