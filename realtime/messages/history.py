"""How the log of a room is read: messages as they are now, and events of every kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from realtime import errors
from realtime.log.store import MAX_SEQ, Range

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from realtime.log.store import EventStore
    from realtime.model import Event, Room, UserId
    from realtime.wire.rest import ListMessages

PAGE_BYTES = 1 << 19
"""At which a page of history or of events ends; one that it would cut is whole."""


@dataclass(frozen=True, slots=True)
class MessagePage:
    """Created messages, ascending; and whether there are more on either side."""

    messages: list[Event]
    head_seq: int
    has_before: bool
    has_after: bool


@dataclass(frozen=True, slots=True)
class EventPage:
    """Events of every kind as JSON objects, ascending."""

    events: list[bytes]
    head_seq: int
    has_more: bool


class History:
    """Reads the log.

    Args:
        log: The events.
        readable: Returns a room that a user may read; raises RoomNotFound or NotAMember.
        encode: Writes an event as the JSON object that every surface shows.
    """

    def __init__(
        self, log: EventStore, readable: Callable[[UserId, str], Awaitable[Room]], encode: Callable[[Event], bytes]
    ) -> None:
        self._log = log
        self._readable = readable
        self._encode = encode

    async def messages(self, user: UserId, request: ListMessages) -> MessagePage:
        """Read created messages as they are now, ascending. None of the three positions: the latest.

        Raises:
            InvalidRequest: more than one position.
        """
        before, after, around, limit = request.before, request.after, request.around, request.limit
        if sum(position is not None for position in (before, after, around)) > 1:
            raise errors.InvalidRequest("Give one of before, after and around.")
        found = await self._readable(user, request.room)
        if after is not None:
            newer = await self._log.messages_after(found.id, after, limit, PAGE_BYTES)
            first = newer.events[0].seq if newer.events else MAX_SEQ
            older = await self._log.messages_before(found.id, first, 1, PAGE_BYTES)
            return MessagePage(newer.events, found.head_seq, bool(older.events), newer.more)
        if around is not None:
            half = limit // 2
            older = await self._log.messages_before(found.id, around, max(half, 1), PAGE_BYTES // 2)
            newer = await self._log.messages_after(found.id, around - 1, limit - half, PAGE_BYTES // 2)
            before_it = older.events if half else []
            has_before = older.more or len(older.events) > len(before_it)
            return MessagePage(before_it + newer.events, found.head_seq, has_before, newer.more)
        older = await self._log.messages_before(found.id, before or MAX_SEQ, limit, PAGE_BYTES)
        has_after = before is not None and bool((await self._log.messages_after(found.id, before - 1, 1, PAGE_BYTES)).events)
        return MessagePage(older.events, found.head_seq, older.more, has_after)

    async def events(self, user: UserId, room: str, since: int, limit: int) -> EventPage:
        """Read events of every kind behind `since`, ascending; one at least, if there is one."""
        found = await self._readable(user, room)
        [page] = await self._log.pages([Range(found.id, since, since + limit + 1)], PAGE_BYTES, PAGE_BYTES)
        events = page.events[:limit]
        last = events[-1].seq if events else 0
        has_more = len(page.events) > limit or 0 < last < found.head_seq
        return EventPage([self._encode(event) for event in events], max(found.head_seq, last), has_more)
