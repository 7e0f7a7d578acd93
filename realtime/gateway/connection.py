"""A Socket.IO connection: one client in the namespace `/` and in those of extensions, over an Engine.IO session."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import msgspec

from realtime import errors
from realtime.gateway import socketio
from realtime.gateway.assembly import Assembly
from realtime.gateway.ports import PRINCIPAL
from realtime.gateway.session import CloseReason, Session
from realtime.gateway.websocket import CloseCode
from realtime.wire import socket
from realtime.wire.decode import decode
from realtime.wire.types import Error

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.gateway.ports import Application, Guest, Shared
    from realtime.model import Principal, User

logger = logging.getLogger(__name__)

_encode = msgspec.json.Encoder().encode
_auth_fields = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode
_CONNECT_ATTEMPTS = 5  # in a row that were refused
# What a packet costs beyond its frame, in units of `transport.Bounds.units_per_s`.
_CONNECT_UNITS = 100  # a signature is checked, and everybody hears of the presence
_REFUSAL_UNITS = 3  # 5,000 requests at once are all answered, the last ones after 4 s
_ELSEWHERE_UNITS = 10  # a task and python-socketio
_JSON_BYTES = 128  # of a packet for an extension, decoded before its budget of requests is asked, for each unit
_FINAL = {CloseReason.SESSION_ENDED, CloseReason.TOKEN_EXPIRED}
"""After these the client must not come back by itself: the server says so with a DISCONNECT packet."""
_TOLD = _FINAL | {CloseReason.DRAINING}
_CODES = {CloseReason.DRAINING: CloseCode.GOING_AWAY, CloseReason.CONNECT_TIMEOUT: CloseCode.POLICY}

__all__ = ["CloseReason", "Connection"]


class Connection:
    """One client.

    Args:
        shared: By all connections.
        session: Carries it.

    Attributes:
        id: The Socket.IO session id, which the client knows; not the one of Engine.IO, which lets a poll in.
        app: What the application keeps with it while it is connected to `/`.
        principal: Who it is, once a token was shown. It stays the same sign-in for the life of the session, so that the id
            of a polling session is worth nothing to somebody with another token.
        full_s: When its budget of requests is whole again (`limits.Rate`).
    """

    __slots__ = ("_binary", "_connect_at_s", "_guest", "_inside", "_is_guest", "_pending", "_principal", "_refusals", "_session",
                 "_shared", "app", "full_s", "id")  # fmt: skip

    def __init__(self, shared: Shared, session: Session) -> None:
        self.id = ""
        self.app: Any = None
        self.full_s = 0.0
        self._shared = shared
        self._session = session
        self._principal: Principal | None = None
        self._inside = False  # of `/`
        self._guest: Guest | None = None
        self._is_guest = False  # as the application was told
        self._refusals = 0  # of CONNECTs, in a row
        self._pending: list[bytes] | None = None
        self._binary: Assembly | None = None
        self._connect_at_s = shared.connects.add(self)
        session.sink = self

    @property
    def principal(self) -> Principal:
        assert self._principal is not None  # set before the application hears of the connection
        return self._principal

    @property
    def user(self) -> User:
        user = self.principal.user
        assert user is not None  # the application refuses everybody else
        return user

    @property
    def is_known(self) -> bool:
        """Whether it has shown a token."""
        return self._principal is not None

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
        self.write_soon(socketio.event_frame(name, payload))

    def overdrawn(self) -> None:
        """Count a request beyond the budget of requests: to refuse it costs the sender more than the server."""
        self._session.charge(_REFUSAL_UNITS)

    def ack(self, packet_id: int, answer: bytes) -> None:
        """Answer a request with this JSON."""
        self.write_soon(socketio.ack_frame(packet_id, answer))

    def write_soon(self, frame: bytes) -> None:
        """Send frames with this turn's answers, in one write."""
        if self._pending is None:
            self._pending = []
            self._shared.write_soon(self)
        self._pending.append(frame)

    def flush(self) -> None:
        """Write what was collected."""
        pending, self._pending = self._pending, None
        if pending:
            self._session.write(pending[0] if len(pending) == 1 else b"".join(pending))

    def mark(self, reached: Callable[[], None]) -> None:
        """Call `reached` once the client has read all that was written so far; never, if the connection ends before."""
        self.flush()
        self._session.mark(reached)

    def close(self, reason: CloseReason) -> None:
        """End the connection, and tell the client why where it should know."""
        if reason in _TOLD:
            closing = _encode(socket.Closing(code=reason.value, retryable=reason not in _FINAL))
            for namespace in self._namespaces():
                self.write(socketio.event_frame("closing", closing, namespace))
                if reason in _FINAL:
                    self.write(socketio.disconnect_frame(namespace))
        self.flush()
        self._session.close(reason, _CODES.get(reason, CloseCode.NORMAL))

    def _namespaces(self) -> list[bytes]:
        inside = [socketio.ROOT] if self._inside else []
        return inside + ([] if self._guest is None else [name.encode() for name in self._guest.inside()])

    # -- time -------------------------------------------------------------------------------------

    def renew(self, principal: Principal) -> int:
        """Put a new token on the connection; return the seconds until it expires."""
        self._forget_expiry()
        self._principal = principal
        if self._guest is not None:
            self._guest.environ[PRINCIPAL] = principal
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
        """Close unless the client has connected to a namespace."""
        if self._connect_at_s == at_s and not self._inside and (self._guest is None or not self._guest.is_inside):
            self._session.close(CloseReason.CONNECT_TIMEOUT, CloseCode.POLICY)

    def attachments_are_due(self, at_s: float) -> None:
        """Close unless the attachments that were announced have come."""
        if self._binary is not None and self._binary.due_at_s == at_s:
            self.violated()

    # -- the session's sink -----------------------------------------------------------------------

    def message(self, data: bytes) -> None:
        try:
            if self._binary is not None:
                raise socketio.InvalidPacket("a text packet where an attachment was announced")
            if self._inside:
                plain = socketio.plain_event(data)
                if plain is not None and self._shared.application is not None:
                    self._shared.application.event(self, *plain)
                    return
            self._packet(socketio.decode(data), data)
        except socketio.InvalidPacket:
            self.violated()
        except Exception:
            logger.exception("a packet could not be handled", extra={"connection": self.id})
            self._session.close(CloseReason.PROTOCOL, CloseCode.INTERNAL)

    def binary(self, data: bytes) -> None:
        try:
            self._attachment(data)
        except socketio.InvalidPacket:
            self.violated()
        except Exception:
            logger.exception("a packet could not be handled", extra={"connection": self.id})
            self._session.close(CloseReason.PROTOCOL, CloseCode.INTERNAL)

    def too_large(self, beginning: bytes) -> None:
        """Refuse an event that was larger than it may be, if it says whom to answer; hang up otherwise."""
        try:
            packet = socketio.decode(beginning)
        except socketio.InvalidPacket:
            packet = None
        if packet is None or packet.kind != socketio.EVENT or packet.id is None or self._binary is not None:
            self.flush()
            self._session.close(CloseReason.PROTOCOL, CloseCode.TOO_BIG)
        elif packet.namespace == socketio.ROOT and self._inside and self._shared.application is not None:
            self._shared.application.too_large(self, socketio.name_at(packet.data), packet.id)
        elif self._guest is not None and packet.namespace.decode() in self._guest.asked:
            self.refuse(packet, errors.PayloadTooLarge())
        else:
            self.violated()

    def _attachment(self, data: bytes) -> None:
        whole = self._binary
        if whole is None:
            raise socketio.InvalidPacket("an attachment that was not announced")
        whole.take(data, self._shared.attachments_limit_bytes)
        if whole.missing:
            return
        self._binary = None
        if whole.is_kept and self._guest is not None:
            self._guest.packet(whole.packet, whole.message, whole.attachments)
        else:
            # No request of the contract has binary fields; it is refused when it is whole, and the connection goes on.
            self.refuse(whole.packet, errors.InvalidRequest("No event takes binary attachments."))

    def read_all(self) -> None:
        """Answers are flushed once a turn of the loop; nothing to do after each read."""

    def ended(self, reason: CloseReason) -> None:
        self._pending = None
        self._binary = None
        self._leave(reason)
        guest, self._guest = self._guest, None  # they hold each other
        if guest is not None:
            guest.ended(reason)
        if self._is_guest and self._shared.application is not None:
            self._is_guest = False
            self._shared.application.guest_went(self)
        self._forget_expiry()

    # -- packets ----------------------------------------------------------------------------------

    def _packet(self, packet: socketio.Packet, message: bytes) -> None:
        application = self._shared.application
        if packet.namespace != socketio.ROOT or application is None:
            self._elsewhere(packet, message)
        elif packet.kind == socketio.EVENT and self._inside:
            name, arguments = socketio.event(packet.data)
            application.event(self, name, arguments, packet.id)
        elif packet.kind == socketio.CONNECT:
            self._attempted()
            self._connect(packet, application)
        elif not self._inside:
            raise socketio.InvalidPacket("not connected to this namespace")
        elif packet.kind == socketio.DISCONNECT:
            self._leave(CloseReason.CLIENT)
            self.left()
        elif packet.kind == socketio.BINARY_EVENT:
            socketio.event(packet.data)
            self._announced(packet, message, is_kept=False)
        else:
            # The server asks for no acks, and only the server sends CONNECT_ERROR.
            raise socketio.InvalidPacket("nothing that a client sends here")

    def _attempted(self) -> None:
        self._session.charge(_CONNECT_UNITS)
        if self._refusals >= _CONNECT_ATTEMPTS:
            raise socketio.InvalidPacket("too many attempts")

    def _connect(self, packet: socketio.Packet, application: Application) -> None:
        if self._inside:
            raise socketio.InvalidPacket("connected already")
        try:
            self._identify(application.authenticate(self, packet.data))
        except errors.RealtimeError as error:
            self._refuse_connect(packet.namespace, error)
            return
        self.id = self._shared.new_sid()
        self._inside = True
        self.joined()
        self.write_soon(socketio.connect_frame(self.id))
        application.connected(self)

    def _identify(self, principal: Principal) -> None:
        """Put a sign-in on the connection. Raises TokenInvalid when it has another one."""
        if self._principal is None:
            self.renew(principal)
            self._session.enter()
        elif principal.credential != self._principal.credential:
            raise errors.TokenInvalid("This connection belongs to another sign-in; open a new one.")
        elif principal.expires_at_s > self._principal.expires_at_s:
            self.renew(principal)

    def _announced(self, packet: socketio.Packet, message: bytes, *, is_kept: bool) -> None:
        self._binary = Assembly(packet, message, self._shared.attachments.add(self), is_kept)

    def refuse(self, packet: socketio.Packet, error: errors.RealtimeError) -> None:
        """Answer an event with an error, if it asks for an answer."""
        self._session.charge(_REFUSAL_UNITS)
        if packet.id is not None:
            self.write_soon(socketio.ack_frame(packet.id, _encode(socket.Refused(error=Error.of(error))), packet.namespace))

    def _refuse_connect(self, namespace: bytes, error: errors.RealtimeError) -> None:
        self.refused()
        self._session.write(socketio.connect_error_frame(namespace, error.message, Error.of(error)))

    def _leave(self, reason: CloseReason) -> None:
        if self._inside:
            assert self._shared.application is not None  # it owns `/`
            self._shared.application.disconnected(self, reason)
            self._inside = False
            self.app = None

    # -- namespaces of extensions -----------------------------------------------------------------

    def _elsewhere(self, packet: socketio.Packet, message: bytes) -> None:
        namespace = packet.namespace.decode()
        if packet.kind == socketio.CONNECT:
            self._attempted()
            self._connect_elsewhere(namespace, packet)
            return
        if self._guest is None or namespace not in self._guest.asked:
            raise socketio.InvalidPacket("not connected to this namespace")
        self._session.charge(_ELSEWHERE_UNITS + len(message) // _JSON_BYTES)
        if packet.attachments:
            socketio.check_placeholders(packet)
            self._announced(packet, message, is_kept=True)
        else:
            self._guest.packet(packet, message, [])

    def _connect_elsewhere(self, namespace: str, packet: socketio.Packet) -> None:
        extensions, application = self._shared.extensions, self._shared.application
        if extensions is None or not extensions.serves(namespace):
            self.refused()
            self._session.write(socketio.connect_error_frame(packet.namespace, "Invalid namespace"))
            return
        needs_token = application is not None and extensions.needs_token(namespace)
        try:
            fields = decode(_auth_fields, packet.data or b"{}")
            if application is not None and needs_token:
                token = fields.pop("token", None) if fields else None
                self._identify(application.authenticate(self, b"" if token is None else b'{"token":%b}' % token))
                if not self._is_guest:
                    self._is_guest = True
                    application.guest_came(self)
        except errors.RealtimeError as error:
            if not needs_token:
                raise socketio.InvalidPacket("the payload of a CONNECT is an object") from error
            self._refuse_connect(packet.namespace, error)
            return
        if self._guest is None:
            self._guest = extensions.guest(self, self._session.environ or {})
            self._guest.environ[PRINCIPAL] = self._principal
        self._guest.connect(namespace, _encode(fields) if fields else b"")

    def transport(self) -> str:
        return self._session.transport

    def joined(self) -> None:
        self._refusals = 0
        self._session.enter()

    def refused(self) -> None:
        self._refusals += 1

    def left(self) -> None:
        if not self._namespaces():
            self._connect_at_s = self._shared.connects.add(self)

    def violated(self) -> None:
        self.flush()
        self._session.close(CloseReason.PROTOCOL, CloseCode.PROTOCOL_ERROR)

    def overloaded(self) -> None:
        self.flush()
        self._session.close(CloseReason.OVERLOADED, CloseCode.TRY_AGAIN_LATER)

    def hang_up(self) -> None:
        self.flush()
        self._session.close(CloseReason.EXTENSION)

    def admit(self) -> float:
        """Take one from the connection's budget of requests; return 0.0 or the seconds to wait."""
        return self._shared.requests.take(self, self._shared.now())
