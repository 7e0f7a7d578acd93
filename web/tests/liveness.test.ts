import { describe, expect, it } from "vitest";
import { Liveness } from "../src/core/liveness";
import { next } from "../src/core/reconnect";

describe("a connection that says nothing", () => {
  it("is dead when it does not answer in three seconds", () => {
    const line = new Liveness(0);
    expect(line.asked(1000)).toBe(3000);
    expect(line.judge(4000)).toBe("dead");
  });

  it("lives when it answers", () => {
    const line = new Liveness(0);
    line.asked(1000);
    line.answered(1200);
    expect(line.judge(4000)).toBe("alive");
  });

  it("is given time for as long as anything arrives", () => {
    const line = new Liveness(0);
    line.asked(1000);
    line.heard(3500);
    expect(line.judge(4000)).toEqual({ waitMs: 3000 });
    expect(line.judge(7000)).toBe("dead");
  });

  it("does not live by what had arrived before it was asked", () => {
    const line = new Liveness(0);
    line.heard(1000);
    line.asked(1000);
    expect(line.judge(4000)).toBe("dead");
  });

  it("makes the next one be given more time, until one answers in time", () => {
    const line = new Liveness(0);
    line.asked(0);
    line.judge(3000);
    expect(line.asked(10_000)).toBe(6000);
    line.answered(15_000);
    expect(line.asked(20_000)).toBe(6000);
    line.answered(21_000);
    expect(line.asked(30_000)).toBe(3000);
  });

  it("is asked after more silence than between two heartbeats of the server", () => {
    const line = new Liveness(0);
    line.began(1000);
    expect(line.isQuiet(31_000)).toBe(false);
    expect(line.isQuiet(31_001)).toBe(true);
    line.asked(31_001);
    expect(line.isQuiet(40_000)).toBe(false);
  });

  it("is replaced at once when it is dead", () => {
    expect(next({ dead: true, wasReady: true }, 0, 400)).toEqual({ step: "wait", ms: 0 });
  });
});
