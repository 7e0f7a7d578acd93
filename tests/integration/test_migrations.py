"""Migrations beside a server that works: they hold up nobody, say what they wait for, and come back to where they were."""

from __future__ import annotations

import asyncio
import time
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
