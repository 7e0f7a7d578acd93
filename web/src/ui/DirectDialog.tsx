/** What one may do about a direct chat: close it for both, open it again, block the other. */
import { useEffect, useState } from "preact/hooks";
import * as api from "../api";
import { isolated } from "../core/names";
import { sentence } from "../core/sentences";
import { asRefused } from "../errors";
import * as notices from "../state/notices";
import * as people from "../state/people";
import type { Room, User } from "../wire";
import { Dialog } from "./Dialog";

export function DirectDialog({ room, other, onClose }: { room: Room; other: User; onClose(): void }) {
  const [blocked, setBlocked] = useState<boolean | null>(null);
  const [error, setError] = useState<string | null>(null);
  const name = isolated(people.nameIn(other));

  useEffect(() => {
    api.isBlocked(other.id).then(setBlocked, (thrown: unknown) => setError(sentence(asRefused(thrown))));
  }, [other.id]);

  async function attempt(work: () => Promise<unknown>, done: string): Promise<void> {
    setError(null);
    try {
      await work();
      notices.tell(done);
      onClose();
    } catch (thrown) {
      setError(sentence(asRefused(thrown)));
    }
  }

  return (
    <Dialog title={`Chat with ${name}`} onClose={onClose}>
      <section class="stack" aria-labelledby="direct-close">
        <h3 id="direct-close">Close the chat</h3>
        <p>Neither of you can write here while it is closed. What was written stays.</p>
        <div class="dialog-actions">
          <button
            class="button"
            type="button"
            data-testid="direct-reopen"
            onClick={() => attempt(() => api.reopenRoom(room.id), "The chat is open, unless the other one closed it.")}
          >
            Open again
          </button>
          <button
            class="button danger"
            type="button"
            data-testid="direct-close"
            onClick={() => attempt(() => api.closeRoom(room.id), "The chat is closed. You can open it again here.")}
          >
            Close chat
          </button>
        </div>
      </section>
      <section class="stack" aria-labelledby="direct-block">
        <h3 id="direct-block">Block {name}</h3>
        <p>They cannot write to you here nor add you to rooms. They are not told.</p>
        <p class="form-error" role="alert">
          {error}
        </p>
        <div class="dialog-actions">
          {blocked ? (
            <button
              class="button"
              type="button"
              data-testid="direct-unblock"
              onClick={() => attempt(() => api.unblock(other.id), `${name} is no longer blocked.`)}
            >
              Unblock
            </button>
          ) : (
            <button
              class="button danger"
              type="button"
              data-testid="direct-block"
              disabled={blocked === null}
              onClick={() => attempt(() => api.block(other.id), `${name} is blocked.`)}
            >
              Block
            </button>
          )}
        </div>
      </section>
    </Dialog>
  );
}
