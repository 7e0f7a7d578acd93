/** The conversation. It stays at its end while one is there, and where one reads when older messages come in above. */
import type { RefObject } from "preact";
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { dayLabel } from "../core/format";
import { mayDeleteMessage, mayEditMessage } from "../core/policy";
import { type Line, type Row, rows } from "../core/rows";
import { sentence } from "../core/sentences";
import * as outbox from "../state/outbox";
import * as seen from "../state/seen";
import { user } from "../state/session";
import * as timelines from "../state/timelines";
import type { Room } from "../wire";
import { Icon } from "./Icon";
import { MessageLine } from "./MessageLine";
import { useScroll } from "./scroll";

interface Props {
  room: Room;
  editing: number | null;
  onEdit(seq: number | null): void;
  onDeleted(): void;
  /** Scrolls to the end, for whoever sends. */
  toEnd: RefObject<() => void>;
}

export function MessageList({ room, editing, onEdit, onDeleted, toEnd }: Props) {
  const me = user.value?.id ?? "";
  const { timeline, loading, code } = timelines.view(room.id).value;
  const [picked, setPicked] = useState<string | null>(null);
  const newFrom = useNewFrom(room);
  const unsent = outbox.unsent.value.filter((item) => item.room === room.id);
  const shown = rows(timeline?.messages ?? [], unsent, me, newFrom);
  const scroll = useScroll(shown);
  const pick = useCallback((key: string) => setPicked((now) => (now === key ? null : key)), []);
  const last = shown.findLast((row) => row.type === "message");
  toEnd.current = scroll.toEnd;

  useMarkRead(room, timeline?.held ?? 0, scroll.atEnd);
  useEffect(() => {
    if (timeline?.hasBefore && !loading && !code && scroll.isNearTop()) void timelines.older(room.id);
  });

  return (
    <div class="messages-frame">
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must be reachable by the keyboard */}
      <section class="messages" ref={scroll.box} aria-label="Messages" tabIndex={0} onScroll={scroll.onScroll}>
        <div class="messages-inner" ref={scroll.inner}>
          <Above room={room} timeline={timeline !== null} empty={shown.length === 0} />
          <ol data-testid="message-list">
            {shown.map((row) =>
              row.type === "message" ? (
                <MessageLine
                  key={row.key}
                  room={room.id}
                  line={row}
                  mayEdit={mayEditMessage(room, row.own)}
                  mayDelete={mayDeleteMessage(room, row.own)}
                  ticked={row.own && row === last}
                  editing={editing !== null && editing === row.seq}
                  picked={picked === row.key}
                  onEdit={onEdit}
                  onDeleted={onDeleted}
                  onPick={pick}
                />
              ) : (
                <Divider key={row.key} row={row} />
              ),
            )}
          </ol>
        </div>
      </section>
      {!scroll.atEnd && (
        <button class={`to-end${scroll.below ? " has-new" : ""}`} type="button" onClick={scroll.toEnd}>
          <Icon name="down" />
          {scroll.below ? "New messages" : <span class="sr-only">To the latest message</span>}
        </button>
      )}
    </div>
  );
}

/** What stands above the first message: a way to older ones, or the beginning. */
function Above({ room, timeline, empty }: { room: Room; timeline: boolean; empty: boolean }) {
  const { loading, code, timeline: held } = timelines.view(room.id).value;
  if (code) {
    return (
      <div class="above" role="alert">
        <p>{sentence({ code })}</p>
        <button
          class="button small"
          type="button"
          data-testid="load-older"
          onClick={() => (timeline ? timelines.older(room.id) : timelines.load(room.id))}
        >
          Try again
        </button>
      </div>
    );
  }
  if (!timeline) return <p class="above">{loading ? "Loading the conversation…" : ""}</p>;
  if (held?.hasBefore) {
    return (
      <div class="above">
        <button
          class="button small"
          type="button"
          data-testid="load-older"
          disabled={loading !== null}
          onClick={() => timelines.older(room.id)}
        >
          {loading ? "Loading…" : "Load older messages"}
        </button>
      </div>
    );
  }
  return (
    <div class="above beginning">
      <p class="beginning-mark">
        <Icon name="pulse" />
      </p>
      {empty ? (
        <p>
          <strong>Nothing here yet.</strong>
          <br />
          Write the first message.
        </p>
      ) : (
        <p>This is where it began.</p>
      )}
    </div>
  );
}

function Divider({ row }: { row: Exclude<Row, Line> }) {
  return (
    <li class={`divider ${row.type}`}>
      <span>{row.type === "new" ? "New" : dayLabel(row.atMs, Date.now())}</span>
    </li>
  );
}

/** The first `seq` that was new when the room was opened; it stays until the room is left. */
function useNewFrom(room: Room): number | null {
  const from = useRef<number | null | undefined>(undefined);
  if (from.current === undefined) {
    const read = seen.seen.peek()[room.id] ?? 0;
    from.current = read > 0 && read < room.head_seq ? read + 1 : null;
  }
  return from.current;
}

/** What stands on a visible screen, at its end, counts as read. */
function useMarkRead(room: Room, held: number, atEnd: boolean): void {
  const [visible, setVisible] = useState(!document.hidden);
  useEffect(() => {
    const look = () => setVisible(!document.hidden);
    document.addEventListener("visibilitychange", look);
    return () => document.removeEventListener("visibilitychange", look);
  }, []);
  useLayoutEffect(() => {
    if (visible && atEnd && held > 0) seen.read(room.id, held);
  }, [room.id, held, visible, atEnd]);
}
