"""Encodes events to frames, checks frames that come from elsewhere, and recognises what ends somebody's membership. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from realtime.log.feed import Departure, Entry, Frame
from realtime.model import UserId

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.log.kinds import Kinds
    from realtime.model import Event, RoomId

_HEAD = 32
"""Bytes of a frame before the name of its event, at most: heads of WebSocket and Socket.IO."""


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
        kinds: The registry.
        frame: Builds the bytes that go to sockets from an event name and its JSON.
        unframe: The reverse.
    """

    def __init__(self, kinds: Kinds, frame: Callable[[str, bytes], bytes], unframe: Callable[[bytes], tuple[str, bytes]]) -> None:
        self._kinds = kinds
        self._frame = frame
        self._unframe = unframe
        self._noted = {kind.name: kind for kind in kinds if kind.erases or kind.departs is not None}
        names = "|".join(re.escape(name) for name in self._noted)
        # A name stands in quotes; the text of a message comes later, since every event begins with its kind and room.
        self._note = re.compile(f'"({names})"'.encode()).search
        self._note_bytes = _HEAD + max((len(name) for name in self._noted), default=0)

    def encode(self, event: Event) -> Frame:
        """Encode an event once, for everybody."""
        return Frame(self._frame(event.kind, self._kinds.encode(event)))

    def entry(self, event: Event) -> Entry:
        """Encode an event, with what a feed must know about it."""
        frame = Frame(self._frame(event.kind, self._kinds.encode(event)))
        return self.noted(frame) if event.kind in self._noted else Entry(frame, None)

    def noted(self, frame: Frame) -> Entry:
        """Return a frame, from wherever it came, with what a feed must know about it: whether it erases texts, and whether it
        ends a membership. One search in the first bytes for all others.

        Raises:
            msgspec.MsgspecError: when the frame holds no event of ours.
        """
        if self._note(frame, 0, self._note_bytes) is None:
            return Entry(frame, None)
        name, json = self._unframe(frame)
        kind = self._noted.get(name)
        if kind is None:
            return Entry(frame, None)
        departure = None
        if kind.departs is not None:
            event: Any = self._kinds.decode(name, json)
            departure = Departure(UserId(event.user), kind.departs)
        return Entry(frame, departure, kind.erases)

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
        event = self._kinds.decode(name, json) or _decode_other(json)
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
