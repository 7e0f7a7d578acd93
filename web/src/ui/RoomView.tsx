/** The open room: who it is with, what was said, and where to write. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { typingLine } from "../core/format";
import { isolated } from "../core/names";
import { mayEditMessage } from "../core/policy";
import { title } from "../core/rooms";
import { about, STATUS_NAMES } from "../core/status";
import { members } from "../state/members";
import * as people from "../state/people";
import { isOnline, onlineIn, presenceOf, statusOf } from "../state/presence";
import { go } from "../state/route";
import { user } from "../state/session";
import * as timelines from "../state/timelines";
import { typing } from "../state/typing";
import type { Room } from "../wire";
import { RoomAvatar } from "./Avatar";
import { Composer } from "./Composer";
import { DirectDialog } from "./DirectDialog";
import { Icon } from "./Icon";
import { MembersPanel } from "./MembersPanel";
import { MessageList } from "./MessageList";

const WIDE = "(min-width: 1100px)";

export function RoomView({ room }: { room: Room }) {
  const [panel, setPanel] = useState(() => room.kind !== "direct" && matchMedia(WIDE).matches);
  const [aboutIt, setAbout] = useState(false);
  const [editing, setEditing] = useState<number | null>(null);
  const field = useRef<HTMLTextAreaElement>(null);
  const toEnd = useRef<() => void>(() => undefined);
  const heading = useRef<HTMLHeadingElement>(null);

  useEffect(() => {
    if (!matchMedia("(pointer: fine)").matches) heading.current?.focus({ preventScroll: true });
  }, []);

  /** What had the focus may go away: back to writing, but without a keyboard that pops up. */
  const backToWriting = useCallback(() => {
    if (matchMedia("(pointer: fine)").matches) field.current?.focus({ preventScroll: true });
  }, []);
  const edit = useCallback(
    (seq: number | null) => {
      setEditing(seq);
      if (seq === null) backToWriting();
    },
    [backToWriting],
  );

  const editLast = useCallback(() => {
    const me = user.peek()?.id;
    const own = timelines
      .view(room.id)
      .peek()
      .timeline?.messages.findLast((message) => message.author === me && !message.deleted_at);
    if (own && mayEditMessage(room, true)) setEditing(own.seq);
  }, [room]);

  return (
    <div class={`room${panel ? " with-panel" : ""}`}>
      <main class="room-main">
        <header class="room-head">
          <button class="icon-button back" type="button" data-testid="back" aria-label="Back" onClick={() => go(null)}>
            <Icon name="back" />
          </button>
          <RoomAvatar room={room} />
          <div class="room-head-text">
            <h1 data-testid="room-title" ref={heading} tabIndex={-1}>
              <bdi>{title(room)}</bdi>
            </h1>
            <p>
              <Subtitle room={room} />
            </p>
          </div>
          {room.kind !== "direct" && (
            <button
              class="icon-button"
              type="button"
              data-testid="room-members"
              title="Members"
              aria-label="Members"
              aria-expanded={panel}
              onClick={() => setPanel(!panel)}
            >
              <Icon name="people" />
            </button>
          )}
          {room.peer && (
            <button
              class="icon-button"
              type="button"
              data-testid="direct-more"
              title="About this chat"
              aria-label="About this chat"
              aria-haspopup="dialog"
              onClick={() => setAbout(true)}
            >
              <Icon name="more" />
            </button>
          )}
        </header>
        <button class="skip" type="button" onClick={() => field.current?.focus()}>
          Skip to the message box
        </button>
        <MessageList room={room} editing={editing} onEdit={edit} onDeleted={backToWriting} toEnd={toEnd} />
        <TypingLine room={room.id} />
        <Composer
          room={room.id}
          name={title(room)}
          field={field}
          onEditLast={editLast}
          onSent={() => toEnd.current()}
        />
      </main>
      {aboutIt && room.peer && <DirectDialog room={room} other={room.peer} onClose={() => setAbout(false)} />}
      {panel && <MembersPanel room={room} onClose={() => setPanel(false)} />}
    </div>
  );
}

function Subtitle({ room }: { room: Room }) {
  if (room.peer) {
    const { id, username } = room.peer;
    const line = about(presenceOf(id), Date.now());
    const status = isOnline(id) ? STATUS_NAMES[statusOf(id)] : "";
    return <>{[`@${username}`, status, line && isolated(line)].filter(Boolean).join(" · ")}</>;
  }
  const there = onlineIn(room.id) ?? (members.value?.list ?? []).filter((member) => isOnline(member.user.id)).length;
  const count = room.member_count === 1 ? "1 member" : `${room.member_count} members`;
  return (
    <>
      {room.kind === "private" ? "Private · " : ""}
      {count}
      {there > 0 && ` · ${there} online`}
    </>
  );
}

function TypingLine({ room }: { room: string }) {
  const users = [...(typing.value.get(room)?.keys() ?? [])];
  const line = typingLine(users.map((id) => isolated(people.nameOf(id))));
  return (
    <p class="typing" data-testid="typing" aria-live="polite">
      {line && (
        <>
          <span class="dots" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
          {line}
        </>
      )}
    </p>
  );
}
