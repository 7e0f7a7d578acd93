/** What the operator's page shows, worked out from what the nodes told. Pure. */
import type { ClusterStatus, NodeSample, NodeStatus } from "../wire";

export interface Measure {
  readonly key: string;
  readonly title: string;
  readonly unit: "" | "/s" | "ms";
  pick(sample: NodeSample): number | undefined;
}

export const MEASURES: readonly Measure[] = [
  { key: "connections", title: "Connections", unit: "", pick: (one) => one.connections },
  { key: "committed", title: "Messages stored", unit: "/s", pick: (one) => one.committed_per_s },
  { key: "delivered", title: "Events delivered", unit: "/s", pick: (one) => one.delivered_per_s },
  { key: "answer", title: "Answer to a send, p99", unit: "ms", pick: (one) => one.answer_p99_ms },
  { key: "lag", title: "Event loop lag, p99", unit: "ms", pick: (one) => one.loop_lag_p99_ms },
  { key: "bus", title: "Through Redis and back, p99", unit: "ms", pick: (one) => one.bus_p99_ms },
];

/** Times in Unix seconds, then for each node its values at these times; null where a node has none. */
export type Aligned = readonly [times: readonly number[], ...series: readonly (readonly (number | null)[])[]];

/** Nodes sample at their own moments: put what belongs to one span beside each other. */
export function align(nodes: readonly NodeStatus[], spanS: number, pick: Measure["pick"]): Aligned {
  const byNode = nodes.map((node) => {
    const slots = new Map<number, number>();
    for (const sample of node.samples ?? []) {
      const value = pick(sample);
      if (value !== undefined) slots.set(slot(sample.at, spanS), value);
    }
    return slots;
  });
  const all = nodes.flatMap((node) => (node.samples ?? []).map((sample) => slot(sample.at, spanS)));
  if (all.length === 0) return [[], ...nodes.map(() => [])];
  let [first, last] = [all[0] as number, all[0] as number];
  for (const one of all) [first, last] = [Math.min(first, one), Math.max(last, one)];
  const slots = Array.from({ length: last - first + 1 }, (_, index) => first + index);
  return [slots.map((one) => one * spanS), ...byNode.map((values) => slots.map((one) => values.get(one) ?? null))];
}

function slot(at: string, spanS: number): number {
  return Math.round(Date.parse(at) / 1000 / spanS);
}

export interface Totals {
  readonly nodes: number;
  readonly connections: number;
  readonly users: number;
  readonly messages: number;
  readonly deliveries: number;
  /** The worst of all nodes; undefined when nothing was measured. */
  readonly answerMs: number | undefined;
  readonly lagMs: number | undefined;
  readonly troubled: readonly NodeStatus[];
}

/** What a newer release says of a node is said of one that lives. */
const ENDED: ReadonlySet<NodeStatus["state"]> = new Set(["gone", "silent"]);

export function lives(node: NodeStatus): boolean {
  return !ENDED.has(node.state);
}

export function totals(status: ClusterStatus): Totals {
  const living = status.nodes.filter(lives);
  const last = living.flatMap((node) => node.samples?.at(-1) ?? []);
  return {
    nodes: living.length,
    connections: sum(living.map((node) => node.websocket + node.polling)),
    users: sum(living.map((node) => node.users)),
    messages: sum(last.map((sample) => sample.committed_per_s)),
    deliveries: sum(last.map((sample) => sample.delivered_per_s)),
    answerMs: worst(last.map((sample) => sample.answer_p99_ms)),
    lagMs: worst(last.map((sample) => sample.loop_lag_p99_ms)),
    troubled: status.nodes.filter((node) => node.state !== "ok" && node.state !== "gone"),
  };
}

function sum(values: readonly number[]): number {
  return values.reduce((one, other) => one + other, 0);
}

function worst(values: readonly (number | undefined)[]): number | undefined {
  const known = values.filter((value) => value !== undefined);
  return known.length > 0 ? Math.max(...known) : undefined;
}

/** Counts by name over all nodes, the largest first. */
export function added(nodes: readonly NodeStatus[], pick: (node: NodeStatus) => Record<string, number>) {
  const counts = new Map<string, number>();
  for (const node of nodes) {
    for (const [name, count] of Object.entries(pick(node))) counts.set(name, (counts.get(name) ?? 0) + count);
  }
  return [...counts].filter(([, count]) => count > 0).sort(([a, one], [b, other]) => other - one || (a < b ? -1 : 1));
}

/** What is wrong with a node, in words; nothing when all is well. */
export function trouble(node: NodeStatus): string {
  if (node.state === "silent") return "not heard from: it has died, or the bus does not carry";
  if (node.state === "gone") return "has ended";
  if (node.state === "draining") return "draining: its clients move to other nodes";
  const wrong = Object.entries(node.checks).filter(([, state]) => state !== "ok");
  return wrong.map(([name, state]) => `${CHECKS[name] ?? name} ${state}`).join(", ");
}

const CHECKS: Record<string, string> = { bus: "Redis", postgresql: "PostgreSQL", node: "node" };

const REASONS: Record<string, string> = {
  client: "left",
  transport: "connection lost",
  ping_timeout: "no heartbeat",
  connect_timeout: "did not sign in",
  protocol: "broke the protocol",
  overloaded: "too much at once",
  extension: "closed by an extension",
  slow_reader: "read too slowly",
  refused: "refused",
  session_ended: "session ended",
  token_expired: "token expired",
  draining: "node was draining",
};

export function reasonText(reason: string): string {
  return REASONS[reason] ?? reason;
}

/** 0.4, 12, 3,400, 12k. */
export function short(value: number): string {
  if (value === 0 || value >= 100) return value >= 10_000 ? `${Math.round(value / 1000)}k` : value.toFixed(0);
  return value >= 10 ? value.toFixed(0) : value.toFixed(1).replace(/\.0$/, "");
}

export function ms(value: number | undefined): string {
  if (value === undefined) return "–";
  return value >= 1000 ? `${(value / 1000).toFixed(1)} s` : `${short(value)} ms`;
}

export function megabytes(bytes: number | undefined): string {
  return bytes === undefined ? "–" : `${Math.round(bytes / (1 << 20))} MiB`;
}

/** "3 s", "12 min", "5 h", "9 d". */
export function span(fromMs: number, toMs: number): string {
  const seconds = Math.max(0, Math.round((toMs - fromMs) / 1000));
  if (seconds < 90) return `${seconds} s`;
  if (seconds < 90 * 60) return `${Math.round(seconds / 60)} min`;
  return seconds < 36 * 3600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
}
