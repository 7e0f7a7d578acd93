"""How many requests are made at once, in all and to one host. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter")


class Slots(Generic[Waiter]):
    """Which requests are made, and which wait. First come, first served, but none waits behind one whose host is busy.

    Args:
        in_all: Requests at once.
        per_host: Of these, to one host.
        waiting: How many may wait; a tenth of them for one host.
    """

    def __init__(self, in_all: int, per_host: int, waiting: int) -> None:
        self._in_all = in_all
        self._per_host = per_host
        self._waiting = waiting
        self._busy: Counter[str] = Counter()
        self._queue: dict[Waiter, str] = {}  # in the order in which they came
        self._queued: Counter[str] = Counter()

    @property
    def busy(self) -> int:
        return self._busy.total()

    @property
    def waiting(self) -> int:
        return len(self._queue)

    def take(self, host: str) -> bool:
        """Take a slot; False: there is none, so `wait`."""
        if self.busy >= self._in_all or self._busy[host] >= self._per_host:
            return False
        self._busy[host] += 1
        return True

    def wait(self, host: str, waiter: Waiter) -> bool:
        """Queue up; False: too many do already."""
        if len(self._queue) >= self._waiting or self._queued[host] >= max(1, self._waiting // 10):
            return False
        self._queue[waiter] = host
        self._queued[host] += 1
        return True

    def leave(self, waiter: Waiter) -> bool:
        """Stop waiting; False: it does not wait, since it was given a slot or never queued up."""
        host = self._queue.pop(waiter, None)
        if host is None:
            return False
        _less(self._queued, host)
        return True

    def give(self, host: str) -> Waiter | None:
        """Give a slot back; return the waiter that has one now."""
        _less(self._busy, host)
        for waiter, wanted in self._queue.items():
            if self.take(wanted):
                self.leave(waiter)
                return waiter
        return None


def _less(counter: Counter[str], key: str) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]  # names come from others: none is kept
