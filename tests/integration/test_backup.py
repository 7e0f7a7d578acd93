"""Back-ups and restores, by our commands and by PostgreSQL's own, as docs/operations.md says them."""

from __future__ import annotations

import asyncio
import os
import pathlib
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit, urlunsplit

import asyncpg
import pytest

from realtime.config import without_settings
from realtime.node.backup import without_password
from realtime.node.engines.postgres import programs
from realtime.store import migrate
from realtime.store.provision import Urls
from tests.client import PASSWORD, Api, Person
from tests.conftest import started
from tests.process import readable, serving

if TYPE_CHECKING:
    import aiohttp

    from tests.conftest import Engines

BIN = programs()


async def test_what_was_dumped_while_the_node_ran_is_there_after_the_restore(
    running_engines: Engines, own_database: Urls, http: aiohttp.ClientSession, tmp_path: pathlib.Path
) -> None:
    dump, copy = tmp_path / "roomwire.dump", f"restored{os.getpid()}"
    async with started(own_database, running_engines.redis, redis_prefix="dumped") as (_, url):
        anna = await Api(http, url).register()
        room = await anna.room("private")
        seqs = [await anna.send(room, str(number), f"c{number}") for number in range(20)]
        await tool("pg_dump", running_engines, "-Fc", "-f", str(dump), urlsplit(own_database.owner).path[1:])
        await anna.send(room, "too late")
    connection = await asyncpg.connect(running_engines.superuser)
    await connection.execute(f"CREATE DATABASE {copy} OWNER roomwire_owner")
    await connection.close()
    await tool("pg_restore", running_engines, "--exit-on-error", "-d", copy, str(dump))
    restored = Urls(*(urlunsplit(urlsplit(one)._replace(path=f"/{copy}")) for one in own_database))
    assert await migrate.apply(restored.owner) == []
    async with started(restored, running_engines.redis, redis_prefix="restored") as (_, url):
        api = Api(http, url)
        signed_in = await api.request("POST", "/auth/login", {"username": anna.username, "password": PASSWORD}, expect=200)
        again = Person(api, signed_in.json)
        page = await again.get(f"/rooms/{room}/messages")
        assert [(message["seq"], message["body"]) for message in page["messages"]] == [(seq, str(seq - 1)) for seq in seqs]
        assert await again.send(room, "3", "c3") == seqs[3], "what was acked before the dump is still no second message"
        socket = await again.connect()
        assert (await socket.subscribe(room, since=len(seqs) + 1))["reset"] is True, "who is ahead is told to read again"
        await socket.close()


async def tool(name: str, engines: Engines, *arguments: str) -> None:
    """Run a program of PostgreSQL as its superuser."""
    [folder] = parse_qs(urlsplit(engines.superuser).query)["host"]
    command = [str(BIN / name), "-h", folder, "-U", "postgres", *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


async def roomwire(*arguments: str, **settings: str) -> tuple[int, str]:
    """Run one of our commands; return its status, and what it said on standard error."""
    environment = without_settings(os.environ)
    environment |= {f"ROOMWIRE_{name.upper()}": value for name, value in settings.items()}
    command = [sys.executable, "-m", "realtime", *arguments]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, check=False, env=environment)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.strip().rpartition("\n")[2]


async def test_the_embedded_database_is_backed_up_while_it_serves_and_chats_on_after_the_restore(
    http: aiohttp.ClientSession, tmp_path: pathlib.Path
) -> None:
    folder = readable(tmp_path)
    dump, old, new = folder / "one.dump", str(folder / "old"), str(folder / "new")
    async with serving(data_dir=old) as server:
        anna = await Api(http, server.url).register()
        room = await anna.room("private")
        seqs = [await anna.send(room, str(number), f"c{number}") for number in range(20)]
        assert await roomwire("backup", str(dump), data_dir=old) == (0, "")
        assert dump.stat().st_mode & 0o777 == 0o600
        await anna.send(room, "too late")
        assert (await roomwire("admin", "grant", anna.username, data_dir=old))[0] == 0
        status, said = await roomwire("restore", str(dump), data_dir=old)
        assert (status, "stop it before you restore" in said) == (2, True)
    status, said = await roomwire("backup", str(dump), data_dir=old)
    assert (status, "is there already" in said) == (2, True)
    status, said = await roomwire("restore", str(dump), data_dir=old)
    assert (status, "--replace" in said) == (2, True)
    assert await roomwire("restore", str(dump), data_dir=new) == (0, "")
    async with serving(data_dir=new) as server:
        api = Api(http, server.url)
        signed_in = await api.request("POST", "/auth/login", {"username": anna.username, "password": PASSWORD}, expect=200)
        again = Person(api, signed_in.json)
        page = await again.get(f"/rooms/{room}/messages")
        assert [message["seq"] for message in page["messages"]] == seqs
        assert await again.send(room, "3", "c3") == seqs[3], "what was acked before is still no second message"
        assert await again.send(room, "on it goes") == len(seqs) + 1
        socket = await again.connect()
        assert (await socket.subscribe(room, since=len(seqs) + 2))["reset"] is True, "who held more is told to read again"
        await socket.close()


async def test_ones_own_database_is_restored_whole_or_not_at_all(
    running_engines: Engines, own_database: Urls, http: aiohttp.ClientSession, tmp_path: pathlib.Path
) -> None:
    dump, half, copy = tmp_path / "own.dump", tmp_path / "half.dump", f"whole{os.getpid()}"
    connection = await asyncpg.connect(running_engines.superuser)
    await connection.execute(f"CREATE DATABASE {copy} OWNER roomwire_owner TEMPLATE template0")
    await connection.close()
    restored = Urls(*(urlunsplit(urlsplit(one)._replace(path=f"/{copy}")) for one in own_database))
    there = {"database_url": restored.application, "migrate_database_url": restored.owner}
    here = {"database_url": own_database.application, "migrate_database_url": own_database.owner}
    async with started(own_database, running_engines.redis, redis_prefix="own") as (_, url):
        anna = await Api(http, url).register()
        room = await anna.room("private")
        await anna.send(room, "kept")
        assert await roomwire("backup", str(dump), **here) == (0, "")
        status, said = await roomwire("restore", str(dump), "--replace", **here)
        assert (status, "Nodes serve from this database" in said) == (2, True)
    half.write_bytes(dump.read_bytes()[:-20])
    status, said = await roomwire("restore", str(half), **there)
    assert (status, "nothing was changed" in said) == (2, True)
    assert await roomwire("restore", str(dump), **there) == (0, "")
    status, said = await roomwire("restore", str(half), "--replace", **there)
    assert (status, "nothing was changed" in said) == (2, True)
    assert await roomwire("restore", str(dump), "--replace", **there) == (0, "")
    async with started(restored, running_engines.redis, redis_prefix="whole") as (_, url):
        api = Api(http, url)
        signed_in = await api.request("POST", "/auth/login", {"username": anna.username, "password": PASSWORD}, expect=200)
        again = Person(api, signed_in.json)
        assert [one["body"] for one in (await again.get(f"/rooms/{room}/messages"))["messages"]] == ["kept"]
        await again.send(room, "and more")


@pytest.mark.parametrize(
    ("url", "shown", "secrets"),
    [
        ("postgresql://a:p%40ss@db/roomwire", "postgresql://a@db/roomwire", {"PGPASSWORD": "p@ss"}),
        ("postgresql://a@/r?host=/run/pg&password=x", "postgresql://a@/r?host=/run/pg", {"PGPASSWORD": "x"}),
        ("postgresql://a@h1:1,h2:2/r?sslmode=verify-full", "postgresql://a@h1:1,h2:2/r?sslmode=verify-full", {}),
    ],
)
def test_no_list_of_processes_shows_the_password(url: str, shown: str, secrets: dict[str, str]) -> None:
    assert without_password(url) == (shown, secrets)
