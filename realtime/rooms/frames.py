"""Recognises, in an encoded event, what ends somebody's membership. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from realtime.contract.events import MemberBanned, MemberLeft, MemberRemoved, decode_event, encode_event
from realtime.model import EventKind, UserId
from realtime.rooms.feed import Departure, Frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.model import Event


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
