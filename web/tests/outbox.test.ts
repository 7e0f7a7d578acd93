import { describe, expect, it } from "vitest";
import * as outbox from "../src/core/outbox";

const two = () => outbox.write(outbox.write([], "r", "a", "first", 1), "r", "b", "second", 2);
const busy = { code: "overloaded", message: "", retryable: true };

describe("the outbox", () => {
  it("keeps the order in which messages were written", () => {
    expect(two().map((item) => item.client_id)).toEqual(["a", "b"]);
    expect(outbox.remove(two(), "a").map((item) => item.client_id)).toEqual(["b"]);
  });

  it("tries a retryable refusal again with growing pauses, and leaves it to the person in the end", () => {
    let items = two();
    const pauses: (number | null)[] = [];
    for (let attempt = 0; attempt < outbox.MAX_ATTEMPTS; attempt += 1) {
      const result = outbox.refused(items, "a", busy);
      items = result.outbox;
      pauses.push(result.retryInMs);
    }
    expect(pauses).toEqual([500, 1000, 2000, 4000, null]);
    expect(items[0]).toMatchObject({ client_id: "a", state: "failed", code: "overloaded" });
    expect(items[1]).toMatchObject({ client_id: "b", state: "pending", attempts: 0 });
  });

  it("waits at least as long as the server asks", () => {
    const result = outbox.refused(two(), "a", { ...busy, retry_after_ms: 7000 });
    expect(result.retryInMs).toBe(7000);
  });

  it("gives a final refusal to the person at once", () => {
    const result = outbox.refused(two(), "a", { code: "forbidden", message: "", retryable: false });
    expect(result.retryInMs).toBeNull();
    expect(result.outbox[0]).toMatchObject({ state: "failed", code: "forbidden" });
  });

  it("keeps the client_id when the person tries again", () => {
    const failed = outbox.refused(two(), "a", { code: "forbidden", message: "", retryable: false }).outbox;
    expect(outbox.retry(failed, "a")[0]).toEqual(two()[0]);
  });

  it("keeps the order of what is written within one millisecond, and when the clock goes back", () => {
    const three = outbox.write(outbox.write(two(), "r", "c", "third", 2), "r", "d", "fourth", 1);
    const shuffled = [2, 0, 3, 1].flatMap((index) => three[index] ?? []);
    expect(shuffled.reduce(outbox.put, [] as readonly outbox.Unsent[])).toEqual(three);
  });

  it("takes a message once, in its newest state", () => {
    const failed = outbox.refused(two(), "a", { code: "forbidden", message: "", retryable: false }).outbox;
    expect(failed.slice(0, 1).reduce(outbox.put, two())).toEqual(failed);
  });

  it("survives a reload, and whatever else stands in the storage", () => {
    for (const item of two()) expect(outbox.parse(JSON.stringify(item))).toEqual(item);
    for (const text of [null, "", "{", "null", "7", "[]", '{"room":1}']) expect(outbox.parse(text)).toBeNull();
  });
});
