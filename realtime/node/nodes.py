"""What nodes tell each other over the bus, and where it goes on this one.

Each message is a hint: whatever depends on one that got lost is found in PostgreSQL a little later.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from realtime.bus.envelope import Refusal, Refused
from realtime.model import Choice, PresenceSetting, RoomId, SessionId, UserId, known
from realtime.wire import socket, types
from realtime.wire.rest import MAX_SEQ

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from realtime.auth.ended import EndedSessions
    from realtime.extensions.namespaces import Extensions
    from realtime.log.feeds import Feeds
    from realtime.model import Room
    from realtime.node.status import Board
    from realtime.presence.service import Presence
    from realtime.surface.socket.departures import Departures
    from realtime.surface.socket.hub import Hub


@dataclass(frozen=True, slots=True)
class Parts:
    """Where what other nodes send goes on this one."""

    feeds: Feeds
    presence: Presence
    ended: EndedSessions
    hub: Hub
    departures: Departures
    board: Board
    extensions: Extensions | None


class _Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Arrays that begin with the name of the kind. A new kind is one class here, and what sends it in `Outgoing`."""

    def take(self, parts: Parts) -> None:
        """Do what it says on this node."""
        raise NotImplementedError


class SessionOver(_Message, frozen=True):
    session: str

    def take(self, parts: Parts) -> None:
        parts.ended.note(SessionId(self.session))


class Told(_Message, frozen=True):
    """Emit an event on all connections of a user. `payload` is its JSON."""

    user: str
    name: str
    payload: str

    def take(self, parts: Parts) -> None:
        parts.hub.tell_user(UserId(self.user), self.name, self.payload.encode())


class Expelled(_Message, frozen=True):
    """`seq`: of the event that says so. Nodes of the version before do not tell it; then whoever is there goes."""

    user: str
    room: str
    reason: str
    seq: int = MAX_SEQ

    def take(self, parts: Parts) -> None:
        parts.departures.here(UserId(self.user), RoomId(self.room), self.reason, self.seq)


class PresenceChanged(_Message, frozen=True):
    change: bytes

    def take(self, parts: Parts) -> None:
        parts.presence.received(self.change)


class Chosen(_Message, frozen=True):
    """What somebody chose to show of themselves (`model.PresenceSetting`)."""

    user: str
    choice: str
    text: str
    text_until_s: float | None
    version: int

    def take(self, parts: Parts) -> None:
        setting = PresenceSetting(known(Choice, self.choice), self.text, self.text_until_s, self.version)
        parts.presence.chosen(UserId(self.user), setting)


class Shown(_Message, frozen=True):
    """How the sender is, for the operator's page (`status.Board`)."""

    status: bytes

    def take(self, parts: Parts) -> None:
        parts.board.heard(self.status)


class Gap(_Message, frozen=True):
    """The sender could not send for a while: compare with the store now."""

    def take(self, parts: Parts) -> None:
        parts.feeds.compare_soon()
        parts.ended.read_soon()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(SessionOver | Told | Expelled | PresenceChanged | Chosen | Shown | Gap).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode
_KINDS = {kind.__struct_config__.tag for kind in _Message.__subclasses__()}


def _understood(message: bytes) -> _Message:
    """Decode a message; fields that newer nodes append are passed over.

    Raises:
        Refused: it is of a kind that only newer nodes know.
        msgspec.MsgspecError: it is no message.
    """
    try:
        found: _Message = _decode(message)
    except msgspec.ValidationError as error:
        parts = _decode_array(message)
        if parts and msgspec.json.decode(parts[0], type=str) not in _KINDS:
            raise Refused(Refusal.KIND) from error
        raise
    return found


class Publishes(Protocol):
    def publish_control(self, message: bytes, /) -> None: ...


class Outgoing:
    """Tells the other nodes, and where it concerns them the connections on this one.

    Args:
        bus: Sends a control message to all nodes; it may be lost.
        hub: The register of connections.
    """

    def __init__(self, bus: Publishes, hub: Hub) -> None:
        self._bus = bus
        self._hub = hub

    def session_over(self, session: SessionId) -> None:
        """Close a session's connections on the other nodes."""
        self._bus.publish_control(_encode(SessionOver(session)))

    def tell(self, user: UserId, name: str, payload: bytes) -> None:
        """Emit an event on a user's connections, here and elsewhere."""
        self._hub.tell_user(user, name, payload)
        self._bus.publish_control(_encode(Told(user, name, payload.decode())))

    def room_added(self, user: UserId, room: Room) -> None:
        """Tell a user's connections that they became a member of a room."""
        self.tell(user, "room.added", _encode(socket.RoomAdded(room=types.Room.of(room))))

    def expelled(self, user: UserId, room: RoomId, reason: str, seq: int) -> None:
        """Stop a room for a user elsewhere, ahead of the event that says so."""
        self._bus.publish_control(_encode(Expelled(user, room, reason, seq)))

    def presence_changed(self, change: bytes) -> None:
        self._bus.publish_control(_encode(PresenceChanged(change)))

    def chosen(self, user: UserId, setting: PresenceSetting) -> None:
        """Show on the other nodes what somebody chose, and tell all their connections."""
        self._bus.publish_control(_encode(Chosen(user, setting.choice, setting.text, setting.text_until_s, setting.version)))
        own = socket.Presence(users=[], own=types.OwnPresence.of(setting))
        self.tell(user, "presence", _encode(own))

    def shown(self, status: bytes) -> None:
        """Tell the other nodes how this one is."""
        self._bus.publish_control(_encode(Shown(status)))

    def gap(self) -> None:
        """Tell the other nodes that something of this one may have been lost."""
        self._bus.publish_control(_encode(Gap()))


class Incoming:
    """Takes what other nodes send: the bus' `Receiver`.

    Args:
        parts: Where it goes.
        outgoing: Tells the others.
    """

    def __init__(self, parts: Parts, outgoing: Outgoing) -> None:
        self._parts = parts
        self._outgoing = outgoing

    def events(self, room: RoomId, first_seq: int, frames: Sequence[bytes]) -> None:
        self._parts.feeds.received(room, first_seq, frames)

    def signal(self, room: RoomId, frame: bytes) -> None:
        self._parts.feeds.signal_received(room, frame)

    def extension(self, parts: Sequence[bytes]) -> None:
        if self._parts.extensions is not None:
            self._parts.extensions.received(parts)

    def away(self) -> None:
        self._parts.presence.suspend()
        self._parts.feeds.compare_soon()

    def gap(self) -> None:
        self._parts.feeds.compare_soon()
        self._parts.presence.resync()
        self._parts.ended.read_soon()
        self.unsent()

    def suspect(self, rooms: Collection[RoomId]) -> None:
        self._parts.feeds.suspect(rooms)

    def unsent(self) -> None:
        self._outgoing.gap()

    def control(self, message: bytes) -> None:
        _understood(message).take(self._parts)
