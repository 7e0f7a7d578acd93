"""What the application role may do, and a log that is partitioned by the statements of docs/scaling.md."""

from __future__ import annotations

import asyncio
import pathlib
import re
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from tests.client import Refused
from tests.conftest import Nodes

if TYPE_CHECKING:
    import contextlib
    from collections.abc import AsyncIterator, Callable

    import aiohttp

    from realtime.store.provision import Urls
    from tests.client import Socket
    from tests.conftest import Engines

SCALING = pathlib.Path(__file__).parents[2] / "docs" / "scaling.md"
AS_MADE = {
    "users": "id username username_key created_at",
    "sessions": "id user_id created_at agent",
    "signing_keys": "kid secret created_at active_from",
    "rooms": "id kind direct_key created_at",
    "members": "room user_id joined_at",
    "bans": "room user_id actor at",
    "events": "room seq kind actor at client_id target user_id role",
    "presence": "user_id",
}


@pytest.fixture
async def owner(own_database: Urls) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(own_database.owner)
    yield connection
    await connection.close()


async def test_the_application_role_changes_the_columns_that_change_and_no_other(owner: asyncpg.Connection[Any]) -> None:
    wide = await owner.fetch(
        "SELECT table_name, privilege_type FROM information_schema.role_table_grants "
        "WHERE grantee = 'roomwire_app' AND privilege_type IN ('INSERT', 'UPDATE', 'TRUNCATE', 'TRIGGER', 'REFERENCES')"
    )
    assert [tuple(row) for row in wide] == [], "columns are granted, not tables"
    rows = await owner.fetch(
        "SELECT table_name, column_name FROM information_schema.role_column_grants "
        "WHERE grantee = 'roomwire_app' AND privilege_type = 'UPDATE'"
    )
    granted = {(row["table_name"], row["column_name"]) for row in rows}
    kept = {(table, column) for table, columns in AS_MADE.items() for column in columns.split()}
    known = await owner.fetch("SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public'")
    assert kept <= {tuple(row) for row in known}
    assert granted & kept == set()
    assert {("events", "body"), ("rooms", "head_seq"), ("users", "password_hash")} <= granted
    deletes = await owner.fetch(
        "SELECT table_name FROM information_schema.role_table_grants WHERE grantee = 'roomwire_app' AND privilege_type = 'DELETE'"
    )
    assert {row["table_name"] for row in deletes} & {"events", "users", "sessions", "rooms", "signing_keys"} == set()


async def test_the_statements_of_the_documentation_partition_the_log_while_nodes_serve(
    running_engines: Engines,
    own_database: Urls,
    owner: asyncpg.Connection[Any],
    http: aiohttp.ClientSession,
    exits: contextlib.AsyncExitStack,
    close_later: Callable[[Socket], Socket],
) -> None:
    steps = re.findall(r"^```sql\n(.*?)^```$", SCALING.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(steps) == 4
    nodes = Nodes(own_database, running_engines.redis, exits, http)
    api = await nodes.start(send_rate=10_000, send_burst=10_000)
    anna = await api.register()
    rooms = [await anna.room("private") for _ in range(20)]
    first = {room: await anna.send(room, "before") for room in rooms}
    stopped = False
    sent = dict.fromkeys(rooms, 1)

    async def write(room: str) -> None:
        while not stopped:
            await anna.send(room, "meanwhile")
            sent[room] += 1

    writing = [asyncio.create_task(write(room)) for room in rooms[:4]]
    for number, step in enumerate(steps):
        if number == 2:  # between the two tables and the copy: what changes is in both
            await anna.request("PATCH", f"/rooms/{rooms[5]}/messages/{first[rooms[5]]}", {"body": "edited"}, expect=200)
        if "COMMIT;\n    END LOOP" in step:
            [block] = re.findall(r"DO \$\$.*", step, re.DOTALL)  # COMMIT within: a statement by itself
            await owner.execute(block)
        else:
            await again_while_locked(owner, step)
        await asyncio.sleep(0.1)
    stopped = True
    await asyncio.gather(*writing)
    await owner.execute("DROP FUNCTION events_both()")
    assert await owner.fetchval("SELECT relkind FROM pg_class WHERE oid = 'events'::regclass") == b"p"

    socket = close_later(await anna.connect())
    for room in rooms:
        assert await anna.send(room, "after") == sent[room] + (2 if room == rooms[5] else 1)
        caught_up = await socket.subscribe(room, since=0) if sent[room] < 900 else None
        if caught_up is not None:
            assert [event["seq"] for event in caught_up["events"]] == list(range(1, len(caught_up["events"]) + 1))
    page = await anna.get(f"/rooms/{rooms[5]}/messages")
    assert [message["body"] for message in page["messages"]] == ["edited", "after"]
    await socket.call("message.edit", {"room": rooms[6], "seq": 1, "body": "edited too"})
    await socket.call("message.delete", {"room": rooms[6], "seq": 1})
    with pytest.raises(Refused, match="message_not_found"):
        await socket.call("message.delete", {"room": rooms[6], "seq": 1})
    application = await asyncpg.connect(own_database.application)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await application.execute("DELETE FROM events")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await application.execute("UPDATE events SET actor = gen_random_uuid()")
    finally:
        await application.close()


async def again_while_locked(owner: asyncpg.Connection[Any], step: str) -> None:
    for _ in range(50):
        try:
            await owner.execute(step)
        except asyncpg.LockNotAvailableError:
            await owner.execute("ROLLBACK")
        else:
            return
    pytest.fail("no lock")
