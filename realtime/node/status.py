"""What all nodes are doing, for the operator's page. Each tells the others of itself over the bus, and remembers what it heard.

Pure but for the clock and the functions that it is given: a node that is not heard any more (it was killed, or the bus is
away) is shown as silent with its last figures, and left out a minute later.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from realtime.telemetry.window import Window
from realtime.wire import rest
from realtime.wire.types import time as time_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.telemetry.metrics import Metrics

SAMPLE_S = 5.0
SILENT_S = 2.5 * SAMPLE_S
FORGOTTEN_S = 60.0
SAMPLES = 60
"""Five minutes."""
CLOSES = 50
_CLOSES_A_SAMPLE = 20


class Reading(NamedTuple):
    """How a node is at this moment. `checks` as in `/readyz`."""

    checks: dict[str, str]
    websocket: int
    polling: int
    users: int
    rooms: int
    subscriptions: int
    writer_waiting: int


class Heard(msgspec.Struct, frozen=True):
    """What a node tells the others of itself. `run`: of the process, since a node may be started again under its id."""

    run: str
    status: rest.NodeStatus
    sample: rest.NodeSample
    closes: list[rest.ClosedConnection]
    gone: bool = False


class _Seen:
    def __init__(self) -> None:
        self.status: rest.NodeStatus
        self.samples: deque[rest.NodeSample] = deque(maxlen=SAMPLES)
        self.heard_s = 0.0
        self.gone = False


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Heard).decode


class Board:
    """The board on which every node writes how it is.

    Args:
        node: This node's id.
        run: This run of it.
        version: Of the program.
        metrics: What it counts.
        publish: Sends to the other nodes; may be lost.
        clock: Monotonic seconds.
        wall: Unix seconds.
    """

    def __init__(
        self,
        node: str,
        run: str,
        version: str,
        metrics: Metrics,
        publish: Callable[[bytes], None],
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._node = node
        self._run = run
        self._version = version
        self._metrics = metrics
        self._publish = publish
        self._clock = clock
        self._wall = wall
        self._started_at = self._time()
        self._nodes: dict[str, _Seen] = {}
        self._closes: deque[rest.ClosedConnection] = deque(maxlen=CLOSES)
        self._fresh: list[rest.ClosedConnection] = []
        self._sampled_s = clock()
        self._rates = [Window(one) for one in (metrics.requests, metrics.flush_entries, metrics.deliveries)]
        self._quantiles = [
            Window(metrics.request_seconds, event="message.send"),
            Window(metrics.flush_seconds),
            Window(metrics.loop_lag),
            Window(metrics.bus_round_trip),
        ]

    def closed(self, reason: str, transport: str, connection: str, user: str | None) -> None:
        """Note that a connection ended."""
        made = rest.ClosedConnection(
            at=self._time(), node=self._node, reason=reason, transport=transport, connection=connection, user=user
        )
        self._closes.append(made)
        if len(self._fresh) < _CLOSES_A_SAMPLE:
            self._fresh.append(made)

    def sample(self, now: Reading, *, gone: bool = False) -> None:
        """Look at what was counted since the last time, and tell the others.

        Args:
            now: How this node is.
            gone: This node ends.
        """
        status, sample = self._status(now), self._sample(now)
        fresh, self._fresh = self._fresh, []
        self._forget()
        self._note(self._run, status, sample, gone=gone)
        self._publish(_encode(Heard(self._run, status, sample, fresh, gone)))

    def heard(self, message: bytes) -> None:
        """Take what another node told. Raises msgspec.MsgspecError when it is something else."""
        found = _decode(message)
        if found.run != self._run:
            self._note(found.run, found.status, found.sample, gone=found.gone)
            self._closes.extend(found.closes)

    def view(self) -> rest.ClusterStatus:
        """Return everything that is known, this node first."""
        self._forget()
        order = sorted(self._nodes, key=lambda run: (run != self._run, self._nodes[run].status.node, run))
        closes = sorted(self._closes, key=lambda one: one.at, reverse=True)
        return rest.ClusterStatus(
            at=self._time(), node=self._node, sample_s=SAMPLE_S, nodes=[self._shown(run) for run in order], closes=closes
        )

    def _note(self, run: str, status: rest.NodeStatus, sample: rest.NodeSample, *, gone: bool) -> None:
        seen = self._nodes.setdefault(run, _Seen())
        seen.status = status
        seen.samples.append(sample)
        seen.heard_s = self._clock()
        seen.gone = gone

    def _forget(self) -> None:
        now_s = self._clock()
        self._nodes = {run: one for run, one in self._nodes.items() if run == self._run or now_s - one.heard_s < FORGOTTEN_S}

    def _shown(self, run: str) -> rest.NodeStatus:
        seen = self._nodes[run]
        state = seen.status.state
        if seen.gone:
            state = "gone"
        elif self._clock() - seen.heard_s > SILENT_S:
            state = "silent"
        return msgspec.structs.replace(seen.status, state=state, samples=list(seen.samples))

    def _status(self, now: Reading) -> rest.NodeStatus:
        troubled = any(state != "ok" for state in now.checks.values())
        return rest.NodeStatus(
            node=self._node,
            version=self._version,
            started_at=self._started_at,
            heard_at=self._time(),
            state="draining" if now.checks.get("node") == "draining" else "unready" if troubled else "ok",
            checks=now.checks,
            websocket=now.websocket,
            polling=now.polling,
            users=now.users,
            rooms=now.rooms,
            subscriptions=now.subscriptions,
            closes=self._metrics.by_label(self._metrics.closed),
            refusals={code: count for code, count in self._metrics.by_label(self._metrics.requests, 1).items() if code != "ok"},
            memory_bytes=self._metrics.memory_bytes(),
        )

    def _sample(self, now: Reading) -> rest.NodeSample:
        now_s = self._clock()
        passed_s = max(now_s - self._sampled_s, 0.001)
        self._sampled_s = now_s
        requests, committed, delivered = (one.growth() / passed_s for one in self._rates)
        answer, flush, lag, bus = (one.quantile(0.99) for one in self._quantiles)
        return rest.NodeSample(
            at=self._time(),
            connections=now.websocket + now.polling,
            waiting=now.writer_waiting,
            requests_per_s=round(requests, 2),
            committed_per_s=round(committed, 2),
            delivered_per_s=round(delivered, 2),
            answer_p99_ms=_ms(answer),
            flush_p99_ms=_ms(flush),
            loop_lag_p99_ms=_ms(lag),
            bus_p99_ms=_ms(bus),
        )

    def _time(self) -> str:
        return time_text(datetime.fromtimestamp(self._wall(), UTC))


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 2)
