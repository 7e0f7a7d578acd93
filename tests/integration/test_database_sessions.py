"""What a DBA configured for a role or a database, what PostgreSQL answers when it cannot, and what a start says."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from realtime.errors import NotStorable, Unavailable
from realtime.log.store import NO_APPEND, EventStore
from realtime.store import starting
from realtime.store.pool import Database, Refused
from realtime.store.starting import CannotStart
from tests.conftest import clone
from tests.integration.test_append import accepted, build, sent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from realtime.store.provision import Urls
    from tests.conftest import Engines

ODD = {
    "default_transaction_isolation": "'repeatable read'",
    "default_transaction_deferrable": "on",
    "search_path": "nowhere",
    "timezone": "'Asia/Tokyo'",
    "datestyle": "'German'",
    "intervalstyle": "'sql_standard'",
    "bytea_output": "'escape'",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "row_security": "on",
    "synchronous_commit": "off",
    "statement_timeout": "'100ms'",
    "lock_timeout": "'1ms'",
    "idle_in_transaction_session_timeout": "'1ms'",
    "idle_session_timeout": "'300ms'",
    "enable_seqscan": "on",
    "jit": "on",
}


@contextlib.asynccontextmanager
async def opened(url: str, **more: Any) -> AsyncIterator[Database]:
    database = Database(url, **more)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def superuser(engines: Engines, urls: Urls) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A connection of the superuser to a database."""
    name = urlsplit(urls.owner).path.lstrip("/")
    connection = await asyncpg.connect(engines.superuser.replace("/postgres?", f"/{name}?"))
    try:
        yield connection
    finally:
        await connection.close()


async def configure(connection: asyncpg.Connection[Any], settings: dict[str, str]) -> None:
    name = await connection.fetchval("SELECT current_database()")
    for setting, value in settings.items():
        await connection.execute(f"ALTER ROLE roomwire_app IN DATABASE {name} SET {setting} = {value}")


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_whatever_a_role_is_configured_to_every_send_of_two_nodes_into_one_room_is_committed_and_durable(
    running_engines: Engines, own_database: Urls, isolation: str
) -> None:
    [house] = await build(own_database.owner)
    async with superuser(running_engines, own_database) as connection:
        await configure(connection, ODD | {"default_transaction_isolation": f"'{isolation}'"})
    async with opened(own_database.application) as one, opened(own_database.application) as two:
        shown = await one.fetchrow(
            "SELECT current_setting('transaction_isolation') AS isolation, current_setting('search_path') AS path, "
            "current_setting('timezone') AS zone, current_setting('synchronous_commit') AS durable, "
            "current_setting('row_security') AS policies, current_setting('lock_timeout') AS lock, "
            "current_setting('standard_conforming_strings') AS strings, current_setting('idle_session_timeout') AS idle"
        )
        assert shown is not None
        assert dict(shown) == {
            "isolation": "read committed", "path": "public, pg_temp", "zone": "UTC", "durable": "on", "policies": "off",
            "lock": "2s", "strings": "on", "idle": "0",
        }  # fmt: skip

        async def write(store: EventStore, name: str) -> list[int]:
            return [(await accepted(store, [sent(house.room, house.author, f"{name}-{number}")]))[0].seq for number in range(40)]

        writers = [write(EventStore(database), f"{index}{name}") for index in "ab" for name, database in (("1", one), ("2", two))]
        seqs = await asyncio.gather(*writers)
        assert sorted(seq for each in seqs for seq in each) == list(range(1, 161))


async def test_a_choice_of_where_a_commit_is_durable_stays_the_operators(running_engines: Engines, own_database: Urls) -> None:
    async with superuser(running_engines, own_database) as connection:
        await configure(connection, {"synchronous_commit": "remote_write"})
    async with opened(own_database.application) as database:
        row = await database.fetchrow("SELECT current_setting('synchronous_commit') AS found")
        assert row is not None and row["found"] == "remote_write"


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
async def test_a_statement_that_lost_against_another_one_is_done_again(
    running_engines: Engines, own_database: Urls, sqlstate: str
) -> None:
    async with superuser(running_engines, own_database) as connection:
        await connection.execute(
            "CREATE SEQUENCE tries; GRANT USAGE ON SEQUENCE tries TO roomwire_app;"
            "CREATE FUNCTION lose(wins_at integer) RETURNS bigint LANGUAGE plpgsql AS $$ DECLARE n bigint := nextval('tries'); "
            f"BEGIN IF n < wins_at THEN RAISE EXCEPTION 'lost' USING ERRCODE = '{sqlstate}'; END IF; RETURN n; END $$"
        )
    async with opened(own_database.application) as database:
        row = await database.fetchrow("SELECT lose(3) AS tries")
        assert row is not None and row["tries"] == 3
        with pytest.raises(Refused) as refused:
            await database.fetchrow("SELECT lose(1000) AS tries")
        assert (refused.value.sqlstate, refused.value.retryable, database.away) == (sqlstate, True, False)
        with pytest.raises(Refused):
            async with database.transaction() as transaction:
                await transaction.execute("SELECT lose(1000)")


async def test_a_session_that_lost_its_prepared_statements_is_replaced_and_nobody_notices(own_database: Urls) -> None:
    async with opened(own_database.application, size=1) as database:
        for _ in range(3):
            row = await database.fetchrow("SELECT 1 AS one")
            assert row is not None
            await database.execute("DEALLOCATE ALL")


async def test_a_right_that_is_missing_for_a_while_is_unavailable_and_then_all_is_well(own_database: Urls) -> None:
    [house] = await build(own_database.owner)
    owner = await asyncpg.connect(own_database.owner)
    try:
        async with opened(own_database.application) as database:
            store = EventStore(database)
            await owner.execute("REVOKE SELECT ON members FROM roomwire_app")
            with pytest.raises(Refused) as refused:
                await store.append([sent(house.room, house.author, str(number)) for number in range(3)])
            assert (refused.value.sqlstate, refused.value.retryable, database.away) == ("42501", True, False)
            await owner.execute("GRANT SELECT ON members TO roomwire_app")
            [answer] = await accepted(store, [sent(house.room, house.author)])
            assert answer.seq == 1
    finally:
        await owner.close()


async def test_a_role_that_may_not_log_in_for_a_while_is_unavailable_and_then_all_is_well(
    running_engines: Engines, own_database: Urls
) -> None:
    async with superuser(running_engines, own_database) as connection:
        await connection.execute("DROP ROLE IF EXISTS visitor; CREATE ROLE visitor LOGIN IN ROLE roomwire_app")
        async with opened(own_database.application.replace("roomwire_app", "visitor")) as database:
            await connection.execute("ALTER ROLE visitor NOLOGIN")
            await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'visitor'")
            for _ in range(3):
                with pytest.raises(Unavailable):
                    await database.fetchrow("SELECT 1")
            await connection.execute("ALTER ROLE visitor LOGIN")
            async with asyncio.timeout(5):
                while database.away:
                    await asyncio.sleep(0.02)
            assert await database.fetchrow("SELECT 1") is not None


async def test_one_row_that_postgresql_refuses_fails_alone_with_a_code_that_says_that_no_retry_helps(own_database: Urls) -> None:
    [house] = await build(own_database.owner)
    async with opened(own_database.application) as database:
        store = EventStore(database)
        for body in ("a\x00b", "\ud800"):
            with pytest.raises(NotStorable) as refused:
                await store.append([sent(house.room, house.author, body=body)])
            assert refused.value.retryable is False
            assert body not in str(refused.value) and refused.value.__cause__ is None
        with pytest.raises(NotStorable):
            await store.append([sent(house.room, house.author, client_id="".join(chr(c) for c in range(200, 30_000)))])
        with pytest.raises(NotStorable):
            await database.fetchrow("SELECT $1::bigint", 2**70)
        assert not database.away


async def test_a_database_that_is_not_utf8_stops_the_start_with_a_sentence(running_engines: Engines) -> None:
    connection = await asyncpg.connect(running_engines.superuser)
    try:
        for encoding in ("LATIN1", "SQL_ASCII"):
            name = f"form_{encoding.lower()}"
            await connection.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
            url = running_engines.superuser.replace("/postgres?", f"/{name}?")
            with pytest.raises(CannotStart, match=f"encoding {encoding}.*ENCODING 'UTF8'") as stopped:
                await Database(url).open()
            assert not stopped.value.passing
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


async def test_rows_that_a_policy_hides_stop_the_start_with_a_sentence(running_engines: Engines) -> None:
    urls = await clone(running_engines)
    owner = await asyncpg.connect(urls.owner)
    try:
        await owner.execute("ALTER TABLE rooms ENABLE ROW LEVEL SECURITY")
        with pytest.raises(CannotStart, match="Row security hides rows of rooms"):
            await Database(urls.application).open()
    finally:
        await owner.close()


async def test_a_start_says_what_the_server_said_and_what_to_do_and_whether_it_may_pass(
    running_engines: Engines, own_database: Urls
) -> None:
    async with superuser(running_engines, own_database) as connection:
        await connection.execute("DROP ROLE IF EXISTS nobody_yet; CREATE ROLE nobody_yet LOGIN")
        await connection.execute("DROP ROLE IF EXISTS full_up; CREATE ROLE full_up LOGIN CONNECTION LIMIT 0")
        await configure(connection, {"default_transaction_read_only": "on"})
    secret = "hush%40hush"
    url = own_database.application.replace("roomwire_app@", f"roomwire_app:{secret}@")
    cases = [
        (url.replace("roomwire_app", "stranger"), 'role "stranger" does not exist', False),
        (url.replace("/clone", "/no_such_clone"), "does not exist.*Check the database", False),
        (url.replace("roomwire_app", "nobody_yet"), "permission denied for function append_entries.*roomwire migrate", False),
        (url.replace("roomwire_app", "full_up"), "too many connections", True),
        (url, "takes no writes", True),
        (f"postgresql://a:{secret}@127.0.0.1:1/x", "a@127.0.0.1:1/x cannot be used", True),
        (f"postgresql://a:{secret}@no-such-host.invalid/x", "host is not found", None),
        ("postgresql://a:hush/hush@127.0.0.1:1/x", "the URL cannot be read|cannot be read", False),
        (f"postgresql://a:{secret}@127.0.0.1:port/x", "the URL cannot be read", False),
        (f"postgresql://a:{secret}@127.0.0.1:1/x?sslmode=verify_full", "the URL cannot be read. Check its parameters", False),
        (f"postgresql://a:{secret}@127.0.0.1:1/x?sslmode=verify-full&sslrootcert=/no.crt", "a file that the URL names", False),
        ("postgresql://a@/x?host=/nowhere", "No such file or directory. This may pass", True),
    ]
    for given, words, passing in cases:
        database = Database(given, warm=[NO_APPEND])
        with pytest.raises(CannotStart, match=words) as stopped:
            await database.open()
        assert "hush" not in stopped.value.message
        assert "client_id" not in stopped.value.message
        if passing is not None:
            assert stopped.value.passing is passing, stopped.value.message


@pytest.mark.parametrize(
    ("error", "words", "passing"),
    [
        (ssl.SSLCertVerificationError(1, "certificate verify failed: Hostname mismatch"), "TLS failed.*sslrootcert", False),
        (ConnectionError('PostgreSQL server at "db:5432" rejected SSL upgrade'), "does not speak TLS", False),
        (ConnectionRefusedError(111, "Connection refused"), "Connection refused. This may pass", True),
        (TimeoutError(), "does not answer in time", True),
        (asyncpg.CannotConnectNowError("the database system is starting up"), "starting up.*57P03", True),
        (asyncpg.InvalidPasswordError('password authentication failed for user "a"'), "authentication failed.*password", False),
        (asyncpg.ProtocolViolationError("unsupported startup parameter: jit"), "unsupported startup.*session mode", False),
        (asyncpg.ProtocolViolationError("no more connections allowed"), "no more connections", True),
    ],
)
def test_why_a_database_cannot_be_used_is_said_for_each_way_to_fail(error: Exception, words: str, passing: bool) -> None:
    told = starting.reason(error, "postgresql://a:hush@db/x")
    assert told.passing is passing
    with pytest.raises(CannotStart, match=words):
        raise told
