"""What a client process counts."""

from __future__ import annotations

import time
from array import array
from collections import Counter

from loadtest.client.checker import Acks, Violations
from loadtest.client.setup import Gathered
from loadtest.measure.stats import Histogram

_FLUSH = 200_000
"""Times are kept raw, 50 ns each, and put into the histogram (1 µs each) when nothing is being measured or so many came."""


class Tally:
    """Counters since the last `take`, and totals that only grow."""

    def __init__(self) -> None:
        self.settled = 0
        self.delivered = 0
        self.acked = 0
        self.lost_count = 0
        self.given_up = 0
        self.violations = Violations()
        self.connecting_ns = array("q")
        self.settling_ns = array("q")
        self.of_deliveries = True
        self._taken_delivered = self._taken_acked = 0
        self._since = time.monotonic(), time.process_time()
        self._clear()

    def _clear(self) -> None:
        self.acks = Acks(self.violations)
        self.refused: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.retried: Counter[str] = Counter()
        self.resets = self.caught_up = self.heartbeats = self.received_bytes = 0
        self._latencies_ns = array("q")
        self._latency = Histogram()

    def record(self, latency_ns: int) -> None:
        """Note how long a delivery took."""
        if self.of_deliveries:
            self._note(latency_ns)

    def record_ack(self, latency_ns: int) -> None:
        """Note how long an answer took."""
        if not self.of_deliveries:
            self._note(latency_ns)

    def _note(self, latency_ns: int) -> None:
        self._latencies_ns.append(latency_ns)
        if len(self._latencies_ns) >= _FLUSH:
            self._flush()

    def _flush(self) -> None:
        self._latency.add_ns(self._latencies_ns)
        self._latencies_ns = array("q")

    def take(self) -> Gathered:
        """Return what was counted since the last time, and begin anew."""
        wall_s, cpu_s = time.monotonic() - self._since[0], time.process_time() - self._since[1]
        self._flush()
        connecting, settling = Histogram(), Histogram()
        connecting.add_ns(self.connecting_ns)
        settling.add_ns(self.settling_ns)
        self.connecting_ns, self.settling_ns = array("q"), array("q")
        gathered = Gathered(
            latency=self._latency.encode(),
            connecting=connecting.encode(),
            settling=settling.encode(),
            deliveries=self.delivered - self._taken_delivered,
            acks=self.acked - self._taken_acked,
            refused=self.refused,
            lost=self.lost,
            retried=self.retried,
            resets=self.resets,
            caught_up=self.caught_up,
            heartbeats=self.heartbeats,
            received_bytes=self.received_bytes,
            busy=cpu_s / max(wall_s, 1e-3),
            violations=Violations(self.violations.counts.copy(), list(self.violations.shown)),
        )
        self._taken_delivered, self._taken_acked = self.delivered, self.acked
        self.violations.counts.clear()
        self.violations.shown.clear()
        self._since = time.monotonic(), time.process_time()
        self._clear()
        return gathered
