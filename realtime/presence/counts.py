"""How many members of large rooms are there: counted again and again for as long as somebody looks at the room."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from realtime import errors
from realtime.model import RoomId, UserId

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from realtime.presence.store import PresenceStore

COUNT_S = 1.0
"""How often rooms are counted."""
_MEMBERS_S = 60.0  # how old what is known of a room's members may be
_MEMBERS_AT_MOST = 100_000
_ROOMS_AT_MOST = 200  # on one node


class _Count:
    __slots__ = ("asker", "members", "online", "read_at_s")

    def __init__(self, members: set[UserId], read_at_s: float, asker: UserId) -> None:
        self.asker = asker  # who was the first to look
        self.members = members
        self.read_at_s = read_at_s
        self.online = 0


class RoomCounts:
    """The large rooms that somebody on this node looks at.

    Args:
        store: Knows the members.
        clock: Monotonic seconds.
        there: Returns everybody who is there.
    """

    def __init__(self, store: PresenceStore, clock: Callable[[], float], there: Callable[[], set[UserId]]) -> None:
        self._store = store
        self._clock = clock
        self._there = there
        self._counts: dict[RoomId, _Count] = {}

    def __contains__(self, room: RoomId) -> bool:
        return room in self._counts

    def online(self, room: RoomId) -> int:
        """Return how many were there when the room was counted last."""
        return self._counts[room].online

    async def add(self, room: RoomId, asker: UserId) -> bool:
        """Count a room from now on; tell whether it is, since not too many are. Raises Unavailable.

        When all places are taken, one is taken from whoever has most of them, unless that is who asks.
        """
        if room not in self._counts:
            if not self._has_place(asker):
                return False
            count = _Count(await self._members(room), self._clock(), asker)
            if not self._has_place(asker):  # others came meanwhile
                return False
            self._make_place(asker)
            count.online = len(count.members & self._there())
            self._counts[room] = count
        return True

    def _has_place(self, asker: UserId) -> bool:
        return len(self._counts) < _ROOMS_AT_MOST or self._greedy(asker) is not None

    def _make_place(self, asker: UserId) -> None:
        if len(self._counts) >= _ROOMS_AT_MOST and (greedy := self._greedy(asker)) is not None:
            del self._counts[next(room for room in reversed(self._counts) if self._counts[room].asker == greedy)]

    def _greedy(self, asker: UserId) -> UserId | None:
        """Return who has most places, if that is two more than the one who asks has."""
        places = Counter(count.asker for count in self._counts.values())
        [(user, most)] = places.most_common(1)
        return user if most > places[asker] + 1 else None

    def left(self, user: UserId, room: RoomId) -> None:
        """Somebody is no member of a room any more."""
        if room in self._counts:
            self._counts[room].members.discard(user)

    async def count(self, looked_at: Collection[RoomId]) -> list[RoomId]:
        """Count the rooms that are looked at, and forget the others; return those whose count is another than before."""
        now_s = self._clock()
        for room, count in list(self._counts.items()):
            if room not in looked_at and now_s - count.read_at_s >= COUNT_S:  # one just added is not looked at yet
                del self._counts[room]
            elif now_s - count.read_at_s >= _MEMBERS_S:
                count.read_at_s = now_s
                try:
                    count.members = await self._members(room)
                except errors.Unavailable:
                    continue  # those of before, in the meantime
        there = self._there() if self._counts else set[UserId]()
        before = {room: count.online for room, count in self._counts.items()}
        for count in self._counts.values():
            count.online = len(count.members & there)
        return [room for room, count in self._counts.items() if count.online != before[room]]

    async def _members(self, room: RoomId) -> set[UserId]:
        return set(await self._store.members(room, _MEMBERS_AT_MOST))
