"""Redis is a hint: killed or hung, it costs latency and loses nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import TYPE_CHECKING

import pytest

from realtime.node import engines
from realtime.presence import lease, service
from tests.conftest import Nodes
from tests.process import readable

if TYPE_CHECKING:
    import contextlib
    import pathlib
    from collections.abc import Callable, Iterator

    import aiohttp

    from realtime.store.provision import Urls
    from tests.client import Socket

    Keep = Callable[[Socket], Socket]


@pytest.fixture
def redis(tmp_path: pathlib.Path) -> Iterator[engines.Redis]:
    """A Redis of one's own, to be maltreated."""
    engine = engines.Redis(readable(tmp_path))
    engines.start_all([engine])
    yield engine
    engines.stop_all([engine])


@pytest.fixture
async def pair(
    redis: engines.Redis, shared_database: Urls, http: aiohttp.ClientSession, exits: contextlib.AsyncExitStack
) -> Nodes:
    return Nodes(shared_database, redis.url, exits, http)


def pid(redis: engines.Redis) -> int:
    assert redis._process is not None
    return redis._process.pid


async def healthy(nodes: Nodes, expected: bool, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while {node.bus.healthy for node in nodes.running} != {expected}:
            await asyncio.sleep(0.01)


async def test_while_redis_hangs_messages_are_acked_and_reach_the_other_node_within_2_s(
    pair: Nodes, redis: engines.Redis, close_later: Keep
) -> None:
    here, there = await pair.start(), await pair.start()
    anna = await here.register()
    room = await anna.room("private")
    a, b = close_later(await anna.connect()), close_later(await anna.at(there.url).connect())
    await a.subscribe(room)
    await b.subscribe(room)
    os.kill(pid(redis), signal.SIGSTOP)
    try:
        for number in range(1, 4):
            assert await a.send(room, f"{number}") == number
            await b.wait_events(room, number, timeout_s=2.5)  # 2 s, and what a busy test machine adds
        assert not pair.running[1].bus.healthy
        ready = await here.http.get(f"{there.url}/readyz")
        assert (ready.status, (await ready.json())["checks"]["bus"]) == (503, "away")
        late = close_later(await anna.at(there.url).connect())
        assert len((await late.subscribe(room, since=0))["events"]) == 3
    finally:
        os.kill(pid(redis), signal.SIGCONT)
    await healthy(pair, True, 10)
    await a.send(room, "4")
    await b.wait_events(room, 4, timeout_s=1)
    assert b.seqs(room) == [1, 2, 3, 4]


async def test_a_redis_that_is_killed_and_comes_back_empty_costs_nothing_but_time(
    pair: Nodes, redis: engines.Redis, close_later: Keep
) -> None:
    here, there = await pair.start(), await pair.start()
    anna, bert = await here.register(), await here.register()
    room = await anna.room("private", members=[bert])
    a, b = close_later(await anna.connect()), close_later(await bert.at(there.url).connect())
    await a.subscribe(room)
    await b.subscribe(room)
    await a.call("presence.watch", {"users": [bert.id]})
    await a.wait(lambda: any(one["users"][0]["status"] == "online" for one in a.payloads("presence")))
    os.kill(pid(redis), signal.SIGKILL)
    for number in range(1, 30):
        assert await a.send(room, f"{number}") == number
        await asyncio.sleep(0.02)
    await b.wait_events(room, 29, timeout_s=5)
    assert b.seqs(room) == list(range(1, 30))
    await healthy(pair, True, 10)
    third = await pair.start()  # finds out who is there although Redis had forgotten everything
    c = close_later(await anna.at(third.url).connect())
    await c.call("presence.watch", {"users": [bert.id]})
    await c.wait(lambda: any(one["users"][0]["status"] == "online" for one in c.payloads("presence")), timeout_s=10)
    assert all(one["users"][0]["status"] == "online" for one in a.payloads("presence")[1:]), "nobody flickered"


async def test_the_users_of_a_killed_node_are_offline_when_its_lease_has_run_out(
    pair: Nodes, close_later: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "LEASE_S", 1.0)  # 15 s in production, within the 30 s that are promised
    monkeypatch.setattr(service, "LEASE_S", 1.0)
    monkeypatch.setattr(service, "RENEW_S", 0.3)
    here, there = await pair.start(), await pair.start()
    anna, bert = await here.register(), await here.register()
    a = close_later(await anna.connect())
    close_later(await bert.at(there.url).connect())
    await a.call("presence.watch", {"users": [bert.id]})
    await a.wait(lambda: any(one["users"][0]["status"] == "online" for one in a.payloads("presence")))
    for task in pair.running[1].presence._tasks:  # no sign of life any more, and no goodbye
        task.cancel()
    await a.wait(lambda: a.payloads("presence")[-1]["users"][0]["status"] == "offline", timeout_s=3)
