"""Two workers in one process: what comes to the wrong one is handed over, connection and all."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import string
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from realtime.extensions.siblings import TAGS, Place, Siblings
from realtime.gateway.transport import read_behind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATH = "/socket.io/"
LIMIT = 20_000


class Worker:
    """A worker whose handler tells who answered and what it saw."""

    def __init__(self, index: int, directory: str, count: int = 2) -> None:
        self.index = index
        self.siblings = Siblings(Place(index, count, directory), self._handle, lambda: b"page %d" % index, LIMIT)
        self.port = 0

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if "slow" in request.query:
            await asyncio.sleep(0)
        too_large = (request.content_length or 0) > LIMIT
        body = b"" if too_large else await request.read()
        assert request.transport is not None
        return web.json_response(
            {
                "worker": self.index,
                "method": request.method,
                "target": request.raw_path,
                "port": request.transport.get_extra_info("peername")[1],
                "custom": request.headers.get("X-Custom"),
                "upgrade": request.headers.get("Upgrade"),
                "behind": read_behind(request).decode() if "Upgrade" in request.headers else "",
                "length": len(body),
                "sum": sum(body),
            },
            status=413 if too_large else 200,
        )


@contextlib.asynccontextmanager
async def running(worker: Worker) -> AsyncIterator[Worker]:
    app = web.Application()
    app.router.add_route("*", PATH, worker.siblings.handle)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    assert runner.server is not None
    worker.siblings.open(runner.server)
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    worker.port = runner.addresses[0][1]
    try:
        yield worker
    finally:
        await worker.siblings.close()
        await runner.cleanup()


@pytest.fixture
async def two() -> AsyncIterator[tuple[Worker, Worker]]:
    with tempfile.TemporaryDirectory() as directory:
        async with running(Worker(0, directory)) as first, running(Worker(1, directory)) as second:
            yield first, second


class Client:
    """One HTTP connection, kept alive."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.port: int = writer.get_extra_info("sockname")[1]

    async def ask(self, sid: str, method: str = "GET", headers: str = "", body: bytes = b"") -> tuple[int, dict[str, Any]]:
        head = f"{method} {PATH}?EIO=4&sid={sid}&t=%C3%A4 HTTP/1.1\r\nHost: a\r\nX-Custom: ä b\r\n{headers}\r\n"
        self.writer.write(head.encode() + body)
        async with asyncio.timeout(5):
            answer = await self.reader.readuntil(b"\r\n\r\n")
            [length] = [line for line in answer.split(b"\r\n") if line.lower().startswith(b"content-length")]
            return int(answer.split()[1]), json.loads(await self.reader.readexactly(int(length.split(b":")[1])))

    async def gone(self) -> bool:
        """Tell whether the server closes now."""
        async with asyncio.timeout(5):
            return await self.reader.read() == b""


@contextlib.asynccontextmanager
async def client(worker: Worker) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", worker.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def test_the_tag_names_the_owner_and_no_tag_names_oneself() -> None:
    places = [Place(index, 64, "") for index in range(64)]
    assert len({place.tag for place in places}) == len(TAGS) == 64
    assert set(TAGS) <= set(string.ascii_letters + string.digits + "-_")
    assert [places[5].owner(place.tag + "random") for place in places] == list(range(64))
    assert [places[5].owner(f"node-1.{place.tag}random") for place in places] == list(range(64)), "behind the name of a node"
    few = Place(1, 2, "")
    assert [few.owner(sid) for sid in ("", "c" * 20, "ä", "\0")] == [1, 1, 1, 1]


async def test_a_connection_goes_to_the_owner_of_the_session_and_stays_there(two: tuple[Worker, Worker]) -> None:
    first, _ = two
    async with client(first) as one:
        for sid, owner in (("aX", 0), ("bX", 1), ("bX", 1), ("aX", 0), ("bX", 1)):
            status, seen = await one.ask(sid)
            assert (status, seen["worker"], seen["method"]) == (200, owner, "GET")
            assert seen["target"] == f"{PATH}?EIO=4&sid={sid}&t=%C3%A4"
            assert seen["custom"] == "ä b"
            assert seen["port"] == one.port, "the owner sees the client itself"


@pytest.mark.parametrize("size", [0, 1, LIMIT])
async def test_a_post_is_handed_over_with_its_body(two: tuple[Worker, Worker], size: int) -> None:
    body = bytes(number % 251 for number in range(size))
    async with client(two[0]) as one:
        for _ in range(2):
            _, seen = await one.ask("bX", "POST", f"Content-Length: {size}\r\nExpect: \r\n", body)
            assert (seen["worker"], seen["length"], seen["sum"]) == (1, size, sum(body))
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:]) if part)
        await one.ask("aX")  # back to the first, which hands it over again
        _, seen = await one.ask("bX", "POST", "Transfer-Encoding: chunked\r\n", chunks + b"0\r\n\r\n")
        assert (seen["worker"], seen["length"], seen["sum"]) == (1, size, sum(body))


async def test_what_is_too_long_is_refused_by_the_owner_and_nothing_of_it_is_taken_for_a_request(
    two: tuple[Worker, Worker],
) -> None:
    smuggled = f"GET {PATH}?sid=bSmuggled HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    async with client(two[0]) as one:
        body = b"x" * LIMIT + smuggled * 100
        chunk = b"%x\r\n%s\r\n" % (len(body), body)
        status, seen = await one.ask("bX", "POST", "Transfer-Encoding: chunked\r\n", chunk + b"0\r\n\r\n")
        assert (status, seen["worker"]) == (413, 1)
        assert await one.gone()


async def test_an_upgrade_is_handed_over(two: tuple[Worker, Worker]) -> None:
    async with client(two[0]) as one:
        asking = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        _, seen = await one.ask("bX", headers=asking, body=b"sent at once")
        assert (seen["worker"], seen["upgrade"], seen["behind"]) == (1, "websocket", "sent at once")


async def test_many_at_once_are_each_answered_by_the_owner(two: tuple[Worker, Worker]) -> None:
    async def one(index: int) -> None:
        async with client(two[index % 2]) as own:
            for _ in range(5):
                owner = (index // 2) % 2
                _, seen = await own.ask(TAGS[owner] + "X", "POST", "Content-Length: 3\r\n", b"abc")
                assert (seen["worker"], seen["port"], seen["length"]) == (owner, own.port, 3)

    await asyncio.gather(*(one(index) for index in range(40)))


async def test_the_session_of_a_worker_that_died_is_unknown_to_whoever_is_asked() -> None:
    with tempfile.TemporaryDirectory() as directory:
        async with running(Worker(0, directory)) as first:
            async with client(first) as one:
                assert (await one.ask("bX"))[1]["worker"] == 0, "it never ran"
            async with running(Worker(1, directory)):
                pass
            async with client(first) as one:
                assert (await one.ask("bX"))[1]["worker"] == 0, "it is gone"
                async with running(Worker(1, directory)):
                    assert (await one.ask("bX"))[1]["worker"] == 1, "it was started again"


async def test_a_sibling_that_does_not_answer_costs_its_own_clients_a_retry() -> None:
    """A full backlog: the caller is told to come back, and its connection is still whole."""
    with tempfile.TemporaryDirectory() as directory:
        stuck = socket.socket(socket.AF_UNIX)
        stuck.bind(os.path.join(directory, "1.sock"))
        stuck.listen(0)
        fillers = []
        with stuck:
            while True:
                filler = socket.socket(socket.AF_UNIX)
                filler.setblocking(False)
                fillers.append(filler)
                if filler.connect_ex(os.path.join(directory, "1.sock")):
                    break
            async with running(Worker(0, directory)) as first:
                reader, writer = await asyncio.open_connection("127.0.0.1", first.port)
                writer.write(f"GET {PATH}?sid=bX HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                answer = await asyncio.wait_for(reader.read(), 10)
                assert answer.startswith(b"HTTP/1.1 503")
                assert b"Retry-After: 1" in answer
                writer.close()
            for filler in fillers:
                filler.close()


async def test_what_makes_no_sense_on_the_private_socket_harms_nobody(two: tuple[Worker, Worker]) -> None:
    first, second = two
    path = second.siblings._place.path(1)
    here, there = socket.socketpair()
    with here, socket.socket(socket.AF_UNIX) as channel:
        channel.connect(path)
        socket.send_fds(channel, [b"\x00\x00\x10\x00 cut off"], [there.fileno()])
        there.close()
        channel.shutdown(socket.SHUT_WR)
        here.settimeout(5)
        assert await asyncio.to_thread(here.recv, 1) == b"", "the descriptor was closed"
    async with client(first) as one:
        assert (await one.ask("bX"))[1]["worker"] == 1


async def test_the_pages_of_all_that_answer_are_read(two: tuple[Worker, Worker]) -> None:
    assert await two[0].siblings.pages() == {0: b"page 0", 1: b"page 1"}
    await two[1].siblings.close()
    assert await two[0].siblings.pages() == {0: b"page 0"}
