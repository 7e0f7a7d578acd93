"""A Socket.IO connection: one client in the namespace `/`, over an Engine.IO session."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from realtime import errors
from realtime.contract import socket
from realtime.contract.types import Error
from realtime.gateway import socketio
from realtime.gateway.session import CloseReason, Session
from realtime.gateway.websocket import CloseCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.gateway.deadlines import Calendar, Deadlines
    from realtime.model import Principal

logger = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode
_CONNECT_ATTEMPTS = 5
_FINAL = {CloseReason.SESSION_ENDED, CloseReason.TOKEN_EXPIRED}
"""After these the client must not come back by itself: the server says so with a DISCONNECT packet."""
_TOLD = _FINAL | {CloseReason.DRAINING}
_CODES = {CloseReason.DRAINING: CloseCode.GOING_AWAY, CloseReason.CONNECT_TIMEOUT: CloseCode.POLICY}

__all__ = ["Application", "CloseReason", "Connection"]


class Application(Protocol):
    """What connections mean. Called in the order in which packets came; must return at once and not raise, but for
    `authenticate`.
    """

    def authenticate(self, connection: Connection, auth: bytes, /) -> Principal:
        """Check the JSON payload of a CONNECT packet (empty: there was none). Raises RealtimeError to refuse."""
        ...

    def connected(self, connection: Connection, /) -> None: ...

    def event(self, connection: Connection, name: str, arguments: bytes, packet_id: int | None, /) -> None:
        """Take an event. `arguments`: as the client wrote them, joined by commas; empty when there were none."""

    def disconnected(self, connection: Connection, reason: CloseReason, /) -> None:
        """Called once for each `connected`."""


class Shared(Protocol):
    """What all connections of a gateway share."""

    application: Application
    clock: Callable[[], float]
    token_grace_s: float
    connects: Deadlines[Connection]
    expiries: Calendar[Connection]

    def new_sid(self) -> str: ...

    def write_soon(self, connection: Connection, /) -> None:
        """Call `flush` in this turn of the loop."""


class Connection:
    """One client.

    Args:
        shared: By all connections.
        session: Carries it.

    Attributes:
        id: The Socket.IO session id, which the client knows; not the one of Engine.IO, which lets a poll in.
        app: What the application keeps with it.
        principal: Who it is, once connected.
    """

    __slots__ = ("_attempts", "_binary", "_connect_at_s", "_pending", "_principal", "_session", "_shared", "app", "id")

    def __init__(self, shared: Shared, session: Session) -> None:
        self.id = ""
        self.app: Any = None
        self._shared = shared
        self._session = session
        self._principal: Principal | None = None
        self._attempts = 0
        self._pending: list[bytes] | None = None
        self._binary: _BinaryEvent | None = None
        self._connect_at_s = shared.connects.add(self)
        session.sink = self

    @property
    def principal(self) -> Principal:
        assert self._principal is not None  # set before the application hears of the connection
        return self._principal

    @property
    def address(self) -> str:
        return self._session.address

    # -- out --------------------------------------------------------------------------------------

    def write(self, frames: bytes) -> None:
        """Send frames as they are, behind everything sent before."""
        if self._pending is not None:
            self._pending.append(frames)
        else:
            self._session.write(frames)

    def emit(self, name: str, payload: bytes) -> None:
        """Emit an event whose one argument is this JSON."""
        self._write_soon(socketio.event_frame(name, payload))

    def ack(self, packet_id: int, answer: bytes) -> None:
        """Answer a request with this JSON."""
        self._write_soon(socketio.ack_frame(packet_id, answer))

    def _write_soon(self, frame: bytes) -> None:
        # Answers to many requests at once go out in one write.
        if self._pending is None:
            self._pending = []
            self._shared.write_soon(self)
        self._pending.append(frame)

    def flush(self) -> None:
        """Write what was collected."""
        pending, self._pending = self._pending, None
        if pending:
            self._session.write(pending[0] if len(pending) == 1 else b"".join(pending))

    def close(self, reason: CloseReason) -> None:
        """End the connection, and tell the client why where it should know."""
        if self._principal is not None and reason in _TOLD:
            closing = socket.Closing(code=reason.value, retryable=reason not in _FINAL)
            self.write(socketio.event_frame("closing", _encode(closing)))
            if reason in _FINAL:
                self.write(socketio.disconnect_frame())
        self.flush()
        self._session.close(reason, _CODES.get(reason, CloseCode.NORMAL))

    # -- time -------------------------------------------------------------------------------------

    def renew(self, principal: Principal) -> int:
        """Put a new token on the connection; return the seconds until it expires."""
        self._forget_expiry()
        self._principal = principal
        self._shared.expiries.add(self, principal.expires_at_s + self._shared.token_grace_s)
        return max(0, int(principal.expires_at_s - self._shared.clock()))

    def _forget_expiry(self) -> None:
        if self._principal is not None:
            self._shared.expiries.discard(self, self._principal.expires_at_s + self._shared.token_grace_s)

    def expiry_is_due(self) -> None:
        """Close unless the token was renewed."""
        if self._principal is not None and self._shared.clock() >= self._principal.expires_at_s + self._shared.token_grace_s:
            self.close(CloseReason.TOKEN_EXPIRED)

    def connect_is_due(self, at_s: float) -> None:
        """Close unless the client has connected to the namespace."""
        if self._principal is None and self._connect_at_s == at_s:
            self._session.close(CloseReason.CONNECT_TIMEOUT, CloseCode.POLICY)

    # -- the session's sink -----------------------------------------------------------------------

    def message(self, data: bytes) -> None:
        try:
            if self._binary is not None:
                raise socketio.InvalidPacket("a text packet where an attachment was announced")
            self._packet(socketio.decode(data))
        except socketio.InvalidPacket:
            self._invalid()
        except Exception:
            logger.exception("a packet could not be handled")
            self._session.close(CloseReason.PROTOCOL, CloseCode.INTERNAL)

    def binary(self, data: bytes) -> None:
        if self._binary is None or self._principal is None:
            self._invalid()
        elif self._binary.take():
            event, self._binary = self._binary, None
            # No request of the contract has binary fields; it is refused when it is whole, and the connection goes on.
            self._refuse(event.id, errors.InvalidRequest("No event takes binary attachments."))

    def read_all(self) -> None:
        """Answers are flushed once a turn of the loop; nothing to do after each read."""

    def ended(self, reason: CloseReason) -> None:
        self._pending = None
        self._leave(reason)

    # -- packets ----------------------------------------------------------------------------------

    def _packet(self, packet: socketio.Packet) -> None:
        if packet.kind == socketio.CONNECT:
            self._connect(packet)
        elif self._principal is None or packet.namespace != socketio.ROOT:
            raise socketio.InvalidPacket("not connected to this namespace")
        elif packet.kind == socketio.EVENT:
            self._event(packet)
        elif packet.kind == socketio.DISCONNECT:
            self._leave(CloseReason.CLIENT)
            self._connect_at_s = self._shared.connects.add(self)
        elif packet.kind == socketio.BINARY_EVENT:
            socketio.event(packet.data)
            self._binary = _BinaryEvent(packet.id, packet.attachments)
        else:
            # The server asks for no acks, and only the server sends CONNECT_ERROR.
            raise socketio.InvalidPacket("nothing that a client sends here")

    def _connect(self, packet: socketio.Packet) -> None:
        if packet.namespace != socketio.ROOT:
            self._session.write(socketio.connect_error_frame(packet.namespace, "Invalid namespace"))
            return
        if self._principal is not None:
            raise socketio.InvalidPacket("connected already")
        self._attempts += 1
        if self._attempts > _CONNECT_ATTEMPTS:
            raise socketio.InvalidPacket("too many attempts")
        try:
            principal = self._shared.application.authenticate(self, packet.data)
        except errors.RealtimeError as error:
            refusal = socketio.connect_error_frame(packet.namespace, error.message, Error.of(error))
            self._session.write(refusal)
            return
        self.id = self._shared.new_sid()
        self.renew(principal)
        self._write_soon(socketio.connect_frame(self.id))
        self._shared.application.connected(self)

    def _event(self, packet: socketio.Packet) -> None:
        name, arguments = socketio.event(packet.data)
        self._shared.application.event(self, name, arguments, packet.id)

    def _refuse(self, packet_id: int | None, error: errors.RealtimeError) -> None:
        if packet_id is not None:
            self.ack(packet_id, _encode(socket.Refused(error=Error.of(error))))

    def _leave(self, reason: CloseReason) -> None:
        if self._principal is not None:
            self._shared.application.disconnected(self, reason)
            self._forget_expiry()
            self._principal = None
            self.app = None

    def _invalid(self) -> None:
        self.flush()
        self._session.close(CloseReason.PROTOCOL, CloseCode.PROTOCOL_ERROR)


class _BinaryEvent:
    """A binary event whose attachments are still coming. They are counted and not kept."""

    __slots__ = ("_missing", "id")

    def __init__(self, packet_id: int | None, attachments: int) -> None:
        self.id = packet_id
        self._missing = attachments

    def take(self) -> bool:
        """Count an attachment; tell whether it was the last."""
        self._missing -= 1
        return self._missing == 0
