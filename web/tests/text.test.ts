import { describe, expect, it } from "vitest";
import * as body from "../src/core/body";
import * as format from "../src/core/format";
import { linkify } from "../src/core/linkify";
import { sentence } from "../src/core/sentences";

const links = (text: string) => linkify(text).flatMap((part) => (part.href ? [part.text] : []));

describe("links", () => {
  it("end before the full stop and the bracket of the sentence", () => {
    expect(links("See https://a.example/x.")).toEqual(["https://a.example/x"]);
    expect(links("(https://a.example/x_(y))")).toEqual(["https://a.example/x_(y)"]);
  });

  it("are http and https only, and hide no name in front of the host", () => {
    expect(links("javascript:alert(1) data:text/html,x ftp://a.example")).toEqual([]);
    expect(links("https://bank.example@evil.example/")).toEqual([]);
  });

  it("lose no text", () => {
    for (const text of ["", "plain", "a https://a.example b https://b.example.", "https://", "x<https://a.example>y"]) {
      expect(
        linkify(text)
          .map((part) => part.text)
          .join(""),
      ).toBe(text);
    }
  });
});

describe("a message's text", () => {
  it("is trimmed and rid of what the contract refuses", () => {
    expect(body.clean("  a\r\nb\u0000\u0007\ud800c \n")).toBe("a\nb\ufffdc");
    expect(body.clean(" \n\t ")).toBe("");
  });

  it("is counted in code points, as the server counts", () => {
    expect(body.room("😀".repeat(8000))).toBe(0);
    expect(body.room("a".repeat(8001))).toBe(-1);
  });

  it("is large when it is one to three emoji", () => {
    for (const text of ["👍", "🦋😂", "❤️", "👩‍🚀 🇳🇱", "👍🏽"]) expect(body.isJumbo(text)).toBe(true);
    for (const text of ["", "a", "👍 ok", "👍👍👍👍", "1", "#"]) expect(body.isJumbo(text)).toBe(false);
  });
});

describe("times and names", () => {
  const noon = (day: number) => new Date(2026, 2, day, 12).getTime();

  it("name today and yesterday, across a change of month too", () => {
    expect(format.dayLabel(noon(14), noon(14), "en")).toBe("Today");
    expect(format.dayLabel(noon(0), noon(1), "en")).toBe("Yesterday");
    expect(format.dayLabel(noon(10), noon(14), "en")).toBe("Tuesday, March 10");
  });

  it("make initials of any script", () => {
    expect(["Ada Lovelace", "ada", "Жанна д'Арк", "…", "李 小龙"].map(format.initials)).toEqual([
      "AL",
      "A",
      "ЖА",
      "?",
      "李小",
    ]);
  });

  it("give everybody a colour that stays", () => {
    const id = "0190d0c0-0000-7000-8000-000000000001";
    expect(format.hue(id, 8)).toBe(format.hue(id, 8));
    const many = new Set(Array.from({ length: 64 }, (_, index) => format.hue(`0190d0c0-${index}`, 8)));
    expect(many.size).toBe(8);
  });

  it("say who is typing", () => {
    expect(format.typingLine([])).toBe("");
    expect(format.typingLine(["Ada"])).toBe("Ada is typing");
    expect(format.typingLine(["Ada", "Bob"])).toBe("Ada and Bob are typing");
    expect(format.typingLine(["Ada", "Bob", "Cy", "Di"])).toBe("Ada, Bob and 2 more are typing");
  });
});

describe("sentences", () => {
  it("tell how long to wait", () => {
    expect(sentence({ code: "rate_limited", retry_after_ms: 41_200 })).toBe(
      "Too many attempts. Try again in 42 seconds.",
    );
    expect(sentence({ code: "rate_limited", retry_after_ms: 600_000 })).toContain("10 minutes");
  });

  it("show what the server says for codes they do not know", () => {
    expect(sentence({ code: "new_one", message: "Something new." })).toBe("Something new.");
    expect(sentence({ code: "new_one", message: "" })).toBe("Something went wrong. Try again.");
  });
});
