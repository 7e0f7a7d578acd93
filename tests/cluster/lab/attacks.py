"""Attacks as a client: each is a small function that does harm on one connection after the other until it is told to stop.

`python -m tests.cluster.lab.attacks` reads an `Order` from standard input, attacks, and ends. A process of its own, niced: an
attacker's machine is not the server's. The next attack is one more function with `@attack`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import sys
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import uvloop

from tests.cluster.lab.wire import masked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

_CHUNK = 2000  # frames in one write
_SMALL_BUFFER_BYTES = 4096
_UPGRADE = (
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


class Order(msgspec.Struct):
    """What to do.

    Args:
        ports: Of the nodes.
        tokens: Access tokens of accounts that attack with what they have.
        room: Of which they are members.
        names: Of the attacks, one after the other.
        each_s: How long each lasts.
        lines: How many connections each attacks on at once.
        addresses: How many addresses they come from.
    """

    ports: list[int]
    tokens: list[str]
    room: str
    names: list[str]
    each_s: float
    lines: int
    addresses: int = 1


class Attacker(NamedTuple):
    """One of those who attack at once."""

    number: int
    port: int
    token: str
    room: str
    address: str
    until_s: float

    @property
    def is_over(self) -> bool:
        return time.monotonic() >= self.until_s

    @contextlib.asynccontextmanager
    async def line(self, *, reads: bool = True, buffer_bytes: int = 0) -> Any:
        """A TCP connection; what comes is dropped, or left unread."""
        sock = socket.socket()
        if buffer_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        sock.bind((self.address, 0))
        sock.setblocking(False)
        loop = asyncio.get_running_loop()
        reading: asyncio.Task[None] | None = None
        try:
            await loop.sock_connect(sock, ("127.0.0.1", self.port))
            if reads:
                reading = asyncio.create_task(_drop(sock))
            yield sock
        finally:
            if reading is not None:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)
            sock.close()

    async def send(self, sock: socket.socket, data: bytes) -> None:
        """Send until it is taken or the attack is over."""
        await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(sock, data), max(0.01, self.until_s - time.monotonic()))

    @contextlib.asynccontextmanager
    async def websocket(self, *, enters: bool, reads: bool = True, buffer_bytes: int = 0) -> Any:
        """A WebSocket, signed in or not."""
        async with self.line(reads=reads, buffer_bytes=buffer_bytes) as sock:
            connect = masked(b'40{"token":"%b"}' % self.token.encode()) if enters else b""
            await self.send(sock, _UPGRADE.encode())
            await asyncio.sleep(0.02)
            await self.send(sock, connect)
            yield sock


async def _drop(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while await asyncio.get_running_loop().sock_recv(sock, 1 << 20):
            pass


ATTACKS: dict[str, Callable[[Attacker], Awaitable[None]]] = {}


def attack(name: str) -> Callable[[Callable[[Attacker], Coroutine[Any, Any, None]]], Callable[[Attacker], Awaitable[None]]]:
    """Make a function an attack: what it does on one connection, again and again."""

    def added(act: Callable[[Attacker], Coroutine[Any, Any, None]]) -> Callable[[Attacker], Awaitable[None]]:
        ATTACKS[name] = act
        return act

    return added


def flood(name: str, frames: bytes, *, begin: bytes = b"", enters: bool = True, reads: bool = True) -> None:
    """Add an attack that sends the same frames over a WebSocket as fast as they are taken."""

    async def act(one: Attacker) -> None:
        chunk = frames.replace(b"ROOM", one.room.encode()) * max(1, _CHUNK // frames.count(b"\x00" * 4) or 1)
        async with one.websocket(enters=enters, reads=reads) as sock:
            await one.send(sock, begin)
            while not one.is_over:
                await one.send(sock, chunk)

    ATTACKS[name] = act


def frame(payload: bytes, opcode: int = 0x1, *, fin: bool = True) -> bytes:
    """Encode a frame with a mask of zeros: the payload stands in it as it is."""
    assert len(payload) < 1 << 16
    size = bytes((0x80 | len(payload),)) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes(((0x80 if fin else 0) | opcode,)) + size + bytes(4) + payload


# -- frames -----------------------------------------------------------------------------------------

flood("pings", frame(b"", 0x9), enters=False)
flood("long_pings_unread", frame(b"x" * 125, 0x9), enters=False, reads=False)
flood("pongs", frame(b"", 0xA), enters=False)
flood("empty_fragments", frame(b"", 0x0, fin=False), begin=frame(b"4", fin=False), enters=False)
flood("heartbeats", frame(b"3"))

# -- packets and requests ---------------------------------------------------------------------------

flood("unknown_events", frame(b'42["x",{}]'))
flood("unknown_events_asking", frame(b'421["x",{}]'))
flood("asking_and_not_reading", frame(b'421["x",{}]'), reads=False)
flood("sends_beyond_the_rate", frame(b'421["message.send",{"room":"ROOM","client_id":"same","body":"x"}]'))
flood("signals", frame(b'421["signal",{"room":"ROOM","kind":"typing"}]'))
flood("subscriptions", frame(b'421["room.subscribe",{"rooms":[{"room":"ROOM","since":0}]}]'))
flood("unknown_namespaces", frame(b'40/nowhere,{"token":"x"}'))
flood("attachments", frame(b'451-1["x",{"_placeholder":true,"num":0}]') + frame(b"", 0x2))


@attack("connect_and_disconnect")
async def connect_and_disconnect(one: Attacker) -> None:
    async with one.websocket(enters=True) as sock:
        chunk = (frame(b"41") + frame(b'40{"token":"%b"}' % one.token.encode())) * 50
        while not one.is_over:
            await one.send(sock, chunk)


# -- HTTP -------------------------------------------------------------------------------------------


def pipeline(name: str, request: str, count: int = 200, body: bytes = b"") -> None:
    """Add an attack that sends the same request over one connection again and again, without waiting for answers."""

    async def act(one: Attacker) -> None:
        text = request.replace("TOKEN", one.token).replace("ROOM", one.room).replace("\n", "\r\n").encode()
        async with one.line() as sock:
            while not one.is_over:
                await one.send(sock, (text + body) * count)

    ATTACKS[name] = act


pipeline("pipelined_requests", "GET /healthz HTTP/1.1\nHost: x\n\n")
pipeline("refused_handshakes", "GET /socket.io/?EIO=4&transport=polling HTTP/1.1\nHost: x\n\n")
pipeline("refused_requests", "GET /api/v1/me HTTP/1.1\nHost: x\nAuthorization: Bearer wrong\n\n")
pipeline("history", "GET /api/v1/rooms/ROOM/messages HTTP/1.1\nHost: x\nAuthorization: Bearer TOKEN\n\n")


@attack("chunks_of_one_byte")
async def chunks_of_one_byte(one: Attacker) -> None:
    async with one.line() as sock:
        await one.send(sock, b"POST /nowhere HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not one.is_over:
            await one.send(sock, b"1\r\na\r\n" * 10_000)


@attack("posts_of_a_thousand_packets")
async def posts_of_a_thousand_packets(one: Attacker) -> None:
    loop = asyncio.get_running_loop()
    async with one.line(reads=False) as sock:
        await one.send(sock, b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n")
        opened = await asyncio.wait_for(loop.sock_recv(sock, 1 << 16), 2)
        sid = opened.partition(b'"sid":"')[2].partition(b'"')[0]
        if not sid:
            await asyncio.sleep(0.2)  # refused: the address has opened too many
            return
        body = b"\x1e".join([b"3"] * 1000)
        head = b"POST /socket.io/?EIO=4&transport=polling&sid=%b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
        while not one.is_over:
            await one.send(sock, head % (sid, len(body)) + body)
            if b"200 OK" not in await asyncio.wait_for(loop.sock_recv(sock, 1 << 16), 2):
                return


# -- readers that do not read, and lines that say nothing ---------------------------------------------


@attack("answers_unread")
async def answers_unread(one: Attacker) -> None:
    async with one.line(reads=False, buffer_bytes=_SMALL_BUFFER_BYTES) as sock:
        await one.send(sock, b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        await _rest(one)


@attack("answers_read_slowly")
async def answers_read_slowly(one: Attacker) -> None:
    async with one.line(reads=False, buffer_bytes=_SMALL_BUFFER_BYTES) as sock:
        await one.send(sock, b"GET /api/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
        while not one.is_over:
            await asyncio.wait_for(asyncio.get_running_loop().sock_recv(sock, 200), 5)
            await asyncio.sleep(0.1)


@attack("heads_that_trickle")
async def heads_that_trickle(one: Attacker) -> None:
    async with contextlib.AsyncExitStack() as stack:
        socks = [await stack.enter_async_context(one.line(reads=False)) for _ in range(20)]
        while not one.is_over:
            for sock in socks:
                await one.send(sock, b"G")
            await asyncio.sleep(0.2)


@attack("silence")
async def silence(one: Attacker) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(100):
            await stack.enter_async_context(one.line())
        await _rest(one)


@attack("churn")
async def churn(one: Attacker) -> None:
    for _ in range(50):
        async with one.line(reads=False):
            pass
    await asyncio.sleep(0)


async def _rest(one: Attacker) -> None:
    await asyncio.sleep(max(0.0, one.until_s - time.monotonic()))


# -- the process ------------------------------------------------------------------------------------


async def _attack(act: Callable[[Attacker], Awaitable[None]], one: Attacker) -> None:
    while not one.is_over:
        try:
            await act(one)
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            await asyncio.sleep(0.02)  # shown out: come back


async def obey(order: Order) -> None:
    """Attack as ordered; print the name of each attack when it begins, with the monotonic time."""
    for name in order.names:
        print(msgspec.json.encode([name, time.monotonic()]).decode(), flush=True)
        until_s = time.monotonic() + order.each_s
        await asyncio.gather(
            *(
                _attack(
                    ATTACKS[name],
                    Attacker(
                        number,
                        order.ports[number % len(order.ports)],
                        order.tokens[number % len(order.tokens)],
                        order.room,
                        f"127.0.0.{2 + number % order.addresses}",
                        until_s,
                    ),
                )
                for number in range(order.lines)
            )
        )


def main() -> int:
    os.nice(10)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as loop:
        loop.run(obey(order))
    return 0


if __name__ == "__main__":
    sys.exit(main())
