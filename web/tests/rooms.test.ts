import { describe, expect, it } from "vitest";
import * as policy from "../src/core/policy";
import * as rooms from "../src/core/rooms";
import * as seen from "../src/core/seen";
import type { Member, Role, RoomEvent } from "../src/wire";
import { at, created, ROOM, room } from "./make";

const one = () => new Map([[ROOM, room()]]);
const member = (id: string, role: Role): Member => ({
  user: { id, username: id, display_name: id },
  role,
  joined_at: at(0),
});
const changed: RoomEvent = {
  kind: "member.role_changed",
  room: ROOM,
  seq: 6,
  at: at(6),
  actor: "boss",
  user: "me",
  role: "admin",
};

describe("the list of rooms", () => {
  it("shows the latest first", () => {
    const list = rooms.put(one(), room({ id: "b", last_event_at: at(9) }));
    expect(rooms.sorted(list).map((item) => item.id)).toEqual(["b", ROOM]);
  });

  it("names a direct room after the other person", () => {
    const peer = { id: "u", username: "grace", display_name: "Grace" };
    expect(rooms.title(room({ kind: "direct", name: null, peer }))).toBe("Grace");
  });

  it("follows live events, and never goes back", () => {
    const next = rooms.applyEvent(one(), created(6), "me");
    expect(next.get(ROOM)).toMatchObject({ head_seq: 6, last_event_at: at(6) });
    expect(rooms.applyEvent(next, created(6), "me")).toBe(next);
    expect(rooms.listed(next, [room()]).get(ROOM)?.head_seq).toBe(6);
    expect(rooms.atHead(next, ROOM, 4)).toBe(next);
  });

  it("counts members and learns one's own role", () => {
    expect(rooms.applyEvent(one(), changed, "me").get(ROOM)?.role).toBe("admin");
    expect(rooms.applyEvent(one(), changed, "other").get(ROOM)?.role).toBe("member");
    const left: RoomEvent = { kind: "member.left", room: ROOM, seq: 6, at: at(6), actor: "x", user: "x" };
    expect(rooms.applyEvent(one(), left, "me").get(ROOM)?.member_count).toBe(1);
  });

  it("forgets what the server no longer lists", () => {
    expect([...rooms.listed(one(), [room({ id: "b" })]).keys()]).toEqual(["b"]);
    expect(rooms.drop(one(), ROOM).size).toBe(0);
  });

  it("keeps the members of a room up to date", () => {
    const list = [member("me", "member"), member("bob", "member")];
    expect(rooms.applyToMembers(list, changed)[0]?.role).toBe("admin");
    const gone: RoomEvent = { kind: "member.removed", room: ROOM, seq: 7, at: at(7), actor: "boss", user: "bob" };
    expect(rooms.applyToMembers(list, gone).map((item) => item.user.id)).toEqual(["me"]);
  });
});

describe("what was seen", () => {
  it("counts the past as read on a new device, and rooms met later as new", () => {
    const first = seen.meet(null, [room()]);
    expect(seen.unread(first, room())).toBe(0);
    expect(seen.unread(seen.meet(first, [room({ id: "b" })]), room({ id: "b" }))).toBe(5);
  });

  it("goes forward only", () => {
    const now = seen.read({}, ROOM, 5);
    expect(seen.read(now, ROOM, 3)).toBe(now);
  });

  it("lets quiet events pass when everything before was read, and not otherwise", () => {
    expect(seen.quiet({ [ROOM]: 5 }, ROOM, 6)).toEqual({ [ROOM]: 6 });
    expect(seen.quiet({ [ROOM]: 3 }, ROOM, 6)).toEqual({ [ROOM]: 3 });
  });
});

describe("what is offered", () => {
  it("gives roles up to one's own, to those who are not above", () => {
    expect(policy.grantable(room({ role: "member" }), "member")).toEqual([]);
    expect(policy.grantable(room({ role: "admin" }), "member")).toEqual(["member", "admin"]);
    expect(policy.grantable(room({ role: "admin" }), "owner")).toEqual([]);
    expect(policy.grantable(room({ role: "owner" }), "owner")).toEqual(["member", "admin", "owner"]);
  });

  it("removes those below; owners remove anybody", () => {
    expect(policy.mayRemove(room({ role: "admin" }), "admin")).toBe(false);
    expect(policy.mayRemove(room({ role: "admin" }), "member")).toBe(true);
    expect(policy.mayRemove(room({ role: "owner" }), "owner")).toBe(true);
  });

  it("leaves direct rooms as they are", () => {
    const direct = room({ kind: "direct", role: "owner" });
    expect([policy.mayManage(direct), policy.mayLeave(direct)]).toEqual([false, false]);
  });

  it("lets members change their own messages only", () => {
    expect(policy.mayEditMessage(room(), true)).toBe(true);
    expect(policy.mayEditMessage(room({ role: "owner" }), false)).toBe(false);
    expect(policy.mayDeleteMessage(room(), false)).toBe(false);
    expect(policy.mayDeleteMessage(room({ role: "admin" }), false)).toBe(true);
  });
});
