"""Presence: what this node's connections mean for others, told to the other nodes and to those who watch."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from realtime import errors, tasks
from realtime.model import Choice, PresenceSetting, RoomId, Status, UserId, is_uuid
from realtime.presence.counts import COUNT_S, RoomCounts
from realtime.presence.lease import FAILURES, LEASE_S, Forged, pack_entry, unpack_entry
from realtime.presence.state import PLAIN, Entry, PresenceState, View, hides
from realtime.presence.watches import Watches

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from realtime.presence.lease import Lease
    from realtime.presence.store import PresenceStore
    from realtime.presence.watches import News, Watcher
    from realtime.runtime import Runtime

logger = logging.getLogger(__name__)

GRACE_S = 5.0
"""How long a user stays online after the last connection went: a reload is no departure."""
RENEW_S = 5.0
SETTLE_S = 0.05
"""Changes within this time go out together."""
CHOICES_S = 10.0
"""How often the store is asked what people chose elsewhere: what was told of it may have been lost."""
_CHOICES_MARGIN_S = 60.0  # how long a change may take to show in the store
_RETRY_S = 1.0
_LOOK_S = 0.2
_COMPLAIN_S = 60.0
_BURIED_AT_MOST = 1000
_USERS_AT_ONCE = 1000
_SEEN_AT_MOST = 100_000  # departures that wait for the store
_INVISIBLE_AT_MOST = 100_000


class Change(msgspec.Struct, array_like=True):
    """What a node tells the others: the number of this change, who came and who went. Nobody: a sign of life.

    `joined` names also those whose entry changed; `entries` has what there is to say of them, and `seen` when those who left
    were last seen (Unix seconds). `is_sealed`: the node's lease is; that of a node of the release before is not, and not read, so
    that of its users only those are known who came, or changed, since it was heard first.
    """

    node: str
    version: int
    joined: list[str]
    left: list[str]
    gone: bool = False
    entries: dict[str, msgspec.Raw] = {}
    seen: dict[str, float] = {}
    is_sealed: bool = False


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Change).decode


class Sight(NamedTuple):
    """What somebody wants to watch.

    Args:
        named: Users by their ids.
        members: Those of small rooms.
        counted: Large rooms.
        last_seen_s: As the store says, Unix seconds, of some who are not there.
    """

    named: Sequence[UserId]
    members: dict[RoomId, list[UserId]]
    counted: list[RoomId]
    last_seen_s: dict[UserId, float | None]


class Presence:
    """The service of presence.

    Args:
        node: This node.
        lease: Where nodes find each other.
        store: What people chose, when they were last seen, and who is in a room.
        publish: Sends a message to all nodes; may be lost.
        tell_choice: Makes known, elsewhere and to the user's own connections, what somebody chose.
        room_members: How many members of a room are watched one by one; larger rooms are counted.
        runtime: Clocks, and who runs what runs in the background.
    """

    def __init__(
        self,
        node: str,
        lease: Lease,
        store: PresenceStore,
        publish: Callable[[bytes], None],
        tell_choice: Callable[[UserId, PresenceSetting], None],
        room_members: int,
        runtime: Runtime,
    ) -> None:
        self._loops = runtime.loops
        self._node = node
        self._lease = lease
        self._store = store
        self._publish = publish
        self._tell_choice = tell_choice
        self._clock = clock = runtime.clock
        self._wall = runtime.wall
        self._room_members = room_members
        self._state = PresenceState()
        self._watches = Watches()
        self._version = 0  # of what the others were told
        self._own_changes = 0
        self._connections: dict[UserId, int] = {}
        self._idle: dict[UserId, int] = {}  # how many of them
        self._settings: dict[UserId, PresenceSetting] = {}  # of those who are connected here
        self._invisible: set[UserId] = set()  # of all, for when the store does not answer
        self._unread: dict[UserId, None] = {}  # whose setting is not known: they are not shown before it is
        self._leaving: dict[UserId, asyncio.TimerHandle] = {}
        self._shown: dict[UserId, Entry] = {}
        self._came: dict[UserId, Entry] = {}  # what the others are to be told
        self._left: dict[UserId, float] = {}
        self._seen: dict[UserId, float] = {}  # what the store is to be told
        self._counts = RoomCounts(store, clock, lambda: self._state.users)
        self._unsynced: set[str] = set()
        self._rewrite = True
        self._changed, self._asked, self._went = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._buried: dict[str, None] = {}  # the store knows when their users were last seen
        self._choices_read_s = clock()
        self._next_search_s = 0.0
        self._complain_from_s = 0.0

    # -- life -------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Learn of the other nodes, as far as Redis answers, and start telling them of this one. Raises Unavailable."""
        self._state.replace(self._node, {}, 0, float("inf"))
        self._invisible = await self._store.invisible(_INVISIBLE_AT_MOST)
        await self._find_others()
        start = self._loops.start
        self._tasks = [
            start("presence.tell", self._tell, every_s=RENEW_S, called=self._changed),
            start("presence.keep", self._keep, every_s=_LOOK_S),
            start("presence.find", self._find, every_s=_LOOK_S),
            start("presence.settings", self._read_settings, called=self._asked),
            start("presence.choices", self._follow_choices, every_s=CHOICES_S),
            start("presence.seen", self._write_seen, called=self._went),
            start("presence.count", self._count, every_s=COUNT_S),
        ]

    async def close(self) -> None:
        """Say that this node goes, and give the lease back."""
        await tasks.end(self._tasks)
        for handle in self._leaving.values():
            handle.cancel()
        self._publish(_encode(Change(self._node, self._version + 1, [], [], gone=True)))
        try:
            await self._lease.remove()
        except Exception:  # noqa: BLE001 - the rest of the node is to close too
            logger.info("the lease could not be given back; it runs out in %.0f s", LEASE_S)
        await self._lease.close()
        if not [node for node in self._state.nodes if node != self._node]:
            # Nobody is left who would see them go.
            self._seen.update(dict.fromkeys(self._shown, self._wall()))
        try:
            await self._store_seen()
        except Exception as error:  # noqa: BLE001 - the rest of the node is to close too
            logger.warning("when users were last seen could not be stored: %s", type(error).__name__)

    # -- this node's connections ------------------------------------------------------------------

    def connected(self, user: UserId) -> None:
        self._connections[user] = self._connections.get(user, 0) + 1
        if user in self._settings:
            self._refresh(user)
        else:
            self._unread[user] = None
            self._asked.set()

    def disconnected(self, user: UserId, *, idle: bool = False) -> None:
        if idle:
            self.set_idle(user, idle=False)
        count = self._connections[user] - 1
        if count:
            self._connections[user] = count
        else:
            del self._connections[user]
            self._unread.pop(user, None)
        self._refresh(user)

    def set_idle(self, user: UserId, *, idle: bool) -> None:
        """Take note that one connection of a user became idle, or is not any more."""
        count = self._idle.get(user, 0) + (1 if idle else -1)
        if count:
            self._idle[user] = count
        else:
            del self._idle[user]
        self._refresh(user)

    def chosen(self, user: UserId, setting: PresenceSetting) -> None:
        """Take what a user chose, here or on another node."""
        if not hides(setting.choice):
            self._invisible.discard(user)
        elif len(self._invisible) < _INVISIBLE_AT_MOST:
            self._invisible.add(user)
        known = self._settings.get(user)
        if known is not None and setting.version > known.version:
            self._settings[user] = setting
            self._refresh(user)

    def _refresh(self, user: UserId) -> None:
        """Show the user as they want it; who has no connection left, or became invisible, goes after the grace."""
        setting = self._settings.get(user)
        if setting is None:
            return
        count = self._connections.get(user, 0)
        if count and not hides(setting.choice):
            leaving = self._leaving.pop(user, None)
            if leaving is not None:
                leaving.cancel()
            idle = self._idle.get(user, 0) == count
            entry = Entry(setting.choice, idle, setting.text, setting.text_until_s, setting.version)
            if setting == _UNSET:
                entry = _IDLE if idle else PLAIN
            if self._shown.get(user) != entry:
                self._show(user, entry)
        elif user in self._shown:
            if user not in self._leaving:
                self._leaving[user] = asyncio.get_running_loop().call_later(GRACE_S, self._leave, user, self._wall())
        elif not count:
            del self._settings[user]

    def _show(self, user: UserId, entry: Entry) -> None:
        self._shown[user] = self._came[user] = entry
        self._left.pop(user, None)
        self._own_change({user: entry}, {})

    def _leave(self, user: UserId, seen_s: float) -> None:
        del self._leaving[user]
        del self._shown[user]
        self._came.pop(user, None)
        self._left[user] = seen_s
        self._own_change({}, {user: seen_s})
        if user not in self._state:
            self._saw(user, seen_s)
        if user not in self._connections:
            del self._settings[user]

    def _own_change(self, shown: dict[UserId, Entry], left: dict[UserId, float]) -> None:
        # Who watches on this node need not wait until the others are told.
        self._changed.set()
        self._own_changes += 1
        self._note(self._state.change(self._node, shown, left, self._own_changes, float("inf")) or ())

    def _saw(self, user: UserId, seen_s: float) -> None:
        if len(self._seen) < _SEEN_AT_MOST:
            self._seen[user] = max(seen_s, self._seen.get(user, 0.0))
            self._went.set()

    # -- what people chose ------------------------------------------------------------------------

    async def setting(self, user: UserId) -> PresenceSetting:
        """Return what a user chose. Raises Unavailable."""
        known = (await self._store.read([user])).get(user)
        return _over(known.setting, self._wall()) if known else _UNSET

    async def choose(self, user: UserId, choice: Choice | None, text: str | None, text_life_s: float | None) -> PresenceSetting:
        """Store what a user chose, and show it everywhere; what is None stays.

        Raises:
            Unavailable: it may be stored.
        """
        setting = await self._store.choose(user, choice, text, text_life_s)
        self.chosen(user, setting)
        self._tell_choice(user, setting)
        return _over(setting, self._wall())

    async def _read_settings(self) -> None:
        """Ask the store what those chose who connected; all who came meanwhile in one query."""
        users = list(self._unread)[:_USERS_AT_ONCE]
        try:
            found = await self._store.read(users)
        except Exception:
            self._do_without(users)
            raise  # and is asked again in a moment
        for user in users:
            if self._unread.pop(user, self) is None:  # still connected
                self._settings[user] = found[user].setting if user in found else _UNSET
                self._refresh(user)
        if self._unread:
            self._asked.set()

    def _do_without(self, users: Sequence[UserId]) -> None:
        """Show people without the store, as other nodes do or as most are; who may be invisible waits until it answers."""
        for user in users:
            if user in self._unread and user not in self._invisible and len(self._invisible) < _INVISIBLE_AT_MOST:
                self._settings[user] = self._state.setting(user) or _UNSET
                self._refresh(user)

    async def _follow_choices(self) -> None:
        """Find what people chose through other nodes and was not heard here."""
        began_s = self._clock()
        found = await self._store.changed_since(began_s - self._choices_read_s + _CHOICES_MARGIN_S)
        self._choices_read_s = began_s
        for user, known in found.items():
            self.chosen(user, known.setting)

    async def _write_seen(self) -> None:
        """Store who was last seen when; all who went within a second in one statement."""
        await asyncio.sleep(_RETRY_S)
        try:
            await self._store_seen()
        except errors.Unavailable:
            self._went.set()  # in a second again

    async def _store_seen(self) -> None:
        while self._seen:
            part = dict(list(self._seen.items())[:_USERS_AT_ONCE])
            await self._store.seen(part)
            for user, seen_s in part.items():
                if self._seen.get(user) == seen_s:
                    del self._seen[user]

    # -- those who watch --------------------------------------------------------------------------

    async def look(self, asker: UserId, users: Sequence[UserId], rooms: Sequence[RoomId]) -> Sight:
        """Find out what there is to watch.

        Args:
            asker: Who asks: places for counts are shared out among users.
            rooms: Whoever asks is a member of each, as the caller knows. Members of small ones are watched one by one.

        Raises:
            Unavailable: who the members are is not known. Named users need no store; then it is not known when they were
                last seen.
        """
        members, counted = dict[RoomId, list[UserId]](), list[RoomId]()
        for room in rooms:
            found = await self._store.members(room, self._room_members + 1)
            if len(found) <= self._room_members:
                members[room] = found
            elif await self._counts.add(room, asker):
                counted.append(room)
        everybody = {*filter(is_uuid, users), *(one for found in members.values() for one in found)}
        away = [one for one in everybody if one not in self._state]
        try:
            stored = await self._store.read(away) if away else {}
        except errors.Unavailable:
            stored = {}
        return Sight(users, members, counted, {user: known.last_seen_s for user, known in stored.items()})

    def watch(self, watcher: Watcher, sight: Sight, rooms: Collection[RoomId]) -> tuple[list[View], list[tuple[RoomId, int]]]:
        """Watch this and nothing else any more; return how it is now.

        Args:
            rooms: Those that the watcher still receives.
        """
        members = {room: users for room, users in sight.members.items() if room in rooms}
        counted = [room for room in sight.counted if room in rooms and room in self._counts]
        users = self._watches.watch(watcher, sight.named, members, counted)
        now_s = self._wall()
        views = [self._state.view(user, now_s, sight.last_seen_s.get(user)) for user in users]
        return views, [(room, self._counts.online(room)) for room in counted]

    def unwatch(self, watcher: Watcher) -> None:
        self._watches.unwatch(watcher)

    def unwatch_room(self, watcher: Watcher, room: RoomId) -> None:
        """Watch nothing by a room any more."""
        self._watches.lose_room(watcher, room)

    def lost_room(self, watcher: Watcher, room: RoomId) -> None:
        """A watcher may not receive a room any more: tell them that they see nobody by it."""
        lost = self._watches.lose_room(watcher, room)
        if lost:
            _tell_lost(watcher, lost)

    def departed(self, user: UserId, room: RoomId) -> None:
        """Somebody left a room: they see nothing by it any more, and nobody sees them by it."""
        self._counts.left(user, room)
        for watcher, lost in self._watches.left(user, room):
            _tell_lost(watcher, lost)

    def _note(self, users: Iterable[UserId], rooms: Iterable[RoomId] = ()) -> None:
        self._tell_watchers(self._watches.note(users, rooms, self._clock()))

    def _tell_watchers(self, news: Iterable[News]) -> None:
        now_s = self._wall()
        for watcher, users, rooms in news:
            views = [self._state.view(user, now_s) for user in users]
            watcher.presence(views, [(room, self._counts.online(room)) for room in rooms if room in self._counts])

    async def _count(self) -> None:
        """Count who is there in the large rooms that somebody looks at."""
        self._note((), await self._counts.count(self._watches.rooms))

    # -- to the other nodes -----------------------------------------------------------------------

    async def _tell(self) -> None:
        """Send changes as they come, and a sign of life when there are none."""
        await asyncio.sleep(SETTLE_S)  # for what comes together
        came, self._came = self._came, {}
        left, self._left = self._left, {}
        if came or left:
            self._version += 1
        change = Change(self._node, self._version, list(came), list(left))
        change.entries = {str(user): msgspec.Raw(pack_entry(entry)) for user, entry in came.items() if entry != PLAIN}
        change.seen = {str(user): seen_s for user, seen_s in left.items()}
        change.is_sealed = True
        rewrite, self._rewrite = self._rewrite or self._lease.is_stale, False
        try:
            if rewrite:
                await self._lease.rewrite(self._version, {u: e for u, e in self._shown.items() if u not in self._came})
            else:
                await self._lease.write(self._version, came, left)
        except FAILURES:
            self._rewrite = True
            await asyncio.sleep(SETTLE_S)
        except BaseException:
            self._rewrite = True
            raise
        finally:
            self._publish(_encode(change))

    # -- from the other nodes ---------------------------------------------------------------------

    def received(self, message: bytes) -> None:
        """Take what another node told.

        Raises:
            ValueError: it is no message of ours.
        """
        change = _decode(message)
        if change.node == self._node:
            return
        if change.gone:
            self._state.end(change.node, self._clock() + GRACE_S)  # meanwhile its users come back elsewhere
            return
        shown = {UserId(user): unpack_entry(change.entries.get(user, b"")) for user in change.joined}
        left = {UserId(user): change.seen.get(user) for user in change.left}
        if not change.is_sealed:
            self._state.adopt(change.node, change.version)
        changed = self._state.change(change.node, shown, left, change.version, self._clock() + LEASE_S)
        if changed is None:
            self._unsynced.add(change.node)
        else:
            self._note(changed)

    def resync(self) -> None:
        """The bus was away: signs of life could not come, and changes may be lost."""
        self._state.extend(self._clock() + LEASE_S)
        self._unsynced.update(node for node in self._state.nodes if node != self._node)
        self._rewrite = True
        self._changed.set()

    def suspend(self) -> None:
        """The bus is away: what is known of other nodes stays until it is back."""
        self._state.extend(self._clock() + LEASE_S)

    async def _find(self) -> None:
        """Read snapshots of nodes whose changes were missed, and look for nodes now and then."""
        if self._clock() >= self._next_search_s:
            await self._find_others()
            self._next_search_s = self._clock() + RENEW_S
        elif self._unsynced:
            await self._read(list(self._unsynced))

    async def _keep(self) -> None:
        """Let the dead go, and tell what was held back."""
        self._bury()
        self._note(self._state.texts_over(self._wall()))
        self._tell_watchers(self._watches.due(self._clock()))

    def _bury(self) -> None:
        """Forget dead nodes. All that live do so by themselves; the first of them tells the store who was there."""
        for node in self._state.dead(self._clock()):
            seen_s = self._wall() - GRACE_S  # it said farewell then, or some seconds earlier fell silent
            changed = self._state.drop(node, seen_s)
            self._buried = {node: None, **self._buried} if len(self._buried) < _BURIED_AT_MOST else {node: None}
            if min(self._state.nodes) == self._node:
                for user in changed:
                    if user not in self._state:
                        self._saw(user, seen_s)
            self._note(changed)

    async def _find_others(self) -> None:
        try:
            nodes = await self._lease.others()
        except FAILURES:
            self.suspend()
            return
        await self._read([node for node in nodes if node in self._unsynced or node not in self._state.nodes])

    async def _read(self, nodes: list[str]) -> None:
        try:
            for node in nodes:
                try:
                    found = await self._lease.read(node)
                except Forged:
                    found = None
                    self._forged()
                self._unsynced.discard(node)
                if found is None and node not in self._state.nodes and node not in self._buried:
                    await self._read_remains(node)
                # No lease is no proof of death: Redis may have come back empty. The node's own time runs out if it is dead.
                if found is not None:
                    version, users = found
                    self._note(self._state.replace(node, users, version, self._clock() + LEASE_S))
        except FAILURES:
            self.suspend()

    async def _read_remains(self, node: str) -> None:
        """Tell the store who was there when a node was killed, of which no node knows that lives."""
        try:
            seen_s, users = await self._lease.remains(node)
        except Forged:
            self._forged()
            return
        for user in users:
            if user not in self._state:
                self._saw(user, seen_s)

    def _forged(self) -> None:
        if self._clock() >= self._complain_from_s:
            self._complain_from_s = self._clock() + _COMPLAIN_S
            logger.warning("a lease in Redis was not written by the node that it names, or clocks differ: it is not read")


_UNSET = PresenceSetting()
_IDLE = Entry(idle=True)


def _over(setting: PresenceSetting, now_s: float) -> PresenceSetting:
    """Return a setting without a text that is over."""
    if setting.text_until_s is None or setting.text_until_s > now_s:
        return setting
    return PresenceSetting(setting.choice, version=setting.version)


def _tell_lost(watcher: Watcher, users: Iterable[UserId]) -> None:
    """Tell a watcher of users whom they see no more: for them they are not there."""
    watcher.presence([View(user, Status.OFFLINE) for user in users], ())
