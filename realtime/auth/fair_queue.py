"""A bounded queue in which nobody waits behind all that one address sent. Pure.

Turns go round the addresses (round-robin, RFC 970). When the queue is full, a newcomer takes the place of the last one of the
address that has the most in it (longest queue drop, McKenney 1990): one address may fill a queue that nobody else needs, and has
no more than its share when others come.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Args:
    at_most: Entries of all addresses together.
    """

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._waiting: OrderedDict[str, deque[T]] = OrderedDict()  # in the order of their turns
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[T]:
        return (one for entries in self._waiting.values() for one in entries)

    def push(self, who: str, entry: T) -> T | None:
        """Add an entry, the last of its address.

        Returns:
            None, or the entry that has no place: another address's that had to go for this one, or `entry` itself.
        """
        gone: T | None = None
        if self._count >= self._at_most:
            longest = max(self._waiting, key=lambda one: len(self._waiting[one]), default=who)
            if len(self._waiting.get(longest, ())) <= len(self._waiting.get(who, ())) + 1:
                return entry
            gone = self._take(longest, -1)
        self._waiting.setdefault(who, deque()).append(entry)
        self._count += 1
        return gone

    def pop(self) -> T | None:
        """Take the first entry of the address whose turn it is; None when nothing waits."""
        if not self._waiting:
            return None
        who = next(iter(self._waiting))
        entry = self._take(who, 0)
        if who in self._waiting:
            self._waiting.move_to_end(who)
        return entry

    def remove(self, who: str, entry: T) -> None:
        """Take an entry out that nobody waits for any more; one that is not there is passed over."""
        entries = self._waiting.get(who, ())
        if entry in entries:
            self._take(who, entries.index(entry))

    def _take(self, who: str, at: int) -> T:
        entries = self._waiting[who]
        entry = entries[at]
        del entries[at]
        if not entries:
            del self._waiting[who]
        self._count -= 1
        return entry
