"""Worker processes on one port: a request of a session reaches the worker that has it.

The kernel gives each new TCP connection to any of the workers. The first letter behind the node's name in a session id says
which worker made it, and a request that came to another one is handed over whole: the open TCP connection, as a file
descriptor (SCM_RIGHTS, unix(7)), with the request as it was read. So polls, posts and WebSockets stay with their owner from
then on, nothing is relayed, and the owner sees the client's own address.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import pathlib
import socket
import string
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from aiohttp import web

from realtime import errors, tasks
from realtime.gateway.engine import problem
from realtime.gateway.sids import SEPARATOR
from realtime.gateway.transport import let_go, read_behind

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence

logger = logging.getLogger(__name__)

TAGS = string.ascii_letters + string.digits + "-_"
MAX_WORKERS = len(TAGS)
_TIMEOUT_S = 5.0  # for the other worker to take a connection, and for it to come whole
_BODY_TIMEOUT_S = 20.0
_PAGE_TIMEOUT_S = 1.0
_BACKLOG = 4096
_LENGTH_BYTES = 4
_CHUNK_BYTES = 1 << 16
_READ_ANEW = frozenset({b"content-length", b"transfer-encoding", b"content-encoding", b"expect"})


@dataclass(frozen=True, slots=True)
class Place:
    """A worker's place among its siblings.

    Args:
        index: 0, 1, 2 …
        count: How many workers there are.
        directory: Private to this server; each worker listens there on a Unix socket.
    """

    index: int
    count: int
    directory: str

    @property
    def tag(self) -> str:
        """What this worker's session ids begin with. It is no secret: the random bits after it are."""
        return TAGS[self.index]

    def owner(self, sid: str) -> int:
        """Return whose session this is; our own index when nobody else's."""
        tag = sid.rpartition(SEPARATOR)[2][:1]
        found = TAGS.find(tag) if tag else self.index
        return found if 0 <= found < self.count else self.index

    def path(self, index: int) -> str:
        return os.path.join(self.directory, f"{index}.sock")


class Siblings:
    """Hands requests on to the workers that have their sessions, and takes those that others hand on.

    Args:
        place: Of this worker.
        handle: Serves a request here.
        page: This worker's own metrics.
        max_body_bytes: Of a post; a longer one is refused by the owner.
    """

    def __init__(
        self,
        place: Place,
        handle: Callable[[web.Request], Awaitable[web.StreamResponse]],
        page: Callable[[], bytes],
        max_body_bytes: int,
    ) -> None:
        self._place = place
        self._handle = handle
        self._page = page
        self._max_body_bytes = max_body_bytes
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._tasks: set[asyncio.Task[None]] = set()

    # -- life -------------------------------------------------------------------------------------

    def open(self, server: Callable[[], asyncio.Protocol]) -> None:
        """Listen for what the others hand on; `server` makes the protocol of an HTTP connection."""
        path = pathlib.Path(self._place.path(self._place.index))
        path.unlink(missing_ok=True)  # of a worker that died
        self._listener.setblocking(False)
        self._listener.bind(str(path))
        self._listener.listen(_BACKLOG)
        self._start(self._accept(server))

    async def close(self) -> None:
        await tasks.end(self._tasks)
        self._listener.close()

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- out --------------------------------------------------------------------------------------

    def routes(self, paths: Sequence[str]) -> Sequence[web.RouteDef]:
        """Return what to add to the application's router in place of the gateway's own."""
        return [web.route("*", path, self.handle) for path in paths]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Serve a request of Engine.IO, here or, by handing its connection on, there where its session is."""
        owner = self._place.owner(request.query.get("sid", ""))
        if owner == self._place.index:
            return await self._handle(request)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.setblocking(False)
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    await asyncio.get_running_loop().sock_connect(channel, self._place.path(owner))
            except (ConnectionRefusedError, FileNotFoundError):
                return await self._handle(request)  # that worker has died and its sessions with it: unknown here too
            except (OSError, TimeoutError):
                return _busy()
            try:
                async with asyncio.timeout(_BODY_TIMEOUT_S):
                    message = await self._message(request)
            except (TimeoutError, ConnectionError, web.RequestPayloadError):
                return _closing(problem(errors.InvalidRequest("The body broke off or is malformed.")))
            return await self._hand_over(request, channel, message)

    async def _message(self, request: web.Request) -> bytes:
        """Write the request down again, as the owner would have read it."""
        headers = list(request.raw_headers)
        body = bytearray()
        if request.body_exists and (request.content_length or 0) <= self._max_body_bytes:
            async for piece in request.content.iter_any():
                body += piece
                if len(body) > self._max_body_bytes:
                    # The owner will refuse it by its length. What still comes belongs to this body and is no request.
                    headers.append((b"Connection", b"close"))
                    break
            headers = [(name, value) for name, value in headers if name.lower() not in _READ_ANEW]
            headers.append((b"Content-Length", b"%d" % len(body)))
        version = request.version
        first = f"{request.method} {request.raw_path} HTTP/{version.major}.{version.minor}\r\n".encode("utf-8", "surrogateescape")
        head = first + b"".join(name + b": " + value + b"\r\n" for name, value in headers) + b"\r\n"
        return head + body

    async def _hand_over(self, request: web.Request, channel: socket.socket, message: bytes) -> web.StreamResponse:
        transport = request.transport
        if transport is None or transport.is_closing():
            return web.Response()  # goes nowhere: the client has gone
        # From here to `abort` without an await: nothing is read that the owner would miss.
        message += read_behind(request)
        data = len(message).to_bytes(_LENGTH_BYTES, "big") + message
        try:
            sent = socket.send_fds(channel, [data], [transport.get_extra_info("socket").fileno()])
        except OSError:
            return _busy()
        let_go(request)
        transport.abort()  # closes our descriptor; the connection lives on with the owner's
        with contextlib.suppress(OSError, TimeoutError):  # the owner died: the connection and the session ended with it
            async with asyncio.timeout(_TIMEOUT_S):
                await asyncio.get_running_loop().sock_sendall(channel, data[sent:])
        return web.Response()  # goes nowhere: the connection is not ours any more

    async def pages(self) -> Mapping[int, bytes]:
        """Read the metrics of all workers; one that does not answer in time is left out."""
        others = [index for index in range(self._place.count) if index != self._place.index]
        found = await asyncio.gather(*(self._ask(index) for index in others), return_exceptions=True)
        pages = {index: page for index, page in zip(others, found, strict=True) if isinstance(page, bytes)}
        return {**pages, self._place.index: self._page()}

    async def _ask(self, index: int) -> bytes:
        loop = asyncio.get_running_loop()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.setblocking(False)
            async with asyncio.timeout(_PAGE_TIMEOUT_S):
                await loop.sock_connect(channel, self._place.path(index))
                channel.shutdown(socket.SHUT_WR)  # nothing is handed over: this asks for the page
                return await _read_all(channel)

    # -- in ---------------------------------------------------------------------------------------

    async def _accept(self, server: Callable[[], asyncio.Protocol]) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                channel, _ = await loop.sock_accept(self._listener)
            except Exception as error:  # noqa: BLE001 - the next call is taken
                tasks.report(loop, "a sibling's call", error)
                await asyncio.sleep(0.1)  # out of descriptors: some will be given back
                continue
            self._start(self._take(channel, server))

    async def _take(self, channel: socket.socket, server: Callable[[], asyncio.Protocol]) -> None:
        loop = asyncio.get_running_loop()
        connection: socket.socket | None = None
        try:
            with channel:
                channel.setblocking(False)
                async with asyncio.timeout(_TIMEOUT_S):
                    await _readable(channel)
                    data, descriptors, _, _ = socket.recv_fds(channel, _CHUNK_BYTES, 1)
                    if not descriptors:
                        await loop.sock_sendall(channel, self._page())
                        return
                    connection = socket.socket(fileno=descriptors[0])
                    message = data + await _read_all(channel)
            if len(message) != _LENGTH_BYTES + int.from_bytes(message[:_LENGTH_BYTES], "big"):
                raise ConnectionError("the sibling died amid it")
            connection.setblocking(False)
            await loop.connect_accepted_socket(lambda: _Resumed(server, message[_LENGTH_BYTES:]), connection)
        except Exception as error:  # noqa: BLE001 - whatever it is, its descriptor is closed
            tasks.report(loop, "a connection that a sibling handed over", error)
            if connection is not None:
                connection.close()


class _Resumed(asyncio.Protocol):
    """Gives an HTTP connection what was read of it elsewhere, before anything else."""

    def __init__(self, server: Callable[[], asyncio.Protocol], read: bytes) -> None:
        self._server = server
        self._read = read

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        protocol = self._server()
        cast("asyncio.Transport", transport).set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(self._read)


async def _readable(channel: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(channel, ready.set)
    try:
        await ready.wait()
    finally:
        loop.remove_reader(channel)


async def _read_all(channel: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    read = bytearray()
    while piece := await loop.sock_recv(channel, _CHUNK_BYTES):
        read += piece
    return bytes(read)


def _busy() -> web.Response:
    return _closing(problem(errors.Overloaded()))


def _closing(response: web.Response) -> web.Response:
    response.force_close()
    return response
