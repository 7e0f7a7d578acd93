"""Several workers on one port: one server for clients, whatever worker a connection falls to."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import aiohttp
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.client import Api, unique
from tests.conformance.official import Driver, Official, driving
from tests.conformance.wire import RawSocket
from tests.process import Server, readable, serving

if TYPE_CHECKING:
    import pathlib
    from collections.abc import AsyncIterator, Callable

    from realtime.store.provision import Urls
    from tests.conftest import Engines

WORKERS = 3
GENEROUS = {"send_rate": 100_000, "send_burst": 100_000, "connections_per_user": 1000, "connections_per_address": 1000}


@pytest.fixture
def where(running_engines: Engines, own_database: Urls) -> dict[str, object]:
    return {"database_url": own_database.application, "migrate_database_url": own_database.owner,
            "redis_url": running_engines.redis, "redis_prefix": f"w{os.getpid()}"}  # fmt: skip


@pytest.fixture
async def server(where: dict[str, object]) -> AsyncIterator[Server]:
    async with serving(workers=WORKERS, **where, **GENEROUS) as running:
        yield running


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    async with driving() as running:
        yield running


async def sent(client: Official, room: str) -> int:
    """Send as clients do: the same message again until it is acked, since one may go down with the connection."""
    name = unique("c")
    for _ in range(10):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                return await client.send(room, client_id=name)
    raise TimeoutError


def workers_of(server: Server) -> list[psutil.Process]:
    found = []
    for child in psutil.Process(server.pid).children():
        with contextlib.suppress(psutil.ZombieProcess, psutil.NoSuchProcess):  # it is dying right now
            if "realtime.node.worker" in child.cmdline():
                found.append(child)
    return found


async def samples(http: aiohttp.ClientSession, url: str, name: str) -> dict[str, float]:
    """Return a sample's value by worker."""
    async with http.get(f"{url}/metrics") as response:
        text = await response.text()
    found: defaultdict[str, float] = defaultdict(float)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name == name:
                found[sample.labels["worker"]] += sample.value
    return dict(found)


async def until(true: Callable[[], Any], within_s: float = 20) -> None:
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.02)


async def test_every_client_is_served_over_every_transport(server: Server, driver: Driver) -> None:
    """Each request of the official client may come to another worker; none may hear of an unknown session."""
    # A connection a request, so that the kernel chooses anew each time.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True)) as http:
        anna = await Api(http, server.url).register()
        room = await anna.room("private")
        kinds: list[list[str] | None] = [["polling"], None, ["websocket"]]
        clients = [driver.open(server.url, anna.token, kind) for kind in kinds for _ in range(10)]
        await asyncio.gather(*(one.ready() for one in clients))
        for one in clients[10:20]:
            await one.until("upgrade")
        await asyncio.gather(*(one.subscribe(room, since=0) for one in clients))
        await asyncio.gather(*(one.send(room, str(number)) for number in range(5) for one in clients))
        for one in clients:
            await one.wait_events(room, 150, 30)
            assert one.seqs(room) == list(range(1, 151))
            assert _troubles(one) == []
        connections = await samples(http, server.url, "roomwire_connections")
        assert set(connections) == {"0", "1", "2"}
        assert sum(connections.values()) == 30
        assert max(connections.values()) < 30, "the kernel spread them"


async def opened(http: aiohttp.ClientSession, url: str) -> str:
    """Open a session over polling, on a TCP connection of its own; return its id."""
    async with http.get(f"{url}/socket.io/?EIO=4&transport=polling", headers={"Connection": "close"}) as response:
        return str(json.loads((await response.text())[1:])["sid"])


async def test_connections_that_are_kept_alive_find_any_session(server: Server, http: aiohttp.ClientSession) -> None:
    """Few connections for the polls of many sessions, as a proxy in front has them."""
    anna = await Api(http, server.url).register()
    sids = [await opened(http, server.url) for _ in range(12)]
    assert len({sid[0] for sid in sids}) > 1, "several workers made them"
    says = ["40" + json.dumps({"token": anna.token}), '421["presence.watch",{"users":[]}]']
    hears = ['42["ready"', '431[{"ok":true}]']
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=2)) as pool:
        for said, heard in zip(says, hears, strict=True):
            for sid in sids:
                url = f"{server.url}/socket.io/?EIO=4&transport=polling&sid={sid}"
                async with pool.post(url, data=said) as posted:
                    assert (posted.status, await posted.text()) == (200, "ok")
                async with pool.get(url) as polled:
                    assert polled.status == 200
                    assert heard in await polled.text()


async def test_a_websocket_of_a_session_reaches_the_worker_that_has_it(server: Server, http: aiohttp.ClientSession) -> None:
    anna = await Api(http, server.url).register()
    for _ in range(12):
        sid = await opened(http, server.url)
        raw, status, _ = await RawSocket.upgrade(server.url, f"EIO=4&transport=websocket&sid={sid}")
        assert status == 101
        raw.send("2probe")
        assert await raw.text() == "3probe"
        raw.send("5")
        assert (await raw.connect(anna.token))["user"]["id"] == anna.id
        raw.close()


async def test_a_worker_that_dies_is_started_again_and_the_others_go_on(
    server: Server, http: aiohttp.ClientSession, driver: Driver
) -> None:
    anna = await Api(http, server.url).register()
    room = await anna.room("private")
    clients = [driver.open(server.url, anna.token, ["websocket"]) for _ in range(12)]
    await asyncio.gather(*(one.ready() for one in clients))
    victim, *others = workers_of(server)
    victim.kill()
    await until(lambda: len(workers_of(server)) == WORKERS and victim.pid not in {one.pid for one in workers_of(server)})
    assert {one.pid for one in others} <= {one.pid for one in workers_of(server)}
    await asyncio.gather(*(sent(one, room) for one in clients))
    hit = [one for one in clients if one.said("disconnect")]
    assert len(hit) < len(clients)
    assert any("worker 0 ended with status -9 and is started again" in line for line in server.output)


async def test_a_worker_that_hangs_is_found_by_its_silence(where: dict[str, object], http: aiohttp.ClientSession) -> None:
    """The supervisor alone can know: of the probes of a balancer most reach the others."""
    async with serving(workers=2, **where) as server:
        victim, _ = workers_of(server)
        victim.send_signal(signal.SIGSTOP)
        await until(lambda: not victim.is_running() or victim.status() == psutil.STATUS_ZOMBIE, 45)
        await until(lambda: len(workers_of(server)) == 2)
        assert any("worker 0 gave no sign of life" in line for line in server.output)


async def test_a_thaw_costs_no_worker(where: dict[str, object]) -> None:
    """All are frozen at once, as by a paused container, and the supervisor is the first to go on."""
    async with serving(workers=2, **where) as server:
        before = [one.pid for one in workers_of(server)]
        family = [psutil.Process(server.pid), *workers_of(server)]
        for one in family:
            one.suspend()
        await asyncio.sleep(20)
        for one in family:
            one.resume()
            await asyncio.sleep(0.5)
        await asyncio.sleep(2)
        assert [one.pid for one in workers_of(server)] == before
        assert not any("sign of life" in line for line in server.output)


async def test_all_drain_on_sigterm_and_the_server_ends_when_they_have(
    server: Server, http: aiohttp.ClientSession, driver: Driver
) -> None:
    anna = await Api(http, server.url).register()
    clients = [driver.open(server.url, anna.token, ["websocket"], reconnection=False) for _ in range(9)]
    await asyncio.gather(*(one.ready() for one in clients))
    workers = workers_of(server)
    assert await server.end(signal.SIGTERM) == 0
    for one in clients:
        await one.until("disconnect")
        assert one.payloads("closing") == [{"code": "draining", "retryable": True}]
    assert not any(one.is_running() for one in workers)


async def test_a_second_signal_ends_everything_at_once(server: Server) -> None:
    workers = workers_of(server)
    for one in workers:
        one.suspend()  # they will not drain
    os.kill(server.pid, signal.SIGTERM)
    assert await server.end(signal.SIGINT, within_s=5) == 1  # another number, so that the two cannot be joined into one
    await until(lambda: not any(one.is_running() for one in workers), 5)


async def test_nothing_outlives_a_killed_server_with_its_own_engines(tmp_path: pathlib.Path) -> None:
    async with serving(workers=2, data_dir=readable(tmp_path) / "data") as server:
        family = psutil.Process(server.pid).children(recursive=True)
        assert len(family) > 4, "two workers, PostgreSQL with its own, Redis"
        port = int(server.url.rpartition(":")[2])
        await server.end(signal.SIGKILL)
        await until(lambda: not any(one.is_running() for one in family))
        with socket.create_server(("127.0.0.1", port)):
            pass  # and the port is free


async def test_the_port_belongs_to_one_server(server: Server, where: dict[str, object]) -> None:
    """The kernel would let a second one in beside the first, and mix their clients."""
    port = server.url.rpartition(":")[2]
    for workers in (1, 2):
        second = Server(workers=workers, **{**where, "port": port})
        with pytest.raises(AssertionError, match=rf"Cannot listen on 127\.0\.0\.1:{port}"):
            await second.start()
        assert await second.end() == 2
        assert sum("Cannot listen" in line for line in second.output) == 1


async def test_what_a_worker_cannot_start_with_is_told_once(where: dict[str, object]) -> None:
    wrong = Server(workers=3, **{**where, "database_url": "postgresql://nobody@127.0.0.1:9/none", "start_wait_s": 0})
    with pytest.raises(AssertionError, match="roomwire: "):
        await wrong.start()
    assert await wrong.end() == 75, "PostgreSQL may be there when it is started again"
    assert sum(line.startswith("roomwire: ") for line in wrong.output) == 1


def _troubles(one: Official) -> list[dict[str, Any]]:
    return [*one.said("connect_error"), *one.said("disconnect"), *one.said("reconnect")]
