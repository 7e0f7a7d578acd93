"""The door of a node: every TCP connection comes in here, and its first bytes tell where it goes.

A session that opens over a WebSocket, in the form that clients write it, goes straight to the gateway. Everything else
(REST, polling, upgrades, files, whatever is odd) goes to aiohttp, with the bytes as they came.
"""

from __future__ import annotations

import asyncio
import http
import logging
from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import msgspec

from realtime import errors, tasks
from realtime.address import address_key
from realtime.gateway.handshake import opening
from realtime.wire.types import Error

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.gateway.engine import EngineServer
    from realtime.gateway.http_lines import HttpLines

logger = logging.getLogger(__name__)

AT_ONCE = 32
"""So many are let in during one turn of the loop, the others in the next ones. What follows (the token, subscriptions) comes no
faster than they are let in, so this bounds how long a turn takes when everybody comes back at once, and costs no throughput.
"""
_MAX_BYTES = 1 << 16  # read of somebody whose turn it is not yet
SILENCE_S = 5.0
"""A connection that says nothing is closed after this time and before twice of it."""
_COMPLAINT_S = 60.0
_FULL = (
    b"HTTP/1.1 %b\r\nContent-Type: application/problem+json\r\n"
    b"Retry-After: 10\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
)


@dataclass(frozen=True, slots=True)
class DoorLimits:
    """What the door lets in.

    Args:
        per_address: TCP connections of an address that are no WebSockets; those are counted by `Admission`.
        per_node: TCP connections that the process has descriptors for.
        counts_as: Tells what the address of a connection counts as; None: it is a proxy's, and the clients behind it count.
    """

    per_address: int = 500
    per_node: int = 50_000
    counts_as: Callable[[str], str | None] = address_key


class Doorway:
    """Makes the protocols of new connections: what a listening socket takes.

    Args:
        engine: Takes sessions.
        http: Makes the protocol of an HTTP connection.
        limits: What is let in.
        lines: The HTTP connections, where they are counted.
    """

    def __init__(
        self,
        engine: EngineServer,
        http: Callable[[], asyncio.Protocol],
        limits: DoorLimits | None = None,
        lines: HttpLines | None = None,
    ) -> None:
        self.engine = engine
        self.paths = engine.config.paths
        self.http = http
        self._limits = limits or DoorLimits()
        self._lines = lines
        self._at_door: Counter[str] = Counter()  # those of each address that wait to be heard
        self._complain_from_s: dict[str, float] = {}
        self._loop = asyncio.get_running_loop()
        self._visitors: set[_Visitor] = set()
        self._silent: set[_Visitor] = set()  # since the last look at least
        self._timer: asyncio.TimerHandle | None = None
        self._entered = 0  # in this turn
        self._queue: deque[_Visitor] = deque()

    def __call__(self) -> asyncio.Protocol:
        return _Visitor(self)

    def __len__(self) -> int:
        """How many connections have said nothing yet."""
        return len(self._visitors) + len(self._silent)

    def close(self) -> None:
        """Drop who has said nothing yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for visitor in self._visitors | self._silent:
            visitor.abort()

    def came(self, visitor: _Visitor, address: str) -> bytes:
        """Take a new connection; return what to refuse it with, or nothing."""
        limits, lines = self._limits, self._lines
        key = limits.counts_as(address)
        of_address = 0 if key is None else self._at_door[key] + (0 if lines is None else lines.open[key])
        if of_address >= limits.per_address:
            return self._full(errors.TooManyConnections("This address has too many connections."), limits.per_address)
        if len(self) + (0 if lines is None else len(lines)) + len(self.engine) >= limits.per_node:
            return self._full(errors.Overloaded("This node may open no more files for connections."), limits.per_node)
        if key is not None:
            self._at_door[key] += 1
        visitor.key = key
        self._visitors.add(visitor)
        if self._timer is None:
            self._timer = self._loop.call_later(SILENCE_S, self._look)
        return b""

    def _full(self, error: errors.RealtimeError, limit: int) -> bytes:
        now_s = self._loop.time()
        if now_s >= self._complain_from_s.get(error.code, 0.0):
            self._complain_from_s[error.code] = now_s + _COMPLAINT_S
            logger.warning("connections are refused: %s The limit is %d.", error.message, limit)
        status = http.HTTPStatus(error.status)
        body = msgspec.json.encode(Error.of(error))
        return _FULL % (f"{status.value} {status.phrase}".encode(), len(body), body)

    def heard(self, visitor: _Visitor) -> None:
        """Let a visitor in who has said something, now or when it is their turn."""
        if self._queue or self._entered >= AT_ONCE:
            self._queue.append(visitor)
            return
        if not self._entered:
            self._loop.call_soon(self._next_turn)
        self._entered += 1
        visitor.enter()

    def _next_turn(self) -> None:
        self._entered = min(len(self._queue), AT_ONCE)
        if self._entered:
            self._loop.call_soon(self._next_turn)
        for _ in range(self._entered):
            visitor = self._queue.popleft()
            try:
                visitor.enter()
            except Exception as error:  # noqa: BLE001 - the others are at the door too
                visitor.abort()
                tasks.report(self._loop, "an entry", error)

    def went(self, visitor: _Visitor) -> None:
        self._visitors.discard(visitor)
        self._silent.discard(visitor)
        key, visitor.key = visitor.key, None
        if key is not None:
            self._at_door[key] -= 1
            if not self._at_door[key]:
                del self._at_door[key]

    def _look(self) -> None:
        leaving = list(self._silent)
        self._silent, self._visitors = self._visitors, set()
        self._timer = self._loop.call_later(SILENCE_S, self._look) if self._silent else None
        for visitor in leaving:
            visitor.abort()


class _Visitor(asyncio.Protocol):
    """A connection that has said nothing yet, or waits for its turn."""

    __slots__ = ("_doorway", "_paused", "_read", "_transport", "key")

    def __init__(self, doorway: Doorway) -> None:
        self._doorway = doorway
        self.key: str | None = None  # what it counts as
        self._read = b""
        self._paused = False
        self._transport: asyncio.Transport | None = None

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def enter(self) -> None:
        """Go to the gateway or to the HTTP server, if the client is still there."""
        transport, self._transport = self._transport, None
        if transport is None:
            return
        self._doorway.went(self)
        asked = opening(self._read, self._doorway.paths, self._doorway.engine.config.max_head_bytes)
        if asked is None or not self._doorway.engine.enter(transport, asked):
            http = self._doorway.http()
            transport.set_protocol(http)
            http.connection_made(transport)
            http.data_received(self._read)
            if self._paused:
                transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        refusal = self._doorway.came(self, peer[0] if isinstance(peer, tuple) else "")
        if refusal:
            self._transport.write(refusal)
            self._transport.close()
            self._transport = None

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return  # refused
        is_first = not self._read
        self._read += data
        if is_first:
            self._doorway.heard(self)
        elif len(self._read) > _MAX_BYTES and self._transport is not None:
            self._transport.pause_reading()  # until it is their turn
            self._paused = True

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._doorway.went(self)
