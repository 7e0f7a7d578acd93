"""A light client: Socket.IO over a raw WebSocket. It writes down what comes, and costs some microseconds a delivery."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import TYPE_CHECKING, Any, cast

import msgspec

from tests.cluster.lab.record import Connection, Delivered, Removed, Reset, Sent, Subscribed, body_of

if TYPE_CHECKING:
    from collections.abc import Callable

_UPGRADE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Opened(msgspec.Struct):
    """The first packet of Engine.IO, times in milliseconds."""

    ping_interval: int = msgspec.field(name="pingInterval")
    ping_timeout: int = msgspec.field(name="pingTimeout")


class Payload(msgspec.Struct):
    """Whatever an event carries that the load looks at."""

    room: str = ""
    seq: int = 0
    kind: str = ""
    client_id: str = ""
    head_seq: int = 0
    node: str = ""
    code: str = ""
    reconnect_after_ms: int = 0


class Problem(msgspec.Struct):
    code: str
    retryable: bool = False
    retry_after_ms: int = 0


class RoomAnswer(msgspec.Struct):
    room: str
    head_seq: int = 0
    events: list[Payload] = []
    reset: bool = False
    behind: int = 0
    error: Problem | None = None


class Answer(msgspec.Struct):
    ok: bool
    seq: int = 0
    duplicate: bool = False
    error: Problem | None = None
    rooms: list[RoomAnswer] = []


class Refusal(msgspec.Struct):
    data: Problem | None = None


_event = msgspec.json.Decoder(tuple[str, msgspec.Raw]).decode
_payload = msgspec.json.Decoder(Payload).decode
_opened = msgspec.json.Decoder(Opened).decode
_answer = msgspec.json.Decoder(tuple[Answer]).decode
_refusal = msgspec.json.Decoder(Refusal).decode
_encode = msgspec.json.encode
clock = time.monotonic


def masked(payload: bytes) -> bytes:
    """Encode a text frame as clients do (RFC 6455 §5.2, §5.3)."""
    size, mask = len(payload), os.urandom(4)
    if size < 126:
        head = bytes((0x81, 0x80 | size))
    elif size < 1 << 16:
        head = b"\x81\xfe" + size.to_bytes(2, "big")
    else:
        head = b"\x81\xff" + size.to_bytes(8, "big")
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


class Wire(asyncio.Protocol):
    """One connection.

    Args:
        record: Where it is written down.
        token: For CONNECT.
        drained: Called with the pause in seconds when the node says that it is going.

    Attributes:
        entered: Done when `ready` came; raises ConnectionError.
        gone: Done when the connection has ended.
        refusal: Why CONNECT was refused.
    """

    def __init__(self, record: Connection, token: str, drained: Callable[[float], None] = lambda _pause_s: None) -> None:
        loop = asyncio.get_running_loop()
        self.record = record
        self.entered: asyncio.Future[None] = loop.create_future()
        self.gone: asyncio.Future[None] = loop.create_future()
        self.refusal: Problem | None = None
        self.closing = ""
        self.status = 0
        self.silent = False
        self.positions: dict[str, int] = {}
        self.removed: set[str] = set()
        self.heard_s = clock()
        self.patience_s = 10.0
        self._token = token
        self._drained = drained
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._requests: dict[int, Callable[[Answer], None]] = {}
        self._count = 0

    @classmethod
    async def open(
        cls, record: Connection, url: tuple[str, int], token: str, drained: Callable[[float], None] = lambda _pause_s: None,
        receive_bytes: int = 0,
    ) -> Wire:  # fmt: skip
        """Connect and be let in. Raises OSError or TimeoutError."""
        loop = asyncio.get_running_loop()
        connection = socket.socket()
        connection.setblocking(False)
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        try:
            await loop.sock_connect(connection, url)
        except BaseException:
            connection.close()
            raise
        _, wire = await loop.create_connection(lambda: cls(record, token, drained), sock=connection)
        try:
            await asyncio.shield(wire.entered)
        except BaseException:
            wire.abort("not let in")
            raise
        return wire

    # -- out --------------------------------------------------------------------------------------

    def request(self, name: str, payload: Any, done: Callable[[Answer], None]) -> int:
        """Send a request; `done` is called with the ack, if one comes. Returns its number on this connection."""
        self._count += 1
        self._requests[self._count] = done
        self._write(b"42%d%s" % (self._count, _encode([name, payload])))
        return self._count

    def send(self, sent: Sent, size: int, done: Callable[[Sent, Problem | None], None]) -> None:
        """Send a message and write down what becomes of it."""

        def answered(answer: Answer) -> None:
            sent.ended_s = clock()
            problem = answer.error
            if answer.ok:
                sent.outcome, sent.seq, sent.duplicate = "ok", answer.seq, answer.duplicate
            elif problem is not None:
                sent.code = problem.code
                sent.outcome = "unknown" if problem.retryable else "fail"
            done(sent, problem)

        sent.invoked_s = clock()
        body = {"room": sent.room, "client_id": sent.client_id, "body": body_of(sent.client_id, size)}
        sent.order = self.request("message.send", body, answered)

    async def until(self, answered: asyncio.Future[Any], within_s: float) -> None:
        """Return when there is an answer, when none can come any more, or when the time is over."""
        futures: tuple[asyncio.Future[Any], ...] = (answered, self.gone)
        await asyncio.wait(futures, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)

    def _write(self, payload: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(masked(payload))

    def abort(self, reason: str) -> None:
        """Reset the connection."""
        self.record.reason = self.record.reason or reason
        if self._transport is not None:
            self._transport.abort()

    def stop_reading(self) -> None:
        assert self._transport is not None
        self.record.stopped_s = clock()
        self._transport.pause_reading()

    def read_on(self) -> None:
        assert self._transport is not None
        self.heard_s = clock()
        if not self._transport.is_closing():
            self._transport.resume_reading()

    # -- in ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport = cast("asyncio.Transport", transport)  # uvloop has a class of its own
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        host, port = transport.get_extra_info("peername")[:2]
        transport.write(_UPGRADE.format(host=f"{host}:{port}").encode())

    def connection_lost(self, error: Exception | None) -> None:
        self.record.closed_s = self.record.closed_s or clock()
        self.record.reason = self.record.reason or self.closing or "closed"
        if not self.entered.done():
            self.entered.set_exception(ConnectionError(self.record.reason))
            self.entered.exception()  # whoever waits is told; nobody need
        if not self.gone.done():
            self.gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        self.heard_s = clock()
        buffer = self._buffer
        buffer += data
        if not self.status and not self._upgraded():
            return
        at, end = 0, len(buffer)
        while end - at >= 2:
            size, head = buffer[at + 1], 2
            if size >= 126:
                head = 4 if size == 126 else 10
                if end - at < head:
                    break
                size = int.from_bytes(buffer[at + 2 : at + head], "big")
            if end - at < head + size:
                break
            opcode = buffer[at] & 0x0F
            if opcode == 0x1:
                self._packet(bytes(buffer[at + head : at + head + size]))
            elif opcode == 0x8:
                self.closing = self.closing or f"close frame {bytes(buffer[at + head + 2 : at + head + size]).decode()}"
            at += head + size
        del buffer[:at]

    def _upgraded(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        self.status = int(self._buffer[9:12])
        del self._buffer[: end + 4]
        if self.status != 101:
            self.abort(f"HTTP {self.status}")
            return False
        return True

    def _packet(self, packet: bytes) -> None:
        kind = packet[:1]
        if kind == b"4":
            self._message(packet)
        elif kind == b"2":
            self._write(b"3")
        elif kind == b"0":
            found = _opened(packet[1:])
            self.patience_s = (found.ping_interval + found.ping_timeout) / 1000
            self._write(b"40" + _encode({"token": self._token}))
        elif kind == b"1":
            self.closing = self.closing or "closed by the server"

    def _message(self, packet: bytes) -> None:
        kind = packet[1:2]
        if kind == b"2":
            name, raw = _event(packet[2:])
            self._take(name, _payload(raw))
        elif kind == b"3":
            at = packet.index(b"[")
            done = self._requests.pop(int(packet[2:at]), None)
            if done is not None:
                done(_answer(packet[at:])[0])
        elif kind == b"4":
            self.refusal = _refusal(packet[2:]).data
            self.abort(f"refused: {self.refusal.code if self.refusal else 'no reason'}")
        elif kind == b"1":
            self.abort(self.closing or "disconnected")

    def _take(self, name: str, event: Payload) -> None:
        if event.seq:
            self.positions[event.room] = event.seq
            self.record.items.append(Delivered(event.room, self.heard_s, event.seq, event.client_id or name))
        elif name == "ready":
            self.record.node, self.record.ready_s = event.node, self.heard_s
            if not self.entered.done():
                self.entered.set_result(None)
        elif name == "room.reset":
            self.positions[event.room] = event.head_seq
            self.record.items.append(Reset(event.room, self.heard_s, event.head_seq))
        elif name == "room.removed":
            self.removed.add(event.room)
            self.positions.pop(event.room, None)
            self.record.items.append(Removed(event.room, self.heard_s))
        elif name == "closing":
            self.closing = event.code
        elif name == "server.drain":
            self._drained(event.reconnect_after_ms / 1000)

    def subscribed(self, answer: RoomAnswer, since: int | None) -> None:
        """Write down the answer for one room."""
        self.positions[answer.room] = answer.head_seq
        events = [(event.seq, event.client_id or event.kind) for event in answer.events]
        item = Subscribed(answer.room, self.heard_s, since, answer.head_seq, answer.reset, events, answer.behind)
        self.record.items.append(item)
