"""A WebSocket on a raw transport: what aiohttp answered the upgrade for is ours from then on."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Protocol

from realtime.gateway import websocket
from realtime.gateway.http_lines import HttpLine
from realtime.gateway.websocket import CloseCode, Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aiohttp import web

    from realtime.gateway.deadlines import Deadlines
    from realtime.gateway.turns import Turns

HIGH_WATER_BYTES = 1 << 16
"""Unsent bytes from which on a connection is looked at more closely."""
READ_TIMES = 8
"""A message of up to so many times the size that it may have is read and refused by its ack; beyond it comes a close."""
SLICE_UNITS = 64
"""Frames (and 4 KiB of them) that one connection has served in one turn of the loop; what it brought besides waits."""
BURST_S = 1.0
"""So many seconds' worth of its budget of units a connection may bring at once."""
OVERDRAWN_S = 10.0
"""A connection that was kept waiting for so long without a pause of its own is closed as `overloaded`."""
DROPPED_BYTES_PER_S = 1 << 20
"""What a connection that is closing may still send, to be dropped: a few reads hold all that was on its way."""
_SHORTEST_WAIT_S = 0.05


class Owner(Protocol):
    """Who uses a WebSocket. All of it is called from the transport's callbacks and must not raise."""

    def received(self, opcode: int, payload: bytes, /) -> None:
        """A whole text or binary message, in order."""

    def too_large(self, opcode: int, beginning: bytes, /) -> None:
        """The beginning of a message that was larger than it may be, in its turn."""

    def read_all(self) -> None:
        """What one read brought was handed over: what was collected may go out."""

    def slow(self) -> None:
        """The peer takes too little: over the limit, or no progress in time."""

    def overloaded(self) -> None:
        """The peer sends more than it may, and does not stop: close."""

    def lost(self, code: int | None, /) -> None:
        """The WebSocket is gone; nothing follows. `code`: what the peer gave in its close frame."""


class Bounds(Protocol):
    """What all WebSockets of a gateway share.

    Attributes:
        units_per_s: What each may bring in the long run, in frames (and 4 KiB of them), 2 to 4 µs each; what costs more is
            charged as more (`WebSocket.charge`). Beyond it nothing is read from the connection for the time owed.
    """

    max_message_bytes: int
    unsent_limit_bytes: int
    stalls: Deadlines[WebSocket]
    closings: Deadlines[WebSocket]
    turns: Turns
    units_per_s: float


class WebSocket(asyncio.Protocol):
    """One WebSocket.

    Args:
        owner: Receives; may be exchanged (an upgrade does).
        bounds: Limits and deadlines.
    """

    __slots__ = ("_bounds", "_closing", "_code", "_full_s", "_held", "_paused", "_reader", "_stall_at_s", "_transport", "_units",
                 "_waited_s", "_written", "owner")  # fmt: skip

    def __init__(self, owner: Owner, bounds: Bounds) -> None:
        self.owner = owner
        self._bounds = bounds
        self._reader = Reader(bounds.max_message_bytes, READ_TIMES * bounds.max_message_bytes)
        self._transport: asyncio.Transport | None = None
        self._closing = False
        self._code: int | None = None
        self._paused = False
        self._written = 0  # counted only while the peer is behind
        self._stall_at_s = 0.0
        self._held = False  # nothing is read until its turn comes
        self._units = 0  # not settled yet
        self._full_s = 0.0  # when its budget of units is whole again, as in `limits.TokenBucket`
        self._waited_s = 0.0  # for its budget, since that was whole the last time

    def attach(self, transport: asyncio.Transport) -> None:
        """Take over a transport whose upgrade was answered."""
        self._transport = transport
        transport.set_write_buffer_limits(HIGH_WATER_BYTES, HIGH_WATER_BYTES // 4)
        transport.set_protocol(self)

    # -- out --------------------------------------------------------------------------------------

    def write(self, frames: bytes) -> None:
        """Write frames; what the peer does not take is counted, and too much of it closes the connection."""
        if self._transport is None or self._closing:
            return
        self._transport.write(frames)
        if self._paused:
            self._written += len(frames)
            if self._transport.get_write_buffer_size() > self._bounds.unsent_limit_bytes:
                self.owner.slow()

    def close(self, code: int, reason: str = "") -> None:
        """Send a close frame and close, after what was written before it.

        The peer's bytes are still taken, and dropped, until it closes too, or for a while: a socket that is closed with
        unread bytes resets the connection, and what was said last would be lost with it.
        """
        if self._transport is not None and not self._closing:
            self._transport.write(websocket.close_frame(code, reason))
            self._closing = True
            if self._code is None and self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()  # both sides have said so: the server closes first (RFC 6455 §7.1.1)
            self._bounds.closings.add(self)

    def abort(self) -> None:
        """Drop the connection with all that is unsent."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def closing_is_due(self) -> None:
        """End a close that the peer does not let finish."""
        self.abort()

    def stall_is_due(self, at_s: float) -> None:
        """Tell the owner if nothing was taken since the deadline was set."""
        if not self._paused or at_s != self._stall_at_s or self._transport is None or self._closing:
            return
        if self._transport.get_write_buffer_size() >= self._written:
            self.owner.slow()
        else:
            self._watch()

    def _watch(self) -> None:
        assert self._transport is not None  # both callers looked
        self._written = self._transport.get_write_buffer_size()
        self._stall_at_s = self._bounds.stalls.add(self)

    # -- asyncio.Protocol -------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._closing:
            # What still comes is dropped, one read a turn, and of a flood so much a second.
            self._hold()
            wait_s = len(data) / DROPPED_BYTES_PER_S
            if wait_s > _SHORTEST_WAIT_S:
                self._bounds.turns.later(self, wait_s)
            else:
                self._bounds.turns.add(self)
            return
        pongs: list[bytes] | None = None
        reader = self._reader
        for opcode, payload in reader.feed(data, SLICE_UNITS):
            if self._closing:
                return
            if opcode <= websocket.BINARY:
                if pongs is not None:
                    self.write(b"".join(pongs))
                    pongs = None
                self.owner.received(opcode, payload)
            elif opcode == websocket.PING:
                pong = websocket.frame(payload, websocket.PONG)
                if pongs is None:
                    pongs = [pong]
                else:
                    pongs.append(pong)
            elif opcode & websocket.TOO_LARGE:
                if pongs is not None:
                    self.write(b"".join(pongs))
                    pongs = None
                self.owner.too_large(opcode ^ websocket.TOO_LARGE, payload)
            elif opcode == websocket.CLOSE:
                self._code = int.from_bytes(payload[:2], "big") if payload else 1005  # §7.1.5
                self.owner.read_all()
                self.close(self._code if payload else CloseCode.NORMAL)
                return
        if pongs is not None:
            self.write(b"".join(pongs))
        self.owner.read_all()
        violation = reader.violation
        if violation is not None:
            self.close(violation.code, str(violation))
            return
        self._units += reader.units
        if self._units > SLICE_UNITS or self._held or reader.is_behind:
            self._settle()

    def charge(self, units: int) -> None:
        """Count what a message costs beyond its frame; the sender waits for it if it is too much."""
        self._units += units

    def _settle(self) -> None:
        """Take the units from the budget, and read on now, in the next turn, or when what is owed is paid."""
        if self._closing:
            return
        now_s = self._bounds.turns.now_s()
        if self._full_s <= now_s:
            self._full_s = now_s
            self._waited_s = 0.0
        self._full_s += self._units / self._bounds.units_per_s
        self._units = 0
        owed_s = self._full_s - now_s - BURST_S
        if owed_s > 0:
            owed_s = max(owed_s, _SHORTEST_WAIT_S)
            self._waited_s += owed_s
            self._hold()
            if self._waited_s > OVERDRAWN_S:
                self.owner.overloaded()  # held: a flood is not read only to be dropped
            else:
                self._bounds.turns.later(self, owed_s)
        elif self._reader.is_behind:
            self._hold()
            self._bounds.turns.add(self)
        else:
            self._let_go()

    def go_on(self) -> None:
        """Read on: its turn has come."""
        if self._reader.is_behind and not self._closing:
            self.data_received(b"")
        else:
            self._let_go()

    def _hold(self) -> None:
        if not self._held and self._transport is not None:
            self._held = True
            self._transport.pause_reading()

    def _let_go(self) -> None:
        if self._held and self._transport is not None:
            self._held = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        self._paused = True
        if self._transport is not None:
            self._watch()

    def resume_writing(self) -> None:
        self._paused = False

    def eof_received(self) -> bool:
        return False  # a WebSocket that only we can write to is of no use: close

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._closing = True
        owner, self.owner = self.owner, NOBODY  # no cycle stays for the garbage collector
        owner.lost(self._code)


class _Nobody:
    """Owns a WebSocket that is gone, or that is only answered to be closed."""

    def received(self, opcode: int, payload: bytes, /) -> None:
        """Nothing comes any more."""

    def read_all(self) -> None:
        """Nothing comes any more."""

    def too_large(self, opcode: int, beginning: bytes, /) -> None:
        """It is closing."""

    def slow(self) -> None:
        """Nothing is written any more."""

    def overloaded(self) -> None:
        """It is closing."""

    def lost(self, code: int | None, /) -> None:
        """Told before."""


NOBODY = _Nobody()


def take_over(request: web.Request, protocol: WebSocket, head: bytes) -> bool:
    """Answer an upgrade and take the connection from aiohttp.

    aiohttp's handler, parser and request go; what stays of an idle connection is a transport and our own objects. The
    handler of the request must return right after this: aiohttp finds its transport gone and forgets the connection.

    Args:
        head: The whole response, with its empty line, and whatever follows at once.

    Returns:
        False when the client has gone meanwhile.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        return False
    behind = read_behind(request)
    let_go(request)
    if isinstance(transport, HttpLine):
        transport = transport.let_go()
    protocol.attach(transport)
    transport.write(head)
    if behind:
        protocol.data_received(behind)
    return True


def read_behind(request: web.Request) -> bytes:
    """Take what the client sent behind a request for an upgrade: it may speak before it has read the answer.

    From here on aiohttp keeps nothing of the connection; call `let_go` in the same turn of the loop.
    """
    tail = _Tail()
    request.protocol.set_parser(tail)  # type: ignore[arg-type]  # these two methods are all that it calls
    return tail.data + (request.transport.take_rest() if isinstance(request.transport, HttpLine) else b"")


class _Tail:
    """Stands in the place of aiohttp's own WebSocket reader, which gets the same bytes."""

    def __init__(self) -> None:
        self.data = b""

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self.data += data
        return False, b""

    def feed_eof(self) -> None:
        """Whoever has the connection now hears of its end."""


def let_go(request: web.Request) -> None:
    """Make aiohttp forget the connection of a request without closing it; the request's handler must return soon."""
    handler = request.protocol
    handler.transport = None  # so that aiohttp does not close what is no longer its own
    handler.connection_lost(None)


@contextlib.contextmanager
def listening(request: web.Request, lost: Callable[[], None]) -> Iterator[None]:
    """Call `lost` when the client of a request breaks off, while the block runs.

    aiohttp tells a handler of that only by cancelling it, for all handlers or none; a request that is being written to
    the database must not be cancelled for it.
    """
    transport, handler = request.transport, request.protocol
    if transport is None or transport.is_closing():
        lost()
        yield
        return
    transport.set_protocol(_Listener(handler, lost))
    try:
        yield
    finally:
        if not transport.is_closing():
            transport.set_protocol(handler)


class _Listener(asyncio.Protocol):
    """Stands before another protocol and hears of its end."""

    __slots__ = ("_behind", "_lost")

    def __init__(self, behind: asyncio.Protocol, lost: Callable[[], None]) -> None:
        self._behind = behind
        self._lost = lost

    def data_received(self, data: bytes) -> None:
        self._behind.data_received(data)

    def eof_received(self) -> bool | None:
        return self._behind.eof_received()

    def pause_writing(self) -> None:
        self._behind.pause_writing()

    def resume_writing(self) -> None:
        self._behind.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._behind.connection_lost(exc)
        self._lost()
