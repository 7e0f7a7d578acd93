"""Saying that something went and came back: each at most once a minute, and the last word is true."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SAY_S = 60.0


class Swings:
    """What has two states, and may swing between them many times a second.

    Args:
        say: Called with the state, why, and how many times it swung since this was last called.
        clock: Monotonic seconds of the running loop.
    """

    def __init__(self, say: Callable[[bool, str, int], None], clock: Callable[[], float]) -> None:
        self._say = say
        self._clock = clock
        self._from_s = {True: float("-inf"), False: float("-inf")}
        self._is_well = self._said = True
        self._why = ""
        self._swung = 0
        self._timer: asyncio.TimerHandle | None = None

    def turn(self, is_well: bool, why: str = "") -> None:
        """Take the state as it is now."""
        if is_well is self._is_well:
            return
        self._is_well, self._why = is_well, why
        self._swung += 1
        self._tell()

    def close(self) -> None:
        """Say nothing more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tell(self) -> None:
        if self._is_well is self._said:
            return
        wait_s = self._from_s[self._is_well] - self._clock()
        if wait_s <= 0:
            self._said = self._is_well
            self._from_s[self._is_well] = self._clock() + SAY_S
            swung, self._swung = self._swung, 0
            self._say(self._is_well, self._why, swung)
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._due)

    def _due(self) -> None:
        self._timer = None
        self._tell()
