"""A client of the namespaces of extensions: its packets in order, one after the other, and a task only while there is one."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from realtime import errors
from realtime.gateway import socketio
from realtime.gateway.session import CloseReason
from realtime.limits import retry_ms
from realtime.wire.types import Error

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine

    from realtime.extensions.namespaces import Extensions

logger = logging.getLogger(__name__)

MAX_WAITING = 1000  # packets of one client that wait for its handlers
_REASONS = {  # as python-engineio names them
    CloseReason.CLIENT: "client disconnect",
    CloseReason.CLOSED: "transport close",
    CloseReason.TRANSPORT: "transport close",
    CloseReason.PING_TIMEOUT: "ping timeout",
}


class Carrier(Protocol):
    """The connection below a guest."""

    def write(self, frames: bytes, /) -> None:
        """Send frames, behind everything sent before; never blocks."""

    def write_soon(self, frames: bytes, /) -> None:
        """The same at the end of this turn of the loop, in one write with others."""

    def transport(self) -> str: ...

    def admit(self) -> float:
        """Take one from the client's budget of requests; return 0.0 or the seconds to wait."""

    def refuse(self, packet: socketio.Packet, error: errors.RealtimeError, /) -> None:
        """Answer an event with an error, if it asks for an answer."""

    def joined(self) -> None:
        """The client is in one more namespace."""

    def refused(self) -> None:
        """A CONNECT of the client was refused."""

    def left(self) -> None:
        """The client may have left its last namespace."""

    def violated(self) -> None:
        """The client broke the protocol: end the connection."""

    def overloaded(self) -> None:
        """The client sends faster than it is served: end the connection."""

    def hang_up(self) -> None:
        """An extension wants the connection closed."""


class Guest:
    """One client of the extensions: what of it waits for a handler, in order.

    Attributes:
        id: What python-socketio calls the client of the engine; no secret, unlike the id of our session.
        asked: The namespaces that it asked for and did not leave, as the client sees it: the answer may be on its way.
        calls: What waits for an ack of the client; None tells that none will come.
        is_gone: Whether the connection has ended.
        sent_away: Those of which an extension disconnected it; what it sent meanwhile is no violation.
    """

    __slots__ = ("_carrier", "_connecting", "_extensions", "_held", "_waiting", "_waiting_bytes", "asked", "calls",
                 "environ", "id", "is_gone", "sent_away", "session")  # fmt: skip

    def __init__(self, extensions: Extensions, carrier: Carrier, id: str, environ: dict[str, object]) -> None:
        self.id = id
        self.asked: set[str] = set()
        self.sent_away: set[str] = set()
        self.calls: list[asyncio.Future[tuple[Any, ...] | None]] = []
        self.is_gone = False
        self.environ = environ
        self.session: dict[str, Any] = {}
        self._extensions = extensions
        self._carrier = carrier
        self._connecting: str | None = None
        self._held: list[bytes] = []  # emitted to a namespace whose CONNECT is not answered yet
        self._waiting: deque[tuple[Callable[[], Coroutine[Any, Any, None]], int]] | None = None
        self._waiting_bytes = 0
        self._wait(lambda: extensions.eio.handlers["connect"](id, environ), 0)

    @property
    def transport(self) -> str:
        return self._carrier.transport()

    @property
    def is_inside(self) -> bool:
        """Whether it is connected to any namespace."""
        return any(self._is_in(namespace) for namespace in self.asked)

    def inside(self) -> list[str]:
        """Return the namespaces that it is connected to."""
        return [namespace for namespace in self.asked if self._is_in(namespace)]

    def _is_in(self, namespace: str) -> bool:
        manager = self._extensions.manager
        return bool(manager.is_connected(manager.sid_from_eio_sid(self.id, namespace), namespace))

    # -- in ---------------------------------------------------------------------------------------

    def connect(self, namespace: str, auth: bytes) -> None:
        """Take a CONNECT that was let in; `auth` is JSON, or empty."""
        self.asked.add(namespace)
        self._wait(lambda: self._connect(namespace, auth), len(auth))

    def packet(self, packet: socketio.Packet, message: bytes, attachments: list[bytes]) -> None:
        """Take another packet of a namespace that was asked for, with all its attachments.

        Raises:
            InvalidPacket: the protocol does not allow it.
        """
        namespace = packet.namespace.decode()
        parts: list[str | bytes] = [message.decode(), *attachments]
        if packet.kind in (socketio.EVENT, socketio.BINARY_EVENT):
            name, _ = socketio.event(packet.data)
            socketio.values(packet.data)
            wait_s = self._carrier.admit()
            if wait_s > 0:
                self._carrier.refuse(packet, errors.RateLimited(retry_after_ms=retry_ms(wait_s)))
            elif name in socketio.RESERVED:
                self._carrier.refuse(packet, errors.UnknownEvent())
            else:
                self._wait(lambda: self._event(namespace, parts), len(message) + sum(map(len, attachments)))
        elif packet.kind in (socketio.ACK, socketio.BINARY_ACK):
            socketio.values(packet.data)
            # Ahead of the others: what waits for an ack may be the very handler that they wait for.
            if packet.id and packet.id in self._callbacks(namespace):
                self._extensions.eio.start_background_task(self._handle, parts)
        elif packet.kind == socketio.DISCONNECT:
            self.asked.discard(namespace)
            self._wait(lambda: self._disconnect(parts), 0)
        else:
            raise socketio.InvalidPacket("nothing that a client sends")

    def ended(self, reason: CloseReason) -> None:
        """Tell the handlers that the client has gone, behind what it had sent."""
        said = _REASONS.get(reason, "server disconnect")
        self.is_gone = True
        for call in self.calls:
            if not call.done():
                call.set_result(None)
        self._wait(lambda: self._end(said), 0)

    def look_around(self) -> None:
        """Tell the connection when the last namespace was left."""
        if not self.is_inside:
            self._carrier.left()

    def _callbacks(self, namespace: str) -> Any:
        manager = self._extensions.manager
        return manager.callbacks.get(manager.sid_from_eio_sid(self.id, namespace), ())

    def _wait(self, handle: Callable[[], Coroutine[Any, Any, None]], size: int) -> None:
        if self._waiting is None:
            self._waiting = deque()
            self._extensions.eio.start_background_task(self._drain, self._waiting)
        self._waiting.append((handle, size))
        self._waiting_bytes += size
        if len(self._waiting) > MAX_WAITING or self._waiting_bytes > self._extensions.limit_bytes:
            self._carrier.overloaded()

    async def _drain(self, waiting: deque[tuple[Callable[[], Coroutine[Any, Any, None]], int]]) -> None:
        while waiting:
            handle, size = waiting.popleft()
            self._waiting_bytes -= size
            try:
                await handle()
            except Exception:
                logger.exception("a packet for an extension could not be handled")
        self._waiting = None

    async def _handle(self, parts: list[str | bytes]) -> None:
        for part in parts:
            await self._extensions.eio.handlers["message"](self.id, part)

    async def _event(self, namespace: str, parts: list[str | bytes]) -> None:
        if self._is_in(namespace):
            await self._handle(parts)
        elif namespace not in self.sent_away:
            self._carrier.violated()

    async def _connect(self, namespace: str, auth: bytes) -> None:
        if self._is_in(namespace):
            self._carrier.violated()
            return
        self._connecting = namespace
        try:
            await self._handle([f"0{namespace},{auth.decode()}" if namespace != "/" else f"0{auth.decode()}"])
        except errors.RealtimeError as error:
            await self._refuse(namespace, error)
        except Exception:
            logger.exception("the connect handler of an extension failed", extra={"namespace": namespace})
            await self._refuse(namespace, errors.Internal())
        finally:
            self._connecting = None
            held, self._held = self._held, []
        if self._is_in(namespace):
            self.sent_away.discard(namespace)
            self._carrier.joined()
            if held:
                self._carrier.write_soon(b"".join(held))
        else:
            self._carrier.refused()

    async def _refuse(self, namespace: str, error: errors.RealtimeError) -> None:
        self._carrier.write(socketio.connect_error_frame(namespace.encode(), error.message, Error.of(error)))
        manager = self._extensions.manager
        sid = manager.sid_from_eio_sid(self.id, namespace)
        if sid is not None:
            await manager.disconnect(sid, namespace)

    async def _disconnect(self, parts: list[str | bytes]) -> None:
        await self._handle(parts)
        self.look_around()

    async def _end(self, reason: str) -> None:
        try:
            await self._extensions.eio.handlers["disconnect"](self.id, reason)
        finally:
            self._extensions.eio.guests.pop(self.id, None)

    # -- out --------------------------------------------------------------------------------------

    def send(self, frames: bytes) -> None:
        self._carrier.write_soon(frames)

    def emit(self, namespace: str, frames: bytes) -> None:
        """Send an event; not before the answer to the namespace's CONNECT."""
        if self._connecting == namespace:
            self._held.append(frames)
        else:
            self._carrier.write(frames)

    def hang_up(self) -> None:
        self._carrier.hang_up()
