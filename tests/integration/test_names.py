"""What a release up to 0.2 has made is called `realtime`, keeps its names, and works on without any action."""

from __future__ import annotations

import asyncio
import pathlib
from typing import TYPE_CHECKING

import asyncpg
import pytest

from realtime.node import engines
from realtime.store import migrate
from realtime.store.names import BEFORE, NAMES
from tests.client import PASSWORD, Api, Person
from tests.integration.test_backup import roomwire
from tests.process import readable, serving

if TYPE_CHECKING:
    import aiohttp

    from tests.conftest import Engines

LAST_BEFORE = "0012"


async def run(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        for one in statements:
            await connection.execute(one)
    finally:
        await connection.close()


async def as_before(superuser: str, database: str = BEFORE.database) -> str:
    """Make a database as 0.2 made it, and return the URL of its owner."""
    await run(
        superuser,
        f"DO $$ BEGIN IF to_regrole('{BEFORE.owner}') IS NULL THEN CREATE ROLE {BEFORE.owner} LOGIN; END IF; END $$",
        f"DO $$ BEGIN IF to_regrole('{BEFORE.application}') IS NULL THEN CREATE ROLE {BEFORE.application} LOGIN; END IF; END $$",
        f"CREATE DATABASE {database} OWNER {BEFORE.owner}",
        f"REVOKE CONNECT ON DATABASE {database} FROM PUBLIC",  # as docs/operations.md says
        f"GRANT CONNECT ON DATABASE {database} TO {BEFORE.application}",
    )
    owner = superuser.replace("postgres@", f"{BEFORE.owner}@").replace("/postgres?", f"/{database}?")
    await migrate.apply(owner, [(name, sql) for name, sql in migrate.files() if name < f"{LAST_BEFORE}~"])
    return owner


@pytest.fixture
def data(tmp_path: pathlib.Path) -> pathlib.Path:
    """A data directory that 0.2 made."""
    folder = readable(tmp_path) / "before"
    folder.mkdir(mode=0o711)
    postgres = engines.Postgres(folder, durable=False)
    engines.start_all([postgres])
    try:
        asyncio.run(as_before(postgres.dsn))
    finally:
        engines.stop_all([postgres])
    return folder


async def grantees(dsn: str) -> set[str]:
    """Return who may do something with a table, besides its owner."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(
            "SELECT DISTINCT a.grantee::regrole::text AS name FROM pg_class c, aclexplode(c.relacl) a "
            "WHERE c.relnamespace = 'public'::regnamespace AND a.grantee <> c.relowner"
        )
        return {row["name"] for row in rows}
    finally:
        await connection.close()


def running(data: pathlib.Path, database: str) -> str:
    return engines.running_dsn(data).replace("/postgres?", f"/{database}?")


async def databases(data: pathlib.Path) -> set[str]:
    connection = await asyncpg.connect(engines.running_dsn(data))
    try:
        return {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
    finally:
        await connection.close()


async def test_a_data_directory_of_before_serves_and_moves_into_one_of_today_as_a_back_up(
    data: pathlib.Path, http: aiohttp.ClientSession
) -> None:
    dump, new = data.parent / "before.dump", data.parent / "new"
    async with serving(data_dir=data) as server:
        anna = await Api(http, server.url).register()
        room = await anna.room("private")
        assert await anna.send(room, "kept") == 1
        assert NAMES.database not in await databases(data)
        assert await grantees(running(data, BEFORE.database)) == {BEFORE.application}
        assert (await roomwire("admin", "grant", anna.username, data_dir=str(data)))[0] == 0
        assert await roomwire("backup", str(dump), data_dir=str(data)) == (0, "")
    assert await roomwire("restore", str(dump), data_dir=str(new)) == (0, "")
    async with serving(data_dir=new) as server:
        api = Api(http, server.url)
        again = Person(api, (await api.request("POST", "/auth/login", {"username": anna.username, "password": PASSWORD})).json)
        assert [one["body"] for one in (await again.get(f"/rooms/{room}/messages"))["messages"]] == ["kept"]
        assert await again.send(room, "on it goes") == 2
        assert BEFORE.database not in await databases(new)
        assert await grantees(running(new, NAMES.database)) == {NAMES.application}


async def test_migrations_grant_to_the_application_role_that_a_database_of_ones_own_has(running_engines: Engines) -> None:
    """The server has the roles of both: another installation may be on it."""
    owner = await as_before(running_engines.superuser, "chat_before")
    assert await grantees(owner) == {BEFORE.application}, "the one that may connect"
    await run(running_engines.superuser, "GRANT CONNECT ON DATABASE chat_before TO PUBLIC")
    assert await migrate.apply(owner) == [name for name, _ in migrate.files() if name > f"{LAST_BEFORE}~"]
    assert await grantees(owner) == {BEFORE.application}, "the one that the tables are granted to"
    assert await grantees(running_engines.template.owner) == {NAMES.application}
