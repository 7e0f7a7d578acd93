"""`chat`: many rooms, messages at random times whether or not the server keeps up, latency from when each was due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.client.setup import Slot
from loadtest.client.swarm import by_room
from loadtest.protocols.names import DIALECTS
from loadtest.scenarios.context import Context
from loadtest.scenarios.look import Look

if TYPE_CHECKING:
    from loadtest.report.model import Result


def run(
    context: Context, *, rooms: int = 200, members: int = 10, rate_per_s: float = 2000.0, seconds: float = 10.0, size: int = 100
) -> Result:
    """Send to random rooms as a Poisson process.

    Args:
        members: Connections in each room; all receive, any sends.
        rate_per_s: Messages of all rooms together.
    """
    result = context.result("chat", rooms=rooms, members=members, rate_per_s=rate_per_s, seconds=seconds, size=size)
    one_sender = not DIALECTS[context.peer.dialect]().numbers
    places, names = context.places(rooms * members, rooms, subscribe=True)
    with context.swarm() as swarm:
        swarm.watch = context.bars.counting("members", Slot.SETTLED, len(places))
        swarm.connect_dealt(by_room(places, context.processes))
        swarm.chat(rate_per_s=rate_per_s / 4, seconds=1.0, size=size, one_sender=one_sender)
        swarm.collect()
        look = Look(context)
        swarm.watch = look.beside(context.bars.timing("deliveries", seconds, Slot.DELIVERED))
        cpu = context.cpu()
        sent = swarm.chat(rate_per_s=rate_per_s, seconds=seconds, size=size, one_sender=one_sender)
        cpu = context.cpu().since(cpu)
        context.finish(result, swarm)
    context.check_heads(result, names, sent.heads)
    result.series = look.series()
    result.numbers["chat_per_s"] = sent.acked / sent.seconds
    if result.latency is not None:
        result.numbers["chat_p99_ms"] = result.latency.percentile(99.0)
    if context.peer.pid is not None:
        result.numbers["chat_cpu_percent"] = cpu.server_s / sent.seconds * 100
        result.numbers["chat_engines_percent"] = cpu.engines_s / sent.seconds * 100
    return result
