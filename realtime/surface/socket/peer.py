"""One authenticated connection as the rooms and presence see it: who, what it receives, and what it may still send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from realtime.limits import TokenBucket
from realtime.wire import socket
from realtime.wire.types import unix_time

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable, Coroutine, Sequence

    from realtime.gateway.connection import Connection
    from realtime.model import RoomId, UserId
    from realtime.presence.state import View

_encode = msgspec.json.Encoder().encode
_REASONS: dict[str, Literal["removed", "banned"]] = {"removed": "removed", "banned": "banned"}


class Peer:
    """A `rooms.feed.Subscriber` and a `presence.Watcher` over a `Connection`.

    Args:
        connection: Authenticated.
        lost: Called with a room that it may receive no more.

    Attributes:
        idle: Whether the client says that nobody is looking.
        scopes: What its token may ask for.
    """

    __slots__ = ("_lost", "closed", "connection", "credential", "idle", "rooms", "scopes", "signals", "tail", "user", "waiting")

    def __init__(self, connection: Connection, lost: Callable[[Peer, RoomId], None]) -> None:
        self.connection = connection
        self._lost = lost
        self.idle = False
        self.user: UserId = connection.user.id
        self.credential: str = connection.principal.credential
        self.scopes = connection.principal.scopes
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
        self._lost(self, room)
        self.emit("room.removed", socket.RoomRemoved(room=room, reason=_REASONS.get(reason, "left")))

    def reset(self, room: RoomId, head_seq: int) -> None:
        """Say that events up to `head_seq` are left out."""
        self.emit("room.reset", socket.RoomReset(room=room, head_seq=head_seq))

    def mark(self, reached: Callable[[], None]) -> None:
        self.connection.mark(reached)

    def presence(self, views: Sequence[View], counts: Sequence[tuple[RoomId, int]], *, snapshot: bool = False) -> None:
        """Tell how watched users are, and how many are there in watched rooms."""
        users = [
            socket.PresenceOf(
                user=one.user,
                status=one.status,
                text=one.text or None,
                text_expires_at=unix_time(one.text_until_s),
                last_seen_at=unix_time(one.last_seen_s),
            )
            for one in views
        ]
        rooms = [socket.RoomCount(room=room, online=online) for room, online in counts]
        self.emit("presence", socket.Presence(users=users, rooms=rooms, snapshot=snapshot))

    def signal_wait_s(self, room: RoomId, rate_per_s: float, now_s: float) -> float:
        """Take one signal from the room's budget on this connection; return seconds to wait when it is used up."""
        bucket = self.signals.get(room)
        if bucket is None:
            bucket = self.signals[room] = TokenBucket(rate_per_s, rate_per_s, now_s)
        return bucket.take(now_s)
