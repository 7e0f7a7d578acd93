import { beforeEach, describe, expect, it, vi } from "vitest";
import type { ClusterStatus } from "../src/wire";

const asked: ((answer: ClusterStatus) => void)[] = [];

vi.mock("../src/api", () => ({
  clusterStatus: () => new Promise<ClusterStatus>((answer) => asked.push(answer)),
}));

const { follow, status } = await import("../src/operator/status");

const ANSWER = { sample_s: 5, nodes: [] } as unknown as ClusterStatus;

beforeEach(() => {
  asked.length = 0;
  vi.useFakeTimers();
  vi.stubGlobal("document", Object.assign(new EventTarget(), { hidden: false }));
});

describe("the operator's board", () => {
  it("shows an answer while somebody looks", async () => {
    const leave = follow();
    asked[0]?.(ANSWER);
    await vi.advanceTimersByTimeAsync(0);
    expect(status.value).toBe(ANSWER);
    leave();
    expect(status.value).toBeNull();
  });

  it("drops an answer that comes after the person left, and asks no more", async () => {
    follow()();
    expect(asked).toHaveLength(1);
    asked[0]?.(ANSWER);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(status.value).toBeNull();
    expect(asked).toHaveLength(1);
  });
});
