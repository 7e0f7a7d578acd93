"""One authenticated connection as the rooms and presence see it: who, what it receives, and what it may still send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from realtime.contract import socket
from realtime.limits import TokenBucket

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable, Coroutine, Sequence

    from realtime.gateway.connection import Connection
    from realtime.model import RoomId, SessionId, UserId

_encode = msgspec.json.Encoder().encode
_REASONS: dict[str, Literal["removed", "banned"]] = {"removed": "removed", "banned": "banned"}


class Peer:
    """A `rooms.feed.Subscriber` and a `presence.Watcher` over a `Connection`.

    Args:
        connection: Authenticated.
    """

    __slots__ = ("closed", "connection", "rooms", "session", "signals", "tail", "user", "waiting")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.user: UserId = connection.principal.user.id
        self.session: SessionId = connection.principal.session
        self.rooms: set[RoomId] = set()
        self.signals: dict[RoomId, TokenBucket] = {}
        self.tail: Task[None] | None = None
        self.waiting: list[Callable[[], Coroutine[None, None, None]]] = []
        self.closed = False

    def write(self, frames: bytes) -> None:
        self.connection.write(frames)

    def emit(self, name: str, payload: msgspec.Struct) -> None:
        """Emit an event with a struct of the contract."""
        self.connection.emit(name, _encode(payload))

    def removed(self, room: RoomId, reason: str) -> None:
        """Say that nothing of the room follows."""
        self.rooms.discard(room)
        self.signals.pop(room, None)
        self.emit("room.removed", socket.RoomRemoved(room=room, reason=_REASONS.get(reason, "left")))

    def presence(self, changes: Sequence[tuple[str, bool]], snapshot: bool = False) -> None:
        """Tell who of the watched users came or went."""
        users = [socket.PresenceOf(user=user, status="online" if online else "offline") for user, online in changes]
        self.emit("presence", socket.Presence(users=users, snapshot=snapshot))

    def signal_wait_s(self, room: RoomId, rate_per_s: float, now_s: float) -> float:
        """Take one signal from the room's budget on this connection; return seconds to wait when it is used up."""
        bucket = self.signals.get(room)
        if bucket is None:
            bucket = self.signals[room] = TokenBucket(rate_per_s, rate_per_s, now_s)
        return bucket.take(now_s)
