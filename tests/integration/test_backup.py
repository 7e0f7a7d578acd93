"""A dump and its restore, as docs/operations.md says them."""

from __future__ import annotations

import asyncio
import os
import pathlib
import subprocess
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit, urlunsplit

import asyncpg

from realtime.engines.postgres import programs
from realtime.store import migrate
from realtime.store.provision import Urls
from tests.client import PASSWORD, Api, Person
from tests.conftest import started

if TYPE_CHECKING:
    import aiohttp

    from tests.conftest import Engines

BIN = programs()


async def test_what_was_dumped_while_the_node_ran_is_there_after_the_restore(
    running_engines: Engines, own_database: Urls, http: aiohttp.ClientSession, tmp_path: pathlib.Path
) -> None:
    dump, copy = tmp_path / "realtime.dump", f"restored{os.getpid()}"
    async with started(own_database, running_engines.redis, redis_prefix="dumped") as (_, url):
        anna = await Api(http, url).register()
        room = await anna.room("private")
        seqs = [await anna.send(room, str(number), f"c{number}") for number in range(20)]
        await tool("pg_dump", running_engines, "-Fc", "-f", str(dump), urlsplit(own_database.owner).path[1:])
        await anna.send(room, "too late")
    connection = await asyncpg.connect(running_engines.superuser)
    await connection.execute(f"CREATE DATABASE {copy} OWNER realtime_owner")
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
