import { describe, expect, it } from "vitest";
import * as timeline from "../src/core/timeline";
import type { RoomEvent } from "../src/wire";
import { at, created, message, page, ROOM } from "./make";

const seqs = (of: timeline.Timeline) => of.messages.map((one) => one.seq);
const start = () => timeline.fromHistory(page([1, 2, 3]));
const edited = (seq: number, target: number, body: string): RoomEvent => ({
  kind: "message.edited",
  room: ROOM,
  seq,
  at: at(seq),
  actor: "ada",
  target,
  body,
});
const deleted = (seq: number, target: number): RoomEvent => ({
  kind: "message.deleted",
  room: ROOM,
  seq,
  at: at(seq),
  actor: "ada",
  target,
});

describe("live events", () => {
  it("are applied in order", () => {
    const { timeline: next, gap } = timeline.receive(start(), created(4));
    expect(seqs(next)).toEqual([1, 2, 3, 4]);
    expect(next.held).toBe(4);
    expect(gap).toBe(false);
  });

  it("change nothing when they come again", () => {
    const before = start();
    expect(timeline.receive(before, created(2, { body: "other" })).timeline).toBe(before);
  });

  it("wait behind a hole, and follow as soon as it is filled", () => {
    const early = timeline.receive(start(), created(5));
    expect(early.gap).toBe(true);
    expect(seqs(early.timeline)).toEqual([1, 2, 3]);
    const filled = timeline.receive(early.timeline, created(4));
    expect(seqs(filled.timeline)).toEqual([1, 2, 3, 4, 5]);
    expect(filled.applied.map((event) => event.seq)).toEqual([4, 5]);
    expect(filled.timeline.early.size).toBe(0);
    expect(filled.gap).toBe(false);
  });

  it("of other kinds move the position without showing a message", () => {
    const event: RoomEvent = {
      kind: "member.joined",
      room: ROOM,
      seq: 4,
      at: at(4),
      actor: "bob",
      user: "bob",
      role: "member",
    };
    const { timeline: next } = timeline.receive(start(), event);
    expect(seqs(next)).toEqual([1, 2, 3]);
    expect(next.held).toBe(4);
  });

  it("edit and delete messages in their place", () => {
    let next = timeline.receive(start(), edited(4, 2, "better")).timeline;
    expect(next.messages[1]).toMatchObject({ body: "better", edited_at: at(4) });
    next = timeline.receive(next, deleted(5, 2)).timeline;
    expect(next.messages[1]).toMatchObject({ body: "", deleted_at: at(5) });
    next = timeline.receive(next, edited(6, 2, "back again")).timeline;
    expect(next.messages[1]?.body).toBe("");
  });
});

describe("a resume", () => {
  it("applies what was missed and takes in what came early", () => {
    const early = timeline.receive(start(), created(6)).timeline;
    const { timeline: next, gap } = timeline.resume(early, [created(3), created(4), created(5)]);
    expect(seqs(next)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(gap).toBe(false);
  });

  it("says when something is still missing", () => {
    const { timeline: next, gap } = timeline.resume(start(), [created(5)]);
    expect(gap).toBe(true);
    expect(next.held).toBe(3);
  });

  it("ends in the same timeline in whatever order events came", () => {
    const events = [created(4), edited(5, 4, "x"), created(6), deleted(7, 1), created(8)];
    const straight = timeline.resume(start(), events).timeline;
    for (let turn = 0; turn < events.length; turn += 1) {
      const turned = [...events.slice(turn), ...events.slice(0, turn)];
      let next = start();
      for (const event of turned) next = timeline.receive(next, event).timeline;
      expect(next).toEqual(straight);
    }
  });
});

describe("history", () => {
  it("goes in front, and what is held stays", () => {
    const late = timeline.fromHistory(page([4, 5], { has_before: true }));
    const next = timeline.prepend(late, page([1, 2, 3]), []);
    expect(seqs(next)).toEqual([1, 2, 3, 4, 5]);
    expect(next.hasBefore).toBe(false);
    expect(next.held).toBe(5);
  });

  it("shows an edit whose event came while the older page was on its way", () => {
    const late = timeline.fromHistory(page([4, 5], { has_before: true }));
    const { timeline: moved, applied } = timeline.receive(late, edited(6, 2, "better"));
    const next = timeline.prepend(moved, page([1, 2, 3]), applied);
    expect(next.messages[1]?.body).toBe("better");
  });

  it("is forgotten from its beginning, and can be loaded again", () => {
    const next = timeline.trim(start(), 2);
    expect(seqs(next)).toEqual([2, 3]);
    expect(next.hasBefore).toBe(true);
    expect(timeline.trim(next, 2)).toBe(next);
  });
});

describe("one's own messages", () => {
  it("show as soon as they are acked, and their event changes nothing", () => {
    const mine = message(4, { author: "me", client_id: "mine" });
    const acked = timeline.acked(start(), mine);
    expect(seqs(acked)).toEqual([1, 2, 3, 4]);
    expect(acked.held).toBe(3);
    const { timeline: next } = timeline.receive(acked, created(4, { actor: "me", client_id: "mine" }));
    expect(next.messages).toEqual(acked.messages);
    expect(next.held).toBe(4);
  });

  it("do not show above the oldest loaded page", () => {
    const late = timeline.fromHistory(page([40, 41], { has_before: true }));
    expect(timeline.acked(late, message(7))).toBe(late);
  });

  it("show edits and deletions as soon as they are acked", () => {
    const next = timeline.amended(start(), deleted(9, 3) as Extract<RoomEvent, { kind: "message.deleted" }>);
    expect(next.messages[2]?.deleted_at).toBe(at(9));
    expect(next.held).toBe(3);
  });
});
