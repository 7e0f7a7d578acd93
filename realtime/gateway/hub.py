"""Who is connected to this node: by user and by session."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.gateway.peer import Peer
    from realtime.limits import TokenBucket
    from realtime.model import SessionId, UserId


class Local:
    """A user's connections on this node, and the send budget that they share."""

    __slots__ = ("peers", "sends")

    def __init__(self, sends: TokenBucket) -> None:
        self.peers: set[Peer] = set()
        self.sends = sends


class Hub:
    """The register of authenticated connections.

    Args:
        new_bucket: Makes the send budget of a user who has just come.
    """

    def __init__(self, new_bucket: Callable[[], TokenBucket]) -> None:
        self._new_bucket = new_bucket
        self._users: dict[UserId, Local] = {}
        self._sessions: dict[SessionId, set[Peer]] = {}

    def add(self, peer: Peer) -> Local:
        local = self._users.get(peer.user)
        if local is None:
            local = self._users[peer.user] = Local(self._new_bucket())
        local.peers.add(peer)
        self._sessions.setdefault(peer.session, set()).add(peer)
        return local

    def discard(self, peer: Peer) -> None:
        local = self._users.get(peer.user)
        if local is not None:
            local.peers.discard(peer)
            if not local.peers:
                del self._users[peer.user]
        same = self._sessions.get(peer.session)
        if same is not None:
            same.discard(peer)
            if not same:
                del self._sessions[peer.session]

    def of_user(self, user: UserId) -> list[Peer]:
        """Return the user's connections on this node."""
        local = self._users.get(user)
        return list(local.peers) if local else []

    def of_session(self, session: SessionId) -> list[Peer]:
        """Return the connections of one sign-in on this node."""
        return list(self._sessions.get(session, ()))
