import { describe, expect, it } from "vitest";
import { backoffMs } from "../src/core/backoff";
import { uuid4 } from "../src/core/id";
import { next } from "../src/core/reconnect";
import { format, parse } from "../src/core/route";
import { isFresh, parseStored, renewInMs } from "../src/core/tokens";
import * as typing from "../src/core/typing";

describe("after a connection ended", () => {
  it("an ended session signs out", () => {
    expect(next({ code: "session_ended", wasReady: true }, 0, 400)).toEqual({
      step: "sign_out",
      code: "session_ended",
    });
  });

  it("an expired token is renewed at once, but not in a tight circle", () => {
    expect(next({ code: "token_expired", wasReady: false }, 0, 400)).toEqual({ step: "renew" });
    expect(next({ code: "token_expired", wasReady: false }, 2, 400)).toEqual({ step: "wait", ms: 400 });
  });

  it("a draining node is left for as long as it asks", () => {
    expect(next({ drainMs: 1200, wasReady: true }, 0, 400)).toEqual({ step: "wait", ms: 1200 });
  });

  it("a refusal that names a time is waited for, and never less than the pause", () => {
    const ended = { code: "too_many_connections", wasReady: false };
    expect(next({ ...ended, retryAfterMs: 5000 }, 3, 400)).toEqual({ step: "wait", ms: 5000 });
    expect(next({ ...ended, retryAfterMs: 10 }, 3, 400)).toEqual({ step: "wait", ms: 400 });
  });

  it("anything else is tried again after the pause", () => {
    expect(next({ wasReady: true }, 0, 400)).toEqual({ step: "wait", ms: 400 });
  });

  it("pauses grow, spread, and end at 15 s", () => {
    expect([0, 1, 2].map((attempt) => backoffMs(attempt, 1))).toEqual([500, 1000, 2000]);
    expect(backoffMs(0, 0)).toBe(250);
    expect(backoffMs(1000, 1)).toBe(15_000);
  });
});

describe("a sign-in on this device", () => {
  const user = { id: "u", username: "ada", display_name: "Ada" };

  it("is read back, and nothing else is taken for one", () => {
    const stored = { user, refresh_token: "r" };
    expect(parseStored(JSON.stringify(stored))).toEqual(stored);
    for (const text of [null, "", "{", "null", "[]", '{"user":{"id":"u"},"refresh_token":"r"}']) {
      expect(parseStored(text)).toBeNull();
    }
  });

  it("is renewed well before the token expires", () => {
    for (const random of [0, 0.5, 1]) {
      expect(renewInMs(900, random)).toBeGreaterThanOrEqual(600_000);
      expect(renewInMs(900, random)).toBeLessThanOrEqual(720_000);
      expect(renewInMs(10, random)).toBeLessThan(9000);
    }
    expect(isFresh(10_000, 4999)).toBe(true);
    expect(isFresh(10_000, 5001)).toBe(false);
  });
});

describe("typing", () => {
  it("shows for five seconds, again with every sign of life", () => {
    let now = typing.note(new Map(), "r", "ada", 0);
    now = typing.expire(now, 4999);
    expect([...(now.get("r")?.keys() ?? [])]).toEqual(["ada"]);
    now = typing.note(now, "r", "ada", 4000);
    expect(typing.expire(now, 8999).has("r")).toBe(true);
    expect(typing.expire(now, 9000).has("r")).toBe(false);
  });

  it("ends with the message", () => {
    const now = typing.note(typing.note(new Map(), "r", "ada", 0), "r", "bob", 0);
    expect([...(typing.stop(now, "r", "ada").get("r")?.keys() ?? [])]).toEqual(["bob"]);
    expect(typing.stop(now, "r", "eve")).toBe(now);
  });
});

describe("small things", () => {
  it("an address names a room, or nothing", () => {
    expect(parse(format("0190d0c0-0000-7000-8000-000000000001"))).toBe("0190d0c0-0000-7000-8000-000000000001");
    for (const hash of ["", "#/", "#/room/", "#/room/../x", "#/room/a?b"]) expect(parse(hash)).toBeNull();
  });

  it("an id is a UUID of version 4", () => {
    const shape = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
    expect(uuid4(new Uint8Array(16).fill(0xff))).toMatch(shape);
    expect(new Set(Array.from({ length: 100 }, () => uuid4())).size).toBe(100);
  });
});
