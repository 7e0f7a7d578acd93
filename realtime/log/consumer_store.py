"""Positions of consumers in the log, and which node holds them.

A position is a transaction and a place within it. Events are worked through in the order of their transactions' numbers, and only
those below every transaction that is still open: whatever commits later comes after them. That is not quite the order of a
room: a transaction gets its number before it waits for a room, and may write there behind one with a higher number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from realtime.log.store import event_of
from realtime.store import queries

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg

    from realtime.model import Event
    from realtime.store.connections import Connection
    from realtime.store.pool import Database

_SQL = queries.load("log", "consumers")
_ALONG_THE_INDEX = "SET LOCAL enable_bitmapscan = off"
"""While the statistics of a new table are guesses, PostgreSQL would collect all that is left and sort it, to take the first:
65 ms for 1,000 of 300,000 events, instead of 1 ms."""
NIL = "00000000-0000-0000-0000-000000000000"
LAG_EVENTS = 10_000
"""Counted at most when it is asked how much is left."""


class Position(NamedTuple):
    """Everything before this transaction, and in it everything up to (room, seq)."""

    xid: int
    room: str = NIL
    seq: int = 0


class Span(NamedTuple):
    """Events (since, until] of one of so many shards. `events`: how many they are."""

    since: Position
    until: Position
    events: int
    shard: int
    shards: int


class Lag(NamedTuple):
    """What is left to do: events, `LAG_EVENTS` at most, and the age of the first one."""

    events: int
    age_s: float


class Shard(NamedTuple):
    """One of the shards of a consumer, as one node works in it.

    Args:
        name: Of the consumer.
        number: From 0.
        of: How many there are.
        holder: This run of the node.
    """

    name: str
    number: int
    of: int
    holder: str


class Lost(Exception):
    """Another node holds the shard, or has moved its position; nothing was done."""


class ConsumerStore:
    """Every method raises Unavailable when PostgreSQL does not answer.

    Args:
        database: The primary.
        lease_s: For how long a shard is held after it was moved last.
    """

    def __init__(self, database: Database, lease_s: float) -> None:
        self._database = database
        self._lease_s = lease_s

    async def add(self, name: str, shards: int) -> None:
        """Make a consumer known. Where it is known already, it goes on from where it was."""
        await self._database.execute(_SQL.add, name, shards)

    async def take(self, shard: Shard) -> bool:
        """Hold a shard, if no other node does."""
        row = await self._database.fetchrow(_SQL.take, shard.name, shard.number, shard.holder, self._lease_s)
        return row is not None

    async def release(self, holder: str) -> None:
        """Give back whatever a node holds."""
        await self._database.execute(_SQL.release, holder)

    async def look(self, shard: Shard, at_most: int) -> Span | None:
        """Find what is next, at most so many events; None: another node holds the shard. It writes nothing."""
        row = await self._along_the_index(_SQL.look, shard.name, shard.number, shard.holder, shard.of, at_most)
        if row is None:
            return None
        until = Position(row["horizon"])
        if row["count"] >= at_most:
            until = Position(row["last_xid"], str(row["last_room"]), row["last_seq"])
        since = Position(row["position"], str(row["room"]), row["seq"])
        return Span(since, max(since, until), row["count"], shard.number, shard.of)

    async def apply(self, shard: Shard, span: Span, effect: Callable[[Connection, Span], Awaitable[None]] | None) -> None:
        """Do the effect of a span and move the position behind it, in one transaction.

        The position is moved first. That locks its row and shows that this node holds it, so two nodes never work in one shard
        at a time, and whoever was frozen finds out before it does anything.

        Args:
            effect: What is to be done with these events; None: nothing. It may write on this connection alone.

        Raises:
            Lost: another node holds the shard by now; nothing was done.
        """
        moved = (shard.name, shard.number, shard.holder, *span.since, *span.until, self._lease_s)
        if effect is None:
            if await self._database.fetchrow(_SQL.advance, *moved) is None:
                raise Lost
            return
        async with self._database.transaction() as connection:
            if await connection.fetchrow(_SQL.advance, *moved) is None:
                raise Lost
            await effect(connection, span)

    async def lag(self, shard: Shard) -> Lag:
        """Return how much a shard has not worked through."""
        row = await self._along_the_index(_SQL.lag, shard.name, shard.number, shard.of, LAG_EVENTS)
        assert row is not None  # an aggregate
        return Lag(row["events"], row["age_s"])

    async def _along_the_index(self, query: str, *args: object) -> asyncpg.Record | None:
        async with self._database.transaction() as connection:
            await connection.execute(_ALONG_THE_INDEX)
            return await connection.fetchrow(query, *args)


async def events(connection: Connection, span: Span) -> list[Event]:
    """Read the events of a span: for effects that need more of them than a statement of their own."""
    rows = await connection.fetch(_SQL.events, *span.since, *span.until, span.shards, span.shard)
    return [event_of(row) for row in rows]
