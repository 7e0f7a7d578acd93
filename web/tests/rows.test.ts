import { describe, expect, it } from "vitest";
import { write } from "../src/core/outbox";
import { type Line, rows } from "../src/core/rows";
import { at, message } from "./make";

const shape = (list: ReturnType<typeof rows>) => list.map((row) => (row.type === "message" ? row.body : row.type));
const lines = (list: ReturnType<typeof rows>) => list.filter((row): row is Line => row.type === "message");

describe("rows", () => {
  it("begin each day with its date", () => {
    const next = rows([message(1), message(2), message(90_000)], [], "me", null);
    expect(shape(next)).toEqual(["day", "text 1", "text 2", "day", "text 90000"]);
  });

  it("group what one author writes within a few minutes", () => {
    const list = [message(1), message(2), message(3, { author: "bob" }), message(4), message(1000)];
    const groups = lines(rows(list, [], "me", null)).map((line) => [line.first, line.last]);
    expect(groups).toEqual([
      [true, false],
      [false, true],
      [true, true],
      [true, true],
      [true, true],
    ]);
  });

  it("mark where the new messages of others begin", () => {
    const list = [message(1), message(2, { author: "me" }), message(3), message(4)];
    expect(shape(rows(list, [], "me", 2))).toEqual(["day", "text 1", "text 2", "new", "text 3", "text 4"]);
    expect(shape(rows(list, [], "me", null))).not.toContain("new");
  });

  it("keep the key of one's own message from pending to sent, and never show it twice", () => {
    const unsent = write([], "room-1", "mine", "hello", Date.parse(at(5)));
    const pending = lines(rows([message(1)], unsent, "me", null)).at(-1);
    const sent = message(2, { author: "me", client_id: "mine", body: "hello" });
    const both = lines(rows([message(1), sent], unsent, "me", null));
    expect(pending).toMatchObject({ state: "pending", seq: null, own: true });
    expect(both).toHaveLength(2);
    expect(both.at(-1)).toMatchObject({ key: pending?.key, state: "sent", seq: 2 });
  });

  it("do not take somebody else's client_id for one's own", () => {
    const unsent = write([], "room-1", "c1", "hello", Date.parse(at(5)));
    expect(lines(rows([message(1)], unsent, "me", null))).toHaveLength(2);
  });

  it("say what happened to a message", () => {
    const list = [message(1, { edited_at: at(2) }), message(2, { body: "", deleted_at: at(3) })];
    expect(lines(rows(list, [], "me", null)).map((line) => [line.edited, line.deleted])).toEqual([
      [true, false],
      [false, true],
    ]);
  });
});
