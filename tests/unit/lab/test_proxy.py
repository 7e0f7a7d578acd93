"""The proxy breaks links in the way that it is told, and no other."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from tests.cluster.lab.proxy import Proxy, Way

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """In front of a server that echoes."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    made = Proxy(server.sockets[0].getsockname()[:2])
    await made.open()
    yield made
    await made.close()
    server.close()


@contextlib.asynccontextmanager
async def connected(proxy: Proxy) -> AsyncIterator[Stream]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield reader, writer
    finally:
        writer.transport.abort()


async def ask(stream: Stream, line: bytes = b"hello\n", within_s: float = 5) -> bytes:
    stream[1].write(line)
    return await asyncio.wait_for(stream[0].readline(), within_s)


async def test_it_passes_bytes_and_ends_on(proxy: Proxy) -> None:
    async with connected(proxy) as stream:
        assert await ask(stream) == b"hello\n"
        big = b"x" * 1_000_000
        stream[1].write(big)
        async with asyncio.timeout(5):
            assert await stream[0].readexactly(len(big)) == big
        assert proxy.connections == 1
    async with asyncio.timeout(5):
        while proxy.connections:
            await asyncio.sleep(0)


@pytest.mark.parametrize("way", list(Way))
async def test_what_is_held_comes_when_it_is_released(proxy: Proxy, way: Way) -> None:
    async with connected(proxy) as stream:
        assert await ask(stream) == b"hello\n"
        proxy.hold([way])
        with pytest.raises(TimeoutError):
            await ask(stream, b"held\n", within_s=0.1)
        proxy.release()
        assert await asyncio.wait_for(stream[0].readline(), 5) == b"held\n"
        assert await ask(stream) == b"hello\n"


async def test_while_it_holds_new_connections_hear_nothing_either(proxy: Proxy) -> None:
    proxy.hold()
    async with connected(proxy) as stream:
        with pytest.raises(TimeoutError):
            await ask(stream, within_s=0.1)
        proxy.release()
        assert await asyncio.wait_for(stream[0].readline(), 5) == b"hello\n"


async def test_an_end_is_not_told_through_a_partition(proxy: Proxy) -> None:
    async with connected(proxy) as stream:
        assert await ask(stream) == b"hello\n"
        proxy.hold()
    async with asyncio.timeout(5):
        while proxy.connections:
            await asyncio.sleep(0)
    assert len(proxy._sides) == 1, "the server knows nothing of it"
    proxy.release()
    async with asyncio.timeout(5):
        while proxy._sides:
            await asyncio.sleep(0)


async def test_latency_delays_and_keeps_the_order(proxy: Proxy) -> None:
    async with connected(proxy) as stream:
        proxy.latency_s = 0.05
        clock = asyncio.get_running_loop().time
        began_s = clock()
        stream[1].write(b"one\n")
        assert await ask(stream, b"two\n") == b"one\n"
        assert clock() - began_s >= 0.09  # there and back
        assert await asyncio.wait_for(stream[0].readline(), 5) == b"two\n"


async def test_truncation_ends_a_connection_amid_what_is_sent(proxy: Proxy) -> None:
    async with connected(proxy) as stream:
        proxy.truncate_next(3)
        stream[1].write(b"hello\n")
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(stream[0].read(), 5) == b"hel"
    async with connected(proxy) as stream:
        assert await ask(stream) == b"hello\n", "the next connection is whole"


async def test_cut_resets_and_refuse_lets_nobody_in(proxy: Proxy) -> None:
    async with connected(proxy) as stream:
        assert await ask(stream) == b"hello\n"
        proxy.cut()
        with contextlib.suppress(ConnectionError):
            assert await asyncio.wait_for(stream[0].read(), 5) == b""
    proxy.refuse()
    with pytest.raises(OSError, match=r"refused|Multiple exceptions"):
        await asyncio.open_connection("127.0.0.1", proxy.port)
    await proxy.accept()
    async with connected(proxy) as stream:
        assert await ask(stream) == b"hello\n"
