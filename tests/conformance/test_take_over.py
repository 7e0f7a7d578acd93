"""What a WebSocket leaves of aiohttp: nothing. The gateway takes the socket from it by a door that aiohttp does not promise, so
this looks whether the door is still open, on both event loops."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
from typing import TYPE_CHECKING, Any

import pytest
import uvloop
from aiohttp import web, web_protocol
from aiohttp.streams import StreamReader

from tests.conformance import wire
from tests.conformance.peer import BOUNDS, serving
from tests.conformance.wire import RawSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

COUNT = 20
SLOW = dataclasses.replace(BOUNDS, ping_interval_s=60)
LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
    "asyncio": asyncio.SelectorEventLoop,
    "uvloop": uvloop.new_event_loop,
}


def alive() -> dict[str, int]:
    """Count what aiohttp's server makes for a connection and for a request."""
    gc.collect()
    kinds = (web_protocol.RequestHandler, web.Request, StreamReader, web.StreamResponse)
    found = [type(one) for one in gc.get_objects() if isinstance(one, kinds)]
    return {kind.__name__: sum(issubclass(one, kind) for one in found) for kind in kinds}


def has_grown(before: dict[str, int]) -> dict[str, int]:
    """Return what there is more of; uvloop holds on to the protocol that it saw last."""
    now = alive()
    return {name: now[name] - count for name, count in before.items() if now[name] > count + 1}


async def connections(query: str) -> None:
    async with serving("engineio", bounds=SLOW) as (url, engine):
        assert engine is not None
        before, tasks = alive(), len(asyncio.all_tasks())
        sockets = [(await RawSocket.upgrade(url, query, path="/engine.io/"))[0] for _ in range(COUNT)]
        for socket in sockets:
            assert (await socket.text()).startswith("0{")
        assert len(engine) == COUNT
        assert has_grown(before) == {}
        assert len(asyncio.all_tasks()) == tasks
        for number, socket in enumerate(sockets):
            socket.send(f"4{number}")
            assert await socket.text() == f"4{number}"
            # what does not fit into the kernel's buffers is counted as unsent: the transport's callbacks are ours too
            socket.write(wire.frame(b"4" + b"x" * 900_000))
        for socket in sockets:
            assert len(await socket.text()) == 900_001
            socket.send("1")
            assert await socket.close_code() == 1000
        async with asyncio.timeout(5):
            while len(engine):
                await asyncio.sleep(0.001)
        assert has_grown(before) == {}


async def upgrades() -> None:
    async with serving("engineio", bounds=SLOW) as (url, engine):
        assert engine is not None
        before = alive()
        sockets = []
        for _ in range(COUNT):
            [sid] = await handshake(url)
            socket, status, _ = await RawSocket.upgrade(url, f"EIO=4&transport=websocket&sid={sid}", path="/engine.io/")
            assert status == 101
            socket.send("2probe")
            assert await socket.text() == "3probe"
            socket.send("5")
            socket.send("4there?")
            assert await socket.text() == "4there?"
            sockets.append(socket)
        assert has_grown(before) == {}
        for socket in sockets:
            socket.close()


async def handshake(url: str) -> list[str]:
    """Open a session over polling on a connection that ends; return its id."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    writer.write(b"GET /engine.io/?EIO=4&transport=polling HTTP/1.0\r\n\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return [answer.decode().partition('"sid":"')[2].partition('"')[0]]


def run(loop: str, test: Coroutine[Any, Any, None]) -> None:
    async def closing() -> None:
        try:
            await test
        finally:
            await RawSocket.close_all()

    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(closing())


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("query", ["EIO=4&transport=websocket", "EIO=4&transport=web%73ocket"], ids=["plain", "by aiohttp"])
def test_of_a_websocket_nothing_of_aiohttp_is_left(loop: str, query: str) -> None:
    run(loop, connections(query))


@pytest.mark.parametrize("loop", LOOPS)
def test_of_an_upgrade_nothing_of_aiohttp_is_left(loop: str) -> None:
    run(loop, upgrades())
