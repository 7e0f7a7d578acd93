"""`idle`: many connections that only answer heartbeats: the server's CPU over time, and memory per connection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from loadtest.client.setup import Slot
from loadtest.report.model import Series
from loadtest.scenarios.context import Context

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.report.model import Result

_WARM_UP = 200
_LOOK_S = 1.0


def run(context: Context, *, connections: int = 10_000, seconds: float = 30.0, in_flight: int = 200) -> Result:
    """Hold connections for a time.

    Args:
        seconds: A little more than the heartbeat's interval, so that every connection has had one.
    """
    result = context.result("idle", connections=connections, seconds=seconds)
    places, _ = context.places(connections, 1, subscribe=False)
    with context.swarm() as warm:
        warm.connect(places[:_WARM_UP], in_flight=in_flight)
        context.quiet_memory_kib()
    with context.swarm() as swarm:
        memory_kib = context.quiet_memory_kib()
        swarm.watch = context.bars.counting("connections", Slot.SETTLED, connections)
        swarm.connect(places, in_flight=in_flight, timeout_s=120)
        memory_kib = context.quiet_memory_kib() - memory_kib
        swarm.collect()
        look = _Look(context)
        timing = context.bars.timing("connections", seconds, Slot.SETTLED)

        def watch(totals: Sequence[int]) -> None:
            timing(totals)
            look.now()

        swarm.watch = watch
        cpu, begun = context.cpu(), time.monotonic()
        swarm.hold(seconds)
        cpu, took = context.cpu().since(cpu), time.monotonic() - begun
        gathered = context.finish(result, swarm)
    result.latency = None
    result.numbers["heartbeats_per_s"] = gathered.heartbeats / took
    if context.peer.pid is not None:
        result.numbers |= {"idle_cpu_percent": cpu.server_s / took * 100, "memory_kib": memory_kib / connections}
        result.series.append(Series("CPU of the server", "% of a core", look.points))
    return result


class _Look:
    """Notes the server's CPU every second."""

    def __init__(self, context: Context) -> None:
        self.points: list[tuple[float, float]] = []
        self._context = context
        self._begun = self._last = time.monotonic()
        self._cpu = context.cpu()

    def now(self) -> None:
        now = time.monotonic()
        if now - self._last >= _LOOK_S:
            cpu = self._context.cpu()
            self.points.append((now - self._begun, cpu.since(self._cpu).server_s / (now - self._last) * 100))
            self._last, self._cpu = now, cpu
