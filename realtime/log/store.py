"""The ordered log of every room."""

from __future__ import annotations

import enum
import itertools
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import msgspec

from realtime.errors import NotStorable, RealtimeError
from realtime.model import Event, EventKind, RoomId, UserId
from realtime.store import queries
from realtime.store.pool import Refused
from realtime.store.sqlstate import may_be_one_row

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from realtime.store.pool import Database

_SQL = queries.load("log", "events")
_KINDS: dict[str, str] = {kind.value: kind for kind in EventKind}
MAX_SEQ = 2**63 - 1
MAX_EDITS = 1_000
"""Of one message. Each edit is an event that stays in the log, and a text to erase when the message is deleted."""
ERASE_AT_ONCE = 1_000
"""Texts that one statement erases: some 20 ms."""
NO_APPEND: tuple[object, ...] = (_SQL.append, [], [], [], [], [], [], [], MAX_EDITS)
"""The statement of `append` for an empty batch, which does nothing (`Database`'s `warm`)."""


class Outcome(enum.StrEnum):
    """What became of one entry of a batch."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    CLIENT_ID_CONFLICT = "client_id_conflict"
    ROOM_NOT_FOUND = "room_not_found"
    NOT_A_MEMBER = "not_a_member"
    MESSAGE_NOT_FOUND = "message_not_found"
    FORBIDDEN = "forbidden"
    TOO_MANY_EDITS = "too_many_edits"
    ROOM_CLOSED = "room_closed"


class Entry(msgspec.Struct):
    """What somebody wants appended. `target` is the message's `seq` for edits and deletions."""

    room: RoomId
    actor: UserId
    kind: EventKind
    client_id: str | None
    target: int | None
    body: str | None


class Appended(msgspec.Struct, frozen=True, gc=False):
    """The answer for one entry; `seq` and `at` are set for accepted and duplicate ones."""

    outcome: Outcome
    seq: int
    at: datetime


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
    ) -> list[Appended]:
        """Number and commit a batch in one round trip; membership and authorship are checked inside the write.

        Args:
            entries: With distinct (room, actor, client_id) and distinct (room, target).
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
        numbers: dict[RoomId, int] = {}
        room_numbers = [numbers.setdefault(entry.room, len(numbers) + 1) for entry in entries]
        try:
            row = await self._append(entries, list(numbers), room_numbers, within_s, lock_s)
        except (asyncpg.PostgresError, NotStorable, Refused) as error:
            sqlstate = str(error.sqlstate)
            if not may_be_one_row(sqlstate):
                raise
            refusal: RealtimeError = NotStorable(sqlstate=sqlstate)
            if isinstance(error, Refused):
                refusal = RoomLocked(sqlstate) if sqlstate == "55P03" else error
            # Its text may hold the values.
            raise (BatchRefused(refusal) if len(entries) > 1 else refusal) from None
        assert row is not None  # the function answers with one row
        at, seqs, outcomes, first_ats = row
        if outcomes is None:
            return [Appended(Outcome.ACCEPTED, seq, at) for seq in seqs]
        return [
            Appended(Outcome(outcome), seq, first_at or at)
            for outcome, seq, first_at in zip(outcomes, seqs, first_ats or [None] * len(seqs), strict=True)
        ]

    async def _append(
        self,
        entries: Sequence[Entry],
        rooms: list[RoomId],
        room_numbers: list[int],
        within_s: float | None,
        lock_s: float | None,
    ) -> asyncpg.Record | None:
        return await self._database.fetchrow(
            _SQL.append,
            rooms,
            room_numbers,
            [entry.actor for entry in entries],
            [entry.kind.value for entry in entries],
            [entry.client_id for entry in entries],
            [entry.target for entry in entries],
            [entry.body for entry in entries],
            MAX_EDITS,
            within_s=within_s,
            lock_s=lock_s,
        )

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
            events = [_event(row) for row in group]
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
            (number - 1, [_event(row) for row in group])
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


def _messages(rows: Sequence[asyncpg.Record], limit: int, limit_bytes: int, direction: int) -> Page:
    more = len(rows) > limit or sum(int(row["size"]) for row in rows) >= limit_bytes
    return Page([_event(row) for row in rows[:limit]][::direction], more)


def _event(row: asyncpg.Record) -> Event:
    return Event(
        room=RoomId(str(row["room"])),
        seq=row["seq"],
        kind=_KINDS.get(row["kind"], row["kind"]),
        actor=UserId(str(row["actor"])),
        at=row["at"],
        client_id=row["client_id"],
        target=row["target"],
        user=UserId(str(row["user_id"])) if row["user_id"] else None,
        role=row["role"],
        body=row["body"],
        edited_at=row["edited_at"],
        deleted_at=row["deleted_at"],
    )
