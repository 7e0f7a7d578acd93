import { describe, expect, it } from "vitest";
import { device } from "../src/core/device";
import { IDLE_AFTER_MS, Idleness } from "../src/core/idle";
import { about, textOf, until } from "../src/core/status";

const NOW = Date.parse("2026-03-04T12:00:00.000Z");
const ago = (minutes: number) => new Date(NOW - minutes * 60_000).toISOString();

describe("what people say of themselves", () => {
  it("holds until its time is over", () => {
    expect(textOf({ text: "at lunch" }, NOW)).toBe("at lunch");
    expect(textOf({ text: "at lunch", text_expires_at: ago(-1) }, NOW)).toBe("at lunch");
    expect(textOf({ text: "at lunch", text_expires_at: ago(1) }, NOW)).toBe("");
    expect(textOf(undefined, NOW)).toBe("");
  });

  it("comes before when they were last seen", () => {
    expect(about({ user: "a", status: "online", text: "at lunch" }, NOW)).toBe("at lunch");
    expect(about({ user: "a", status: "offline", last_seen_at: ago(1) }, NOW)).toBe("last seen just now");
    expect(about({ user: "a", status: "offline", last_seen_at: ago(20) }, NOW)).toBe("last seen 20 minutes ago");
    expect(about({ user: "a", status: "offline", last_seen_at: ago(60 * 24 * 5) }, NOW, "en-GB")).toMatch(/February/);
  });

  it("says nothing where nothing is known", () => {
    expect(about(undefined, NOW)).toBe("");
    expect(about({ user: "a", status: "offline" }, NOW)).toBe("");
    expect(about({ user: "a", status: "online", last_seen_at: ago(1) }, NOW)).toBe("");
  });

  it("tells until when one's own text holds", () => {
    expect(until({ status: "online", text: "x" }, NOW)).toBe("");
    expect(until({ status: "online", text: "x", text_expires_at: ago(1) }, NOW)).toBe("");
    expect(until({ status: "online", text: "x", text_expires_at: ago(-30) }, NOW, "en-GB")).toMatch(
      /^until \d\d:\d\d$/,
    );
  });
});

describe("devices", () => {
  it("have names that people know", () => {
    const chrome = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36";
    const iphone =
      "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605 Version/19 Mobile Safari/604";
    expect(device(chrome)).toBe("Chrome on Linux");
    expect(device(iphone)).toBe("Safari on iOS");
    expect(device("Mozilla/5.0 (Windows NT 10.0; rv:150.0) Gecko/20100101 Firefox/150.0")).toBe("Firefox on Windows");
    expect(device("curl/8.1")).toBe("curl");
    expect(device("")).toBe("An unknown program");
  });
});

describe("being idle", () => {
  it("begins when nothing was touched for ten minutes, counted from the last touch", () => {
    const idleness = new Idleness(0);
    expect(idleness.look(IDLE_AFTER_MS - 1)).toBe(1);
    expect(idleness.touched(IDLE_AFTER_MS - 1)).toBe(false);
    expect(idleness.look(IDLE_AFTER_MS)).toBe(IDLE_AFTER_MS - 1);
    expect(idleness.idle).toBe(false);
    expect(idleness.look(2 * IDLE_AFTER_MS)).toBe(0);
    expect(idleness.idle).toBe(true);
  });

  it("ends with the first touch, which is told once", () => {
    const idleness = new Idleness(0);
    idleness.look(3 * IDLE_AFTER_MS); // a device that slept
    expect([idleness.touched(1), idleness.touched(2)]).toEqual([true, false]);
    expect(idleness.idle).toBe(false);
  });
});
