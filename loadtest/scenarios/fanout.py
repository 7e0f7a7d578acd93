"""`fanout`: one message, or a burst, to all members of a room: CPU per delivery."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.client.setup import Slot
from loadtest.scenarios.context import Context, per

if TYPE_CHECKING:
    from loadtest.report.model import Result

_DELIVERIES = 200_000
_ROUNDS = (5, 150)


def run(context: Context, *, members: int = 1000, burst: int = 20, size: int = 100, deliveries: int = _DELIVERIES) -> Result:
    """Send lone messages and bursts, each when all members have the one before.

    Args:
        burst: Messages sent at once.
        size: Characters of a message.
        deliveries: About how many of each kind, so that the kernel's clock ticks (10 ms) do not show.
    """
    lone_rounds = min(_ROUNDS[1], max(_ROUNDS[0], deliveries // 2 // members))
    burst_rounds = min(_ROUNDS[1], max(_ROUNDS[0], deliveries * 4 // (members * burst)))
    result = context.result("fanout", members=members, burst=burst, size=size, lone_rounds=lone_rounds, burst_rounds=burst_rounds)
    places, rooms = context.places(members, 1, subscribe=True)
    with context.swarm() as swarm:
        swarm.watch = context.bars.counting("members", Slot.SETTLED, members)
        swarm.connect(places, in_flight=200, timeout_s=120)
        swarm.fanout(1, 3, members, size)
        swarm.fanout(burst, 2, members, size)
        swarm.collect()
        swarm.watch = context.bars.counting("deliveries", Slot.DELIVERED, (lone_rounds + burst_rounds * burst) * members)
        cpu = context.cpu()
        lone = swarm.fanout(1, lone_rounds, members, size)
        lone_cpu = context.cpu().since(cpu)
        cpu = context.cpu()
        bursts = swarm.fanout(burst, burst_rounds, members, size)
        burst_cpu = context.cpu().since(cpu)
        context.finish(result, swarm)
    context.check_heads(result, rooms, bursts.heads)
    count = burst_rounds * burst * members
    result.numbers |= {"lone_ms": lone.seconds * 1e3 / lone_rounds, "deliveries_per_s": count / bursts.seconds}
    if context.peer.pid is not None:
        result.numbers |= {
            "lone_cpu_us": per(lone_cpu.server_s, lone_rounds * members),
            "burst_cpu_us": per(burst_cpu.server_s, count),
            "deliveries_per_cpu_s": count / max(burst_cpu.server_s, 1e-3),
        }
    return result
