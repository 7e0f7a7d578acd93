"""Presence: counts this node's connections, tells the other nodes, and tells those who watch."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

import msgspec

from realtime import tasks
from realtime.model import UserId
from realtime.presence.lease import FAILURES, LEASE_S
from realtime.presence.state import PresenceState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from realtime.presence.lease import Lease

logger = logging.getLogger(__name__)

GRACE_S = 5.0
"""How long a user stays online after the last connection went: a reload is no departure."""
RENEW_S = 5.0
SETTLE_S = 0.05
"""Changes within this time go out together."""


class Watcher(Protocol):
    """A connection that watches users. Must not raise."""

    def presence(self, changes: Sequence[tuple[str, bool]], /) -> None: ...


class Change(msgspec.Struct, array_like=True):
    """What a node tells the others: the number of this change, who came and who went. Nobody: a sign of life."""

    node: str
    version: int
    joined: list[str]
    left: list[str]
    gone: bool = False


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Change).decode


class Presence:
    """The service of presence.

    Args:
        node: This node.
        lease: Where nodes find each other.
        publish: Sends a message to all nodes; may be lost.
        clock: Monotonic seconds.
    """

    def __init__(self, node: str, lease: Lease, publish: Callable[[bytes], None], clock: Callable[[], float]) -> None:
        self._node = node
        self._lease = lease
        self._publish = publish
        self._clock = clock
        self._state = PresenceState()
        self._version = 0  # of what the others were told
        self._own_changes = 0
        self._connections: dict[UserId, int] = {}
        self._leaving: dict[UserId, asyncio.TimerHandle] = {}
        self._present: set[UserId] = set()
        self._joined: set[UserId] = set()
        self._left: set[UserId] = set()
        self._watchers: dict[UserId, set[Watcher]] = {}
        self._watching: dict[Watcher, list[UserId]] = {}
        self._unsynced: set[str] = set()
        self._rewrite = True
        self._changed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    # -- life -------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Learn of the other nodes, as far as Redis answers, and start telling them of this one."""
        self._state.replace(self._node, set(), 0, float("inf"))
        await self._find_others()
        self._tasks = [asyncio.create_task(self._tell()), asyncio.create_task(self._keep())]

    async def close(self) -> None:
        """Say that this node goes, and give the lease back."""
        await tasks.end(self._tasks)
        for handle in self._leaving.values():
            handle.cancel()
        self._publish(_encode(Change(self._node, self._version + 1, [], [], gone=True)))
        try:
            await self._lease.remove()
        except FAILURES:
            logger.info("the lease could not be given back; it runs out in %.0f s", LEASE_S)
        await self._lease.close()

    # -- this node's connections ------------------------------------------------------------------

    def connected(self, user: UserId) -> None:
        self._connections[user] = self._connections.get(user, 0) + 1
        leaving = self._leaving.pop(user, None)
        if leaving is not None:
            leaving.cancel()
        if user not in self._present:
            self._set(user, present=True)

    def disconnected(self, user: UserId) -> None:
        count = self._connections[user] - 1
        if count:
            self._connections[user] = count
        else:
            del self._connections[user]
            self._leaving[user] = asyncio.get_running_loop().call_later(GRACE_S, self._leave, user)

    def _leave(self, user: UserId) -> None:
        del self._leaving[user]
        self._set(user, present=False)

    def _set(self, user: UserId, *, present: bool) -> None:
        (self._present.add if present else self._present.discard)(user)
        (self._joined if present else self._left).add(user)
        (self._left if present else self._joined).discard(user)
        self._changed.set()
        # Who watches on this node need not wait until the others are told.
        self._own_changes += 1
        who, nobody = {user}, set[UserId]()
        joined, left = (who, nobody) if present else (nobody, who)
        self._notify(self._state.change(self._node, joined, left, self._own_changes, float("inf")) or ())

    # -- those who watch --------------------------------------------------------------------------

    def watch(self, watcher: Watcher, users: Sequence[UserId]) -> list[tuple[str, bool]]:
        """Watch these users and no others any more; return how they are now."""
        self.unwatch(watcher)
        watched = list(dict.fromkeys(users))
        if watched:
            self._watching[watcher] = watched
        for user in watched:
            self._watchers.setdefault(user, set()).add(watcher)
        return [(user, self._state.is_online(user)) for user in watched]

    def unwatch(self, watcher: Watcher) -> None:
        for user in self._watching.pop(watcher, ()):
            watchers = self._watchers[user]
            watchers.discard(watcher)
            if not watchers:
                del self._watchers[user]

    def _notify(self, changes: Iterable[tuple[UserId, bool]]) -> None:
        for_each: dict[Watcher, list[tuple[str, bool]]] = {}
        for user, online in changes:
            for watcher in self._watchers.get(user, ()):
                for_each.setdefault(watcher, []).append((user, online))
        for watcher, seen in for_each.items():
            watcher.presence(seen)

    # -- to the other nodes -----------------------------------------------------------------------

    async def _tell(self) -> None:
        """Send changes as they come, and a sign of life when there are none."""
        while True:
            try:
                async with asyncio.timeout(RENEW_S):
                    await self._changed.wait()
                await asyncio.sleep(SETTLE_S)
            except TimeoutError:
                pass  # nothing changed: a sign of life is due
            self._changed.clear()
            joined, self._joined = self._joined, set()
            left, self._left = self._left, set()
            if joined or left:
                self._version += 1
            try:
                if self._rewrite:
                    await self._lease.rewrite(self._version, list(self._present - self._joined))
                    self._rewrite = False
                else:
                    await self._lease.write(self._version, joined, left)
            except FAILURES:
                self._rewrite = True
                await asyncio.sleep(SETTLE_S)
            self._publish(_encode(Change(self._node, self._version, list(joined), list(left))))

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
        joined = {UserId(user) for user in change.joined}
        left = {UserId(user) for user in change.left}
        changes = self._state.change(change.node, joined, left, change.version, self._clock() + LEASE_S)
        if changes is None:
            self._unsynced.add(change.node)
        else:
            self._notify(changes)

    def resync(self) -> None:
        """The bus was away: signs of life could not come, and changes may be lost."""
        self._state.extend(self._clock() + LEASE_S)
        self._unsynced.update(node for node in self._state.nodes if node != self._node)
        self._rewrite = True
        self._changed.set()

    def suspend(self) -> None:
        """The bus is away: what is known of other nodes stays until it is back."""
        self._state.extend(self._clock() + LEASE_S)

    async def _keep(self) -> None:
        """Read snapshots of nodes whose changes were missed, and let the dead go."""
        next_search_s = self._clock() + RENEW_S
        while True:
            await asyncio.sleep(0.2)
            if self._clock() >= next_search_s:
                next_search_s = self._clock() + RENEW_S
                await self._find_others()
            elif self._unsynced:
                await self._read(list(self._unsynced))
            self._notify(self._state.expire(self._clock()))

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
                found = await self._lease.read(node)
                self._unsynced.discard(node)
                # No lease is no proof of death: Redis may have come back empty. The node's own time runs out if it is dead.
                if found is not None:
                    version, users = found
                    self._notify(self._state.replace(node, users, version, self._clock() + LEASE_S))
        except FAILURES:
            self.suspend()
