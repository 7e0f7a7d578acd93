"""A TCP proxy that breaks links on demand: latency, stalls, one-way and both-way partitions, cuts, truncation, refusal.

TCP delivers late what a network held back, so a partition holds bytes and lets them through when it heals; what is dropped
can only be dropped together with the connection.
"""

from __future__ import annotations

import asyncio
import enum
import socket
from collections import deque
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Iterable


class Way(enum.Enum):
    """Direction of bytes, seen from who opened the connection."""

    OUT = "out"
    BACK = "back"


BOTH = (Way.OUT, Way.BACK)


class Proxy:
    """Passes connections from a port of loopback on to a server.

    Args:
        target: (host, port), or the path of a Unix socket.
    """

    def __init__(self, target: tuple[str, int] | str) -> None:
        self.target = target
        self.latency_s = 0.0
        self.held: set[Way] = set()
        self.port = 0
        self.accepted = 0
        self._truncate: int | None = None
        self._server: asyncio.Server | None = None
        self._sides: set[_Side] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        await self.accept()

    async def close(self) -> None:
        self.refuse()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._sides:
            self.cut()
            await asyncio.sleep(0)  # their ends are told in the next turn of the loop

    # -- faults -----------------------------------------------------------------------------------

    def hold(self, ways: Iterable[Way] = BOTH) -> None:
        """Let nothing through any more, in one direction or both, on open and on new connections."""
        self.held |= set(ways)

    def release(self) -> None:
        """Let through what was held, and everything that follows."""
        self.held.clear()
        for side in list(self._sides):
            side.flow()
            side.peer.flow()  # which may be gone already, with bytes or its end still to be told

    def cut(self) -> None:
        """Reset every open connection on both ends."""
        for side in list(self._sides):
            side.abort()

    def truncate_next(self, size: int) -> None:
        """Of the next bytes from the server pass on so many and reset the connection, most likely amid a frame."""
        self._truncate = size

    def refuse(self) -> None:
        """Accept no more connections; open ones stay."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def accept(self) -> None:
        """Accept connections, on the same port as before."""
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(self._accepted, "127.0.0.1", self.port, backlog=4096, reuse_address=True)
            self.port = self._server.sockets[0].getsockname()[1]

    # -- connections ------------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """How many are open."""
        return sum(side.way is Way.OUT for side in self._sides)

    def _accepted(self) -> _Side:
        self.accepted += 1
        client, server = _Side(self, Way.OUT), _Side(self, Way.BACK)
        client.peer, server.peer = server, client
        task = asyncio.get_running_loop().create_task(self._dial(client, server))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return client

    async def _dial(self, client: _Side, server: _Side) -> None:
        loop = asyncio.get_running_loop()
        try:
            if isinstance(self.target, str):
                await loop.create_unix_connection(lambda: server, self.target)
            else:
                await loop.create_connection(lambda: server, *self.target)
        except OSError:
            client.abort()


class _Side(asyncio.Protocol):
    """One end of a proxied connection; passes what it reads to its peer. `way` is that of the bytes that it reads."""

    peer: _Side

    def __init__(self, proxy: Proxy, way: Way) -> None:
        self.way = way
        self._proxy = proxy
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._ended = False  # no more comes from here
        self._blocked = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop has a class of its own
        self._transport = transport
        connection = transport.get_extra_info("socket")
        if connection.family == socket.AF_INET:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._proxy._sides.add(self)
        if self.peer._ended and not self.peer._waiting:
            self.abort()
        else:
            self.peer.flow()

    def data_received(self, data: bytes) -> None:
        self._waiting.append((self._loop.time() + self._proxy.latency_s, data))
        self.flow()

    def connection_lost(self, error: Exception | None) -> None:
        self._proxy._sides.discard(self)
        self._ended = True
        self.flow()

    def pause_writing(self) -> None:
        self.peer._blocked = True
        self.peer.flow()

    def resume_writing(self) -> None:
        self.peer._blocked = False
        self.peer.flow()

    def flow(self) -> None:
        """Pass on what is due; read on only when nothing waits, so that a stalled reader is felt at the other end."""
        target = self.peer._transport
        if target is not None and target.is_closing():
            self._waiting.clear()  # nobody takes it any more
        stopped = target is None or self.way in self._proxy.held
        while self._waiting and not stopped and not self._blocked:
            due_s, data = self._waiting[0]
            if due_s > self._loop.time():
                if self._timer is None:
                    self._timer = self._loop.call_at(due_s, self._due)
                break
            self._waiting.popleft()
            assert target is not None  # or `stopped`
            if self.way is Way.BACK and self._proxy._truncate is not None:
                target.write(data[: self._proxy._truncate])
                self._proxy._truncate = None
                self._waiting.clear()
                target.close()  # behind what was just written
                if self._transport is not None:
                    self._transport.abort()
                return
            target.write(data)
        if self._ended and not self._waiting and not stopped and target is not None:
            target.close()
        self._regulate(stopped or self._blocked)

    def _regulate(self, stop: bool) -> None:
        if self._transport is not None and not self._transport.is_closing():
            if stop:
                self._transport.pause_reading()
            elif not self._transport.is_reading():
                self._transport.resume_reading()

    def _due(self) -> None:
        self._timer = None
        self.flow()

    def abort(self) -> None:
        """Reset both ends."""
        for side in (self, self.peer):
            side._waiting.clear()
            side._ended = True
            if side._transport is not None:
                side._transport.abort()
