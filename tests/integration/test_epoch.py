"""A restore from a back-up begins a new epoch: nobody goes on from what may never have happened."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from realtime.store import epoch, migrate
from tests.conftest import Nodes, clone

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable

    import aiohttp

    from tests.client import Person, Socket
    from tests.conftest import Engines

    Keep = Callable[[Socket], Socket]


async def resume(person: Person, close_later: Keep, room: str, **more: Any) -> Any:
    socket = close_later(await person.connect())
    answer = await socket.call("room.subscribe", {"rooms": [{"room": room, **more}]})
    assert answer["epoch"] == socket.payloads("ready")[0]["epoch"]
    return answer["rooms"][0]


@pytest.fixture
async def own_nodes(running_engines: Engines, http: aiohttp.ClientSession, exits: contextlib.AsyncExitStack) -> Nodes:
    """Nodes over a database that others do not use."""
    return Nodes(await clone(running_engines), running_engines.redis, exits, http)


async def test_after_a_restore_clients_that_were_ahead_are_reset_although_others_wrote_past_them(
    own_nodes: Nodes, close_later: Keep
) -> None:
    api = await own_nodes.start()
    anna = await api.register()
    room = await anna.room("private")
    for number in range(12):
        await anna.send(room, f"old {number}")
    socket = close_later(await anna.connect())
    first = socket.payloads("ready")[0]["epoch"]
    await own_nodes.stop(0)
    database = await asyncpg.connect(own_nodes.urls.owner)
    try:
        # What a dump at 5 brings back.
        await database.execute("DELETE FROM events WHERE room = $1 AND seq > 5", room)
        await database.execute("UPDATE rooms SET head_seq = 5 WHERE id = $1", room)
        second = await epoch.renew(database)
    finally:
        await database.close()
    api = await own_nodes.start()
    anna = anna.at(api.url)
    for number in range(15):
        await anna.send(room, f"new {number}")
    assert second != first
    assert (await resume(anna, close_later, room, since=12, epoch=first))["reset"]
    assert (await resume(anna, close_later, room, since=12))["reset"]
    held = await resume(anna, close_later, room, since=5)
    assert [event["body"] for event in held["events"]] == [f"new {number}" for number in range(15)]
    held = await resume(anna, close_later, room, since=18, epoch=second)
    assert [event["seq"] for event in held["events"]] == [19, 20]
    young = await anna.room("private")
    await anna.send(young)
    assert "reset" not in await resume(anna, close_later, young, since=1), "made after the restore"


async def test_a_node_that_runs_through_a_restore_sends_its_connections_back(own_nodes: Nodes, close_later: Keep) -> None:
    api = await own_nodes.start()
    anna = await api.register()
    room = await anna.room("private")
    await anna.send(room)
    socket = close_later(await anna.connect())
    await socket.subscribe(room)
    database = await asyncpg.connect(own_nodes.urls.owner)
    try:
        second = await epoch.renew(database)
    finally:
        await database.close()
    own_nodes.running[0].feeds.compare_soon()  # as when PostgreSQL is back
    async with asyncio.timeout(10):
        await socket.gone.wait()
    assert {"server.drain", "closing"} <= set(socket.names)
    again = close_later(await anna.connect())
    assert again.payloads("ready")[0]["epoch"] == second


async def test_of_several_restores_the_one_that_went_back_furthest_counts(own_nodes: Nodes) -> None:
    anna = await (await own_nodes.start()).register()
    room = await anna.room("private")
    database = await asyncpg.connect(own_nodes.urls.owner)
    try:
        for head, restored in ((21, 21), (51, 21), (7, 7)):
            await database.execute("UPDATE rooms SET head_seq = $2 WHERE id = $1", room, head)
            await epoch.renew(database)
            assert await database.fetchval("SELECT restored_seq FROM rooms WHERE id = $1", room) == restored
    finally:
        await database.close()


async def test_a_database_that_was_restored_elsewhere_or_copied_begins_a_new_epoch_when_a_node_starts(
    running_engines: Engines, caplog: pytest.LogCaptureFixture
) -> None:
    urls = await clone(running_engines)
    database = await asyncpg.connect(urls.owner)
    caplog.clear()
    try:
        await database.execute("UPDATE epoch SET place = 'another database'")  # as a dump or a template brings it along
        before = await database.fetchval("SELECT id FROM epoch")
        await migrate.apply(urls.application)
        assert await database.fetchval("SELECT id FROM epoch") == before
        assert "SELECT new_epoch();" in caplog.text, "the application role may not, and says who may"
        await asyncio.gather(*(migrate.apply(urls.owner) for _ in range(3)))
        after = await database.fetchval("SELECT id FROM epoch")
        assert after != before
        await migrate.apply(urls.owner)
        assert await database.fetchval("SELECT id FROM epoch") == after, "once"
    finally:
        await database.close()
