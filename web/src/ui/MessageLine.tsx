/** One message: its text, its state, and what may be done with it. */
import { memo } from "preact/compat";
import { useEffect, useState } from "preact/hooks";
import { isJumbo } from "../core/body";
import { clock, fullTime } from "../core/format";
import { linkify } from "../core/linkify";
import { isolated } from "../core/names";
import { type Line, sameLine } from "../core/rows";
import { sentence } from "../core/sentences";
import * as connection from "../state/connection";
import * as messages from "../state/messages";
import * as outbox from "../state/outbox";
import * as people from "../state/people";
import { Avatar } from "./Avatar";
import { EditBox } from "./EditBox";
import { Icon } from "./Icon";

const SURE_MS = 4000;

interface Props {
  room: string;
  line: Line;
  mayEdit: boolean;
  mayDelete: boolean;
  /** Shows in words whether the message arrived: the last one does, when it is one's own. */
  ticked: boolean;
  editing: boolean;
  /** Its actions are shown: on a touch screen there is no hovering. */
  picked: boolean;
  onEdit(seq: number | null): void;
  onDeleted(): void;
  onPick(key: string): void;
}

/** Every line is made anew for every event, and hardly any has changed. */
function same(a: Props, b: Props): boolean {
  const { line: above, ...before } = a;
  const { line: below, ...after } = b;
  const names = Object.keys(before) as (keyof typeof before)[];
  return sameLine(above, below) && names.every((name) => before[name] === after[name]);
}

export const MessageLine = memo(function MessageLine(props: Props) {
  const { room, line, mayEdit, mayDelete, ticked, editing, picked, onEdit, onDeleted, onPick } = props;
  const { seq } = line;
  const name = people.nameOf(line.author);
  const changeable = (mayEdit || mayDelete) && seq !== null && !line.deleted && !editing;
  const classes = ["message", line.own ? "own" : "other", line.state];
  for (const flag of ["first", "last", "deleted"] as const) if (line[flag]) classes.push(flag);
  if (picked) classes.push("picked");
  const jumbo = !line.deleted && isJumbo(line.body);

  return (
    <li
      class={classes.join(" ")}
      data-testid="message"
      data-seq={seq ?? undefined}
      data-state={line.state}
      data-author={line.author}
    >
      {line.first && (
        <header class="message-head">
          {!line.own && <Avatar id={line.author} name={name} small />}
          <strong class={line.own ? "sr-only" : undefined}>{line.own ? "You" : <bdi>{name}</bdi>}</strong>
          <time dateTime={new Date(line.atMs).toISOString()} title={fullTime(line.atMs)}>
            {clock(line.atMs)}
          </time>
        </header>
      )}
      {!line.first && <span class="sr-only">{line.own ? "You" : isolated(name)}: </span>}
      <div class="message-row">
        {editing && seq !== null ? (
          <EditBox room={room} seq={seq} text={line.body} onClose={() => onEdit(null)} />
        ) : (
          // biome-ignore lint/a11y/useKeyWithClickEvents: a tap shows the actions, which the keyboard reaches by itself
          // biome-ignore lint/a11y/noStaticElementInteractions: as above
          <div
            class={`bubble${jumbo ? " jumbo" : ""}`}
            title={fullTime(line.atMs)}
            onClick={() => matchMedia("(hover: none)").matches && onPick(line.key)}
          >
            <p class="message-body" data-testid="message-body" dir="auto">
              {line.deleted ? "This message was deleted." : <Text body={line.body} />}
            </p>
            {line.edited && !line.deleted && <small class="edited">edited</small>}
          </div>
        )}
        {changeable && (
          <Actions
            room={room}
            seq={seq}
            about={line.own ? "your message" : `the message of ${isolated(name)}`}
            onEdit={mayEdit ? () => onEdit(seq) : null}
            onDeleted={onDeleted}
          />
        )}
      </div>
      {line.state === "failed" && <Failed line={line} />}
      {ticked && line.state === "pending" && <Waiting />}
      {ticked && line.state === "sent" && !line.deleted && (
        <span class="message-state">
          <Icon name="check" /> Sent
        </span>
      )}
    </li>
  );
}, same);

function Waiting() {
  return (
    <span class="message-state waiting">
      <Icon name="clock" /> {connection.status.value === "online" ? "Sending…" : "Waiting for the connection"}
    </span>
  );
}

function Text({ body }: { body: string }) {
  return (
    <>
      {linkify(body).map((part, index) =>
        part.href ? (
          <a key={index} href={part.href} target="_blank" rel="noopener noreferrer nofollow">
            {part.text}
          </a>
        ) : (
          part.text
        ),
      )}
    </>
  );
}

interface ActionsProps {
  room: string;
  seq: number;
  /** Whose message it is, in words. */
  about: string;
  /** Null for a message of somebody else. */
  onEdit: (() => void) | null;
  onDeleted(): void;
}

function Actions({ room, seq, about, onEdit, onDeleted }: ActionsProps) {
  const [sure, setSure] = useState(false);

  useEffect(() => {
    if (!sure) return;
    const timer = setTimeout(() => setSure(false), SURE_MS);
    return () => clearTimeout(timer);
  }, [sure]);

  return (
    <span class={`message-actions${sure ? " asking" : ""}`}>
      {onEdit && (
        <button
          class="icon-button small"
          type="button"
          data-testid="message-edit"
          title="Edit"
          aria-label={`Edit ${about}`}
          onClick={onEdit}
        >
          <Icon name="edit" />
        </button>
      )}
      <button
        class={`icon-button small${sure ? " sure" : ""}`}
        type="button"
        data-testid="message-delete"
        title="Delete"
        aria-label={sure ? `Really delete ${about}` : `Delete ${about}`}
        onClick={() => {
          setSure(!sure);
          if (sure) void messages.remove(room, seq).then((done) => done && onDeleted());
        }}
      >
        {sure ? "Delete?" : <Icon name="trash" />}
      </button>
    </span>
  );
}

function Failed({ line }: { line: Line }) {
  return (
    <div class="message-state failed" role="alert">
      <Icon name="warning" />
      <span>Not sent. {sentence({ code: line.code ?? "no_answer" })}</span>
      <button class="link" type="button" data-testid="message-retry" onClick={() => outbox.retry(line.clientId)}>
        Try again
      </button>
      <button class="link" type="button" data-testid="message-discard" onClick={() => outbox.remove(line.clientId)}>
        Discard
      </button>
    </div>
  );
}
