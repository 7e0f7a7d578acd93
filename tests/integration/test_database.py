"""The database under cancellations and loss: every answer belongs to its question, and nothing hangs."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import asyncpg
import pytest

from realtime.errors import Unavailable
from realtime.store.pool import Database

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Engines

ASK = "SELECT $1::integer AS number, pg_sleep($2::double precision)"


@pytest.fixture
async def database(running_engines: Engines) -> AsyncIterator[Database]:
    database = Database(running_engines.template.application, size=5, statement_timeout_ms=2000)
    await database.open()
    yield database
    await database.close()


async def backends(engines: Engines) -> int:
    connection = await asyncpg.connect(engines.superuser)
    try:
        sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'roomwire_app' AND datname = 'roomwire'"
        return int(await connection.fetchval(sql))
    finally:
        await connection.close()


async def test_after_ten_thousand_cancellations_every_answer_belongs_to_its_question(
    database: Database, running_engines: Engines
) -> None:
    chance = random.Random(1)
    wrong, answered, cancelled = [], 0, 0

    async def ask(number: int) -> None:
        nonlocal answered
        row = await database.fetchrow(ASK, number, chance.random() * 0.0005)
        answered += 1
        if row is None or row["number"] != number:
            wrong.append((number, row))

    for start in range(0, 12_000, 100):
        tasks = [asyncio.create_task(ask(number)) for number in range(start, start + 100)]
        turns = chance.randrange(6)
        for _ in range(turns):
            await asyncio.sleep(0)
        for task in tasks:
            if chance.random() < 0.9:
                cancelled += task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert not [one for one in results if isinstance(one, Exception)], "nobody else is disturbed"
    assert cancelled >= 10_000
    assert answered >= 500
    assert wrong == []
    assert not database.away
    assert await backends(running_engines) <= 5


async def test_a_transaction_that_is_cancelled_is_rolled_back_and_its_connection_is_not_lent_again(
    database: Database, running_engines: Engines
) -> None:

    async def change(number: int) -> None:
        async with database.transaction() as connection:
            await connection.execute("SELECT pg_advisory_xact_lock($1)", number)
            await connection.fetch(ASK, number, 0.05)

    for _ in range(20):
        tasks = [asyncio.create_task(change(number)) for number in range(5)]
        await asyncio.sleep(0.005)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        rows = await asyncio.gather(*(database.fetchrow(ASK, number, 0) for number in range(10)))
        assert [row and row["number"] for row in rows] == list(range(10))
    async with asyncio.timeout(3):
        while True:
            row = await database.fetchrow("SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory'")
            if row is not None and row["n"] == 0:
                break
            await asyncio.sleep(0.01)
    assert await backends(running_engines) <= 5 + 5, "those that were dropped end when their statement does"


async def test_what_waits_for_a_connection_gets_one_and_who_goes_makes_room(database: Database) -> None:
    slow = [asyncio.create_task(database.fetchrow(ASK, number, 0.2)) for number in range(5)]
    await asyncio.sleep(0.05)
    waiting = [asyncio.create_task(database.fetchrow(ASK, number, 0)) for number in range(20)]
    await asyncio.sleep(0)
    for task in waiting[:10]:
        task.cancel()
    rows = await asyncio.gather(*waiting[10:], *slow)
    assert [row and row["number"] for row in rows] == [*range(10, 20), *range(5)]


async def test_a_statement_that_takes_too_long_is_unavailable_and_the_server_is_not_away(database: Database) -> None:
    with pytest.raises(Unavailable):
        await database.fetchrow(ASK, 1, 10)
    assert not database.away
    row = await database.fetchrow(ASK, 2, 0)
    assert row is not None
    assert row["number"] == 2


async def test_an_error_in_a_transaction_rolls_back_and_keeps_the_connection(database: Database) -> None:
    before = await database.fetchrow("SELECT pg_backend_pid() AS pid")

    async def fail() -> None:
        async with database.transaction() as connection:
            await connection.execute("CREATE TEMPORARY TABLE once (n integer PRIMARY KEY)")
            await connection.execute("INSERT INTO once VALUES (1), (1)")

    with pytest.raises(asyncpg.UniqueViolationError):
        await fail()
    after = await database.fetchrow("SELECT pg_backend_pid() AS pid, to_regclass('once') AS made")
    assert after is not None
    assert before is not None
    assert (after["pid"], after["made"]) == (before["pid"], None)


async def test_what_cannot_be_reached_is_told_at_the_start() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(Unavailable):
        await database.open()
    with pytest.raises(Unavailable):
        await database.fetchrow("SELECT 1")
    await database.close()


async def test_what_postgresql_refuses_is_counted_by_its_state_and_said_once_a_minute(
    running_engines: Engines, caplog: pytest.LogCaptureFixture
) -> None:
    refused: list[str] = []
    database = Database(running_engines.template.application, statement_timeout_ms=100, refused=refused.append)
    await database.open()
    try:
        for state in ("53100", "53100", "55P03"):
            with pytest.raises(Unavailable):
                await database.fetchrow(f"DO $$ BEGIN RAISE EXCEPTION 'a text of somebody' USING ERRCODE = '{state}'; END $$")
        assert refused == ["53100", "53100", "55P03"]
        assert not database.away
    finally:
        await database.close()
    lines = [record.getMessage() for record in caplog.records if "refuses statements" in record.getMessage()]
    assert len(lines) == 2 and "DiskFullError (SQLSTATE 53100)" in lines[0] and "55P03" in lines[1]
    assert "somebody" not in caplog.text
