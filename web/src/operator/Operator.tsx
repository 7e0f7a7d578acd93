/** For whoever looks after the server: how every node is, the last minutes, and who was closed and why. */
import "uplot/dist/uPlot.min.css";
import "./operator.css";
import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { clock } from "../core/format";
import { sentence } from "../core/sentences";
import * as people from "../state/people";
import { go } from "../state/route";
import { Icon } from "../ui/Icon";
import type { ClosedConnection, ClusterStatus, NodeStatus } from "../wire";
import { Chart } from "./Chart";
import { added, align, lives, MEASURES, megabytes, ms, reasonText, short, span, totals, trouble } from "./model";
import { failure, follow, lookedAtMs, paused, status } from "./status";

export default function Operator() {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(follow, []);
  useEffect(() => heading.current?.focus({ preventScroll: true }), []);
  const now = status.value;
  return (
    <main class="operator" data-testid="operator">
      <header class="room-head">
        <button
          class="icon-button operator-back"
          type="button"
          data-testid="back"
          aria-label="Back to your rooms"
          onClick={() => go(null)}
        >
          <Icon name="back" />
        </button>
        <div class="room-head-text">
          <h1 ref={heading} tabIndex={-1}>
            Server
          </h1>
          <p>
            <Freshness />
          </p>
        </div>
        <button
          class="icon-button"
          type="button"
          data-testid="operator-pause"
          aria-pressed={paused.value}
          title={paused.value ? "Go on" : "Pause"}
          aria-label={paused.value ? "Go on" : "Pause"}
          onClick={() => {
            paused.value = !paused.value;
          }}
        >
          <Icon name={paused.value ? "play" : "pause"} />
        </button>
      </header>
      <div class="operator-scroll">
        {failure.value && (
          <p class="operator-failure" role="alert" data-testid="operator-failure">
            <Icon name="warning" /> {sentence(failure.value)}
          </p>
        )}
        {now ? <Board status={now} stale={failure.value !== null} /> : !failure.value && <Waiting />}
      </div>
    </main>
  );
}

function Board({ status: now, stale }: { status: ClusterStatus; stale: boolean }) {
  const nodes = now.nodes.filter((node) => node.state !== "gone" || (node.samples?.length ?? 0) > 0);
  const all = totals(now);
  return (
    <div class={`board${stale ? " stale" : ""}`}>
      {all.troubled.map((node) => (
        <p key={node.node + node.started_at} class="operator-trouble" data-testid="operator-trouble">
          <Icon name="warning" />
          <span>
            <strong>{node.node}</strong> {trouble(node)}
          </span>
        </p>
      ))}
      <dl class="tiles">
        <Tile name="Nodes" value={short(all.nodes)} />
        <Tile name="Connections" value={short(all.connections)} testid="operator-connections" />
        <Tile name="Users" value={short(all.users)} more={all.nodes > 1 ? "added up over nodes" : undefined} />
        <Tile name="Messages" value={`${short(all.messages)}/s`} />
        <Tile name="Deliveries" value={`${short(all.deliveries)}/s`} />
        <Tile name="Answer, p99" value={ms(all.answerMs)} more="of the slowest node" />
        <Tile name="Loop lag, p99" value={ms(all.lagMs)} more="of the slowest node" />
      </dl>
      <Charts nodes={nodes} spanS={now.sample_s} />
      <Nodes nodes={now.nodes} atMs={Date.parse(now.at)} />
      <Closes status={now} />
    </div>
  );
}

function Tile({
  name,
  value,
  more,
  testid,
}: {
  name: string;
  value: string;
  more?: string | undefined;
  testid?: string;
}) {
  return (
    <div class="tile">
      <dt>{name}</dt>
      <dd>
        <span data-testid={testid}>{value}</span>
        {more && <small>{more}</small>}
      </dd>
    </div>
  );
}

function Charts({ nodes, spanS }: { nodes: readonly NodeStatus[]; spanS: number }) {
  const names = nodes.map((node) => node.node);
  const data = useMemo(() => MEASURES.map((one) => align(nodes, spanS, one.pick)), [nodes, spanS]);
  return (
    <section aria-label="The last minutes">
      <ul class="legend">
        {names.map((name, index) => (
          <li key={name + (nodes[index]?.started_at ?? "")} class={`series-${index % 6}`}>
            {name}
          </li>
        ))}
      </ul>
      <div class="charts">
        {MEASURES.map((measure, index) => {
          const one = data[index];
          return one && <Chart key={measure.key} measure={measure} names={names} data={one} />;
        })}
      </div>
    </section>
  );
}

const STATES: Record<NodeStatus["state"], string> = {
  ok: "ready",
  unready: "unready",
  draining: "draining",
  silent: "silent",
  gone: "gone",
};

function Nodes({ nodes, atMs }: { nodes: readonly NodeStatus[]; atMs: number }) {
  return (
    <section aria-labelledby="operator-nodes">
      <h2 id="operator-nodes">Nodes</h2>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is reached by the keyboard */}
      <section class="operator-wide" aria-label="Table of nodes" tabIndex={0}>
        <table>
          <thead>
            <tr>
              <th>Node</th>
              <th>State</th>
              <th class="number">WebSocket</th>
              <th class="number">Polling</th>
              <th class="number">Rooms</th>
              <th class="number">Memory</th>
              <th class="number">Up</th>
              <th>Version</th>
            </tr>
          </thead>
          <tbody>
            {nodes.map((node) => (
              <tr key={node.node + node.started_at} data-testid="operator-node" data-state={node.state}>
                <th scope="row">{node.node}</th>
                <td>
                  <span class={`state ${node.state}`}>{STATES[node.state] ?? node.state}</span>
                </td>
                <td class="number">{node.websocket}</td>
                <td class="number">{node.polling}</td>
                <td class="number">{node.rooms}</td>
                <td class="number">{megabytes(node.memory_bytes)}</td>
                <td class="number">
                  {lives(node)
                    ? span(Date.parse(node.started_at), atMs)
                    : `${span(Date.parse(node.heard_at), atMs)} ago`}
                </td>
                <td>{node.version}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </section>
  );
}

function Closes({ status: now }: { status: ClusterStatus }) {
  const [only, setOnly] = useState<string | null>(null);
  const reasons = added(now.nodes, (node) => node.closes);
  const shown = now.closes.filter((one) => only === null || one.reason === only);
  const refusals = added(now.nodes, (node) => node.refusals);
  return (
    <section aria-labelledby="operator-closes">
      <h2 id="operator-closes">Connections that ended</h2>
      {reasons.length > 0 && (
        <ul class="chips">
          {reasons.map(([reason, count]) => (
            <li key={reason}>
              <button
                class="tag"
                type="button"
                aria-pressed={only === reason}
                title="Show only these"
                onClick={() => setOnly(only === reason ? null : reason)}
              >
                {reasonText(reason)} <strong>{short(count)}</strong>
              </button>
            </li>
          ))}
        </ul>
      )}
      {shown.length === 0 ? (
        <p class="empty">
          {only ? "None of the latest ended so." : "No connection has ended since the nodes started."}
        </p>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: as above
        <section class="operator-wide closes" aria-label="Table of connections that ended" tabIndex={0}>
          <table>
            <thead>
              <tr>
                <th>When</th>
                <th>Why</th>
                <th>Who</th>
                <th>Over</th>
                <th>Node</th>
                <th>Connection</th>
              </tr>
            </thead>
            <tbody>
              {shown.map((one) => (
                <Close key={one.at + one.connection + one.node} close={one} />
              ))}
            </tbody>
          </table>
        </section>
      )}
      {refusals.length > 0 && (
        <>
          <h2>Requests that were refused</h2>
          <ul class="chips">
            {refusals.map(([code, count]) => (
              <li key={code} class="tag">
                {code} <strong>{short(count)}</strong>
              </li>
            ))}
          </ul>
        </>
      )}
    </section>
  );
}

function Close({ close }: { close: ClosedConnection }) {
  return (
    <tr data-testid="operator-close" data-reason={close.reason}>
      <td title={close.at}>{clock(Date.parse(close.at))}</td>
      <td>{reasonText(close.reason)}</td>
      <td>{close.user ? <bdi>{people.nameOf(close.user)}</bdi> : "nobody yet"}</td>
      <td>{close.transport === "websocket" ? "WebSocket" : "polling"}</td>
      <td>{close.node}</td>
      <td class="code">{close.connection || "–"}</td>
    </tr>
  );
}

/** How old this is, counted on by itself. */
function Freshness() {
  const [nowMs, setNowMs] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNowMs(Date.now()), 1000);
    return () => clearInterval(timer);
  }, []);
  if (!lookedAtMs.value || !status.value) return <>How every node is</>;
  const age = span(lookedAtMs.value, Math.max(nowMs, lookedAtMs.value));
  return <>{paused.value ? `Paused ${age} ago` : `Updated ${age} ago by ${status.value.node}`}</>;
}

function Waiting() {
  return (
    <div class="board-waiting" role="status" aria-label="Asking the nodes">
      <i />
      <i />
      <i />
    </div>
  );
}
