"""One cursor over everything: what a user did not see is told once, whatever order transactions commit in."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any, cast

import asyncpg
import pytest

from realtime.errors import CursorReset, Unavailable
from realtime.log.changes import ChangeStore, News
from realtime.log.cursor import Cursor, decode
from realtime.model import RoomId, UserId
from realtime.store import epoch
from realtime.store.pool import Database
from tests.conftest import Nodes

if TYPE_CHECKING:
    import contextlib
    from collections.abc import AsyncIterator

    import aiohttp

    from realtime.store.provision import Urls
    from tests.conftest import Engines

EPOCH = "0190a6b2-7c1f-7000-8000-0123456789ab"


@pytest.fixture
async def owner(own_database: Urls) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(own_database.owner)
    yield connection
    await connection.close()


@pytest.fixture
async def changes(own_database: Urls) -> AsyncIterator[ChangeStore]:
    database = Database(own_database.application, size=4)
    await database.open()
    yield ChangeStore(database)
    await database.close()


async def build(owner: asyncpg.Connection[Any], rooms: int) -> tuple[UserId, list[RoomId]]:
    """Make a user who is a member of some empty rooms."""
    user = await owner.fetchval(
        "INSERT INTO users (id, username, username_key, display_name, password_hash) "
        "VALUES (gen_random_uuid(), 'anna', 'anna', 'Anna', 'x') RETURNING id"
    )
    found = await owner.fetch(
        "INSERT INTO rooms (id, kind) SELECT gen_random_uuid(), 'private' FROM generate_series(1, $1) RETURNING id", rooms
    )
    await owner.executemany(
        "INSERT INTO members (room, user_id, role) VALUES ($1, $2, 'member')", [(row["id"], user) for row in found]
    )
    return UserId(str(user)), sorted(RoomId(str(row["id"])) for row in found)


async def append(connection: asyncpg.Connection[Any], room: RoomId, user: UserId, count: int = 1) -> int:
    """Number and insert events under the room's row lock, as the server does, within the caller's transaction."""
    head: int = await connection.fetchval("SELECT head_seq FROM rooms WHERE id = $1 FOR NO KEY UPDATE", room)
    await connection.execute(
        "INSERT INTO events (room, seq, kind, actor, at, body) "
        "SELECT $1, s, 'message.created', $2, clock_timestamp(), 'x' FROM generate_series($3::bigint, $4) s",
        room, user, head + 1, head + count,
    )  # fmt: skip
    await connection.execute("UPDATE rooms SET head_seq = $2 WHERE id = $1", room, head + count)
    return head + count


async def test_many_writers_that_hold_transactions_open_and_nothing_is_missed_or_given_twice(
    own_database: Urls, owner: asyncpg.Connection[Any], changes: ChangeStore
) -> None:
    user, rooms = await build(owner, 10)
    start = await changes.now()
    writing = True
    polls = 0

    async def write(seed: int) -> None:
        dice = random.Random(seed)
        connection = await asyncpg.connect(own_database.owner)
        try:
            for _ in range(60):
                transaction = connection.transaction()
                await transaction.start()
                for room in sorted(dice.sample(rooms, dice.randint(1, 3))):
                    await append(connection, room, user, dice.randint(1, 4))
                    await asyncio.sleep(dice.choice((0, 0, 0.002, 0.01)))
                await (transaction.rollback() if dice.random() < 0.15 else transaction.commit())
        finally:
            await connection.close()

    async def poll() -> dict[RoomId, int]:
        """Follow the cursor; return up to where each room was given, without a gap or a repeat on the way."""
        nonlocal polls
        cursor, given = start, dict.fromkeys(rooms, 0)
        is_last = False
        while not is_last:
            is_last = not writing
            found = await changes.since(user, cursor)
            cursor = decode(found.cursor.encode())
            for news in found.rooms:
                assert not news.is_changed and not news.is_cut and news.head_seq > news.since_seq
                assert news.since_seq == given[news.room], "what follows is what was not given yet"
                given[news.room] = news.head_seq
            polls += 1
            await asyncio.sleep(0.001)
        assert (await changes.since(user, cursor)).rooms == []
        return given

    polling = [asyncio.create_task(poll()) for _ in range(3)]
    await asyncio.gather(*(write(seed) for seed in range(8)))
    writing = False
    heads = {RoomId(str(row["id"])): row["head_seq"] for row in await owner.fetch("SELECT id, head_seq FROM rooms")}
    assert sum(heads.values()) > 500
    for task in polling:
        assert await task == heads
    assert polls > 200


async def test_what_is_new_without_an_event_is_told_too(owner: asyncpg.Connection[Any], changes: ChangeStore) -> None:
    user, [first, second, third] = await build(owner, 3)
    cursor = await changes.now()
    assert (await changes.since(user, cursor))[1:] == ([], [], False, False)

    await owner.execute("UPDATE members SET role = 'admin' WHERE room = $1", first)
    await owner.execute("DELETE FROM members WHERE room = $1", second)
    await owner.execute("INSERT INTO presence (user_id, status) VALUES ($1, 'dnd')", user)
    found = await changes.since(user, cursor)
    assert found[1:] == ([News(first, 0, 0, False, True)], [second], False, True)

    assert (await changes.since(user, found.cursor))[1:] == ([], [], False, False)
    await owner.execute("UPDATE presence SET last_seen_at = now()")
    assert (await changes.since(user, found.cursor))[1:] == ([], [], False, False), "when they were seen is no choice of theirs"
    await owner.execute("UPDATE presence SET status = 'away'")
    await owner.execute("INSERT INTO members (room, user_id, role) VALUES ($1, $2, 'member')", second, user)
    again = await changes.since(user, found.cursor)
    assert again[1:] == ([News(second, 0, 0, False, True)], [], False, True), "they are back"

    await owner.execute("UPDATE users SET may_add = 'nobody'")
    found = await changes.since(user, again.cursor)
    assert found.account and not found.presence
    await owner.execute("UPDATE users SET password_hash = 'y'")
    assert not (await changes.since(user, found.cursor)).account
    await owner.execute("INSERT INTO blocks (user_id, blocked) VALUES ($1, $1)", user)
    found = await changes.since(user, found.cursor)
    assert found.account
    await owner.execute("DELETE FROM blocks")
    assert (await changes.since(user, found.cursor)).account
    assert third not in {news.room for news in found.rooms}


async def test_the_application_role_can_stamp_nothing_by_itself(own_database: Urls, owner: asyncpg.Connection[Any]) -> None:
    user, [room] = await build(owner, 1)
    application = await asyncpg.connect(own_database.application)
    try:
        for statement in (
            f"UPDATE members SET xid = '3' WHERE room = '{room}'",
            f"INSERT INTO departures (user_id, room) VALUES ('{user}', '{room}')",
            "UPDATE users SET xid = '3'",
            "UPDATE events SET xid = '3'",
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await application.execute(statement)
        await application.execute("DELETE FROM members WHERE room = $1", room)
        await application.execute("INSERT INTO blocks (user_id, blocked) VALUES ($1, $1)", user)
    finally:
        await application.close()
    assert await owner.fetchval("SELECT room FROM departures WHERE user_id = $1", user) is not None


async def test_an_edit_is_an_event_and_leaves_the_message_as_old_as_it_was(
    own_database: Urls,
    running_engines: Engines,
    http: aiohttp.ClientSession,
    exits: contextlib.AsyncExitStack,
    owner: asyncpg.Connection[Any],
    changes: ChangeStore,
) -> None:
    api = await Nodes(own_database, running_engines.redis, exits, http).start()
    anna = await api.register()
    room = RoomId(await anna.room("private"))
    seq = await anna.send(room, "first")
    cursor = await changes.now()
    stamp = await owner.fetchval("SELECT xid FROM events WHERE room = $1 AND seq = $2", room, seq)
    await anna.request("PATCH", f"/rooms/{room}/messages/{seq}", {"body": "edited"}, expect=200)
    found = await changes.since(UserId(anna.id), cursor)
    assert found.rooms == [News(room, seq, seq + 1, False, False)]
    assert await owner.fetchval("SELECT xid FROM events WHERE room = $1 AND seq = $2", room, seq) == stamp


async def test_a_room_with_much_that_is_new_is_looked_at_only_so_far_back(
    owner: asyncpg.Connection[Any], changes: ChangeStore
) -> None:
    user, [room] = await build(owner, 1)
    cursor = await changes.now()
    await append(owner, room, user, 50)
    assert (await changes.since(user, cursor, scan_events=49)).rooms == [News(room, 1, 50, True, False)]
    assert (await changes.since(user, cursor, scan_events=50)).rooms == [News(room, 0, 50, False, False)]


async def test_a_cursor_of_another_epoch_or_of_the_future_is_reset(owner: asyncpg.Connection[Any], changes: ChangeStore) -> None:
    user, _ = await build(owner, 1)
    cursor = await changes.now()
    high = int(cursor.snapshot.split(":")[1]) + 1_000_000
    with pytest.raises(CursorReset):
        await changes.since(user, Cursor(cursor.epoch, f"{high}:{high}:"))
    await changes.since(user, cursor)
    await epoch.renew(owner)
    with pytest.raises(CursorReset):
        await changes.since(user, cursor)


async def test_a_standby_is_never_read() -> None:
    class Standby:
        async def fetch(self, *_: object) -> list[dict[str, object]]:
            return [{"is_standby": True, "is_readable": False, "epoch": EPOCH}]

    with pytest.raises(Unavailable):
        await ChangeStore(cast("Database", Standby())).since(UserId(EPOCH), Cursor(EPOCH, "5:5:"))
