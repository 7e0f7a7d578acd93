"""`soak`: chat for as long as you like, with a storm now and then; does memory grow, does latency stay?"""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING

from loadtest.client.setup import Slot
from loadtest.client.swarm import by_room
from loadtest.measure.stats import Histogram
from loadtest.peers.ours import Roomwire
from loadtest.report.model import Series
from loadtest.scenarios.context import Context
from loadtest.scenarios.look import Look

if TYPE_CHECKING:
    from loadtest.report.model import Result

_RENEW_S = 300.0


def run(
    context: Context,
    *,
    rooms: int = 100,
    members: int = 10,
    rate_per_s: float = 500.0,
    seconds: float = 600.0,
    segment_s: float = 15.0,
    storm_every: int = 8,
    size: int = 100,
) -> Result:
    """Chat in segments.

    Args:
        segment_s: After each, everything sent must have arrived, and memory and latency are noted.
        storm_every: After so many segments everybody is cut and comes back.
    """
    result = context.result("soak", rooms=rooms, members=members, rate_per_s=rate_per_s, seconds=seconds, size=size)
    peer = context.peer
    assert isinstance(peer, Roomwire)
    places, _ = context.places(rooms * members, rooms, subscribe=True)
    parts: list[bytes] = []
    p99: list[tuple[float, float]] = []
    with context.swarm() as swarm:
        swarm.connect_dealt(by_room(places, context.processes))
        look = Look(context, segment_s / 3)
        swarm.watch = look.beside(context.bars.timing("deliveries", seconds, Slot.DELIVERED))
        begun = renewed = time.monotonic()
        cpu, segment = context.cpu(), 0
        while time.monotonic() - begun < seconds:
            swarm.chat(rate_per_s=rate_per_s, seconds=segment_s, size=size, one_sender=False)
            segment += 1
            gathered = swarm.collect()
            parts.append(gathered.latency)
            summary = Histogram([gathered.latency]).summary()
            if summary is not None:
                p99.append((time.monotonic() - begun, summary.percentile(99.0)))
            if gathered.lost:
                swarm.violations.add("closed", f"connections were lost: {dict(gathered.lost)}")
            if time.monotonic() - renewed > _RENEW_S:
                swarm.renew(peer.renew())
                renewed = time.monotonic()
            if segment % storm_every == 0:
                swarm.drop()
                swarm.back(pause_s=0.5, spread_s=1.0, in_flight=len(places), timeout_s=60)
        took = time.monotonic() - begun
        cpu = context.cpu().since(cpu)
        context.finish(result, swarm)
    result.latency = Histogram(parts).summary()
    result.series = [*look.series(), Series("p99, due → delivered", "ms", p99)]
    if result.latency is not None:
        result.numbers["soak_p99_ms"] = result.latency.percentile(99.0)
    settled = look.memory[len(look.memory) // 5 :]
    if len(settled) > 2:
        slope = statistics.linear_regression([at for at, _ in settled], [value for _, value in settled]).slope
        result.numbers["soak_memory_mib_per_h"] = slope * 3600
        result.numbers["soak_cpu_percent"] = cpu.server_s / took * 100
    return result
