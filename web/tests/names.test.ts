import { describe, expect, it } from "vitest";
import { isOfInputMethod } from "../src/core/keys";
import { isolated, shownName } from "../src/core/names";
import { followed } from "../src/core/rooms";
import { lifeSeconds } from "../src/core/status";
import { at, room } from "./make";

describe("a name", () => {
  it("that shows nothing gives way to the username", () => {
    for (const name of [
      "",
      "   ",
      "\u200b".repeat(15),
      "\u2800",
      "\u3164",
      "\ufffc\u{1d159}",
      "\u{e0041}\u{e0042}",
      "\u0301\u0301",
      "\u202e",
    ]) {
      expect(shownName(name, "@ada")).toBe("@ada");
    }
    expect(shownName("Ada \u{1f469}\u200d\u{1f680}", "@ada")).toBe("Ada \u{1f469}\u200d\u{1f680}");
  });

  it("turns nothing around it, and piles no marks", () => {
    expect(shownName("\u202eanna\u2069 si", "@x")).toBe("anna si");
    expect(shownName(`Z${"\u0335".repeat(400)}o`, "@x")).toBe(`Z${"\u0335".repeat(4)}o`);
    expect(isolated("anna")).toBe("\u2068anna\u2069");
  });
});

describe("a key", () => {
  it("of an input method is not one of ours, in Safari as elsewhere", () => {
    const key = (isComposing: boolean, keyCode: number) => isOfInputMethod({ isComposing, keyCode } as KeyboardEvent);
    expect([key(true, 229), key(false, 229), key(true, 13), key(false, 13)]).toEqual([true, true, true, false]);
  });
});

describe("the rooms that a connection follows", () => {
  it("are the open one and then the latest, as many as it may", () => {
    const all = new Map([1, 2, 3, 4].map((n) => [`r${n}`, room({ id: `r${n}`, last_event_at: at(n) })]));
    expect(followed(all, "r1", 3)).toEqual(["r1", "r4", "r3"]);
    expect(followed(all, null, 9)).toEqual(["r4", "r3", "r2", "r1"]);
    expect(followed(all, "elsewhere", 1)).toEqual(["r4"]);
  });
});

describe("a text that expires", () => {
  it("expires at the same time when only its words change", () => {
    const own = { status: "online" as const, text: "at lunch", text_expires_at: new Date(100_000).toISOString() };
    expect(lifeSeconds(null, own, 40_000)).toBe(60);
    expect(lifeSeconds(0, own, 40_000)).toBeUndefined();
    expect(lifeSeconds(2, own, 40_000)).toBe(3600);
  });
});
