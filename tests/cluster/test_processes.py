"""Real processes: started, killed and started again, as it happens in production."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
import socketio

from tests import checker
from tests.client import PASSWORD, Api, Person, Refused
from tests.process import Server, readable, serving

if TYPE_CHECKING:
    import pathlib
    from collections.abc import AsyncIterator, Callable

    from realtime.store.provision import Urls
    from tests.client import Socket
    from tests.conftest import Engines

    Keep = Callable[[Socket], Socket]

GENEROUS = {"send_rate": 100_000, "send_burst": 100_000, "connections_per_user": 1000}


@pytest.fixture
async def two(
    running_engines: Engines, own_database: Urls, http: aiohttp.ClientSession
) -> AsyncIterator[tuple[list[Server], list[Api]]]:
    """Two node processes on one database and one Redis."""
    where = {"database_url": own_database.application, "migrate_database_url": own_database.owner,
             "redis_url": running_engines.redis, "redis_prefix": f"p{os.getpid()}"}  # fmt: skip
    async with serving(**where, **GENEROUS) as first, serving(**where, **GENEROUS) as second:
        yield [first, second], [Api(http, first.url), Api(http, second.url)]


async def test_two_processes_are_one_server(two: tuple[list[Server], list[Api]], close_later: Keep) -> None:
    _, (here, there) = two
    anna, bert = await here.register(), await there.register()
    room = await anna.room("private", members=[bert])
    a, b = close_later(await anna.connect()), close_later(await bert.connect(["polling"]))
    await a.subscribe(room)
    await b.subscribe(room)
    await asyncio.gather(*(one.send(room, str(number)) for number in range(50) for one in (a, b)))
    for socket in (a, b):
        await socket.wait_events(room, 100)
    assert a.seqs(room) == b.seqs(room) == list(range(1, 101))
    assert a.events(room) == b.events(room)
    await a.call("signal", {"room": room, "kind": "typing"})
    await b.wait_for("signal")
    await anna.at(there.url).request("POST", "/auth/logout", expect=204)
    await asyncio.wait_for(a.gone.wait(), 1)


async def test_a_node_that_stops_tells_its_clients_and_loses_nothing(
    two: tuple[list[Server], list[Api]], close_later: Keep
) -> None:
    servers, (here, there) = two
    anna = await here.register()
    room = await anna.room("private")
    socket = close_later(await anna.connect())
    await socket.subscribe(room)
    acks = await asyncio.gather(*(socket.send(room, str(number)) for number in range(100)))
    assert await servers[0].end(signal.SIGTERM) == 0
    await asyncio.wait_for(socket.gone.wait(), 1)
    assert socket.payloads("server.drain")
    assert socket.payloads("closing") == [{"code": "draining", "retryable": True}]
    elsewhere = anna.at(there.url)
    back = close_later(await elsewhere.connect())
    answer = await back.subscribe(room, since=0)
    assert [event["seq"] for event in answer["events"]] == acks == list(range(1, 101))


async def test_killed_under_load_and_started_again_every_acked_message_is_there_once(tmp_path: pathlib.Path) -> None:
    """The whole machine's worth: the server with its embedded engines, fsync on, killed with -9 while many write."""
    data = readable(tmp_path) / "data"
    acked: dict[tuple[str, str], set[int]] = {}
    async with aiohttp.ClientSession() as http, serving(data_dir=data, **GENEROUS) as server:
        api = Api(http, server.url)
        anna = await api.register()
        room = await anna.room("private")
        sockets = [await anna.connect() for _ in range(4)]
        unanswered: set[str] = set()

        async def write(index: int, socket: Socket) -> None:
            with contextlib.suppress(socketio.exceptions.SocketIOError, Refused):  # the server goes away amid all this
                for number in range(100_000):
                    client_id = f"c{index}-{number}"
                    unanswered.add(client_id)
                    seq = await socket.send(room, "x" * 100, client_id)
                    unanswered.discard(client_id)
                    acked.setdefault((anna.id, client_id), set()).add(seq)

        writers = [asyncio.create_task(write(index, socket)) for index, socket in enumerate(sockets * 8)]
        while len(acked) < 1000:
            await asyncio.sleep(0.01)
        await server.end(signal.SIGKILL)
        for writer in writers:
            writer.cancel()
        await asyncio.gather(*writers, return_exceptions=True)
        for socket in sockets:
            await socket.close()
    assert unanswered, "the kill came amid the load"
    async with aiohttp.ClientSession() as http, serving(data_dir=data, **GENEROUS) as server:
        anna.api = api = Api(http, server.url)
        answer = await api.request("POST", "/auth/login", {"username": anna.username, "password": PASSWORD}, expect=200)
        anna = Person(api, answer.json)  # the account is there too
        stored: list[dict[str, Any]] = []
        while True:
            page = await anna.get(f"/rooms/{room}/events?since={len(stored)}&limit=200")
            stored += page["events"]
            if not page["has_more"]:
                break
        for client_id in sorted(unanswered):  # what was in doubt is retried, and is there once whatever became of it
            seq = await anna.send(room, "x" * 100, client_id)
            acked.setdefault((anna.id, client_id), set()).add(seq)
            if seq > len(stored):
                stored += (await anna.get(f"/rooms/{room}/events?since={len(stored)}"))["events"]
        checker.check(stored, acked, [])
        assert await server.end(signal.SIGTERM) == 0


async def test_a_second_server_on_one_data_directory_says_who_holds_it(tmp_path: pathlib.Path) -> None:
    data = readable(tmp_path) / "data"
    async with serving(data_dir=data) as server:
        second = Server(data_dir=data)
        with pytest.raises(AssertionError, match=rf"process {server.pid}.*--data-dir"):
            await second.start()
        assert await second.end() == 2
        started_s = time.monotonic()
        assert await server.end(signal.SIGTERM) == 0
        assert time.monotonic() - started_s < 5
    async with serving(data_dir=data):
        assert (data / "postgres" / "PG_VERSION").exists()
