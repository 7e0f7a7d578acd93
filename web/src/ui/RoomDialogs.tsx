/** Make a room; find one to join. */
import { useEffect, useState } from "preact/hooks";
import * as api from "../api";
import { isolated } from "../core/names";
import { title } from "../core/rooms";
import { sentence } from "../core/sentences";
import { asRefused } from "../errors";
import { adopt } from "../state/live";
import { rooms } from "../state/rooms";
import { go } from "../state/route";
import type { Room } from "../wire";
import { RoomAvatar } from "./Avatar";
import { Dialog } from "./Dialog";

const NAME_MAX = 80;
const KINDS = [
  { kind: "public", label: "Public", hint: "Anybody here can find it and join." },
  { kind: "private", label: "Private", hint: "Only people who are added can see it." },
] as const;

export function NewRoom({ onClose }: { onClose(): void }) {
  const [name, setName] = useState("");
  const [kind, setKind] = useState<"public" | "private">("public");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);

  async function submit(event: Event): Promise<void> {
    event.preventDefault();
    const wanted = name.replace(/\s+/g, " ").trim();
    if (busy) return;
    if (!wanted) return setError("Give the room a name.");
    setBusy(true);
    try {
      const room = await api.createRoom(kind, wanted);
      adopt(room);
      onClose();
      go(room.id);
    } catch (thrown) {
      setError(sentence(asRefused(thrown)));
      setBusy(false);
    }
  }

  return (
    <Dialog title="New room" onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        <label class="field">
          <span>Name</span>
          <input
            data-testid="room-create-name"
            maxLength={NAME_MAX}
            autocomplete="off"
            value={name}
            onInput={(event) => setName(event.currentTarget.value)}
          />
        </label>
        <fieldset class="choices">
          <legend>Who can see it</legend>
          {KINDS.map((choice) => (
            <label class="choice" key={choice.kind}>
              <input
                type="radio"
                name="kind"
                data-testid={`room-create-kind-${choice.kind}`}
                checked={kind === choice.kind}
                onChange={() => setKind(choice.kind)}
              />
              <span>
                <strong>{choice.label}</strong>
                <small>{choice.hint}</small>
              </span>
            </label>
          ))}
        </fieldset>
        <p class="form-error" role="alert">
          {error}
        </p>
        <button class="button primary wide" type="submit" data-testid="room-create-submit" disabled={busy}>
          Create room
        </button>
      </form>
    </Dialog>
  );
}

export function BrowseRooms({ onClose, onCreate }: { onClose(): void; onCreate(): void }) {
  const [found, setFound] = useState<readonly Room[] | null>(null);
  const [filter, setFilter] = useState("");
  const [busy, setBusy] = useState<string | null>(null);
  const [error, setError] = useState<string | null>(null);

  useEffect(() => {
    api.listRooms("public").then(setFound, (thrown: unknown) => setError(sentence(asRefused(thrown))));
  }, []);

  async function join(room: Room): Promise<void> {
    setBusy(room.id);
    try {
      if (!rooms.value.has(room.id)) adopt(await api.joinRoom(room.id));
      onClose();
      go(room.id);
    } catch (thrown) {
      setError(sentence(asRefused(thrown)));
      setBusy(null);
    }
  }

  const wanted = filter.trim().toLowerCase();
  const shown = (found ?? [])
    .filter((room) => title(room).toLowerCase().includes(wanted))
    .sort((a, b) => (a.last_event_at < b.last_event_at ? 1 : -1));
  return (
    <Dialog title="Public rooms" onClose={onClose}>
      <label class="field">
        <span class="sr-only">Filter by name</span>
        <input
          type="search"
          data-testid="room-browse-filter"
          placeholder="Filter by name"
          value={filter}
          onInput={(event) => setFilter(event.currentTarget.value)}
        />
      </label>
      <p class="form-error" role="alert">
        {error}
      </p>
      {found && shown.length === 0 && (
        <p class="empty">
          {found.length === 0 ? "There is no public room yet. " : "No room has that in its name. "}
          <button class="link" type="button" onClick={onCreate}>
            Create one
          </button>
        </p>
      )}
      {!found && !error && <p class="empty">Looking around…</p>}
      <ul class="picks">
        {shown.map((room) => (
          <li class="pick" key={room.id}>
            <RoomAvatar room={room} />
            <span class="pick-text">
              <strong>
                <bdi>{title(room)}</bdi>
              </strong>
              <small>{room.member_count === 1 ? "1 member" : `${room.member_count} members`}</small>
            </span>
            <button
              class="button"
              type="button"
              data-testid="room-join"
              data-room={room.id}
              aria-label={`${rooms.value.has(room.id) ? "Open" : "Join"} ${isolated(title(room))}`}
              disabled={busy !== null}
              onClick={() => join(room)}
            >
              {rooms.value.has(room.id) ? "Open" : "Join"}
            </button>
          </li>
        ))}
      </ul>
    </Dialog>
  );
}
