"""What scenarios share: the server, the client processes, the bars, and how a result is put together."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loadtest.client.setup import Gathered, Place, Setup
from loadtest.client.swarm import Swarm
from loadtest.measure.process import Cpu
from loadtest.measure.stats import Histogram
from loadtest.report.model import Result

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.peers.base import Peer
    from loadtest.report.progress import Bars

_QUIET_S = 0.5


@dataclass(slots=True)
class Context:
    """One server under one run.

    Args:
        peer: The server, running.
        bars: Where progress is shown.
        processes: Client processes.
        seed: For arrivals and choices.
        core: Where the clients stay; None for anywhere.
        accounts: How many people the connections belong to. A registration costs the server a password hash, so they share.
    """

    peer: Peer
    bars: Bars
    processes: int
    seed: int
    core: int | None = None
    accounts: int = 4

    def swarm(self) -> Swarm:
        """Return client processes, not yet started."""
        setup = Setup(self.peer.dialect, self.peer.host, self.peer.port, 0, self.processes, self.seed, core=self.core)
        return Swarm(setup)

    def places(self, count: int, rooms: int, *, subscribe: bool) -> tuple[list[Place], list[str]]:
        """Return places for so many connections, dealt over accounts and rooms, and the rooms."""
        credentials = self.peer.credentials(min(self.accounts, count))
        names = self.peer.rooms(rooms, credentials)
        people = len(credentials)
        places = [Place(credentials[number // rooms % people], names[number % rooms], subscribe) for number in range(count)]
        return places, names

    def result(self, scenario: str, **parameters: Any) -> Result:
        return Result(scenario, self.peer.name, self.peer.version, parameters | {"processes": self.processes, "seed": self.seed})

    def cpu(self) -> Cpu:
        """Return the CPU that the server has used; zero where it cannot be seen."""
        return self.peer.cpu() or Cpu(0.0, 0.0)

    def quiet_memory_kib(self) -> int:
        """Return the server's memory, a moment after it stopped doing things."""
        time.sleep(_QUIET_S)
        return self.peer.memory_kib() or 0

    def finish(self, result: Result, swarm: Swarm, *, may_lose: bool = False) -> Gathered:
        """Take what the clients saw into a result.

        Args:
            may_lose: Whether the server may close connections in this scenario.
        """
        gathered = swarm.collect()
        result.latency = Histogram([gathered.latency]).summary()
        found = swarm.violations
        if gathered.lost and not may_lose:
            found.add("closed", f"connections were lost: {dict(gathered.lost)}")
        if gathered.refused:
            found.add("refused", f"requests were refused: {dict(gathered.refused)}")
        result.violations, result.shown = dict(found.counts), list(found.shown)
        result.notes.append(f"the busiest client process used {gathered.busy:.0%} of a core")
        if gathered.retried:
            result.notes.append(f"attempts to connect that were repeated: {dict(gathered.retried)}")
        return gathered

    def check_heads(self, result: Result, rooms: Sequence[str], heads: dict[str, int]) -> None:
        """Compare the highest acked seq of each room with what the server stored."""
        for room, stored in self.peer.heads([room for room in rooms if room in heads]).items():
            if stored != heads[room]:
                result.violations["history"] = result.violations.get("history", 0) + 1
                result.shown.append(f"history: room {room} is stored up to {stored}, and acks went up to {heads[room]}")


def per(seconds: float, count: int) -> float:
    """Return microseconds for one of many."""
    return seconds * 1e6 / max(1, count)
