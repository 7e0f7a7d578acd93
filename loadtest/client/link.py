"""One connection: a non-blocking socket, the opening handshake, frames out and in."""

from __future__ import annotations

import contextlib
import enum
import socket
import struct
from typing import TYPE_CHECKING

from loadtest.protocols import websocket

if TYPE_CHECKING:
    from loadtest.client.checker import Position
    from loadtest.client.setup import Place
    from loadtest.protocols.base import Dialect

_RESET = struct.pack("ii", 1, 0)
READ_BYTES = 1 << 16


class Phase(enum.IntEnum):
    NEW, CONNECTING, UPGRADING, OPEN, READY, CLOSED = range(6)


class Link:
    """A connection and what it waits for.

    Args:
        index: Its number in its process.
        dialect: What its server speaks.
        place: Its token and its room.
        position: Where it stands in that room; kept over reconnects.
        source: The local address it comes from.
    """

    __slots__ = (
        "begun_ns", "credential", "dialect", "fd", "index", "key", "next_request", "outbox", "phase", "position", "reading",
        "receive_bytes", "room", "since", "socket", "source", "subscribe", "subscribing", "unread", "waiting",
    )  # fmt: skip

    def __init__(self, index: int, dialect: Dialect, place: Place, position: Position, source: str) -> None:
        self.index = index
        self.dialect = dialect
        self.credential = place.credential
        self.room = place.room
        self.position = position
        self.source = source
        self.subscribe = place.subscribe
        self.receive_bytes = 0
        self.reading = True
        self.socket: socket.socket | None = None
        self.fd = -1
        self.phase = Phase.NEW
        self._reset()

    def _reset(self) -> None:
        self.key = b""
        self.unread = b""
        self.outbox = b""
        self.next_request = 0
        self.since: int | None = None
        self.subscribing = -1  # the id of the subscription that was asked for and not yet answered
        self.waiting: dict[int, int] = {}  # request id → when it was due, ns
        self.begun_ns = 0

    def open(self, address: tuple[str, int], now_ns: int) -> None:
        """Begin to connect. The socket becomes writable when it is through.

        Raises:
            OSError: no descriptor or port is free.
        """
        self._reset()
        self.begun_ns = now_ns
        one = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        one.setblocking(False)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A close is a reset: no port lingers in TIME_WAIT, and the server sees what a killed client looks like.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        if self.receive_bytes:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, self.receive_bytes)
        if self.source:
            one.setsockopt(socket.IPPROTO_IP, _BIND_ADDRESS_NO_PORT, 1)
            one.bind((self.source, 0))
        with contextlib.suppress(BlockingIOError):
            one.connect(address)
        self.socket, self.fd, self.phase = one, one.fileno(), Phase.CONNECTING

    def connected(self, authority: str) -> None:
        """Send the opening request, where there is one; the connection is through.

        Raises:
            OSError: it is not.
        """
        assert self.socket is not None
        failure = self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure:
            raise OSError(failure, "the connection was refused")
        if not self.dialect.framed:
            self.phase = Phase.OPEN
            return
        self.key = websocket.new_key()
        self.phase = Phase.UPGRADING
        self.write(self.dialect.request_line(authority, self.key))

    def upgraded(self, data: bytes, masks: websocket.Masks) -> bytes | None:
        """Read the answer to the opening request; return what follows it, None while it is not whole.

        Raises:
            WebSocketError: it is no upgrade.
        """
        data = self.unread + data
        taken = websocket.upgrade_answer(data, self.key)
        if not taken:
            self.unread = data
            return None
        self.unread = b""
        self.phase = Phase.OPEN
        opening = self.dialect.opening(self.credential)
        if opening:
            self.send(opening, masks)
        return data[taken:]

    def frame(self, message: bytes, masks: websocket.Masks) -> bytes:
        """Return a message as the bytes that travel."""
        if not self.dialect.framed:
            return message
        return websocket.client_frame(self.dialect.opcode, message, masks.take())

    def send(self, message: bytes, masks: websocket.Masks) -> None:
        self.write(self.frame(message, masks))

    def write(self, data: bytes) -> None:
        """Write now what the socket takes; the rest waits in `outbox`.

        Raises:
            OSError: the connection is gone.
        """
        assert self.socket is not None
        if self.outbox:
            self.outbox += data
            return
        try:
            sent = self.socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self.outbox = data[sent:]

    def flush(self) -> bool:
        """Write what waits; return whether nothing waits any more."""
        data, self.outbox = self.outbox, b""
        self.write(data)
        return not self.outbox

    def request(self, due_ns: int) -> int:
        """Note that a request goes out; return its id."""
        request = self.next_request
        self.next_request = request + 1
        self.waiting[request] = due_ns
        return request

    def close(self) -> None:
        self.phase = Phase.CLOSED
        if self.socket is not None:
            self.socket.close()
            self.socket, self.fd = None, -1


_BIND_ADDRESS_NO_PORT = 24  # Linux' IP_BIND_ADDRESS_NO_PORT: the port is chosen at connect, from all that are free for this pair
