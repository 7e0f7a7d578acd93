"""One node under every attack of the laboratory, one after the other: the acks of others come as before.

`make faults` runs the same for five minutes against three nodes with 500 clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp
import msgspec
import psutil
import pytest

from tests.client import Api, unique
from tests.cluster.lab.attacks import ATTACKS, Order
from tests.conformance.wire import RawSocket
from tests.conformance.wire import frame as masked
from tests.process import serving

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.store.provision import Urls
    from tests.conftest import Engines

EACH_S = 0.5
LINES = 4
MIB = 1 << 20
SLOWEST_S = 0.5
"""Of an ack under attack. 0.1 s is promised at the 99th hundredth and measured by `make faults`; here one is forgiven to a
machine that is busy with other tests. The release before took 6 s and more."""


class Victim:
    """Sends a message every 20 ms, and writes down when each was acked."""

    def __init__(self, socket: RawSocket, room: str) -> None:
        self.acked: dict[str, tuple[float, float]] = {}
        self._socket = socket
        self._room = room

    async def send(self) -> None:
        number = 0
        while True:
            number += 1
            name = unique("c")
            message = {"room": self._room, "client_id": name, "body": "still there"}
            began_s = time.monotonic()
            self._socket.write(masked(f"42{number}{json.dumps(['message.send', message])}".encode()))
            while not (text := await self._socket.text(30)).startswith(f"43{number}["):
                if text == "2":
                    self._socket.write(masked(b"3"))
            assert json.loads(text.partition("[")[2][:-1])["ok"], text
            self.acked[name] = began_s, time.monotonic() - began_s
            await asyncio.sleep(0.02)


@pytest.mark.timeout(90)
async def test_whatever_clients_do_the_acks_of_others_come_in_time_and_nothing_is_left_of_it(
    running_engines: Engines, own_database: Urls
) -> None:
    where = {"database_url": own_database.application, "migrate_database_url": own_database.owner,
             "redis_url": running_engines.redis, "redis_prefix": unique()}  # fmt: skip
    async with (
        contextlib.AsyncExitStack() as leaving,
        aiohttp.ClientSession() as http,
        serving(**where, register_rate_per_min=1000, database_pool_size=4) as server,
    ):
        leaving.push_async_callback(RawSocket.close_all)
        api = Api(http, server.url)
        people = [await api.register() for _ in range(1 + LINES)]
        victim = people[0]
        made = await api.request("POST", "/rooms", {"kind": "public", "name": "calm"}, token=victim.token, expect=201)
        room = made.json["id"]
        for one in people[1:]:
            await api.request("POST", f"/rooms/{room}/join", token=one.token, expect=200)
        socket = await RawSocket.open(server.url)
        await socket.enter(victim.token)
        process = psutil.Process(server.pid)
        before_bytes, before_files = process.memory_info().rss, process.num_fds()
        sending = Victim(socket, room)
        task = asyncio.create_task(sending.send())
        port = urlsplit(server.url).port
        assert port is not None
        began = await _attack(Order([port], [one.token for one in people[1:]], room, list(ATTACKS), EACH_S, LINES, 2))
        await asyncio.sleep(0.5)
        assert not task.done(), task.exception()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        slowest: dict[str, float] = {}
        for sent_s, took_s in sending.acked.values():
            name = next((name for name, at_s in reversed(began) if at_s <= sent_s), "before")
            slowest[name] = max(took_s, slowest.get(name, 0.0))
        late = {name: f"{took_s:.2f} s" for name, took_s in slowest.items() if took_s > SLOWEST_S}
        assert not late, f"acks came too late under {late}"
        assert len(sending.acked) > 100
        found = await api.request("GET", f"/rooms/{room}/messages?limit=200", token=victim.token, expect=200)
        held = {one["client_id"] for one in found.json["messages"]}
        assert set(list(sending.acked)[-50:]) <= held, "what was acked is there"
        await _until(lambda: process.num_fds() <= before_files + 5, 25)
        assert process.memory_info().rss - before_bytes < 200 * MIB


async def _attack(order: Order) -> list[tuple[str, float]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.cluster.lab.attacks", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(msgspec.json.encode(order)), 60)
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return [msgspec.json.decode(line, type=tuple[str, float]) for line in output.splitlines()]


async def _until(holds: Callable[[], bool], within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not holds():
            await asyncio.sleep(0.1)
