"""What nodes tell each other over the bus, and where it goes on this one.

Each message is a hint: whatever depends on one that got lost is found in PostgreSQL a little later.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from realtime.model import Choice, PresenceSetting, RoomId, SessionId, UserId
from realtime.surface.socket.dispatch import own_presence
from realtime.wire.rest import MAX_SEQ

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from realtime.auth.ended import EndedSessions
    from realtime.extensions.namespaces import Extensions
    from realtime.log.feeds import Feeds
    from realtime.node.status import Board
    from realtime.presence.service import Presence
    from realtime.surface.socket.dispatch import Dispatch


class _Message(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Arrays that begin with the name of the kind."""


class SessionOver(_Message, frozen=True):
    session: str


class Told(_Message, frozen=True):
    """Emit an event on all connections of a user. `payload` is its JSON."""

    user: str
    name: str
    payload: str


class Expelled(_Message, frozen=True):
    """`seq`: of the event that says so. Nodes of the version before do not tell it; then whoever is there goes."""

    user: str
    room: str
    reason: str
    seq: int = MAX_SEQ


class PresenceChanged(_Message, frozen=True):
    change: bytes


class Chosen(_Message, frozen=True):
    """What somebody chose to show of themselves (`model.PresenceSetting`)."""

    user: str
    choice: Choice
    text: str
    text_until_s: float | None
    version: int


class Shown(_Message, frozen=True):
    """How the sender is, for the operator's page (`status.Board`)."""

    status: bytes


class Gap(_Message, frozen=True):
    """The sender could not send for a while: compare with the store now."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(SessionOver | Told | Expelled | PresenceChanged | Chosen | Shown | Gap).decode


class Nodes:
    """Sends to the other nodes, and takes what they send (a `rooms.bus.Receiver`).

    Args:
        publish: Sends a control message to all nodes.
    """

    feeds: Feeds
    dispatch: Dispatch
    ended: EndedSessions
    presence: Presence
    board: Board
    extensions: Extensions | None

    def __init__(self, publish: Callable[[bytes], None]) -> None:
        self._publish = publish
        self.extensions = None

    # -- out --------------------------------------------------------------------------------------

    def session_over(self, session: SessionId) -> None:
        """Close a session's connections on the other nodes."""
        self._publish(_encode(SessionOver(session)))

    def tell(self, user: UserId, name: str, payload: bytes) -> None:
        """Emit an event on a user's connections, here and elsewhere."""
        self.dispatch.tell_user(user, name, payload)
        self._publish(_encode(Told(user, name, payload.decode())))

    def expel(self, user: UserId, room: RoomId, reason: str, seq: int) -> None:
        """Stop a room for a user, here and elsewhere, ahead of the event that says so."""
        self.dispatch.expel(user, room, reason, seq)
        self._publish(_encode(Expelled(user, room, reason, seq)))

    def presence_changed(self, change: bytes) -> None:
        self._publish(_encode(PresenceChanged(change)))

    def chosen(self, user: UserId, setting: PresenceSetting) -> None:
        """Show on the other nodes what somebody chose, and tell all their connections."""
        self._publish(_encode(Chosen(user, setting.choice, setting.text, setting.text_until_s, setting.version)))
        self.tell(user, "presence", own_presence(setting))

    def shown(self, status: bytes) -> None:
        """Tell the other nodes how this one is."""
        self._publish(_encode(Shown(status)))

    # -- in ---------------------------------------------------------------------------------------

    def events(self, room: RoomId, first_seq: int, frames: Sequence[bytes]) -> None:
        self.feeds.received(room, first_seq, frames)

    def signal(self, room: RoomId, frame: bytes) -> None:
        self.feeds.signal_received(room, frame)

    def extension(self, parts: Sequence[bytes]) -> None:
        if self.extensions is not None:
            self.extensions.received(parts)

    def gap(self) -> None:
        self.feeds.compare_soon()
        self.presence.resync()
        self.ended.read_soon()
        self.unsent()

    def suspect(self, rooms: Collection[RoomId]) -> None:
        self.feeds.suspect(rooms)

    def unsent(self) -> None:
        self._publish(_encode(Gap()))

    def control(self, message: bytes) -> None:
        found = _decode(message)
        if isinstance(found, SessionOver):
            self.ended.note(SessionId(found.session))
        elif isinstance(found, Told):
            self.dispatch.tell_user(UserId(found.user), found.name, found.payload.encode())
        elif isinstance(found, Expelled):
            self.dispatch.expel(UserId(found.user), RoomId(found.room), found.reason, found.seq)
        elif isinstance(found, PresenceChanged):
            self.presence.received(found.change)
        elif isinstance(found, Chosen):
            setting = PresenceSetting(found.choice, found.text, found.text_until_s, found.version)
            self.presence.chosen(UserId(found.user), setting)
        elif isinstance(found, Shown):
            self.board.heard(found.status)
        else:
            self.feeds.compare_soon()
            self.ended.read_soon()
