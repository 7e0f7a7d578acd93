"""Encodes events to frames, checks frames that come from elsewhere, and recognises what ends somebody's membership. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from realtime.log.feed import Departure, Frame
from realtime.model import EventKind, UserId
from realtime.wire.events import MemberBanned, MemberLeft, MemberRemoved, decode_event, encode_event

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.model import Event, RoomId

_KNOWN = {kind.value for kind in EventKind}


class _Event(msgspec.Struct, frozen=True):
    """What every event has, also one of a kind that only a newer node knows."""

    kind: str
    room: str
    seq: int
    at: str
    actor: str


class _Signal(msgspec.Struct, frozen=True):
    room: str
    user: str
    kind: str


_decode_other = msgspec.json.Decoder(_Event).decode
_decode_signal = msgspec.json.Decoder(_Signal).decode


class EventCodec:
    """Between events and frames.

    Args:
        frame: Builds the bytes that go to sockets from an event name and its JSON.
        unframe: The reverse.
    """

    def __init__(self, frame: Callable[[str, bytes], bytes], unframe: Callable[[bytes], tuple[str, bytes]]) -> None:
        self._frame = frame
        self._unframe = unframe

    def encode(self, event: Event) -> Frame:
        """Encode an event once, for everybody."""
        return Frame(self._frame(event.kind, encode_event(event)))

    def json(self, frame: Frame) -> bytes:
        """Return the event's JSON object out of a frame."""
        return self._unframe(frame)[1]

    def check(self, frame: bytes, room: RoomId, seq: int) -> Frame:
        """Take a frame from another node: it must be the very bytes of one event, of that room and with that number.

        About 2 µs an event, once on each node that receives the room.

        Raises:
            ValueError: it is something else.
        """
        name, json = self._unframed(frame)
        event = decode_event(json) if name in _KNOWN else _decode_other(json)
        kind = event.kind if isinstance(event, _Event) else event.__struct_config__.tag
        if (kind, event.room, event.seq) != (name, room, seq):
            raise ValueError("a frame that says other things than its envelope")
        return Frame(frame)

    def check_signal(self, frame: bytes, room: RoomId) -> None:
        """Check that a frame is a signal of this room.

        Raises:
            ValueError: it is something else.
        """
        name, json = self._unframed(frame)
        if name != "signal" or _decode_signal(json).room != room:
            raise ValueError("not a signal of this room")

    def _unframed(self, frame: bytes) -> tuple[str, bytes]:
        name, json = self._unframe(frame)
        if self._frame(name, json) != frame or not (json.isascii() or json.decode()):
            raise ValueError("not one whole frame")
        return name, json

    def erases(self, frame: Frame) -> bool:
        """Tell whether a frame deletes a message. One search in the first bytes."""
        return frame.find(b'"message.deleted"', 0, 32) >= 0

    def departure(self, frame: Frame) -> Departure | None:
        """Tell whether a frame ends a membership. One search in the first bytes for all others.

        Raises:
            msgspec.MsgspecError: when the frame holds no event of ours.
        """
        if frame.find(b'"member.', 0, 24) < 0:
            return None
        name, json = self._unframe(frame)
        if name not in (EventKind.MEMBER_LEFT, EventKind.MEMBER_REMOVED, EventKind.MEMBER_BANNED):
            return None
        event = decode_event(json)
        if isinstance(event, MemberLeft):
            return Departure(UserId(event.user), "left")
        if isinstance(event, MemberRemoved):
            return Departure(UserId(event.user), "removed")
        if isinstance(event, MemberBanned):
            return Departure(UserId(event.user), "banned")
        raise msgspec.ValidationError(f"a {name} frame holds another event")
