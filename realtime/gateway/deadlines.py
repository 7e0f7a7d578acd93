"""Deadlines of many connections on one timer each kind, without cancelling.

A heartbeat is the same delay for everybody, so what comes in last is due last: a FIFO is a timing wheel with exact times
(Varghese & Lauck 1987, scheme 1 for one interval). Nobody cancels; who is called looks whether it still matters. So an
answered ping costs one comparison, and there is no handle per connection.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

from realtime import tasks

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Deadlines(Generic[T]):
    """One delay for all.

    Args:
        delay_s: Seconds.
        due: Called with the item and the time that `add` returned for it. What it raises is reported, and holds up no other item.
    """

    __slots__ = ("_delay_s", "_due", "_loop", "_queue", "_timer")

    def __init__(self, delay_s: float, due: Callable[[T, float], None], loop: asyncio.AbstractEventLoop) -> None:
        self._delay_s = delay_s
        self._due = due
        self._loop = loop
        self._queue: deque[tuple[float, T]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: T) -> float:
        """Have `due` called for this item after the delay; return when, in the loop's seconds."""
        at_s = self._loop.time() + self._delay_s
        self._queue.append((at_s, item))
        if self._timer is None:
            self._timer = self._loop.call_at(at_s, self._fire)
        return at_s

    def expire(self) -> None:
        """Call all that is due later now, for the last time."""
        queue, self._queue = self._queue, deque()
        self.close()
        for at_s, item in queue:
            self._call(item, at_s)

    def close(self) -> None:
        """Forget everything."""
        self._queue.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _call(self, item: T, at_s: float) -> None:
        try:
            self._due(item, at_s)
        except Exception as error:  # noqa: BLE001 - the others are due too
            tasks.report(self._loop, "a deadline", error)

    def _fire(self) -> None:
        self._timer = None
        now_s = self._loop.time() + 0.0005  # loops round timers to a millisecond
        while self._queue and self._queue[0][0] <= now_s:
            at_s, item = self._queue.popleft()
            self._call(item, at_s)
        if self._queue and self._timer is None:
            self._timer = self._loop.call_at(self._queue[0][0], self._fire)


class Calendar(Generic[T]):
    """Deadlines at any time, to the second: one bucket a second.

    Args:
        due: Called with the item, not before its time and at most two seconds late. What it raises is reported.
        clock: Seconds, of any kind.
    """

    __slots__ = ("_buckets", "_clock", "_due", "_loop", "_timer")

    def __init__(self, due: Callable[[T], None], clock: Callable[[], float], loop: asyncio.AbstractEventLoop) -> None:
        self._due = due
        self._clock = clock
        self._loop = loop
        self._buckets: dict[int, set[T]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, item: T, at_s: float) -> None:
        self._buckets.setdefault(math.ceil(at_s), set()).add(item)
        if self._timer is None:
            self._timer = self._loop.call_later(1, self._fire)

    def discard(self, item: T, at_s: float) -> None:
        """Forget an item that was added for this time: deadlines are far away, and items would pile up until then."""
        bucket = self._buckets.get(math.ceil(at_s))
        if bucket is not None:
            bucket.discard(item)
            if not bucket:
                del self._buckets[math.ceil(at_s)]

    def close(self) -> None:
        """Forget everything."""
        self._buckets.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _fire(self) -> None:
        self._timer = None
        now_s = self._clock()
        for second in sorted(second for second in self._buckets if second <= now_s):
            for item in self._buckets.pop(second):
                try:
                    self._due(item)
                except Exception as error:  # noqa: BLE001 - the others are due too
                    tasks.report(self._loop, "a deadline", error)
        if self._buckets and self._timer is None:
            self._timer = self._loop.call_later(1, self._fire)
