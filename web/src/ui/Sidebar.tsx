/** The rooms, the people one talks to, and oneself. */
import type { ComponentChildren } from "preact";
import { useEffect, useState } from "preact/hooks";
import { title } from "../core/rooms";
import { unread } from "../core/seen";
import { sentence } from "../core/sentences";
import { shownAs, textOf } from "../core/status";
import * as connection from "../state/connection";
import { dialog } from "../state/dialog";
import { signOut } from "../state/live";
import * as outbox from "../state/outbox";
import * as people from "../state/people";
import * as presence from "../state/presence";
import * as rooms from "../state/rooms";
import { goOperator, openRoom, operatorOpen } from "../state/route";
import { seen } from "../state/seen";
import * as session from "../state/session";
import { typing } from "../state/typing";
import type { Room } from "../wire";
import { Avatar, RoomAvatar } from "./Avatar";
import { Icon } from "./Icon";

const NARROW = "(max-width: 760px)"; // as in house.css

function open(which: NonNullable<typeof dialog.value>): void {
  dialog.value = which;
}

export function Sidebar() {
  const list = rooms.ordered.value;
  const groups = list.filter((room) => room.kind !== "direct");
  const directs = list.filter((room) => room.kind === "direct");

  const alone = useAlone(); // then it is the main part of the page
  const Brand = alone ? "h1" : "p";

  return (
    // biome-ignore lint/a11y/useAriaPropsSupportedByRole: both roles take a label
    <div class="sidebar" role={alone ? "main" : "navigation"} aria-label="Rooms">
      <div class="sidebar-head">
        <Brand class="brand">
          <span class={`brand-mark ${connection.status.value}`}>
            <Icon name="pulse" />
          </span>
          Roomwire
        </Brand>
        <button
          class="icon-button"
          type="button"
          data-testid="room-browse"
          title="Browse public rooms"
          aria-label="Browse public rooms"
          onClick={() => open("browse")}
        >
          <Icon name="browse" />
        </button>
      </div>
      <div class="sidebar-lists" data-testid="room-list">
        <Section title="Rooms" action="New room" testid="room-create" onAction={() => open("new")}>
          {groups.map((room) => (
            <RoomItem key={room.id} room={room} />
          ))}
          {groups.length === 0 && <NoRooms />}
        </Section>
        <Section title="Direct" action="New direct chat" testid="direct-new" onAction={() => open("direct")}>
          {directs.map((room) => (
            <RoomItem key={room.id} room={room} />
          ))}
          {rooms.loaded.value && directs.length === 0 && (
            <li class="empty">
              Talk to one person.{" "}
              <button class="link" type="button" onClick={() => open("direct")}>
                Find somebody
              </button>
            </li>
          )}
        </Section>
        {rooms.leftOut.value > 0 && (
          <p class="empty" data-testid="rooms-left-out">
            {rooms.leftOut.value} quiet rooms are not followed live. They are looked at every half minute, and at once
            when you open them.
          </p>
        )}
      </div>
      <Me />
    </div>
  );
}

/** On a narrow screen the list of rooms is all that shows, unless one is open. */
function useAlone(): boolean {
  const [narrow, setNarrow] = useState(() => matchMedia(NARROW).matches);
  useEffect(() => {
    const query = matchMedia(NARROW);
    const look = () => setNarrow(query.matches);
    query.addEventListener("change", look);
    return () => query.removeEventListener("change", look);
  }, []);
  return narrow && !openRoom.value && !operatorOpen.value;
}

interface SectionProps {
  title: string;
  action: string;
  testid: string;
  onAction(): void;
  children: ComponentChildren;
}

function Section({ title: name, action, testid, onAction, children }: SectionProps) {
  return (
    <section class="section" aria-label={name}>
      <header class="section-head">
        <h2>{name}</h2>
        <button
          class="icon-button small"
          type="button"
          data-testid={testid}
          title={action}
          aria-label={action}
          onClick={onAction}
        >
          <Icon name="plus" />
        </button>
      </header>
      <ul>{children}</ul>
    </section>
  );
}

function RoomItem({ room }: { room: Room }) {
  const isOpen = openRoom.value === room.id;
  const isNew = !isOpen && unread(seen.value, room) > 0;
  const busy = (typing.value.get(room.id)?.size ?? 0) > 0;
  const waiting = outbox.unsent.value.some((item) => item.room === room.id && item.state === "failed");
  return (
    <li>
      <a
        class={`room-item${isNew ? " unread" : ""}`}
        href={`#/room/${room.id}`}
        data-testid="room-item"
        data-room={room.id}
        aria-current={isOpen ? "page" : undefined}
      >
        <RoomAvatar room={room} small />
        <bdi class="room-item-name">{title(room)}</bdi>
        {room.kind === "private" && (
          <span class="room-item-kind">
            <Icon name="lock" />
            <span class="sr-only">private</span>
          </span>
        )}
        {busy && (
          <span class="dots" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
        )}
        {waiting && (
          <span class="room-item-failed">
            <Icon name="warning" />
            <span class="sr-only">a message was not sent</span>
          </span>
        )}
        {isNew && (
          <span class="unread-dot">
            <span class="sr-only">new messages</span>
          </span>
        )}
      </a>
    </li>
  );
}

function NoRooms() {
  if (!rooms.loaded.value) {
    if (rooms.trouble.value) return <li class="empty">{sentence({ code: rooms.trouble.value })}</li>;
    return (
      <li class="skeleton" aria-label="Loading your rooms">
        <i />
        <i />
        <i />
      </li>
    );
  }
  return (
    <li class="empty">
      You are in no room yet.{" "}
      <button class="link" type="button" onClick={() => open("browse")}>
        Find one
      </button>{" "}
      or{" "}
      <button class="link" type="button" onClick={() => open("new")}>
        make your own
      </button>
      .
    </li>
  );
}

function Me() {
  const user = session.user.value;
  const own = presence.own.value;
  if (!user) return null;
  const shown = own && connection.status.value === "online" ? shownAs(own.status) : undefined;
  const text = textOf(own, Date.now());
  return (
    <div class="me">
      <button
        class="me-status"
        type="button"
        data-testid="status-open"
        title="Your status"
        disabled={!own}
        onClick={() => open("status")}
      >
        <Avatar id={user.id} name={people.nameIn(user)} shown={shown} />
        <span class="me-text">
          <strong data-testid="me-name">
            <bdi>{people.nameIn(user)}</bdi>
          </strong>
          <small data-testid="me-text">
            @{user.username}
            {text && (
              <>
                {" · "}
                <bdi>{text}</bdi>
              </>
            )}
          </small>
        </span>
      </button>
      {user.admin && (
        <button
          class="icon-button"
          type="button"
          data-testid="operator-open"
          title="Server"
          aria-label="Server"
          aria-pressed={operatorOpen.value}
          onClick={goOperator}
        >
          <Icon name="server" />
        </button>
      )}
      <button
        class="icon-button"
        type="button"
        data-testid="sign-out"
        title="Sign out"
        aria-label="Sign out"
        onClick={() => (outbox.unsent.value.length > 0 ? open("sign-out") : signOut())}
      >
        <Icon name="leave" />
      </button>
    </div>
  );
}
