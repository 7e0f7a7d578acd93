"""Turns: who has brought more than is served at once waits here, and costs the others a bounded time of each turn of the loop."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol

from realtime import tasks

if TYPE_CHECKING:
    import asyncio

AT_ONCE = 8
"""So many are served in one turn of the loop, a slice of each: floods take some 5 ms of it, however many they are."""


class Waiting(Protocol):
    """Somebody whose turn will come."""

    def go_on(self) -> None:
        """Serve one slice. What it raises is reported, and holds up nobody else."""


class Turns:
    """Serves a few each turn of the loop, in the order in which they came.

    Args:
        loop: Whose turns they are.
        at_once: How many are served in one turn of it.
    """

    __slots__ = ("_at_once", "_is_due", "_loop", "_queue", "now_s")

    def __init__(self, loop: asyncio.AbstractEventLoop, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._loop = loop
        self.now_s = loop.time
        self._queue: deque[Waiting] = deque()
        self._is_due = False

    def add(self, one: Waiting) -> None:
        """Serve a slice of this one in a turn to come."""
        self._queue.append(one)
        if not self._is_due:
            self._is_due = True
            self._loop.call_soon(self._serve)

    def later(self, one: Waiting, delay_s: float) -> None:
        """The same, not before a time has passed."""
        self._loop.call_later(delay_s, self.add, one)

    def _serve(self) -> None:
        for _ in range(min(len(self._queue), self._at_once)):
            try:
                self._queue.popleft().go_on()
            except Exception as error:  # noqa: BLE001 - the others wait for their turn
                tasks.report(self._loop, "a turn", error)
        self._is_due = bool(self._queue)
        if self._is_due:
            self._loop.call_soon(self._serve)
