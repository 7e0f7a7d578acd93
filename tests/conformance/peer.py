"""Our gateway as the echo server that protocol suites speak to.

python -m tests.conformance.peer --protocol engineio|socketio|websocket --port 3000
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import uvloop
from aiohttp import web

from realtime.extensions.namespaces import Extensions
from realtime.gateway import websocket
from realtime.gateway.admission import AdmissionLimits
from realtime.gateway.deadlines import Deadlines
from realtime.gateway.doorway import Doorway
from realtime.gateway.engine import EngineConfig, EngineServer
from realtime.gateway.handshake import switching
from realtime.gateway.server import Gateway, GatewayConfig
from realtime.gateway.session import CloseReason
from realtime.gateway.transport import WebSocket, take_over
from realtime.gateway.turns import Turns
from realtime.gateway.websocket import CloseCode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from realtime.gateway.session import Session

Protocol = Literal["engineio", "socketio", "websocket"]
CUSTOM = "/custom"
_MAX_WEBSOCKET_BYTES = 1 << 24
_AUTH_PAUSE_S = 0.01
"""The official suite listens for one message after the other, and misses the second of two that come in one segment."""


BOUNDS = EngineConfig(
    ping_interval_s=0.3,
    ping_timeout_s=0.2,
    max_packet_bytes=1_000_000,
    unsent_limit_bytes=16 << 20,
    admission=AdmissionLimits(per_address=10_000),
    origins=("*",),
)
"""What the suites expect to be told in the handshake."""


# -- Engine.IO ------------------------------------------------------------------------------------


class _EngineEcho:
    """Sends every message back."""

    def __init__(self, session: Session) -> None:
        self._session = session
        session.sink = self

    def message(self, data: bytes) -> None:
        self._session.write(websocket.frame(b"4" + data))

    def binary(self, data: bytes) -> None:
        self._session.write(websocket.frame(data, websocket.BINARY))

    def too_large(self, beginning: bytes) -> None:
        self._session.close(CloseReason.PROTOCOL, CloseCode.TOO_BIG)

    def read_all(self) -> None:
        """Everything is written at once."""

    def ended(self, reason: CloseReason) -> None:
        """Nothing is kept of a session."""


def _engineio(app: web.Application, bounds: EngineConfig) -> EngineServer:
    def accept(session: Session) -> None:
        _EngineEcho(session)

    engine = EngineServer(dataclasses.replace(bounds, path="/engine.io/"), accept)
    app.add_routes(engine.routes())
    return engine


# -- Socket.IO ------------------------------------------------------------------------------------


def echo_namespaces(server: Extensions) -> None:
    """Register what the suites expect of `/` and `/custom`."""

    async def tell(sid: str, auth: Any, namespace: str) -> None:
        await server.sleep(_AUTH_PAUSE_S)
        await server.emit("auth", auth, to=sid, namespace=namespace)

    for namespace in ("/", CUSTOM):
        server.allow_anonymous(namespace)

        async def connect(sid: str, _environ: Any, auth: Any = None, namespace: str = namespace) -> None:
            server.start_background_task(tell, sid, auth or {}, namespace)

        async def message(sid: str, *values: Any, namespace: str = namespace) -> None:
            await server.emit("message-back", values, to=sid, namespace=namespace)

        async def message_with_ack(_sid: str, *values: Any) -> tuple[Any, ...]:
            return values

        server.on("connect", connect, namespace=namespace)
        server.on("message", message, namespace=namespace)
        server.on("message-with-ack", message_with_ack, namespace=namespace)


def _socketio(app: web.Application, bounds: EngineConfig) -> EngineServer:
    server = Extensions()
    echo_namespaces(server)
    config = GatewayConfig(bounds, connect_timeout_s=1.0, attachments_limit_bytes=10_000_000)
    gateway = Gateway(config, None, extensions=server)
    app.add_routes(gateway.routes())
    return gateway.engine


# -- WebSocket ------------------------------------------------------------------------------------


class _Bounds:
    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.max_message_bytes = _MAX_WEBSOCKET_BYTES
        self.unsent_limit_bytes = 4 * _MAX_WEBSOCKET_BYTES
        self.stalls = Deadlines[WebSocket](30.0, lambda one, at_s: one.stall_is_due(at_s), loop)
        self.closings = Deadlines[WebSocket](5.0, lambda one, _: one.closing_is_due(), loop)
        self.turns = Turns(loop)
        self.units_per_s = 1e9  # a suite may send 4 MiB in fragments of 64 bytes


class _WebSocketEcho:
    """Sends every message back in one frame."""

    def __init__(self, bounds: _Bounds) -> None:
        self.socket = WebSocket(self, bounds)

    def received(self, opcode: int, payload: bytes) -> None:
        self.socket.write(websocket.frame(payload, opcode))

    def too_large(self, opcode: int, beginning: bytes) -> None:
        self.socket.close(CloseCode.TOO_BIG)

    def read_all(self) -> None:
        """Everything is written at once."""

    def slow(self) -> None:
        self.socket.abort()

    def overloaded(self) -> None:
        self.socket.abort()

    def lost(self, code: int | None) -> None:
        """Nothing is kept of a connection."""


def _websocket(app: web.Application, _bounds: EngineConfig) -> EngineServer | None:
    bounds = _Bounds()

    async def handle(request: web.Request) -> web.Response:
        head = switching(request.method, request.headers)
        if head is None:
            return web.Response(status=426, headers={"Upgrade": "websocket"})
        take_over(request, _WebSocketEcho(bounds).socket, head)
        return web.Response()

    app.router.add_get("/", handle)
    return None


# -- running --------------------------------------------------------------------------------------

_PEERS: dict[Protocol, Callable[[web.Application, EngineConfig], EngineServer | None]] = {
    "engineio": _engineio,
    "socketio": _socketio,
    "websocket": _websocket,
}


class Served(NamedTuple):
    """A peer that runs, and its Engine.IO server, where it has one."""

    url: str
    engine: EngineServer | None


@contextlib.asynccontextmanager
async def serving(protocol: Protocol, port: int = 0, bounds: EngineConfig = BOUNDS) -> AsyncIterator[Served]:
    """Serve on loopback."""
    app = web.Application()
    engine = _PEERS[protocol](app, bounds)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    http = runner.server
    assert http is not None  # setup made it
    async with contextlib.AsyncExitStack() as leaving:
        leaving.push_async_callback(runner.cleanup)
        door: Callable[[], asyncio.Protocol] = http
        if engine is not None:
            leaving.callback(engine.close)
            door = doorway = Doorway(engine, http)
            leaving.callback(doorway.close)
        server = await asyncio.get_running_loop().create_server(door, "127.0.0.1", port, backlog=1024)
        leaving.callback(server.close)
        yield Served(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", engine)


async def _run(protocol: Protocol, port: int) -> None:
    async with serving(protocol, port) as served:
        print(f"The {protocol} peer is at {served.url}  (stop with Ctrl-C)", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Serve our gateway as an echo, for protocol suites.")
    parser.add_argument("--protocol", choices=list(_PEERS), required=True)
    parser.add_argument("--port", type=int, default=3000)
    given = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_run(given.protocol, given.port))
