/** What a server of a newer release says: passed over without an error, and without a gap where it belongs. */
import { describe, expect, it } from "vitest";
import { isKnown, roomEvent } from "../src/core/events";
import * as policy from "../src/core/policy";
import * as rooms from "../src/core/rooms";
import { about, shownAs, shownStatus } from "../src/core/status";
import * as timeline from "../src/core/timeline";
import { lives } from "../src/operator/model";
import type { Choice, Member, NodeStatus, Role, RoomEvent, RoomKind, Status } from "../src/wire";
import { at, created, page, ROOM, room } from "./make";

const FUTURE = "x.future";

function future(seq: number, kind = FUTURE): RoomEvent {
  const event = roomEvent(kind, { kind, room: ROOM, seq, at: at(seq), actor: "ada", data: { list: [1] }, thread: 2 });
  if (!event) throw new Error("it is an event");
  return event;
}

describe("an event of a newer kind", () => {
  it("is told from everything else that is emitted", () => {
    expect(future(7)).toMatchObject({ kind: FUTURE, seq: 7 });
    expect(isKnown(FUTURE)).toBe(false);
    expect(isKnown("message.created")).toBe(true);
    for (const other of [
      null,
      undefined,
      7,
      "text",
      [],
      {},
      { room: ROOM, head_seq: 4 },
      { room: ROOM, user: "ada", kind: "typing" },
      { room: { id: ROOM, head_seq: 3 } },
      { room: ROOM, seq: "7", at: at(7) },
      { users: [] },
    ])
      expect(roomEvent(FUTURE, other)).toBeNull();
  });

  it("takes its number: what follows it waits for nothing", () => {
    let now = timeline.fromHistory(page([1, 2, 3]));
    for (const event of [future(4), future(5, "member.promoted"), created(6), future(7), created(8)]) {
      const { timeline: next, gap } = timeline.receive(now, event);
      expect(gap).toBe(false);
      now = next;
    }
    expect(now.held).toBe(8);
    expect(now.messages.map((one) => one.seq)).toEqual([1, 2, 3, 6, 8]);
  });

  it("takes its number in what was missed, and behind a hole", () => {
    const start = timeline.fromHistory(page([1]));
    const resumed = timeline.resume(start, [future(2), future(3), created(4)]);
    expect([resumed.timeline.held, resumed.gap]).toEqual([4, false]);
    const early = timeline.receive(start, future(3));
    expect(early.gap).toBe(true);
    expect(timeline.receive(early.timeline, future(2)).timeline.held).toBe(3);
  });

  it("moves the head of its room and changes nothing else there", () => {
    const before = new Map([[ROOM, room()]]);
    expect(rooms.applyEvent(before, future(6, "member.promoted"), "me").get(ROOM)).toEqual(
      room({ head_seq: 6, last_event_at: at(6) }),
    );
    const members: readonly Member[] = [];
    expect(rooms.applyToMembers(members, future(6, "member.promoted"))).toBe(members);
  });
});

describe("a word of a newer release", () => {
  const role = FUTURE as Role;

  it("as one's own role offers what a member is offered", () => {
    const mine = room({ role });
    expect([policy.mayManage(mine), policy.mayLeave(mine)]).toEqual([false, true]);
    expect([policy.mayDeleteMessage(mine, true), policy.mayDeleteMessage(mine, false)]).toEqual([true, false]);
    expect(policy.grantable(mine, "member")).toEqual([]);
    expect(policy.mayRemove(mine, "member")).toBe(false);
  });

  it("as somebody's role may stand above all but owners", () => {
    expect(policy.mayRemove(room({ role: "admin" }), role)).toBe(false);
    expect(policy.grantable(room({ role: "admin" }), role)).toEqual([]);
    expect(policy.mayRemove(room({ role: "owner" }), role)).toBe(true);
    expect(policy.grantable(room({ role: "owner" }), role)).toEqual(["member", "admin", "owner"]);
  });

  it("as the kind of a room leaves its members to newer pages", () => {
    const other = room({ kind: FUTURE as RoomKind, role: "owner" });
    expect([policy.mayManage(other), policy.mayLeave(other)]).toEqual([false, false]);
  });

  it("as a status says that somebody is there", () => {
    expect(shownStatus(FUTURE)).toBe("online");
    expect(["online", "away", "dnd", "offline"].map(shownStatus)).toEqual(["online", "away", "dnd", "offline"]);
    expect(shownStatus("constructor")).toBe("online");
    expect(shownAs(FUTURE as Choice)).toBe("online");
    expect(about({ user: "u", status: FUTURE as Status, last_seen_at: at(0) }, Date.now())).toBe("");
  });

  it("as the state of a node counts it among the living", () => {
    const states = ["ok", "unready", "draining", FUTURE, "silent", "gone"];
    expect(states.map((state) => lives({ state } as NodeStatus))).toEqual([true, true, true, true, false, false]);
  });
});
