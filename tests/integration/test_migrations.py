"""Migrations beside a server that works: they hold up nobody, say what they wait for, and come back to where they were."""

from __future__ import annotations

import asyncio
import time
import uuid
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from realtime.store import migrate
from realtime.store.starting import CannotStart
from tools import schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from realtime.store.provision import Urls

WIDER = ("0900_wider.sql", "ALTER TABLE users ADD COLUMN wide integer NOT NULL DEFAULT 0;")


@pytest.fixture
async def other(own_database: Urls) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(own_database.owner, server_settings={"application_name": "a nightly dump"})
    yield connection
    await connection.close()


async def test_a_migration_behind_a_long_dump_holds_up_nobody_and_says_what_it_waits_for(
    own_database: Urls, other: asyncpg.Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    user = await asyncpg.connect(own_database.application)
    dump = other.transaction(isolation="repeatable_read")
    await dump.start()
    await other.execute("LOCK TABLE users, events IN ACCESS SHARE MODE")
    pid = await other.fetchval("SELECT pg_backend_pid()")
    migrating = asyncio.create_task(migrate.apply(own_database.owner, [*migrate.files(), WIDER]))
    try:
        slowest_s = 0.0
        until_s = time.monotonic() + 3
        while time.monotonic() < until_s:
            began_s = time.monotonic()
            await user.fetchval("SELECT count(*) FROM users WHERE username_key = 'a secret name'")
            slowest_s = max(slowest_s, time.monotonic() - began_s)
            await asyncio.sleep(0.01)
        assert not migrating.done()
        assert slowest_s < 2 * migrate.LOCK_S, "nobody waits in its queue for longer than it waits itself"
        await dump.rollback()
        assert await migrating == [WIDER[0]]
        assert await migrate.apply(own_database.owner, [*migrate.files(), WIDER]) == []
    finally:
        migrating.cancel()
        await user.close()
    assert f"process {pid} (a nightly dump, in a transaction for" in caplog.text
    assert "a secret name" not in caplog.text and "LOCK TABLE" not in caplog.text


async def test_a_lock_that_is_never_free_ends_the_migration_with_a_sentence(
    own_database: Urls, other: asyncpg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "PATIENCE_S", 0.1)
    async with other.transaction():
        await other.execute("LOCK TABLE users IN ACCESS SHARE MODE")
        with pytest.raises(CannotStart, match=r"0900_wider.sql got no lock.*a nightly dump") as stopped:
            await migrate.apply(own_database.owner, [*migrate.files(), WIDER])
    assert stopped.value.passing


async def test_where_nothing_is_to_do_nodes_start_although_somebody_holds_the_lock_of_migrations(
    own_database: Urls, other: asyncpg.Connection[Any]
) -> None:
    await other.execute("SELECT pg_advisory_lock($1)", migrate._LOCK)
    async with asyncio.timeout(3):
        assert await migrate.apply(own_database.application) == []


async def test_a_file_of_several_steps_begins_anew_where_one_failed_and_builds_indexes_beside_writers(
    own_database: Urls, other: asyncpg.Connection[Any]
) -> None:
    steps = (
        "ALTER TABLE users ADD COLUMN IF NOT EXISTS a integer;\n-- step: beside writers\n"
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS users_a ON users (a);\n-- step\nSELECT 1 / {};\n"
    )
    with pytest.raises(migrate.MigrationError, match="division by zero"):
        await migrate.apply(own_database.owner, [*migrate.files(), ("0900_steps.sql", steps.format(0))])
    assert await other.fetchval("SELECT count(*) FROM pg_class WHERE relname = 'users_a'") == 1
    assert await migrate.apply(own_database.owner, [*migrate.files(), ("0900_steps.sql", steps.format(1))]) == ["0900_steps.sql"]


async def test_a_file_that_was_changed_after_it_was_applied_stops_the_start(own_database: Urls) -> None:
    [(name, sql), *rest] = migrate.files()
    with pytest.raises(migrate.MigrationError, match=r"0001_core\.sql was applied with other contents"):
        await migrate.apply(own_database.owner, [(name, sql + "-- more"), *rest])


async def test_tables_of_ours_in_another_schema_stop_the_start_instead_of_being_made_anew(
    own_database: Urls, other: asyncpg.Connection[Any]
) -> None:
    await other.execute("CREATE SCHEMA elsewhere; ALTER TABLE schema_migrations SET SCHEMA elsewhere")
    with pytest.raises(migrate.MigrationError, match="in the schema elsewhere"):
        await migrate.apply(own_database.owner)


async def test_a_role_with_settings_of_its_own_migrates_as_any_other(own_database: Urls, other: asyncpg.Connection[Any]) -> None:
    name = await other.fetchval("SELECT current_database()")
    for setting in ("search_path = ''", "statement_timeout = '200ms'", "default_transaction_isolation = 'serializable'"):
        await other.execute(f"ALTER ROLE roomwire_owner IN DATABASE {name} SET {setting}")
    slow = ("0900_slow.sql", "SELECT pg_sleep(0.4); CREATE TABLE slow (n integer);")
    assert await migrate.apply(own_database.owner, [*migrate.files(), slow]) == ["0900_slow.sql"]
    assert await other.fetchval("SELECT to_regclass('public.slow') IS NOT NULL")


def test_the_schema_file_says_what_the_migrations_make(own_database: Urls) -> None:
    assert schema.SCHEMA.read_text("utf-8") == schema.dump(own_database.owner), "run make docs"


INDEX = ("0900_index.sql", "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS things_of ON things (room, n) WHERE n IS NOT NULL;\n")
INDEXES = """
SELECT c.relname, i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relname LIKE 'things%' ORDER BY 1
"""


async def test_an_index_is_built_beside_writers_on_a_table_that_an_operator_has_partitioned(
    own_database: Urls, other: asyncpg.Connection[Any]
) -> None:
    await other.execute("CREATE TABLE things (room uuid, n bigint) PARTITION BY HASH (room)")
    for n in range(2):
        await other.execute(f"CREATE TABLE things_{n} PARTITION OF things FOR VALUES WITH (MODULUS 2, REMAINDER {n})")
    await other.execute("INSERT INTO things SELECT gen_random_uuid(), n FROM generate_series(1, 100) n")
    assert await migrate.apply(own_database.owner, [*migrate.files(), INDEX]) == [INDEX[0]]
    assert [tuple(row) for row in await other.fetch(INDEXES)] == [
        ("things_0_of", True), ("things_1_of", True), ("things_of", True),
    ]  # fmt: skip
    assert await other.fetchval("SELECT count(*) FROM pg_inherits WHERE inhparent = 'things_of'::regclass") == 2


async def test_an_index_that_an_earlier_try_left_half_built_is_built_anew(
    own_database: Urls, other: asyncpg.Connection[Any]
) -> None:
    await other.execute("CREATE TABLE things (room uuid, n bigint); INSERT INTO things VALUES (NULL, 1)")
    await other.execute(f"INSERT INTO things SELECT '{uuid.UUID(int=0)}', 1 FROM generate_series(1, 2)")
    with pytest.raises(migrate.MigrationError, match="could not create unique index"):
        await migrate.apply(own_database.owner, [*migrate.files(), INDEX])
    assert [tuple(row) for row in await other.fetch(INDEXES)] == [("things_of", False)]
    await other.execute("TRUNCATE things")
    assert await migrate.apply(own_database.owner, [*migrate.files(), INDEX]) == [INDEX[0]]
    assert [tuple(row) for row in await other.fetch(INDEXES)] == [("things_of", True)]
