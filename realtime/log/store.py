"""The ordered log of every room."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import msgspec

from realtime.errors import NotStorable, RealtimeError, refusal
from realtime.model import Event, RoomId, UserId
from realtime.store import queries
from realtime.store.pool import Refused
from realtime.store.sqlstate import may_be_one_row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from realtime.log.kinds import Kind
    from realtime.store.pool import Database

_SQL = queries.load("log", "events")
MAX_SEQ = 2**63 - 1
ERASE_AT_ONCE = 1_000
"""Texts that one statement erases: some 20 ms."""
NUMBER_AT_ONCE = 500
"""Events whose messages get their numbers in one statement, which holds the lock of their room: some 10 ms."""
_ROOMS_AT_ONCE = 1_000
_NUMBER_PAUSE_S = 0.02
_DUPLICATE = "duplicate"
_NOT_ENCODABLE = "22021"  # character_not_in_repertoire, and whatever else JSON cannot hold
NIL = RoomId("00000000-0000-0000-0000-000000000000")


class _More(msgspec.Struct, kw_only=True):
    thread: int | None = None
    data: object = None


class Entry(_More):
    """What a user wants appended.

    Args:
        target: The `seq` of the event that this one is about: the message, for edits and deletions.
        thread: The `seq` of the message that this one answers.
        data: What the kind says beyond the columns, as JSON can hold it.
    """

    room: RoomId
    actor: UserId
    kind: Kind
    client_id: str | None
    target: int | None
    body: str | None


class Committed(msgspec.Struct, frozen=True, gc=False):
    """An entry is in the log: its number, its time, and whether it had been there before."""

    seq: int
    at: datetime
    duplicate: bool = False


class _Row(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """An entry as `append_entries` takes it."""

    room: int
    actor: UserId
    kind: str
    client_id: str | None = None
    target: int | None = None
    body: str | None = None
    thread: int | None = None
    data: object = None


class _Batch(msgspec.Struct, frozen=True, gc=False):
    """The parameter of `append_entries`."""

    rooms: list[RoomId]
    is_ruled: bool
    entries: list[_Row]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode
NO_APPEND: tuple[object, ...] = (_SQL.append, _encode(_Batch([], False, [])).decode())
"""The statement of `append` for an empty batch, which does nothing (`Database`'s `warm`)."""


class RoomLocked(Refused):
    """Somebody else held the lock of a room for all the time that there was; nothing was done."""


class BatchRefused(Exception):
    """PostgreSQL refused a batch for what may be the fault of one entry, or of one room, in it. Nothing was done.

    Args:
        error: What the entry gets whose fault it is.
    """

    def __init__(self, error: RealtimeError) -> None:
        super().__init__(error.code)
        self.error = error


class Range(NamedTuple):
    """Events (since, until] of a room."""

    room: RoomId
    since: int
    until: int


class Page(NamedTuple):
    """Events of one room, ascending. `more`: it was cut, and others may follow (or, read downwards, come before)."""

    events: list[Event]
    more: bool


class EventStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def append(
        self, entries: Sequence[Entry], within_s: float | None = None, lock_s: float | None = None
    ) -> list[Committed | RealtimeError]:
        """Number and commit a batch in one round trip; membership and the rules of kinds are checked inside the write.

        Args:
            entries: With distinct (room, actor, client_id), and such that none changes what another one's rule reads.
            within_s: The time that there is, if it is less than the usual time of a statement.
            lock_s: How long to wait for a room that somebody else has locked, if it is less than usual.

        Returns:
            One answer per entry, in the same order; accepted ones of a room are numbered in that order.

        Raises:
            BatchRefused: nothing was done, and the parts of the batch may do better.
            NotStorable: the one entry cannot be stored.
            RoomLocked: the room of the one entry was locked for too long.
            Unavailable: it is not known whether the batch was committed. Sending it again is safe for entries with a
                `client_id`.
        """
        try:
            row = await self._database.fetchrow(_SQL.append, _parameter(entries), within_s=within_s, lock_s=lock_s)
        except (asyncpg.PostgresError, NotStorable, Refused) as error:
            sqlstate = str(error.sqlstate)
            if not may_be_one_row(sqlstate):
                raise
            found: RealtimeError = NotStorable(sqlstate=sqlstate)
            if isinstance(error, Refused):
                found = RoomLocked(sqlstate) if sqlstate == "55P03" else error
            # Its text may hold the values.
            raise (BatchRefused(found) if len(entries) > 1 else found) from None
        assert row is not None  # the function answers with one row
        at, seqs, refusals, first_ats = row
        if refusals is None:
            return [Committed(seq, at) for seq in seqs]
        return [
            Committed(seq, at)
            if code is None
            else Committed(seq, first_at, duplicate=True)
            if code == _DUPLICATE
            else refusal(code)
            for code, seq, first_at in zip(refusals, seqs, first_ats or itertools.repeat(at), strict=False)
        ]

    async def without_rule(self, kinds: Sequence[str]) -> list[str]:
        """Return those of these kinds that the database has no rule for: entries of theirs would all be refused."""
        return [row["kind"] for row in await self._database.fetch(_SQL.without_rule, kinds)]

    async def pages(self, ranges: Sequence[Range], range_bytes: int, all_bytes: int) -> list[Page]:
        """Read the first events of ranges of rooms, in one query.

        Args:
            ranges: What is wanted of rooms.
            range_bytes: Where to stop in one range; about the size of the events as they are sent.
            all_bytes: Where to stop over all. One event is always read.

        Returns:
            A page for each range, in the same order.
        """
        rows = await self._database.fetch(
            _SQL.pages,
            [one.room for one in ranges],
            [one.since for one in ranges],
            [one.until for one in ranges],
            range_bytes,
            all_bytes,
        )
        pages, read = [], 0
        by_range = {number: list(group) for number, group in itertools.groupby(rows, key=lambda row: int(row["ord"]))}
        for number, wanted in enumerate(ranges, 1):
            group = by_range.get(number, [])
            size = sum(int(row["size"]) for row in group)
            read += size
            events = [event_of(row) for row in group]
            reached = events[-1].seq if events else wanted.since
            pages.append(Page(events, reached >= wanted.until or size >= range_bytes or read >= all_bytes))
        return pages

    async def missing(
        self, positions: Sequence[tuple[RoomId, int]], per_room: int, in_all: int, all_bytes: int
    ) -> tuple[list[tuple[int, list[Event]]], bool]:
        """Read what rooms have beyond these positions, for any number of rooms in one query.

        Args:
            positions: Each room once, and a seq.
            per_room: Events of one room at most.
            in_all: Rooms are taken in their order until so many events are reached; the rest is left out.
            all_bytes: And until so many bytes are reached, also in the middle of a room.

        Returns:
            For each room that is ahead of its position: its index in `positions`, and the events, ascending. And whether
            something was left out.
        """
        rows = await self._database.fetch(
            _SQL.missing, [room for room, _ in positions], [seq for _, seq in positions], per_room, in_all, all_bytes
        )
        found = [
            (number - 1, [event_of(row) for row in group])
            for number, group in itertools.groupby(rows, key=lambda row: int(row["ord"]))
        ]
        return found, len(rows) >= in_all or sum(int(row["size"]) for row in rows) >= all_bytes

    async def erase(self) -> bool:
        """Erase some texts of edits whose message was deleted. False: there were none that nobody else works on.

        Raises:
            Unavailable, NotStorable, asyncpg.PostgresError: the message whose turn it is comes after all others then.
        """
        try:
            row = await self._database.fetchrow(_SQL.erase, ERASE_AT_ONCE)
        except (Refused, NotStorable, asyncpg.PostgresError):
            await self._database.execute(_SQL.erase_later)
            raise
        return row is not None and bool(row["worked"])

    async def number(self, after: RoomId | None) -> tuple[RoomId | None, int]:
        """Give their numbers (`n`) to messages that have none, in the next rooms by id.

        Args:
            after: Where the call before came to; None: at the first room.

        Returns:
            Where to go on, None behind the last room; and in how many rooms there was something to do.

        Raises:
            Unavailable, asyncpg.PostgresError: some of it may be done.
        """
        row = await self._database.fetchrow(_SQL.unnumbered, after or NIL, _ROOMS_AT_ONCE)
        assert row is not None  # an aggregate
        rooms = row["rooms"] or []
        for room in rooms:
            while (left := await self._database.fetchrow(_SQL.number, room, NUMBER_AT_ONCE)) is not None and left["is_left"]:
                await asyncio.sleep(_NUMBER_PAUSE_S)  # others write in this room meanwhile
        return (None if row["last"] is None else RoomId(str(row["last"]))), len(rooms)

    async def messages_before(self, room: RoomId, seq: int, limit: int, limit_bytes: int) -> Page:
        """Read the last created messages below `seq`, ascending, at least one; `more` when there are others before them."""
        return _messages(
            await self._database.fetch(_SQL.messages_before, room, seq, limit + 1, limit_bytes), limit, limit_bytes, -1
        )

    async def messages_after(self, room: RoomId, seq: int, limit: int, limit_bytes: int) -> Page:
        """Read the first created messages above `seq`, ascending, at least one; `more` when there may be others behind them."""
        return _messages(
            await self._database.fetch(_SQL.messages_after, room, seq, limit + 1, limit_bytes), limit, limit_bytes, 1
        )


def _parameter(entries: Sequence[Entry]) -> str:
    """Encode a batch as the one parameter of `append_entries`.

    Raises:
        NotStorable: a value cannot be written as UTF-8 JSON.
    """
    numbers: dict[RoomId, int] = {}
    number = numbers.setdefault
    is_ruled = False
    rows = []
    for one in entries:
        if not one.kind.is_plain or one.thread is not None or one.data is not None:
            is_ruled = True
        row = _Row(
            number(one.room, len(numbers) + 1),
            one.actor,
            one.kind.name,
            one.client_id,
            one.target,
            one.body,
            one.thread,
            one.data,
        )
        rows.append(row)
    try:
        return _encode(_Batch(list(numbers), is_ruled, rows)).decode()
    except (UnicodeEncodeError, OverflowError, RecursionError):  # their texts hold values
        raise NotStorable(sqlstate=_NOT_ENCODABLE) from None


def _messages(rows: Sequence[asyncpg.Record], limit: int, limit_bytes: int, direction: int) -> Page:
    more = len(rows) > limit or sum(int(row["size"]) for row in rows) >= limit_bytes
    return Page([event_of(row) for row in rows[:limit]][::direction], more)


def event_of(row: asyncpg.Record) -> Event:
    return Event(
        room=RoomId(str(row["room"])),
        seq=row["seq"],
        kind=row["kind"],
        actor=UserId(str(row["actor"])),
        at=row["at"],
        client_id=row["client_id"],
        target=row["target"],
        user=UserId(str(row["user_id"])) if row["user_id"] else None,
        role=row["role"],
        body=row["body"],
        edited_at=row["edited_at"],
        deleted_at=row["deleted_at"],
        thread=row["thread"],
        data=None if row["data"] is None else _decode(row["data"]),
    )
