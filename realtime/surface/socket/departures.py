"""Who is no member of a room any more receives nothing more of it, on this node and on the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.log.feeds import Feeds
    from realtime.model import RoomId, UserId
    from realtime.presence.service import Presence
    from realtime.surface.socket.hub import Hub


class Departures:
    """Stops rooms for users, ahead of the event that says so.

    Args:
        hub: The register of connections.
        feeds: Delivery on this node.
        presence: Who is watched.
        publish: Tells the other nodes: user, room, reason, and the seq of the event.
    """

    def __init__(self, hub: Hub, feeds: Feeds, presence: Presence, publish: Callable[[UserId, RoomId, str, int], None]) -> None:
        self._hub = hub
        self._feeds = feeds
        self._presence = presence
        self._publish = publish

    def everywhere(self, user: UserId, room: RoomId, reason: str, seq: int) -> None:
        """Stop a room for a user on all nodes."""
        self.here(user, room, reason, seq)
        self._publish(user, room, reason, seq)

    def here(self, user: UserId, room: RoomId, reason: str, seq: int) -> None:
        """Stop a room for all connections of a user on this node, and tell those that did not receive it too."""
        self._presence.departed(user, room)
        others = [peer for peer in self._hub.of_user(user) if room not in peer.rooms]
        self._feeds.expel(room, user, reason, seq)
        for peer in others:
            peer.removed(room, reason)
