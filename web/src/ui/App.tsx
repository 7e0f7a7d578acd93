/** The page: sign-in, or the rooms beside the open one. On a narrow screen only one of the two shows. */
import type { FunctionComponent } from "preact";
import { useEffect, useState } from "preact/hooks";
import * as api from "../api";
import { title } from "../core/rooms";
import { sentence } from "../core/sentences";
import { asRefused } from "../errors";
import { dialog } from "../state/dialog";
import { adopt } from "../state/live";
import * as notices from "../state/notices";
import * as people from "../state/people";
import * as rooms from "../state/rooms";
import { go, openRoom, operatorOpen } from "../state/route";
import * as session from "../state/session";
import type { Room } from "../wire";
import { AuthScreen } from "./AuthScreen";
import { RoomAvatar } from "./Avatar";
import { Banner } from "./Banner";
import { Dialogs } from "./Dialogs";
import { Icon } from "./Icon";
import { RoomView } from "./RoomView";
import { Sidebar } from "./Sidebar";

export function App() {
  const user = session.user.value;
  useTitle();
  return (
    <>
      {user ? <House key={user.id} /> : <AuthScreen />}
      <Toasts />
      <p class="sr-only" aria-live="polite">
        {notices.spoken.value}
      </p>
    </>
  );
}

function House() {
  const id = openRoom.value;
  const room = rooms.current.value;
  const operator = operatorOpen.value;
  return (
    <div class="house" data-screen={id || operator ? "room" : "rooms"}>
      <Banner />
      <Sidebar />
      {operator ? (
        <Later load={() => import("../operator/Operator")} />
      ) : room ? (
        <RoomView key={room.id} room={room} />
      ) : id && rooms.loaded.value ? (
        <Door key={id} id={id} />
      ) : (
        <Nowhere waiting={id !== null} />
      )}
      <Dialogs />
    </div>
  );
}

/** Fetch a part of the page that most people never open. */
function Later({ load }: { load(): Promise<{ default: FunctionComponent }> }) {
  const [Part, setPart] = useState<{ it: FunctionComponent } | null>(null);
  const [failed, setFailed] = useState(false);
  useEffect(() => {
    load().then(
      (module) => setPart({ it: module.default }),
      () => setFailed(true),
    );
  }, []);
  if (Part) return <Part.it />;
  return (
    <main class="nowhere">
      {failed && (
        <>
          <p role="alert">This page could not be fetched.</p>
          <button class="button" type="button" onClick={() => location.reload()}>
            Try again
          </button>
        </>
      )}
    </main>
  );
}

const TITLE_SETTLE_MS = 100;
const STARTS = [
  { which: "browse", label: "Browse rooms" },
  { which: "new", label: "New room" },
  { which: "direct", label: "Direct chat" },
] as const;

/** No room is open. */
function Nowhere({ waiting }: { waiting: boolean }) {
  const user = session.user.value;
  const name = user ? people.nameIn(user) : "";
  const isNew = rooms.loaded.value && rooms.rooms.value.size === 0;
  return (
    <main class="nowhere">
      {!waiting && (
        <>
          <p class="beginning-mark">
            <Icon name="pulse" />
          </p>
          <h1>
            Hello, <bdi>{name}</bdi>.
          </h1>
          <p>
            {isNew ? "Join a room that others made, or make the first one." : "Pick a room, or begin something new."}
          </p>
          <p class="nowhere-actions">
            {STARTS.map(({ which, label }) => (
              <button
                key={which}
                class={`button${isNew && which === "browse" ? " primary" : ""}`}
                type="button"
                onClick={() => {
                  dialog.value = which;
                }}
              >
                {label}
              </button>
            ))}
          </p>
        </>
      )}
    </main>
  );
}

/** The address names a room that one is not in: a public one can be joined. */
function Door({ id }: { id: string }) {
  const [room, setRoom] = useState<Room | null>(null);
  const [error, setError] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);

  useEffect(() => {
    api.getRoom(id).then(
      (found) => (found.role ? adopt(found) : setRoom(found)),
      (thrown: unknown) => setError(sentence(asRefused(thrown))),
    );
  }, [id]);

  async function join(): Promise<void> {
    setBusy(true);
    try {
      adopt(await api.joinRoom(id));
    } catch (thrown) {
      setError(sentence(asRefused(thrown)));
      setBusy(false);
    }
  }

  return (
    <main class="nowhere">
      {room && (
        <>
          <RoomAvatar room={room} />
          <h1 data-testid="room-title">
            <bdi>{title(room)}</bdi>
          </h1>
          <p>{room.member_count === 1 ? "1 member" : `${room.member_count} members`}</p>
          <button
            class="button primary"
            type="button"
            data-testid="room-join"
            data-room={id}
            disabled={busy}
            onClick={() => join()}
          >
            Join this room
          </button>
        </>
      )}
      {error && <p role="alert">{error}</p>}
      {(room || error) && (
        <button class="link" type="button" data-testid="back" onClick={() => go(null)}>
          Back to your rooms
        </button>
      )}
    </main>
  );
}

function Toasts() {
  return (
    <div class="toasts" role="status">
      {notices.toasts.value.map((toast) => (
        <p key={toast.id} class={`toast ${toast.tone}`} data-testid="toast">
          <span>{toast.text}</span>
          <button
            class="icon-button small"
            type="button"
            aria-label="Dismiss"
            onClick={() => notices.dismiss(toast.id)}
          >
            <Icon name="close" />
          </button>
        </p>
      ))}
    </div>
  );
}

function useTitle(): void {
  const room = rooms.current.value;
  const count = session.user.value ? rooms.unreadRooms.value : 0;
  const name = room ? `${title(room)} · Roomwire` : "Roomwire";
  useEffect(() => {
    // What comes into an open room counts as read a moment later.
    const timer = setTimeout(() => {
      document.title = count > 0 ? `(${count}) ${name}` : name;
    }, TITLE_SETTLE_MS);
    return () => clearTimeout(timer);
  }, [count, name]);
}
