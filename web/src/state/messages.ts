/** Editing and deleting. Shown as soon as the server has committed it. */
import { uuid4 } from "../core/id";
import type { Appended, MessageDeleted, MessageEdited } from "../wire";
import * as connection from "./connection";
import * as notices from "./notices";
import { user } from "./session";
import * as timelines from "./timelines";

/** Returns whether it is done; if not, the person has been told why. */
export async function edit(room: string, seq: number, body: string): Promise<boolean> {
  const payload = { room, seq, body, client_id: uuid4() };
  return amend("message.edit", payload, (at) => ({ ...at, kind: "message.edited", room, target: seq, body }));
}

export async function remove(room: string, seq: number): Promise<boolean> {
  const payload = { room, seq, client_id: uuid4() };
  return amend("message.delete", payload, (at) => ({ ...at, kind: "message.deleted", room, target: seq }));
}

async function amend(
  name: string,
  payload: object,
  event: (answer: { seq: number; at: string; actor: string }) => MessageEdited | MessageDeleted,
): Promise<boolean> {
  try {
    const { seq, at } = await connection.request<Appended>(name, payload);
    timelines.amended(event({ seq, at, actor: user.value?.id ?? "" }));
    return true;
  } catch (error) {
    notices.complain(error);
    return false;
  }
}
