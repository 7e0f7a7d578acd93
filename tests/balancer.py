"""A small TCP balancer: what stands in front of nodes, as far as clients notice."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import aiohttp

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_CHECK_S = 0.1


class Balancer:
    """Sends each connection to a node that is ready. Each client has a door of its own and, as with stickiness by address,
    keeps its node for as long as that one is ready.
    """

    def __init__(self) -> None:
        self.nodes: list[str] = []
        self._ready: set[str] = set()
        self._doors = 0
        self._servers: list[asyncio.Server] = []
        self._pipes: set[asyncio.Task[None]] = set()

    async def door(self) -> str:
        """Open a port for one client; return its URL."""
        door = self._doors
        self._doors += 1

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.create_task(self._serve(door, reader, writer))
            self._pipes.add(task)
            task.add_done_callback(self._pipes.discard)
            task.add_done_callback(lambda _: writer.close())

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        self._servers.append(server)
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def check(self) -> None:
        """Ask all nodes again and again whether they are ready."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            while True:
                for url in list(self.nodes):
                    try:
                        async with http.get(f"{url}/readyz") as response:
                            ready = response.status == 200
                    except (aiohttp.ClientError, TimeoutError):
                        ready = False
                    (self._ready.add if ready else self._ready.discard)(url)
                await asyncio.sleep(_CHECK_S)

    async def until_ready(self, url: str, within_s: float = 10) -> None:
        async with asyncio.timeout(within_s):
            while url not in self._ready:
                await asyncio.sleep(_CHECK_S / 2)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for task in list(self._pipes):
            task.cancel()
        await asyncio.gather(*self._pipes, return_exceptions=True)

    async def _serve(self, door: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        order = self.nodes[door % len(self.nodes) :] + self.nodes[: door % len(self.nodes)]
        for url in sorted(order, key=lambda one: one not in self._ready):  # stable: the door's own node first, if ready
            parts = urlsplit(url)
            try:
                up_reader, up_writer = await asyncio.open_connection(parts.hostname, parts.port)
            except OSError:
                continue
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(_pipe(reader, up_writer))
                    group.create_task(_pipe(up_reader, writer))
            finally:
                up_writer.close()
            return


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()  # either side's end is the end: nobody here half-closes


@contextlib.asynccontextmanager
async def balancing(*nodes: str) -> AsyncIterator[Balancer]:
    """Run a balancer over these nodes."""
    balancer = Balancer()
    balancer.nodes = list(nodes)
    checking = asyncio.create_task(balancer.check())
    try:
        yield balancer
    finally:
        checking.cancel()
        await asyncio.gather(checking, return_exceptions=True)
        await balancer.close()
