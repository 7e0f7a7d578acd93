"""`connect`: a ramp of authenticated connections, and what each costs in CPU and, once idle, in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.client.setup import Slot
from loadtest.measure.stats import Histogram
from loadtest.scenarios.context import Context, per

if TYPE_CHECKING:
    from loadtest.report.model import Result

_WARM_UP = 200


def run(context: Context, *, connections: int = 2000, rate_per_s: float = 0.0, in_flight: int = 100) -> Result:
    """Open connections and leave them idle.

    Args:
        connections: How many.
        rate_per_s: How fast; 0 for as fast as `in_flight` handshakes at once allow.
    """
    result = context.result("connect", connections=connections, rate_per_s=rate_per_s, in_flight=in_flight)
    places, _ = context.places(connections, 1, subscribe=False)
    with context.swarm() as warm:  # what the first connections make (code, caches, pools) is no cost of a connection
        warm.connect(places[:_WARM_UP], in_flight=in_flight)
        context.quiet_memory_kib()
    with context.swarm() as swarm:
        memory_kib = context.quiet_memory_kib()
        cpu = context.cpu()
        swarm.watch = context.bars.counting("connections", Slot.SETTLED, connections)
        seconds = swarm.connect(places, rate_per_s=rate_per_s, in_flight=in_flight)
        cpu = context.cpu().since(cpu)
        memory_kib = context.quiet_memory_kib() - memory_kib
        gathered = context.finish(result, swarm)
    result.latency = Histogram([gathered.connecting]).summary()
    result.numbers["connects_per_s"] = connections / seconds
    if context.peer.pid is not None:
        result.numbers |= {
            "connect_cpu_us": per(cpu.server_s, connections),
            "connects_per_cpu_s": connections / max(cpu.server_s, 1e-3),
            "memory_kib": memory_kib / connections,
        }
    return result
