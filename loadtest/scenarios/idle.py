"""`idle`: many connections that only answer heartbeats: the server's CPU over time, and memory per connection."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from loadtest.client.setup import Slot
from loadtest.scenarios.context import Context
from loadtest.scenarios.look import Look

if TYPE_CHECKING:
    from loadtest.report.model import Result

_WARM_UP = 200


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
        look = Look(context)
        swarm.watch = look.beside(context.bars.timing("connections", seconds, Slot.SETTLED))
        cpu, begun = context.cpu(), time.monotonic()
        swarm.hold(seconds)
        cpu, took = context.cpu().since(cpu), time.monotonic() - begun
        gathered = context.finish(result, swarm)
    result.latency = None
    result.numbers["heartbeats_per_s"] = gathered.heartbeats / took
    if context.peer.pid is not None:
        result.numbers |= {"idle_cpu_percent": cpu.server_s / took * 100, "memory_kib": memory_kib / connections}
        result.series = look.series()
    return result
