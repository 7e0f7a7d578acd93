"""`make cluster`: it starts, a node may be killed, and nothing is left of it."""

from __future__ import annotations

import asyncio
import os
import pathlib
import re
import signal
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.client import Api
from tools.cluster import ROOT, find

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp

    from tests.client import Socket

    Keep = Callable[[Socket], Socket]

pytestmark = pytest.mark.skipif(find("nginx") is None, reason="nginx is not here: install the nginx package")


async def test_three_nodes_behind_nginx_are_one_server_and_leave_nothing(
    http: aiohttp.ClientSession, unused_tcp_port: int, close_later: Keep
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / "tools" / "cluster.py"), cwd=ROOT, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "LISTEN": f"127.0.0.1:{unused_tcp_port}", "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert process.stderr is not None
    said: list[str] = []
    try:
        async with asyncio.timeout(50):
            while not said or not said[-1].startswith("The cluster is at"):
                said.append((await process.stderr.readline()).decode())
                assert said[-1], "".join(said)
        nodes = dict(re.findall(r"^Node (\w) is at .* process (\d+)", "".join(said), re.MULTILINE))
        assert list(nodes) == ["a", "b", "c"]
        [log] = re.findall(r"log is (\S+)", said[-1])
        family = psutil.Process(process.pid).children(recursive=True)
        api = Api(http, f"http://127.0.0.1:{unused_tcp_port}")
        async with asyncio.timeout(20):  # nginx may still be on its way
            while True:
                try:
                    anna = await api.register()
                    break
                except OSError:
                    await asyncio.sleep(0.05)
        room = await anna.room("private")
        psutil.Process(int(nodes["b"])).kill()
        assert [await anna.send(room) for _ in range(10)] == list(range(1, 11))
        socket = close_later(await anna.connect())
        assert len((await socket.subscribe(room, since=0))["events"]) == 10
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(socket.gone.wait(), 20)
        rest = (await asyncio.wait_for(process.stderr.read(), 40)).decode()
        assert await process.wait() == 0, rest
        assert socket.payloads("server.drain")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert "b ended with status -9" in rest
    assert not any(one.is_running() and one.status() != psutil.STATUS_ZOMBIE for one in family)
    assert not pathlib.Path(log).parent.exists()
