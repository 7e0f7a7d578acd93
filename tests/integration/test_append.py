"""The function that appends, called as the store calls it: what it judges, and how it waits for nobody else's rooms."""

from __future__ import annotations

import asyncio
import functools
import itertools
from typing import TYPE_CHECKING

import asyncpg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from realtime.errors import NotStorable, RealtimeError, RoomNotFound
from realtime.log.store import Committed, Entry, EventStore
from realtime.log.writer import Append, Writer
from realtime.messages import kinds
from realtime.model import Role, RoomId, UserId
from realtime.store.pool import Database, Refused
from tests.client import unique
from tests.conftest import Nodes

if TYPE_CHECKING:
    import contextlib
    from collections.abc import AsyncIterator, Sequence

    import aiohttp

    from realtime.store.provision import Urls
    from tests.conftest import Engines


class House:
    """A public room with a member of each role, and who wrote a message."""

    def __init__(self, room: RoomId, users: dict[Role, UserId], author: UserId) -> None:
        self.room, self.users, self.author = room, users, author


@pytest.fixture
async def store(own_database: Urls) -> AsyncIterator[EventStore]:
    database = Database(own_database.application, size=3)
    await database.open()
    yield EventStore(database)
    await database.close()


async def build(url: str, rooms: int = 1) -> list[House]:
    connection = await asyncpg.connect(url)
    try:
        users = [
            str(row["id"])
            for row in await connection.fetch(
                "INSERT INTO users (id, username, username_key, display_name, password_hash) "
                "SELECT gen_random_uuid(), 'u' || n, 'u' || n, 'u', 'x' FROM generate_series(1, 4) n RETURNING id"
            )
        ]
        houses = []
        for _ in range(rooms):
            room = str(
                await connection.fetchval("INSERT INTO rooms (id, kind) VALUES (gen_random_uuid(), 'public') RETURNING id")
            )
            roles = dict(zip(Role, users, strict=False))
            for role, user in [*roles.items(), (Role.MEMBER, users[3])]:
                await connection.execute("INSERT INTO members (room, user_id, role) VALUES ($1, $2, $3)", room, user, role.value)
            houses.append(House(RoomId(room), {role: UserId(user) for role, user in roles.items()}, UserId(users[3])))
        return houses
    finally:
        await connection.close()


def sent(room: RoomId, actor: UserId, client_id: str | None = None, body: str = "text") -> Entry:
    return Entry(room, actor, kinds.CREATED, client_id, None, body)


def committed(answers: Sequence[Committed | RealtimeError]) -> list[Committed]:
    found = [answer for answer in answers if isinstance(answer, Committed)]
    assert len(found) == len(answers)
    return found


async def accepted(store: EventStore, entries: Sequence[Entry]) -> list[Committed]:
    """Append entries of which none is refused."""
    return committed(await store.append(entries))


async def test_a_batch_of_many_rooms_is_numbered_room_by_room_whatever_their_order(own_database: Urls, store: EventStore) -> None:
    houses = await build(own_database.owner, rooms=7)
    unknown = RoomId("00000000-0000-7000-8000-000000000000")
    order = [houses[index % 7] for index in (3, 0, 3, 6, 1, 0, 3, 5, 2, 4, 6)]
    entries = [sent(house.room, house.author, f"c{index}") for index, house in enumerate(order)]
    entries.insert(4, sent(unknown, houses[0].author))
    answers = await store.append(entries)
    assert type(answers.pop(4)) is RoomNotFound
    counts = {house.room: itertools.count(1) for house in houses}
    assert [answer.seq for answer in committed(answers)] == [next(counts[house.room]) for house in order]
    again = await store.append([sent(house.room, house.author, f"c{index}") for index, house in enumerate(order)])
    assert again == [Committed(answer.seq, answer.at, duplicate=True) for answer in committed(answers)]


async def test_a_batch_of_the_version_before_is_still_numbered_in_the_same_sequence(
    own_database: Urls, store: EventStore
) -> None:
    """Both versions run side by side during an upgrade."""
    [house] = await build(own_database.owner)
    before = "SELECT seqs FROM append_batch($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::bigint[], $6::text[])"
    connection = await asyncpg.connect(own_database.application)
    try:
        seqs = []
        for number in range(6):
            if number % 2:
                [answer] = await accepted(store, [sent(house.room, house.author, f"c{number}")])
                seqs.append(answer.seq)
            else:
                args = [[house.room], [house.author], ["message.created"], [f"c{number}"], [None], ["x"]]
                seqs += await connection.fetchval(before, *args)
        assert seqs == [1, 2, 3, 4, 5, 6]
    finally:
        await connection.close()


async def test_one_message_that_cannot_be_stored_and_one_room_that_is_locked_fail_alone(
    running_engines: Engines, own_database: Urls, http: aiohttp.ClientSession, exits: contextlib.AsyncExitStack
) -> None:
    """Whatever PostgreSQL refuses one row for: here a rule that the database's owner added, and a lock that somebody holds."""
    owner = await asyncpg.connect(own_database.owner)
    exits.push_async_callback(owner.close)
    await owner.execute("ALTER TABLE events ADD CHECK (body NOT LIKE '%😀%')")
    nodes = Nodes(own_database, running_engines.redis, exits, http)
    api = await nodes.start(writer_lanes=1, send_burst=1000)
    anna = await api.register()
    room, locked = await anna.room("private"), await anna.room("private")
    bodies = [f"plain {number}" for number in range(80)]
    bodies[13] = bodies[57] = "😀"

    async def send(room: str, body: str) -> str:
        answer = await anna.request("POST", f"/rooms/{room}/messages", {"client_id": unique(), "body": body})
        code: str = answer.json.get("code", "sent")
        assert answer.json.get("retryable") == {"sent": None, "not_storable": False, "unavailable": True}[code]
        return code

    async with owner.transaction():
        await owner.execute("SELECT FROM rooms WHERE id = $1 FOR UPDATE", locked)
        answers, held = await asyncio.gather(asyncio.gather(*(send(room, body) for body in bodies)), send(locked, "held up"))
    assert [body for body, answer in zip(bodies, answers, strict=True) if answer == "not_storable"] == ["😀", "😀"]
    assert {answer for body, answer in zip(bodies, answers, strict=True) if body != "😀"} == {"sent"}
    assert held == "unavailable"
    assert await send(locked, "free again") == "sent"
    page = await anna.get(f"/rooms/{room}/messages?limit=200")
    assert (len(page["messages"]), page["head_seq"]) == (78, 78)


_BAD = ["no 😀 here", "a\x00b", "\ud800"]
"""What the rule below refuses, and what PostgreSQL and JSON cannot hold."""


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(["plain", "plain", "plain", *_BAD]), st.integers(0, 2)), min_size=1, max_size=30))
@example([(_BAD[number % 3], number // 10) for number in range(30)])  # as many parts as it takes
async def test_whatever_of_a_batch_cannot_be_stored_all_else_is_committed_in_order(
    own_database: Urls, store: EventStore, entries: list[tuple[str, int]]
) -> None:
    owner = await asyncpg.connect(own_database.owner)
    try:
        if await owner.fetchval("SELECT count(*) FROM users") == 0:
            await build(own_database.owner)
            await owner.execute("ALTER TABLE events ADD CHECK (body NOT LIKE '%😀%')")
        user = UserId(str(await owner.fetchval("SELECT id FROM users LIMIT 1")))
        rooms = [
            RoomId(str(row["id"]))
            for row in await owner.fetch(
                "INSERT INTO rooms (id, kind) SELECT gen_random_uuid(), 'private' FROM generate_series(1, 3) RETURNING id"
            )
        ]
        await owner.execute("INSERT INTO members (room, user_id, role) SELECT unnest($1::uuid[]), $2, 'member'", rooms, user)
    finally:
        await owner.close()
    writer = Writer(store, lambda _room, _events: None, lanes=1)
    answers: dict[int, Committed | RealtimeError] = {}
    for number, (body, room) in enumerate(entries):
        done = functools.partial(answers.__setitem__, number)
        writer.submit(Append(rooms[room], user, kinds.CREATED, str(number), None, body, done))
    await writer.close()
    counts = [itertools.count(1) for _ in rooms]
    for number, (body, room) in enumerate(entries):
        answer = answers[number]
        if body in _BAD:
            assert type(answer) is NotStorable and not answer.retryable
        else:
            assert isinstance(answer, Committed) and answer.seq == next(counts[room])


async def test_texts_that_cannot_be_erased_do_not_keep_those_of_other_messages(own_database: Urls, store: EventStore) -> None:
    damaged, sound = await build(own_database.owner, rooms=2)
    for house in (damaged, sound):
        [message] = await accepted(store, [sent(house.room, house.author)])
        for kind, body in ((kinds.EDITED, "new"), (kinds.DELETED, None)):
            await store.append([Entry(house.room, house.author, kind, None, message.seq, body)])
    owner = await asyncpg.connect(own_database.owner)
    try:
        await owner.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = 'XX001'; END $$;"
            f"CREATE TRIGGER fail BEFORE UPDATE ON events FOR EACH ROW WHEN (OLD.room = '{damaged.room}') EXECUTE FUNCTION fail()"
        )
        with pytest.raises(Refused):
            await store.erase()
        assert await store.erase()
        assert await owner.fetchval("SELECT body FROM events WHERE room = $1 AND seq = 2", sound.room) == ""
        with pytest.raises(Refused):
            await store.erase()
        await owner.execute("DROP TRIGGER fail ON events")
        assert await store.erase()
        assert not await store.erase()
        assert await owner.fetchval("SELECT count(*) FROM events WHERE body <> ''") == 0
    finally:
        await owner.close()
