"""Who is connected to this node: by user and by session."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from realtime.gateway.peer import Peer
    from realtime.model import SessionId, UserId

K = TypeVar("K", bound=Hashable)


class Hub:
    """The register of authenticated connections."""

    def __init__(self) -> None:
        self._users = _Index["UserId"]()
        self._sessions = _Index["SessionId"]()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def add(self, peer: Peer) -> None:
        self._users.add(peer.user, peer)
        self._sessions.add(peer.session, peer)
        self._count += 1

    def discard(self, peer: Peer) -> None:
        self._users.discard(peer.user, peer)
        self._sessions.discard(peer.session, peer)
        self._count -= 1

    def of_user(self, user: UserId) -> list[Peer]:
        """Return the user's connections on this node."""
        return self._users.get(user)

    def of_session(self, session: SessionId) -> list[Peer]:
        """Return the connections of one sign-in on this node."""
        return self._sessions.get(session)

    def __iter__(self) -> Iterator[Peer]:
        return iter([peer for user in list(self._users.keys()) for peer in self.of_user(user)])


class _Index(Generic[K]):
    """Many peers under one key. A key with one peer, which is the common case, costs no set of its own."""

    def __init__(self) -> None:
        self._peers: dict[K, Peer | set[Peer]] = {}

    def keys(self) -> Iterable[K]:
        return self._peers.keys()

    def add(self, key: K, peer: Peer) -> None:
        found = self._peers.get(key)
        if found is None:
            self._peers[key] = peer
        elif isinstance(found, set):
            found.add(peer)
        else:
            self._peers[key] = {found, peer}

    def discard(self, key: K, peer: Peer) -> None:
        found = self._peers.get(key)
        if isinstance(found, set):
            found.discard(peer)
            if not found:
                del self._peers[key]
        elif found is peer:
            del self._peers[key]

    def get(self, key: K) -> list[Peer]:
        found = self._peers.get(key)
        if found is None:
            return []
        return list(found) if isinstance(found, set) else [found]
