"""What is new for a user since a cursor: which rooms have events that it did not see, and what else has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from realtime.errors import CursorReset, Unavailable
from realtime.log.cursor import Cursor
from realtime.model import RoomId, UserId
from realtime.store import queries

if TYPE_CHECKING:
    from realtime.store.pool import Database

_SQL = queries.load("log", "changes")
SCAN_EVENTS = 1_000
"""Read backwards in one room until an event is met that the cursor saw."""


class News(NamedTuple):
    """What is new in a room: its events (since_seq, head_seq], none if they are equal.

    Args:
        is_cut: There are more of them, at or below `since_seq`, than were looked at.
        is_changed: What the user is in the room, if they were a member of it at all.
    """

    room: RoomId
    since_seq: int
    head_seq: int
    is_cut: bool
    is_changed: bool


class Changes(NamedTuple):
    """What is new for a user.

    Args:
        cursor: To ask with the next time. What it did not see is exactly what is not in here.
        rooms: With something new.
        gone: Rooms that they are no member of any more.
        account: Whether their names, rights, settings or blocks may have changed.
        presence: Whether they may have chosen another presence.
    """

    cursor: Cursor
    rooms: list[News]
    gone: list[RoomId]
    account: bool
    presence: bool


class ChangeStore:
    """Reads from the primary alone: a standby shows transactions later, and its snapshots are others."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def now(self) -> Cursor:
        """Return the cursor of this moment: to be read before everything else is read, so that nothing falls between.

        Raises:
            Unavailable: PostgreSQL does not answer.
        """
        row = await self._database.fetchrow(_SQL.now)
        assert row is not None  # a SELECT without FROM
        return Cursor(str(row["epoch"]), row["snapshot"])

    async def since(self, user: UserId, cursor: Cursor, scan_events: int = SCAN_EVENTS) -> Changes:
        """Find what is new for a user, in one statement together with the next cursor.

        A room's numbers are dense and become visible in their order, so what is new in it is a range of them.

        Args:
            scan_events: How far back one room is looked at.

        Raises:
            CursorReset: the cursor is of another epoch, or of a later moment than this one.
            Unavailable: PostgreSQL does not answer, or what answers is a standby.
        """
        head, *rows = await self._database.fetch(_SQL.since, user, cursor.snapshot, scan_events)
        if head["is_standby"]:
            raise Unavailable
        if str(head["epoch"]) != cursor.epoch or not head["is_readable"]:
            raise CursorReset
        rooms = [
            News(RoomId(str(row["room"])), row["since_seq"], row["head_seq"], row["is_cut"], row["is_changed"])
            for row in rows
            if not row["is_gone"]
        ]
        gone = [RoomId(str(row["room"])) for row in rows if row["is_gone"]]
        return Changes(Cursor(cursor.epoch, head["snapshot"]), rooms, gone, bool(head["account"]), bool(head["presence"]))
