import { describe, expect, it } from "vitest";
import { added, align, MEASURES, ms, short, span, totals, trouble } from "../src/operator/model";
import type { NodeSample, NodeStatus } from "../src/wire";

const SPAN_S = 5;
const FROM_MS = Date.parse("2026-01-02T03:04:00.000Z");

function sample(afterS: number, more: Partial<NodeSample> = {}): NodeSample {
  const at = new Date(FROM_MS + afterS * 1000).toISOString();
  return { at, connections: 1, requests_per_s: 0, committed_per_s: 2, delivered_per_s: 0, waiting: 0, ...more };
}

function node(name: string, more: Partial<NodeStatus> = {}): NodeStatus {
  return {
    node: name,
    version: "1",
    started_at: new Date(FROM_MS).toISOString(),
    heard_at: new Date(FROM_MS).toISOString(),
    state: "ok",
    checks: { node: "ok", bus: "ok", postgresql: "ok" },
    websocket: 3,
    polling: 1,
    users: 2,
    rooms: 5,
    subscriptions: 9,
    closes: {},
    refusals: {},
    ...more,
  };
}

const connections = (one: NodeSample) => one.connections;

describe("the axis of time", () => {
  it("puts what nodes sampled within one span beside each other", () => {
    const a = node("a", { samples: [sample(0), sample(5.1, { connections: 2 })] });
    const b = node("b", { samples: [sample(1.4, { connections: 7 }), sample(6.3, { connections: 8 })] });
    expect(align([a, b], SPAN_S, connections)).toEqual([
      [FROM_MS / 1000, FROM_MS / 1000 + 5],
      [1, 2],
      [7, 8],
    ]);
  });

  it("leaves gaps where a node was not heard", () => {
    const a = node("a", { samples: [sample(0), sample(5), sample(10), sample(15)] });
    const b = node("b", { samples: [sample(0, { connections: 4 }), sample(15, { connections: 4 })] });
    expect(align([a, b], SPAN_S, connections)[2]).toEqual([4, null, null, 4]);
  });

  it("has a gap where nothing was measured, and is empty without samples", () => {
    const quiet = node("a", { samples: [sample(0), sample(5, { answer_p99_ms: 3 })] });
    expect(align([quiet], SPAN_S, (one) => one.answer_p99_ms)[1]).toEqual([null, 3]);
    expect(align([node("a"), node("b")], SPAN_S, connections)).toEqual([[], [], []]);
    expect(align([], SPAN_S, connections)).toEqual([[]]);
  });

  it("knows what every chart picks", () => {
    const whole = sample(0, { answer_p99_ms: 1, loop_lag_p99_ms: 2, bus_p99_ms: 3 });
    expect(MEASURES.map((one) => one.pick(whole))).toEqual([1, 2, 0, 1, 2, 3]);
  });
});

describe("totals", () => {
  it("add up living nodes, and show the slowest", () => {
    const all = totals({
      at: "",
      node: "a",
      sample_s: SPAN_S,
      closes: [],
      nodes: [
        node("a", { samples: [sample(0, { answer_p99_ms: 3 }), sample(5, { answer_p99_ms: 4, loop_lag_p99_ms: 1 })] }),
        node("b", { samples: [sample(5, { answer_p99_ms: 9 })], state: "draining" }),
        node("c", { samples: [sample(5, { answer_p99_ms: 99 })], state: "silent" }),
        node("d", { state: "gone" }),
      ],
    });
    expect(all).toMatchObject({ nodes: 2, connections: 8, users: 4, messages: 4, answerMs: 9, lagMs: 1 });
    expect(all.troubled.map((one) => one.node)).toEqual(["b", "c"]);
  });

  it("say nothing of times that nobody measured", () => {
    const all = totals({ at: "", node: "a", sample_s: SPAN_S, closes: [], nodes: [node("a")] });
    expect([all.answerMs, all.lagMs, all.messages]).toEqual([undefined, undefined, 0]);
  });

  it("add counts up by name, the largest first", () => {
    const nodes = [
      node("a", { closes: { client: 2, transport: 5 } }),
      node("b", { closes: { client: 4, slow_reader: 0 } }),
    ];
    expect(added(nodes, (one) => one.closes)).toEqual([
      ["client", 6],
      ["transport", 5],
    ]);
  });
});

describe("words", () => {
  it("say what is wrong with a node", () => {
    expect(trouble(node("a"))).toBe("");
    const checks = { node: "ok", bus: "partly away", postgresql: "away" };
    expect(trouble(node("a", { state: "unready", checks }))).toBe("Redis partly away, PostgreSQL away");
    expect(trouble(node("a", { state: "silent" }))).toMatch(/not heard/);
    expect(trouble(node("a", { state: "draining" }))).toMatch(/move/);
  });

  it("keep numbers short", () => {
    expect([0, 0.04, 0.44, 3, 12.4, 340.2, 9999, 12_345].map(short)).toEqual([
      "0",
      "0",
      "0.4",
      "3",
      "12",
      "340",
      "9999",
      "12k",
    ]);
    expect([ms(undefined), ms(0.44), ms(12.3), ms(1500)]).toEqual(["–", "0.4 ms", "12 ms", "1.5 s"]);
    expect([3, 300, 7200, 200_000].map((seconds) => span(0, seconds * 1000))).toEqual(["3 s", "5 min", "2 h", "2 d"]);
  });
});
