"""`request`: a send and its ack: one in flight on each of many connections, and pipelined on few."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.client.setup import Slot
from loadtest.client.swarm import by_room
from loadtest.scenarios.context import Context, per

if TYPE_CHECKING:
    from loadtest.report.model import Result


def run(
    context: Context,
    *,
    clients: int = 200,
    pipelining: int = 50,
    depth: int = 40,
    rooms: int = 20,
    seconds: float = 3.0,
    size: int = 100,
) -> Result:
    """Keep requests in flight for a time, in both ways.

    Args:
        clients: Connections with one request each.
        pipelining, depth: Connections with many requests each, and how many.
        rooms: Rooms that the connections write to; nobody receives them, so that the ack alone is measured.
    """
    result = context.result(
        "request", clients=clients, pipelining=pipelining, depth=depth, rooms=rooms, seconds=seconds, size=size
    )
    for prefix, count, in_flight in (("request", clients, 1), ("pipelined", pipelining, depth)):
        places, names = context.places(count, rooms, subscribe=False)
        with context.swarm() as swarm:
            swarm.connect_dealt(by_room(places, context.processes))
            swarm.request(seconds=seconds / 5, depth=in_flight, size=size)
            swarm.collect()
            swarm.watch = context.bars.timing("answers", seconds, Slot.ACKED)
            cpu = context.cpu()
            sent = swarm.request(seconds=seconds, depth=in_flight, size=size)
            cpu = context.cpu().since(cpu)
            before = result.latency, result.violations, result.shown
            context.finish(result, swarm)
            if prefix == "pipelined":  # the latency shown is that of lone requests; what was wrong is kept of both
                result.latency = before[0]
                result.violations = before[1] | result.violations
                result.shown = before[2] + result.shown
        context.check_heads(result, names, sent.heads)
        result.numbers["requests_per_s" if prefix == "request" else "pipelined_per_s"] = sent.acked / sent.seconds
        if context.peer.pid is not None:
            result.numbers[f"{prefix}_cpu_us"] = per(cpu.server_s, sent.acked)
            if cpu.engines_s:
                result.numbers[f"{prefix}_engines_us"] = per(cpu.engines_s, sent.acked)
    return result
