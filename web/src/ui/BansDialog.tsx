/** Who is banned from a room, and how they may come back. */
import { useEffect, useState } from "preact/hooks";
import * as api from "../api";
import { dayLabel } from "../core/format";
import { isolated } from "../core/names";
import { title } from "../core/rooms";
import { sentence } from "../core/sentences";
import { asRefused } from "../errors";
import * as people from "../state/people";
import type { Ban, Room } from "../wire";
import { Avatar } from "./Avatar";
import { Dialog } from "./Dialog";

export function BansDialog({ room, onClose }: { room: Room; onClose(): void }) {
  const [bans, setBans] = useState<readonly Ban[] | null>(null);
  const [error, setError] = useState<string | null>(null);

  useEffect(() => {
    api.listBans(room.id).then(
      (found) => {
        people.meet(found.map((ban) => ban.user));
        setBans(found);
      },
      (thrown: unknown) => setError(sentence(asRefused(thrown))),
    );
  }, [room.id]);

  async function lift(ban: Ban): Promise<void> {
    try {
      await api.unban(room.id, ban.user.id);
      setBans((now) => now?.filter((one) => one !== ban) ?? null);
      setError(null);
    } catch (thrown) {
      setError(sentence(asRefused(thrown)));
    }
  }

  return (
    <Dialog title={`Banned from ${isolated(title(room))}`} onClose={onClose}>
      <p class="form-error" role="alert">
        {error}
      </p>
      {bans?.length === 0 && <p class="empty">Nobody is.</p>}
      {!bans && !error && <p class="empty">Looking…</p>}
      <ul class="picks">
        {(bans ?? []).map((ban) => (
          <li class="pick" key={ban.user.id} data-testid="ban" data-user={ban.user.id}>
            <Avatar id={ban.user.id} name={people.nameIn(ban.user)} />
            <span class="pick-text">
              <strong>
                <bdi>{people.nameIn(ban.user)}</bdi>
              </strong>
              <small>
                {dayLabel(Date.parse(ban.at), Date.now())}, by <bdi>{people.nameOf(ban.by)}</bdi>
              </small>
            </span>
            <button
              class="button small"
              type="button"
              data-testid="ban-lift"
              aria-label={`Lift the ban of ${isolated(people.nameIn(ban.user))}`}
              onClick={() => lift(ban)}
            >
              Lift
            </button>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}
