"""`slow`: some readers stop; what that does to the others' latency and to the server's memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.client.setup import Slot
from loadtest.client.swarm import by_room
from loadtest.measure.stats import Histogram
from loadtest.scenarios.context import Context
from loadtest.scenarios.look import Look

if TYPE_CHECKING:
    from loadtest.report.model import Result

_SMALL_BUFFER_BYTES = 4096
_READ_AGAIN_S = 5.0


def run(
    context: Context,
    *,
    connections: int = 2000,
    stopped: int = 100,
    rate_per_s: float = 15.0,
    size: int = 7800,
    seconds_before: float = 8.0,
    seconds: float = 40.0,
) -> Result:
    """Send to one room of all, first with everybody reading, then with some that do not.

    Args:
        stopped: How many stop. Their kernel buffers are small, so that the server meets them soon.
        size: Characters of a message. The kernel takes up to 2.6 MB for a reader that stopped before the server has to keep
            anything for it, and the server closes it a megabyte later: it must fall that far behind in the time.
        seconds_before, seconds: How long it goes without and with them.
    """
    result = context.result("slow", connections=connections, stopped=stopped, rate_per_s=rate_per_s, size=size, seconds=seconds)
    places, _ = context.places(connections, 1, subscribe=True)
    readers, stoppers = places[stopped:], places[:stopped]
    with context.swarm() as swarm:
        swarm.watch = context.bars.counting("members", Slot.SETTLED, connections)
        swarm.connect_dealt(by_room(readers, context.processes))
        swarm.connect_dealt(by_room(stoppers, context.processes), receive_bytes=_SMALL_BUFFER_BYTES)
        swarm.watch = context.bars.timing("deliveries", seconds_before + seconds, Slot.DELIVERED)
        swarm.chat(rate_per_s=rate_per_s, seconds=seconds_before, size=size, one_sender=False)
        first = swarm.collect()
        memory_mib = context.quiet_memory_kib() / 1024
        swarm.stop_reading(stopped)
        look = Look(context)
        swarm.watch = look.beside(context.bars.timing("deliveries", seconds, Slot.DELIVERED))
        swarm.chat(rate_per_s=rate_per_s, seconds=seconds, size=size, one_sender=False)
        second = swarm.collect()
        if first.lost or second.lost:
            swarm.violations.add("closed", f"connections that were reading were lost: {dict(first.lost + second.lost)}")
        closed = swarm.read_again(_READ_AGAIN_S)
        gathered = context.finish(result, swarm, may_lose=True)
    before, after = Histogram([first.latency]).summary(), Histogram([second.latency]).summary()
    result.latency = after
    result.series = look.series()
    if before is not None and after is not None:
        result.numbers["slow_p99_ms"] = after.percentile(99.0)
        result.numbers["slow_p99_ratio"] = after.percentile(99.0) / before.percentile(99.0)
    result.numbers["slow_closed"] = closed
    if look.memory:
        result.numbers["slow_memory_mib"] = max(0.0, max(value for _, value in look.memory) - memory_mib)
    if gathered.lost:
        result.notes.append(f"how they were closed: {dict(gathered.lost)}")
    return result
