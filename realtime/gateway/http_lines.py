"""HTTP connections: what stands between a TCP connection and aiohttp, and bounds what one costs the others.

aiohttp parses all that a read brings, waits for a request's head for as long as its keep-alive lasts, and keeps an answer that
nobody reads for ever. Here a read is parsed in slices, a head has a time limit, and an answer whose reader makes no progress
is dropped with its connection. Progress, not size, decides who is too slow.
"""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

from realtime.address import address_key
from realtime.gateway.deadlines import Deadlines
from realtime.gateway.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable

HEAD_S = 10.0
"""For the head of a request to come whole, and for the first byte of one that was promised by nothing."""
_SLICE_BYTES = 1 << 11  # parsed in one turn: of a chunked body of single bytes 340 chunks, some 2 ms
_SEND_BUFFER_BYTES = 1 << 17
"""Of the kernel, which doubles it: it would take 4 MiB of an answer that nobody reads, and all that it has taken seems read."""
_AT_ONCE = 2  # connections in one turn that have brought more than that


class HttpLines:
    """Makes the protocol of an HTTP connection, and knows who does not read.

    Args:
        http: Makes aiohttp's own.
        stall_s: Time without progress after which an answer is dropped.
        loop: Of the timers.

    Attributes:
        open: The connections of each address, as `address_key` counts it.
        all: How many there are.
    """

    def __init__(self, http: Callable[[], asyncio.Protocol], stall_s: float, loop: asyncio.AbstractEventLoop) -> None:
        self.http = http
        self.turns = Turns(loop, _AT_ONCE)
        self.heads = Deadlines[HttpLine](HEAD_S, lambda line, at_s: line.head_is_due(at_s), loop)
        self.stalls = Deadlines[HttpLine](stall_s, lambda line, at_s: line.stall_is_due(at_s), loop)
        self.open: Counter[str] = Counter()
        self.all = 0
        self._behind: dict[Hashable, set[HttpLine]] = {}

    def __call__(self) -> HttpLine:
        return HttpLine(self)

    def __len__(self) -> int:
        return self.all

    def close(self) -> None:
        """Stop every timer."""
        self.heads.close()
        self.stalls.close()

    def unsent_bytes(self, who: Hashable) -> int:
        """Return what the readers of one user or address have not taken yet."""
        return sum(line.get_write_buffer_size() for line in self._behind.get(who, ()))

    def fell_behind(self, line: HttpLine, whose: Iterable[Hashable]) -> None:
        for who in whose:
            self._behind.setdefault(who, set()).add(line)

    def caught_up(self, line: HttpLine, whose: Iterable[Hashable]) -> None:
        for who in whose:
            lines = self._behind.get(who)
            if lines is not None:
                lines.discard(line)
                if not lines:
                    del self._behind[who]


class HttpLine(asyncio.Protocol, asyncio.Transport):
    """One HTTP connection: a protocol to its transport, and a transport to aiohttp."""

    __slots__ = ("_address", "_head_at_s", "_inner", "_is_behind", "_is_held", "_is_queued", "_lines", "_real", "_requests",
                 "_rest", "_stall_at_s", "_unsent", "_whose")  # fmt: skip

    def __init__(self, lines: HttpLines) -> None:
        super().__init__()
        self._lines = lines
        self._inner = lines.http()
        self._real: asyncio.Transport | None = None
        self._address = ""
        self._rest = b""  # read, and not parsed yet
        self._is_queued = False
        self._is_held = False  # by aiohttp: it has enough to do
        self._requests = 0  # that are being answered
        self._head_at_s = 0.0
        self._is_behind = False
        self._unsent = 0
        self._stall_at_s = 0.0
        self._whose: tuple[Hashable, ...] = ()

    # -- told by whoever answers the requests -------------------------------------------------------

    def begun(self, address: str) -> None:
        """Note that a whole head has come, and of whom."""
        self._requests += 1
        self._head_at_s = 0.0
        self._set_whose((address_key(address),))

    def ended(self, user: Hashable | None) -> None:
        """Note that a request has its answer, about to be written, and whose it was."""
        self._requests -= 1
        if user is not None:
            self._set_whose((*self._whose, user))

    def _set_whose(self, whose: tuple[Hashable, ...]) -> None:
        if self._is_behind:
            self._lines.caught_up(self, self._whose)
            self._lines.fell_behind(self, whose)
        self._whose = whose

    def take_rest(self) -> bytes:
        """Take what was read and not parsed: it is not for aiohttp."""
        rest, self._rest = self._rest, b""
        return rest

    def let_go(self) -> asyncio.Transport:
        """Give the connection away: it is no HTTP connection any more."""
        real = self._real
        assert real is not None  # asked before: `is_closing`
        if not real.is_reading():
            real.resume_reading()
        self._over()
        return real

    # -- time ---------------------------------------------------------------------------------------

    def head_is_due(self, at_s: float) -> None:
        """Drop a connection whose request is not whole yet."""
        if self._head_at_s == at_s and self._real is not None:
            if self._is_behind:
                self._head_at_s = self._lines.heads.add(self)  # it reads the answer before; that has its own deadline
            elif not self._requests:
                self._real.abort()

    def stall_is_due(self, at_s: float) -> None:
        """Drop a connection that took nothing of its answer since the deadline was set."""
        if self._real is None or at_s != self._stall_at_s or not self._is_behind:
            return
        unsent = self._real.get_write_buffer_size()
        if not unsent:
            self._caught_up()
        elif unsent >= self._unsent:
            self._real.abort()
        else:
            self._watch(unsent)

    def _watch(self, unsent: int) -> None:
        self._unsent = unsent
        self._stall_at_s = self._lines.stalls.add(self)

    def _caught_up(self) -> None:
        if self._is_behind:
            self._is_behind = False
            self._lines.caught_up(self, self._whose)

    # -- a protocol ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._real = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._address = address_key(peer[0]) if isinstance(peer, tuple) else ""
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._lines.open[self._address] += 1
        self._lines.all += 1
        self._head_at_s = self._lines.heads.add(self)
        self._inner.connection_made(self)

    def data_received(self, data: bytes) -> None:
        self._rest = self._rest + data if self._rest else data
        if not self._requests and not self._head_at_s:
            self._head_at_s = self._lines.heads.add(self)
        if not self._is_queued and not self._is_held:
            self._parse()

    def _parse(self) -> None:
        piece, self._rest = self._rest[:_SLICE_BYTES], self._rest[_SLICE_BYTES:]
        self._inner.data_received(piece)
        if self._real is None:
            return
        if self._rest:
            self._real.pause_reading()
            self._queue()
        elif not self._is_held:
            self._real.resume_reading()

    def _queue(self) -> None:
        if not self._is_queued and not self._is_held:
            self._is_queued = True
            self._lines.turns.add(self)

    def go_on(self) -> None:
        """Parse the next slice."""
        self._is_queued = False
        if self._real is not None and self._rest and not self._is_held:
            self._parse()

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._real is not None:
            self._over()
        self._inner.connection_lost(exc)

    def _over(self) -> None:
        self._caught_up()
        self._real = None
        self._rest = b""
        self._lines.all -= 1
        self._lines.open[self._address] -= 1
        if not self._lines.open[self._address]:
            del self._lines.open[self._address]

    # -- a transport --------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        if self._real is not None:
            self._real.write(data)
            self._written()

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview[Any]]) -> None:
        if self._real is not None:
            self._real.writelines(list_of_data)
            self._written()

    def _written(self) -> None:
        assert self._real is not None  # both callers looked
        unsent = self._real.get_write_buffer_size()
        if unsent and not self._is_behind:
            self._is_behind = True
            self._lines.fell_behind(self, self._whose)
            self._watch(unsent)
        elif unsent:
            self._unsent = max(self._unsent, unsent)  # more to take is no lack of progress

    def pause_reading(self) -> None:
        self._is_held = True
        if self._real is not None:
            self._real.pause_reading()

    def resume_reading(self) -> None:
        self._is_held = False
        if self._rest:
            self._queue()
        elif self._real is not None:
            self._real.resume_reading()

    def is_reading(self) -> bool:
        return not self._is_held

    def close(self) -> None:
        if self._real is not None:
            self._real.close()

    def abort(self) -> None:
        if self._real is not None:
            self._real.abort()

    def is_closing(self) -> bool:
        return self._real is None or self._real.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default if self._real is None else self._real.get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        return 0 if self._real is None else self._real.get_write_buffer_size()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if self._real is not None:
            self._real.set_write_buffer_limits(high, low)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._inner = cast("asyncio.Protocol", protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._inner

    def can_write_eof(self) -> bool:
        return self._real is not None and self._real.can_write_eof()

    def write_eof(self) -> None:
        if self._real is not None:
            self._real.write_eof()
