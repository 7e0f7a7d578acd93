"""The ordinal of a message in its room (`n`), while nodes of this release and of the one before write side by side."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from realtime.log.store import Entry, EventStore
from realtime.messages import kinds
from realtime.model import Role, RoomId, UserId
from realtime.store import queries
from realtime.store.pool import Database
from tests.integration.test_append import build, committed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from realtime.store.provision import Urls

LOG, ROOMS = queries.load("log", "events"), queries.load("rooms", "rooms")
BEFORE = "SELECT append_batch($1::uuid[], $2::int[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::text[], 1000)"
MEMBERSHIP_BEFORE = """
WITH advanced AS (UPDATE rooms SET head_seq = head_seq + 1 WHERE id = $1 RETURNING head_seq)
INSERT INTO events (room, seq, kind, actor, at, user_id)
SELECT $1::uuid, head_seq, 'member.left', $2::uuid, now(), $2::uuid FROM advanced
"""
_ids = itertools.count()


class World:
    """A room, and everything that may write in it."""

    def __init__(self, owner: asyncpg.Connection[Any], store: EventStore, room: RoomId, user: UserId) -> None:
        self.owner, self.store, self.room, self.user = owner, store, room, user

    async def new_node_writes(self, count: int) -> None:
        entries = [self._entry(thread=None) for _ in range(count)]
        if await self.owner.fetchval("SELECT kind FROM events WHERE room = $1 AND seq = 1", self.room) == "message.created":
            entries[1:1] = [self._entry(thread=1), Entry(self.room, self.user, kinds.EDITED, None, 2, "new")]
        await self.store.append(entries)

    def _entry(self, thread: int | None) -> Entry:
        return Entry(self.room, self.user, kinds.CREATED, f"c{next(_ids)}", None, "text", thread=thread)

    async def node_of_the_release_before_writes(self, count: int) -> None:
        await self.owner.execute(
            BEFORE, [self.room], [1] * count, [self.user] * count, ["message.created"] * count,
            [f"c{next(_ids)}" for _ in range(count)], [None] * count, ["text"] * count,
        )  # fmt: skip

    async def new_node_changes_membership(self, _: int) -> None:
        await self.owner.fetchrow(ROOMS.append_membership, self.room, "member.left", self.user, self.user, None, 0)

    async def node_of_the_release_before_changes_membership(self, _: int) -> None:
        await self.owner.execute(MEMBERSHIP_BEFORE, self.room, self.user)

    async def job_makes_a_step(self, count: int) -> None:
        await self.owner.fetchval(LOG.number, self.room, count)

    async def look(self) -> tuple[list[int | None], bool]:
        """Check the invariant; return the numbers of the messages of the main line, and whether all have one."""
        room = await self.owner.fetchrow("SELECT head_seq, numbered_seq, last_n FROM rooms WHERE id = $1", self.room)
        assert room is not None
        rows = await self.owner.fetch("SELECT seq, n, kind, thread FROM events WHERE room = $1 ORDER BY seq", self.room)
        assert [row["seq"] for row in rows] == list(range(1, room["head_seq"] + 1))
        assert 0 <= room["numbered_seq"] <= room["head_seq"]
        main = [row for row in rows if row["kind"] == "message.created" and row["thread"] is None]
        assert {row["n"] for row in rows if row not in main} <= {None}
        below = [row["n"] for row in main if row["seq"] <= room["numbered_seq"]]
        assert below == list(range(1, len(below) + 1))
        assert room["last_n"] == len(below)
        assert {row["n"] for row in main if row["seq"] > room["numbered_seq"]} <= {None}
        return [row["n"] for row in main], room["numbered_seq"] == room["head_seq"]


ACTIONS = [
    World.new_node_writes,
    World.node_of_the_release_before_writes,
    World.new_node_changes_membership,
    World.node_of_the_release_before_changes_membership,
    World.job_makes_a_step,
]


@pytest.fixture
async def owner(own_database: Urls) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(own_database.owner)
    yield connection
    await connection.close()


@pytest.fixture
async def store(own_database: Urls) -> AsyncIterator[EventStore]:
    database = Database(own_database.application)
    await database.open()
    yield EventStore(database)
    await database.close()


async def number_all(store: EventStore) -> int:
    """Walk through all rooms once, as the loop of a node does; return in how many there was something to do."""
    after, count = await store.number(None)
    while after is not None:
        after, more = await store.number(after)
        count += more
    return count


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(st.sampled_from(ACTIONS), st.integers(1, 4)), min_size=1, max_size=12))
async def test_whoever_writes_in_whatever_order_numbers_are_right_or_not_there_yet(
    owner: asyncpg.Connection[Any], store: EventStore, steps: list[tuple[Any, int]]
) -> None:
    room = await owner.fetchval("INSERT INTO rooms (id, kind) VALUES (gen_random_uuid(), 'public') RETURNING id")
    user = await owner.fetchval(
        "INSERT INTO users (id, username, username_key, display_name, password_hash) "
        "VALUES (gen_random_uuid(), $1, $1, 'u', 'x') RETURNING id",
        f"u{next(_ids)}",
    )
    await owner.execute("INSERT INTO members (room, user_id, role) VALUES ($1, $2, 'member')", room, user)
    world = World(owner, store, RoomId(str(room)), UserId(str(user)))
    for action, count in steps:
        await action(world, count)
        await world.look()
    await number_all(store)
    numbers, is_done = await world.look()
    assert is_done
    assert numbers == list(range(1, len(numbers) + 1))
    await world.new_node_writes(2)
    assert (await world.look())[1], "from then on messages get their numbers as they are appended"


async def test_the_walk_numbers_the_rows_of_before_in_every_room_in_steps(
    own_database: Urls, owner: asyncpg.Connection[Any], store: EventStore
) -> None:
    houses = await build(own_database.owner, rooms=3)
    for house in houses:
        await owner.execute(
            "INSERT INTO events (room, seq, kind, actor, at, client_id, body) "
            "SELECT $1, n, CASE WHEN n % 3 = 0 THEN 'member.left' ELSE 'message.created' END, $2, now(), 'c' || n, 'x' "
            "FROM generate_series(1, 1300) n",
            house.room, house.author,
        )  # fmt: skip
        await owner.execute("UPDATE rooms SET head_seq = 1300 WHERE id = $1", house.room)
    assert await number_all(store) == 3
    for house in houses:
        world = World(owner, store, house.room, house.users[Role.MEMBER])
        numbers, is_done = await world.look()
        assert is_done and numbers[-1] == 867
    assert await number_all(store) == 0
    [answer] = committed(await store.append([Entry(houses[0].room, houses[0].author, kinds.CREATED, "next", None, "x")]))
    assert await owner.fetchval("SELECT n FROM events WHERE room = $1 AND seq = $2", houses[0].room, answer.seq) == 868
