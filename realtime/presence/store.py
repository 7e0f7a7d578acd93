"""What people choose to show of themselves, when they were last seen, and who is in a room."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from realtime.model import Choice, PresenceSetting, RoomId, UserId, known
from realtime.store import queries

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import asyncpg

    from realtime.log.consumer_store import Span
    from realtime.store.connections import Connection
    from realtime.store.pool import Database

_SQL = queries.load("presence", "presence")
_CHANGED_AT_MOST = 10_000


class Known(NamedTuple):
    """What the store knows of somebody. `last_seen_s`: Unix seconds; None: never."""

    setting: PresenceSetting
    last_seen_s: float | None


class PresenceStore:
    """Every method raises Unavailable when PostgreSQL does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, users: Sequence[UserId]) -> dict[UserId, Known]:
        """Return what is known of these users; who never chose anything and was never seen is missing."""
        return _known(await self._database.fetch(_SQL.read, users))

    async def changed_since(self, ago_s: float) -> dict[UserId, Known]:
        """Return who chose something else in this time; the latest changes last."""
        return _known(await self._database.fetch(_SQL.changed_since, ago_s, _CHANGED_AT_MOST))

    async def choose(self, user: UserId, choice: Choice | None, text: str | None, text_life_s: float | None) -> PresenceSetting:
        """Store what somebody chose; what is None stays.

        Args:
            text_life_s: Of the text, from now; None: until it is changed.
        """
        row = await self._database.fetchrow(_SQL.choose, user, choice, text, text_life_s)
        assert row is not None  # it returns the row that it wrote
        return _setting(row)

    async def seen(self, times_s: Mapping[UserId, float]) -> None:
        """Store when users were last seen, in Unix seconds. May be repeated; the latest time stays."""
        times = [datetime.fromtimestamp(at_s, UTC) for at_s in times_s.values()]
        await self._database.execute(_SQL.seen, list(times_s), times)

    @staticmethod
    async def seen_writing(connection: Connection, span: Span) -> None:
        """Take from the log that users were there when they wrote: a consumer's effect. It may be repeated."""
        await connection.execute(_SQL.active, *span.since, *span.until)

    async def invisible(self, at_most: int) -> set[UserId]:
        """Return who is invisible, all or that many."""
        return {UserId(str(row["user_id"])) for row in await self._database.fetch(_SQL.invisible, at_most)}

    async def members(self, room: RoomId, at_most: int) -> list[UserId]:
        """Return some members of a room: all, if they are fewer than `at_most`."""
        return [UserId(str(row["user_id"])) for row in await self._database.fetch(_SQL.members, room, at_most)]


def _known(rows: Sequence[asyncpg.Record]) -> dict[UserId, Known]:
    return {
        UserId(str(row["user_id"])): Known(
            _setting(row), None if row["last_seen_at"] is None else row["last_seen_at"].timestamp()
        )
        for row in rows
    }


def _setting(row: asyncpg.Record) -> PresenceSetting:
    until = row["text_expires_at"]
    return PresenceSetting(
        choice=known(Choice, row["status"]),
        text=row["text"],
        text_until_s=None if until is None else until.timestamp(),
        version=round(row["changed_at"].timestamp() * 1000),
    )
