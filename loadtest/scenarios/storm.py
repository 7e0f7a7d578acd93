"""`storm`: every connection is cut at once; all come back, resume with `since`, and catch up, while messages go on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from loadtest.client.setup import Slot
from loadtest.measure import prometheus
from loadtest.measure.stats import Histogram
from loadtest.peers.ours import Roomwire
from loadtest.scenarios.context import Context
from loadtest.scenarios.look import Look

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loadtest.client.swarm import Swarm
    from loadtest.report.model import Result

_PAUSE_S, _SPREAD_S = 0.5, 1.0
"""As Socket.IO's client comes back: after a second, give or take a half."""
_LAG = "roomwire_loop_lag_seconds"
_QUERIES = "roomwire_database_seconds_count"
_CATCH_UP_S = 20.0
_EACH_S = 0.1


def run(context: Context, *, connections: int = 10_000, rooms: int = 20, missed: int = 10) -> Result:
    """Cut and come back.

    Args:
        rooms: Busy rooms that the connections are spread over.
        missed: Messages that each room gets while everybody is away.
    """
    result = context.result("storm", connections=connections, rooms=rooms, missed=missed, pause_s=_PAUSE_S, spread_s=_SPREAD_S)
    peer = context.peer
    assert isinstance(peer, Roomwire)
    places, names = context.places(connections, rooms, subscribe=True)
    with context.swarm() as swarm:
        swarm.watch = context.bars.counting("members", Slot.SETTLED, connections)
        swarm.connect(places, in_flight=200, timeout_s=120)
        heads = {room: peer.send(room) for room in names}
        _caught_up(swarm, heads)
        swarm.collect()
        swarm.drop()
        for _ in range(missed):
            heads = {room: peer.send(room) for room in names}
        peer.repeated_sends = 0
        look, more = Look(context, 0.5), _Sender(peer, names, heads)
        before, cpu = peer.metrics() or prometheus.Page(), context.cpu()
        counting = context.bars.counting("back", Slot.SETTLED, connections)

        def watch(totals: Sequence[int]) -> None:
            counting(totals)
            more.maybe()

        swarm.watch = look.beside(watch)
        begun = time.monotonic()
        seconds = swarm.back(pause_s=_PAUSE_S, spread_s=_SPREAD_S, in_flight=connections, timeout_s=120)
        cpu = context.cpu().since(cpu)
        after = peer.metrics() or prometheus.Page()
        swarm.watch = lambda _totals: None
        if not _caught_up(swarm, heads):
            swarm.violations.add("resume", f"after {time.monotonic() - begun:.0f} s some had not all that was sent meanwhile")
        gathered = context.finish(result, swarm)
    result.latency = Histogram([gathered.settling]).summary()
    result.series = look.series()
    result.numbers |= {"storm_s": seconds, "storm_missed": gathered.caught_up / connections}
    if peer.repeated_sends:
        result.notes.append(f"{peer.repeated_sends} sends over REST were refused during the storm and sent again")
    if gathered.resets:
        result.notes.append(f"{gathered.resets} subscriptions were answered with a reset")
    if peer.pid is not None:
        result.numbers["storm_cpu_ms"] = cpu.server_s * 1e3 / connections
    lag_s = prometheus.quantile(before, after, _LAG, 0.99)
    if lag_s is not None:
        result.numbers["storm_lag_p99_ms"] = lag_s * 1e3
    queries = prometheus.gained(before, after, _QUERIES)
    if queries is None:
        result.notes.append("the server does not show its count of database queries")
    else:
        result.numbers["storm_queries_per_100"] = queries / connections * 100
    return result


def _caught_up(swarm: Swarm, heads: dict[str, int]) -> bool:
    """Wait until every reader of every room stands at its head; return whether that came."""
    end = time.monotonic() + _CATCH_UP_S
    while time.monotonic() < end:
        positions = swarm.positions()
        if all(positions.get(room) == (head, head) for room, head in heads.items()):
            return True
        swarm.hold(0.1)
    return False


class _Sender:
    """Goes on writing into the rooms, in turn, while the clients come back."""

    def __init__(self, peer: Roomwire, rooms: Sequence[str], heads: dict[str, int]) -> None:
        self._send: Callable[[str], int] = peer.send
        self._rooms = rooms
        self._heads = heads
        self._count = 0
        self._last = time.monotonic()

    def maybe(self) -> None:
        now = time.monotonic()
        if now - self._last >= _EACH_S:
            self._last = now
            room = self._rooms[self._count % len(self._rooms)]
            self._count += 1
            self._heads[room] = self._send(room)
