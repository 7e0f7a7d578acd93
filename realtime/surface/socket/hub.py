"""Who is connected to this node: by user and by session, to `/` and to the namespaces of extensions."""

from __future__ import annotations

from collections.abc import Hashable, KeysView
from typing import TYPE_CHECKING, Generic, TypeVar

from realtime.gateway.session import CloseReason
from realtime.wire import socket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from realtime.gateway.connection import Connection
    from realtime.model import SessionId, UserId
    from realtime.surface.socket.peer import Peer

K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Hashable)


class Hub:
    """The register of authenticated connections."""

    def __init__(self) -> None:
        self._users = _Index["UserId", "Peer"]()
        self._sessions = _Index[str, "Peer"]()
        self._guest_users = _Index["UserId", "Connection"]()
        self._guest_sessions = _Index[str, "Connection"]()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    @property
    def users(self) -> int:
        """How many users are connected to `/`."""
        return len(self._users.keys())

    def add(self, peer: Peer) -> None:
        self._users.add(peer.user, peer)
        self._sessions.add(peer.credential, peer)
        self._count += 1

    def discard(self, peer: Peer) -> None:
        self._users.discard(peer.user, peer)
        self._sessions.discard(peer.credential, peer)
        self._count -= 1

    def of_user(self, user: UserId) -> list[Peer]:
        """Return the user's connections on this node."""
        return self._users.get(user)

    def of_session(self, session: SessionId) -> list[Peer]:
        """Return the connections of one sign-in on this node."""
        return self._sessions.get(session)

    def admit(self, connection: Connection) -> None:
        """Register a connection to a namespace of an extension; it may be connected to `/` as well."""
        self._guest_users.add(connection.user.id, connection)
        self._guest_sessions.add(connection.principal.credential, connection)

    def dismiss(self, connection: Connection) -> None:
        self._guest_users.discard(connection.user.id, connection)
        self._guest_sessions.discard(connection.principal.credential, connection)

    def connections_of_user(self, user: UserId) -> set[Connection]:
        """Return all that one user has open on this node."""
        return {peer.connection for peer in self.of_user(user)} | set(self._guest_users.get(user))

    def connections_of_session(self, session: SessionId) -> set[Connection]:
        """Return all that one sign-in has open on this node."""
        return {peer.connection for peer in self.of_session(session)} | set(self._guest_sessions.get(session))

    def has_room(self, user: UserId, connection: Connection, at_most: int) -> bool:
        """Tell whether the user has no more than `at_most` connections open on this node, this one among them."""
        if self._users.count(user) + self._guest_users.count(user) < at_most:
            return True  # without a look at each: who is connected both ways was even counted twice
        open_ones = self.connections_of_user(user)
        return len(open_ones) < at_most or connection in open_ones

    def tell_user(self, user: UserId, name: str, payload: bytes) -> None:
        """Emit an event on every connection of a user on this node."""
        for peer in self.of_user(user):
            peer.connection.emit(name, payload)

    def end_session(self, session: SessionId) -> None:
        """Close every connection of one sign-in on this node."""
        for connection in self.connections_of_session(session):
            connection.close(CloseReason.SESSION_ENDED)

    def drain(self, spread_s: float) -> list[tuple[float, Peer]]:
        """Tell all connections when to come back, spread over that time; return how long from now each has, in order."""
        peers = list(self)
        leaving = [(spread_s * index / len(peers), peer) for index, peer in enumerate(peers)]
        for after_s, peer in leaving:
            peer.emit("server.drain", socket.ServerDrain(reconnect_after_ms=int(after_s * 1000)))
        return leaving

    def __iter__(self) -> Iterator[Peer]:
        return iter([peer for user in list(self._users.keys()) for peer in self.of_user(user)])


class _Index(Generic[K, V]):
    """Many values under one key. A key with one value, which is the common case, costs no set of its own."""

    def __init__(self) -> None:
        self._values: dict[K, V | set[V]] = {}

    def keys(self) -> KeysView[K]:
        return self._values.keys()

    def add(self, key: K, value: V) -> None:
        found = self._values.get(key)
        if found is None:
            self._values[key] = value
        elif isinstance(found, set):
            found.add(value)
        else:
            self._values[key] = {found, value}

    def discard(self, key: K, value: V) -> None:
        found = self._values.get(key)
        if isinstance(found, set):
            found.discard(value)
            if not found:
                del self._values[key]
        elif found is value:
            del self._values[key]

    def count(self, key: K) -> int:
        found = self._values.get(key)
        if found is None:
            return 0
        return len(found) if isinstance(found, set) else 1

    def get(self, key: K) -> list[V]:
        found = self._values.get(key)
        if found is None:
            return []
        return list(found) if isinstance(found, set) else [found]
