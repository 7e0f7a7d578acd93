"""A client process: the commands of the conductor. Whatever the command, the loop answers heartbeats and checks every event."""

from __future__ import annotations

import gc
import os
import time
import traceback
from typing import TYPE_CHECKING, Any

from loadtest.client.checker import Position
from loadtest.client.link import Link, Phase
from loadtest.client.loads import Loads
from loadtest.client.loop import Loop
from loadtest.client.setup import Gathered, Place, Setup
from loadtest.protocols.names import DIALECTS, OWN_STATE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection


def main(setup: Setup, control: Connection, board: Any) -> None:
    """Run a client process until the conductor hangs up."""
    if setup.core is not None:
        os.sched_setaffinity(0, {setup.core})
    gc.disable()  # nothing here makes cycles, and a collection over 10,000 connections is a pause in the latencies
    worker = Worker(setup, control, board)
    try:
        worker.serve()
    except (EOFError, BrokenPipeError, ConnectionResetError, KeyboardInterrupt):
        return  # the conductor is gone, and so are we


class Worker:
    """Carries out commands.

    Args:
        setup: Where to connect.
        control: The conductor's end of a pipe.
        board: Shared counters, `Slot` by process.
    """

    def __init__(self, setup: Setup, control: Connection, board: Any) -> None:
        self.loop = Loop(setup, control.fileno(), board)
        self._control = control
        self._shared = None if setup.dialect in OWN_STATE else DIALECTS[setup.dialect]()
        self._commands: dict[str, Callable[..., Any]] = {
            "connect": self.connect, "drop": self.loop.drop, "back": self.back, "hold": self.hold, "collect": self.collect,
            "positions": self.positions, "stop_reading": self.stop_reading, "read_again": self.read_again, "renew": self.renew,
        }  # fmt: skip
        loads = Loads(self.loop)
        self._commands |= {"fanout": loads.fanout, "request": loads.request, "chat": loads.chat}

    def serve(self) -> None:
        """Take commands for ever."""
        while True:
            while not self.loop.called:
                self.loop.pump(1.0)
            self.loop.called = False
            name, arguments = self._control.recv()
            try:
                answer = self._commands[name](**arguments)
            except EOFError:
                raise
            except Exception:  # noqa: BLE001 - told to the conductor, who ends the run
                self._control.send((False, traceback.format_exc()))
            else:
                self._control.send((True, answer))

    # -- commands ---------------------------------------------------------------------------------

    def connect(self, places: Sequence[Place], rate_per_s: float, in_flight: int, receive_bytes: int, timeout_s: float) -> float:
        """Open one more connection for each place, and wait until they are settled; return the seconds that it took."""
        loop, setup = self.loop, self.loop.setup
        begun_ns = time.monotonic_ns()
        for number, place in enumerate(places):
            index = len(loop.links)
            dialect = self._shared or DIALECTS[setup.dialect]()
            position = Position(loop.tally.violations, f"connection {setup.number}/{index}")
            link = Link(index, dialect, place, position, setup.sources[index % len(setup.sources)])
            link.receive_bytes = receive_bytes
            loop.links.append(link)
            loop.open_at(begun_ns + (int(number / rate_per_s * 1e9) if rate_per_s else 0), link)
        loop.settle(in_flight, timeout_s)
        gc.freeze()
        return (time.monotonic_ns() - begun_ns) / 1e9

    def back(self, pause_s: float, spread_s: float, in_flight: int, timeout_s: float) -> float:
        """Bring every connection back where it was, after a pause and spread as clients do; return the seconds from the first."""
        loop = self.loop
        begun_ns = time.monotonic_ns()
        for link in loop.links:
            loop.open_at(begun_ns + int((pause_s + loop.random.random() * spread_s) * 1e9), link)
        loop.settle(in_flight, timeout_s)
        return (time.monotonic_ns() - begun_ns) / 1e9 - pause_s

    def hold(self, seconds: float) -> None:
        """Stay connected, answer heartbeats, check what comes."""
        self.loop.until(lambda: False, seconds)

    def positions(self) -> dict[str, tuple[int, int]]:
        """Return the lowest and the highest position of the readers of each room."""
        found: dict[str, tuple[int, int]] = {}
        for link in self.loop.links:
            if link.subscribe and link.phase is Phase.READY:
                low, high = found.get(link.room, (link.position.seq, link.position.seq))
                found[link.room] = min(low, link.position.seq), max(high, link.position.seq)
        return found

    def stop_reading(self, count: int) -> int:
        """Let the last `count` connections stop reading; return how many did."""
        chosen = [link for link in self.loop.links[-count:] if link.phase is Phase.READY] if count else []
        for link in chosen:
            self.loop.look_away(link)
        return len(chosen)

    def read_again(self, seconds: float) -> int:
        """Let them read again; return how many the server had given up."""
        chosen = [link for link in self.loop.links if not link.reading]
        for link in chosen:
            self.loop.look_again(link)
        self.loop.until(lambda: all(link.phase is Phase.CLOSED for link in chosen), seconds)
        return sum(link.phase is Phase.CLOSED for link in chosen)

    def renew(self, credentials: dict[str, str]) -> None:
        """Put new tokens on the connections that hold old ones."""
        for link in self.loop.links:
            new = credentials.get(link.credential)
            if new is not None:
                link.credential = new
                if link.phase is Phase.READY:
                    self.loop.send(link, link.dialect.renew(link.request(0), new))

    def collect(self) -> Gathered:
        """Return what was seen since the last time."""
        return self.loop.tally.take()
