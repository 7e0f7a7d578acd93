"""The client processes as one: starts them, gives them commands, and shows how far they are while they work."""

from __future__ import annotations

import multiprocessing
import time
from typing import TYPE_CHECKING, Any, Self

from loadtest.client.checker import Violations
from loadtest.client.setup import Gathered, Sent, Setup, Slot
from loadtest.client.worker import main
from loadtest.measure.stats import Histogram

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection

    from loadtest.client.setup import Place

_context = multiprocessing.get_context("spawn")
_LOOK_S = 0.1
_SLACK_S = 60.0


class ClientFailed(Exception):
    """A client process failed or hung: the run says nothing about the server."""


class Swarm:
    """Client processes.

    Args:
        setup: Of the first; the others differ in their number.
        watch: Called several times a second with the totals (settled, delivered, acked, lost) while a command runs.
    """

    def __init__(self, setup: Setup, watch: Callable[[Sequence[int]], None] = lambda _totals: None) -> None:
        self.setup = setup
        self.watch = watch
        self.violations = Violations()
        self._board = _context.RawArray("Q", setup.processes * len(Slot))
        self._controls: list[Connection] = []
        self._processes: list[multiprocessing.process.BaseProcess] = []

    def __enter__(self) -> Self:
        for number in range(self.setup.processes):
            ours, theirs = _context.Pipe()
            one = Setup(**{name: getattr(self.setup, name) for name in Setup.__slots__} | {"number": number})
            process = _context.Process(target=main, args=(one, theirs, self._board), daemon=True)
            process.start()
            theirs.close()
            self._controls.append(ours)
            self._processes.append(process)
        return self

    def __exit__(self, *_: object) -> None:
        for control in self._controls:
            control.close()
        for process in self._processes:
            process.join(5)
            if process.is_alive():
                process.kill()
                process.join()

    def totals(self) -> list[int]:
        """Return each counter summed over the processes."""
        return [sum(self._board[number * len(Slot) + slot] for number in range(self.setup.processes)) for slot in Slot]

    # -- commands ---------------------------------------------------------------------------------

    def connect(
        self,
        places: Sequence[Place],
        *,
        rate_per_s: float = 0.0,
        in_flight: int = 200,
        receive_bytes: int = 0,
        timeout_s: float = 60.0,
    ) -> float:
        """Open one more connection for each place; return the seconds until all were settled.

        Places of one room stay in one process when they are dealt by `by_room`; here they are dealt in turn.

        Args:
            rate_per_s: Of all processes together; 0 for as fast as `in_flight` allows.
            in_flight: Handshakes at once, of all processes together.
            receive_bytes: Size of the kernel's receive buffer; 0 for the system's.
        """
        return self.connect_dealt(
            [places[number :: self.setup.processes] for number in range(self.setup.processes)],
            rate_per_s=rate_per_s, in_flight=in_flight, receive_bytes=receive_bytes, timeout_s=timeout_s,
        )  # fmt: skip

    def connect_dealt(
        self,
        hands: Sequence[Sequence[Place]],
        *,
        rate_per_s: float = 0.0,
        in_flight: int = 200,
        receive_bytes: int = 0,
        timeout_s: float = 60.0,
    ) -> float:
        """The same with one list of places for each process."""
        count = self.setup.processes
        seconds: list[float] = self._each(
            "connect",
            [
                {
                    "places": list(hand), "rate_per_s": rate_per_s / count, "in_flight": max(1, in_flight // count),
                    "receive_bytes": receive_bytes, "timeout_s": timeout_s,
                }
                for hand in hands
            ],
            timeout_s,
        )  # fmt: skip
        return max(seconds)

    def drop(self) -> None:
        """Cut every connection at once."""
        self._all("drop", 10.0)

    def back(self, *, pause_s: float, spread_s: float, in_flight: int, timeout_s: float) -> float:
        """Bring every connection back; return the seconds from the first attempt until the last has caught up."""
        share = max(1, in_flight // self.setup.processes)
        seconds: list[float] = self._all(
            "back", timeout_s + pause_s, pause_s=pause_s, spread_s=spread_s, in_flight=share, timeout_s=timeout_s
        )
        return max(seconds)

    def hold(self, seconds: float) -> None:
        """Stay connected."""
        self._all("hold", seconds, seconds=seconds)

    def fanout(self, burst: int, rounds: int, members: int, size: int) -> Sent:
        """Let the first connection of the first process send into its room; the other processes receive."""
        control = self._controls[0]
        control.send(("fanout", {"burst": burst, "rounds": rounds, "members": members, "size": size}))
        [sent] = self._answers([control], 600.0)
        assert isinstance(sent, Sent)
        return sent

    def request(self, *, seconds: float, depth: int, size: int) -> Sent:
        """Let every connection keep requests in flight."""
        return _together(self._all("request", seconds, seconds=seconds, depth=depth, size=size))

    def chat(self, *, rate_per_s: float, seconds: float, size: int, one_sender: bool) -> Sent:
        """Send at random times into random rooms."""
        share = rate_per_s / self.setup.processes
        return _together(self._all("chat", seconds, rate_per_s=share, seconds=seconds, size=size, one_sender=one_sender))

    def positions(self) -> dict[str, tuple[int, int]]:
        """Return the lowest and highest position of the readers of each room."""
        found: dict[str, tuple[int, int]] = {}
        for part in self._all("positions", 10.0):
            for room, (low, high) in part.items():
                known = found.get(room, (low, high))
                found[room] = min(low, known[0]), max(high, known[1])
        return found

    def stop_reading(self, count: int) -> int:
        """Let the last `count` connections of each process that has so many stop reading; return how many did."""
        return sum(self._all("stop_reading", 10.0, count=count))

    def read_again(self, seconds: float) -> int:
        """Let them read again; return how many the server had given up."""
        return sum(self._all("read_again", seconds, seconds=seconds))

    def renew(self, credentials: dict[str, str]) -> None:
        """Put new tokens on open connections, by the old one."""
        self._all("renew", 10.0, credentials=credentials)

    def collect(self) -> Gathered:
        """Return what all processes saw since the last time; violations are also kept."""
        parts: list[Gathered] = self._all("collect", 60.0)
        whole = parts[0]
        for part in parts[1:]:
            for name in ("deliveries", "acks", "resets", "caught_up", "heartbeats", "received_bytes"):
                setattr(whole, name, getattr(whole, name) + getattr(part, name))
            for name in ("refused", "lost", "retried"):
                getattr(whole, name).update(getattr(part, name))
            whole.busy = max(whole.busy, part.busy)
            whole.violations.merge(part.violations)
        for name in ("latency", "connecting", "settling"):
            setattr(whole, name, Histogram(getattr(part, name) for part in parts).encode())
        self.violations.merge(whole.violations)
        return whole

    # -- the pipes --------------------------------------------------------------------------------

    def _all(self, name: str, within_s: float, /, **arguments: Any) -> list[Any]:
        return self._each(name, [arguments] * self.setup.processes, within_s)

    def _each(self, name: str, arguments: Sequence[dict[str, Any]], timeout_s: float) -> list[Any]:
        for control, one in zip(self._controls, arguments, strict=True):
            control.send((name, one))
        return self._answers(self._controls, timeout_s)

    def _answers(self, controls: Sequence[Connection], timeout_s: float) -> list[Any]:
        end = time.monotonic() + timeout_s + _SLACK_S
        answers = []
        for control in controls:
            while not control.poll(_LOOK_S):
                self.watch(self.totals())
                if time.monotonic() > end:
                    raise ClientFailed("a client process did not answer in time")
            try:
                done, answer = control.recv()
            except EOFError:
                raise ClientFailed("a client process died") from None
            if not done:
                raise ClientFailed(answer)
            answers.append(answer)
        self.watch(self.totals())
        return answers


def by_room(places: Sequence[Place], processes: int) -> list[list[Place]]:
    """Deal places to processes so that a room's are all in one: it then knows alone what must arrive."""
    rooms = list(dict.fromkeys(place.room for place in places))
    process_of = {room: number % processes for number, room in enumerate(rooms)}
    hands: list[list[Place]] = [[] for _ in range(processes)]
    for place in places:
        hands[process_of[place.room]].append(place)
    return hands


def _together(parts: Sequence[Sent]) -> Sent:
    heads: dict[str, int] = {}
    for part in parts:
        heads |= part.heads
    return Sent(sum(one.sent for one in parts), sum(one.acked for one in parts), max(one.seconds for one in parts), heads)
