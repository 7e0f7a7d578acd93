"""Who watches whom, and when they are told: at once, and then no more often than once a second. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from realtime.model import RoomId, UserId
    from realtime.presence.state import View

K = TypeVar("K")

UPDATE_S = 1.0
"""The least time between two updates of one watcher, however many come and go."""


class Watcher(Protocol):
    """A connection that watches. Must not raise."""

    @property
    def user(self) -> UserId: ...

    def presence(self, views: Sequence[View], counts: Sequence[tuple[RoomId, int]], /) -> None: ...


class News(NamedTuple):
    """What a watcher is to be told now: about whom, and of which rooms the count."""

    watcher: Watcher
    users: Collection[UserId]
    rooms: Collection[RoomId]


class _Watch:
    """What one watcher watches: users it named, the members of small rooms, and the counts of large ones."""

    __slots__ = ("counted", "members", "named", "new_rooms", "new_users", "told_s")

    def __init__(self, named: Iterable[UserId], members: Mapping[RoomId, Iterable[UserId]], counted: Iterable[RoomId]) -> None:
        self.named = frozenset(named)
        self.members = {room: set(users) for room, users in members.items()}
        self.counted = set(counted)
        self.told_s = float("-inf")  # the first change is told at once
        self.new_users: dict[UserId, None] = {}
        self.new_rooms: dict[RoomId, None] = {}

    def users(self) -> set[UserId]:
        return set(self.named).union(*self.members.values())


class Watches:
    """The register of watchers."""

    def __init__(self) -> None:
        self._watches: dict[Watcher, _Watch] = {}
        self._of_user: dict[UserId, set[Watcher]] = {}
        self._of_room: dict[RoomId, set[Watcher]] = {}
        self._waiting: dict[Watcher, None] = {}

    def watch(
        self,
        watcher: Watcher,
        named: Iterable[UserId],
        members: Mapping[RoomId, Iterable[UserId]],
        counted: Iterable[RoomId],
    ) -> list[UserId]:
        """Watch these and nothing else any more; return all users among them."""
        self.unwatch(watcher)
        watch = _Watch(named, members, counted)
        users = watch.users()
        if users or watch.counted:
            self._watches[watcher] = watch
        for user in users:
            self._of_user.setdefault(user, set()).add(watcher)
        for room in (*watch.members, *watch.counted):
            self._of_room.setdefault(room, set()).add(watcher)
        return list(users)

    def unwatch(self, watcher: Watcher) -> None:
        watch = self._watches.pop(watcher, None)
        self._waiting.pop(watcher, None)
        if watch is not None:
            for user in watch.users():
                _take_off(self._of_user, user, watcher)
            for room in (*watch.members, *watch.counted):
                _take_off(self._of_room, room, watcher)

    def lose_room(self, watcher: Watcher, room: RoomId) -> list[UserId]:
        """Watch nothing by a room any more; return whom the watcher lost sight of."""
        watch = self._watches.get(watcher)
        if watch is None or (room not in watch.members and room not in watch.counted):
            return []
        before = watch.users()
        watch.members.pop(room, None)
        watch.counted.discard(room)
        watch.new_rooms.pop(room, None)
        _take_off(self._of_room, room, watcher)
        return self._lost(watcher, watch, before)

    def left(self, user: UserId, room: RoomId) -> list[tuple[Watcher, list[UserId]]]:
        """Somebody is no member of a room any more: they see nothing by it, and nobody sees them by it.

        Returns:
            Who lost sight of whom.
        """
        found = []
        for watcher in list(self._of_room.get(room, ())):
            watch = self._watches[watcher]
            if watcher.user == user:
                found.append((watcher, self.lose_room(watcher, room)))
            elif user in watch.members.get(room, ()):
                before = watch.users()
                watch.members[room].discard(user)
                found.append((watcher, self._lost(watcher, watch, before)))
        return [(watcher, users) for watcher, users in found if users]

    def _lost(self, watcher: Watcher, watch: _Watch, before: set[UserId]) -> list[UserId]:
        gone = list(before - watch.users())
        for user in gone:
            watch.new_users.pop(user, None)
            _take_off(self._of_user, user, watcher)
        return gone

    @property
    def rooms(self) -> Collection[RoomId]:
        """The rooms that somebody looks at."""
        return self._of_room.keys()

    def note(self, users: Iterable[UserId], rooms: Iterable[RoomId], now_s: float) -> list[News]:
        """Take note of changes (monotonic seconds); return what is to be told at once. The rest comes by `due`."""
        concerned: dict[Watcher, None] = {}
        for user in users:
            for watcher in self._of_user.get(user, ()):
                self._watches[watcher].new_users[user] = None
                concerned[watcher] = None
        for room in rooms:
            for watcher in self._of_room.get(room, ()):
                if room in self._watches[watcher].counted:
                    self._watches[watcher].new_rooms[room] = None
                    concerned[watcher] = None
        self._waiting.update(concerned)
        return self._take(concerned, now_s)

    def due(self, now_s: float) -> list[News]:
        """Return what was held back and is to be told now."""
        return self._take(list(self._waiting), now_s)

    def _take(self, watchers: Iterable[Watcher], now_s: float) -> list[News]:
        found = []
        for watcher in watchers:
            watch = self._watches[watcher]
            if now_s - watch.told_s >= UPDATE_S:
                found.append(News(watcher, list(watch.new_users), list(watch.new_rooms)))
                watch.told_s = now_s
                watch.new_users.clear()
                watch.new_rooms.clear()
                del self._waiting[watcher]
        return found


def _take_off(index: dict[K, set[Watcher]], key: K, watcher: Watcher) -> None:
    watchers = index[key]
    watchers.discard(watcher)
    if not watchers:
        del index[key]
