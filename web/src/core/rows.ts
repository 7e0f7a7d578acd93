/** The lines of a conversation as they are shown: messages and unsent ones, days between them, where the new ones begin. Pure. */
import type { Message } from "../wire";
import { continues, dayKey } from "./format";
import type { Unsent } from "./outbox";

export interface Line {
  readonly type: "message";
  /** Steady from the first keystroke's line to the acked message, so that its element stays. */
  readonly key: string;
  readonly author: string;
  readonly own: boolean;
  readonly atMs: number;
  readonly body: string;
  readonly clientId: string;
  /** Null as long as it is not acked. */
  readonly seq: number | null;
  readonly state: "sent" | "pending" | "failed";
  /** Why it failed. */
  readonly code: string | null;
  readonly edited: boolean;
  readonly deleted: boolean;
  /** First and last of a group by one author. */
  readonly first: boolean;
  readonly last: boolean;
}

export interface Divider {
  readonly type: "day" | "new";
  readonly key: string;
  readonly atMs: number;
}

export type Row = Line | Divider;

/** Do two lines look the same? Then there is nothing to render. */
export function sameLine(a: Line, b: Line): boolean {
  return (Object.keys(a) as (keyof Line)[]).every((name) => a[name] === b[name]);
}

type Bare = Omit<Line, "first" | "last">;

/**
 * @param newFrom The `seq` from which on messages are new to the person; null for none.
 */
export function rows(
  messages: readonly Message[],
  unsent: readonly Unsent[],
  me: string,
  newFrom: number | null,
): readonly Row[] {
  const lines = messages.map((message) => fromMessage(message, me));
  const acked = new Set(messages.filter((message) => message.author === me).map((message) => message.client_id));
  for (const item of unsent) if (!acked.has(item.client_id)) lines.push(fromUnsent(item, me));
  return arrange(lines, newFrom);
}

function arrange(lines: readonly Bare[], newFrom: number | null): readonly Row[] {
  const out: Row[] = [];
  let marked = newFrom === null;
  lines.forEach((line, index) => {
    const above = lines[index - 1];
    const below = lines[index + 1];
    const newDay = !above || dayKey(above.atMs) !== dayKey(line.atMs);
    if (newDay) out.push({ type: "day", key: `day ${line.key}`, atMs: line.atMs });
    const mark = !marked && !line.own && line.seq !== null && newFrom !== null && line.seq >= newFrom;
    if (mark) {
      marked = true;
      out.push({ type: "new", key: "new", atMs: line.atMs });
    }
    out.push({
      ...line,
      first: newDay || mark || !above || !continues(above, line),
      last: !below || !continues(line, below),
    });
  });
  return out;
}

function fromMessage(message: Message, me: string): Bare {
  return {
    type: "message",
    key: message.client_id ? `${message.author} ${message.client_id}` : `seq ${message.seq}`,
    author: message.author,
    own: message.author === me,
    atMs: Date.parse(message.at),
    body: message.body,
    clientId: message.client_id,
    seq: message.seq,
    state: "sent",
    code: null,
    edited: message.edited_at !== undefined,
    deleted: message.deleted_at !== undefined,
  };
}

function fromUnsent(item: Unsent, me: string): Bare {
  return {
    type: "message",
    key: `${me} ${item.client_id}`,
    author: me,
    own: true,
    atMs: item.at,
    body: item.body,
    clientId: item.client_id,
    seq: null,
    state: item.state,
    code: item.state === "failed" ? (item.code ?? "no_answer") : null,
    edited: false,
    deleted: false,
  };
}
