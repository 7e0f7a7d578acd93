"""An Engine.IO session: one client over long polling, over a WebSocket, or moving from the one to the other.

Source: the Engine.IO protocol document, <https://github.com/socketio/engine.io-protocol>.
"""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING, Protocol

from realtime.gateway import engineio, websocket
from realtime.gateway.transport import WebSocket
from realtime.gateway.websocket import CloseCode, frame

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.gateway.deadlines import Deadlines
    from realtime.gateway.turns import Turns

_PING = frame(engineio.PING)
_PROBE_PING = engineio.PING + engineio.PROBE
_PROBE_PONG = frame(engineio.PONG + engineio.PROBE)


class CloseReason(enum.StrEnum):
    """Why a connection ended: in logs and metrics, and, where the server decided, told to the client."""

    CLIENT = "client"  # it said so with a packet
    CLOSED = "closed"  # it closed its WebSocket, as a page that is left does
    TRANSPORT = "transport"
    PING_TIMEOUT = "ping_timeout"
    CONNECT_TIMEOUT = "connect_timeout"
    PROTOCOL = "protocol"
    OVERLOADED = "overloaded"
    EXTENSION = "extension"
    SLOW_READER = "slow_reader"
    REFUSED = "refused"
    SESSION_ENDED = "session_ended"
    TOKEN_EXPIRED = "token_expired"
    DRAINING = "draining"


class Sink(Protocol):
    """Who gets the messages of a session. Must not raise."""

    def message(self, data: bytes, /) -> None: ...

    def binary(self, data: bytes, /) -> None: ...

    def too_large(self, beginning: bytes, /) -> None:
        """A message that was larger than it may be; of it the beginning is there."""

    def read_all(self) -> None: ...

    def ended(self, reason: CloseReason, /) -> None: ...


class Engine(Protocol):
    """What all sessions of a gateway share."""

    max_message_bytes: int
    unsent_limit_bytes: int
    pings: Deadlines[Session]
    pongs: Deadlines[Session]
    upgrades: Deadlines[Upgrade]
    stalls: Deadlines[WebSocket]
    closings: Deadlines[WebSocket]
    turns: Turns
    units_per_s: float

    def entered(self, session: Session, /) -> None:
        """The client was let in: it is no stranger any more."""

    def upgraded(self) -> None:
        """A session moved from polling to a WebSocket."""

    def ended(self, session: Session, reason: CloseReason, /) -> None: ...


class DuplicatePoll(Exception):
    """Two polls of one session at once; the session is closed."""


class Session:
    """One Engine.IO session. Everything is sent as WebSocket frames; a poll gets them taken apart again.

    Args:
        engine: Shared by all.
        sid: Its id, which is also what a poll shows to be let in.
        address: Of the client.

    Attributes:
        entered: Whether the client was let in once.
        environ: What the handshake said, where somebody wants to know.
        units: What the packets of a POST cost beyond themselves.
        full_s: When the budget of its POSTs is whole again (`limits.Rate`).
    """

    __slots__ = ("_awaited_at_s", "_engine", "_marks", "_poll", "_queue", "_queued_bytes", "address", "closed", "entered",
                 "environ", "full_s", "posting", "sid", "sink", "units", "upgrade", "websocket")  # fmt: skip

    def __init__(self, engine: Engine, sid: str, address: str) -> None:
        self.sid = sid
        self.address = address
        self.sink: Sink | None = None
        self.websocket: WebSocket | None = None
        self.upgrade: Upgrade | None = None
        self.closed = False
        self.entered = False
        self.environ: dict[str, object] | None = None
        self.posting = False
        self.units = 0
        self.full_s = 0.0
        self._engine = engine
        self._awaited_at_s = 0.0
        self._marks: list[Callable[[], None] | None] | None = None  # one for each ping that is not answered; None: a heartbeat
        self._poll: asyncio.Future[None] | None = None
        self._queue: list[bytes] = []  # packets that wait for a poll; an empty deque would cost half a kilobyte each
        self._queued_bytes = 0

    def begin(self) -> None:
        """Start the heartbeat."""
        self._engine.pings.add(self)

    @property
    def transport(self) -> str:
        return "polling" if self.websocket is None else "websocket"

    def enter(self) -> None:
        """Note that the client was let in."""
        if not self.entered and not self.closed:
            self.entered = True
            self._engine.entered(self)

    # -- out --------------------------------------------------------------------------------------

    def write(self, frames: bytes) -> None:
        """Send frames, joined; never blocks."""
        if self.websocket is not None:
            self.websocket.write(frames)
        elif not self.closed:
            self._queue.extend(engineio.polled(frames))
            self._queued_bytes += len(frames)
            if self._queued_bytes > self._engine.unsent_limit_bytes:
                self.slow()
            else:
                self._wake()

    def close(self, reason: CloseReason, code: int = CloseCode.NORMAL) -> None:
        """End the session after what was sent before."""
        if self.closed:
            return
        if self.websocket is not None:
            self.websocket.close(code, reason.value)
        elif reason is CloseReason.CLIENT or (reason is CloseReason.PROTOCOL and self._poll is None):
            self._queue.clear()  # it closed by itself, or broke the rules: nothing is kept for a poll to come
            self._wake()
        else:
            self._queue.append(engineio.CLOSE)
            self._wake()
        self._end(reason)

    @property
    def has_unsent(self) -> bool:
        """Whether something still waits for a poll."""
        return bool(self._queue)

    def _end(self, reason: CloseReason) -> None:
        if self.closed:
            return
        self.closed = True
        self._engine.ended(self, reason)
        self._marks = None
        if self.upgrade is not None:
            self.upgrade.abandon()
        sink, self.sink = self.sink, None
        if sink is not None:
            sink.ended(reason)

    # -- heartbeat --------------------------------------------------------------------------------

    def ping_is_due(self) -> None:
        """Ask for a sign of life."""
        if not self.closed:
            self._awaited_at_s = self._engine.pongs.add(self)
            if self._marks is not None:
                self._marks.append(None)
            self.write(_PING)

    def pong_is_due(self, at_s: float) -> None:
        """Close unless the ping was answered."""
        if not self.closed and self._awaited_at_s == at_s:
            if self.websocket is not None:
                self.websocket.close(CloseCode.GOING_AWAY, CloseReason.PING_TIMEOUT.value)
            self._queue.clear()
            self._end(CloseReason.PING_TIMEOUT)
            self._wake()

    def mark(self, reached: Callable[[], None]) -> None:
        """Call `reached` once the client has read all that was written so far; never, if the session ends before.

        A ping is what every client answers in its turn, behind whatever stands before it: in our buffers, the kernel's, those
        of proxies, and its own.
        """
        if self.closed:
            return
        if self._marks is None:
            self._marks = [None] if self._awaited_at_s else []
        self._marks.append(reached)
        self.write(_PING)

    def _answered(self) -> None:
        """Note the answer to a ping; answers come in the order of the pings."""
        reached = self._marks.pop(0) if self._marks else None
        if not self._marks:
            self._marks = None
        if reached is not None:
            reached()

    # -- in: what a WebSocket or a POST brought ---------------------------------------------------

    def received(self, opcode: int, payload: bytes) -> None:
        if self.closed or self.sink is None:
            return
        if opcode == websocket.BINARY:
            self.sink.binary(payload)
            return
        kind = payload[:1]
        if kind == engineio.MESSAGE:
            self.sink.message(payload[1:])
        elif payload == engineio.PONG:
            if self._awaited_at_s:
                self._awaited_at_s = 0.0
                self._engine.pings.add(self)
            if self._marks is not None:
                self._answered()
        elif payload == engineio.CLOSE:
            self.close(CloseReason.CLIENT)
        elif kind == engineio.BINARY:
            self._binary(payload[1:])
        else:
            self.close(CloseReason.PROTOCOL, CloseCode.PROTOCOL_ERROR)

    def _binary(self, encoded: bytes) -> None:
        assert self.sink is not None  # `received` looked
        try:
            self.sink.binary(engineio.binary(encoded))
        except engineio.InvalidPacket:
            self.close(CloseReason.PROTOCOL, CloseCode.PROTOCOL_ERROR)

    def read_all(self) -> None:
        if self.sink is not None:
            self.sink.read_all()

    def charge(self, units: int) -> None:
        """Count what a packet costs beyond its frame."""
        if self.websocket is not None:
            self.websocket.charge(units)
        else:
            self.units += units

    def too_large(self, opcode: int, beginning: bytes) -> None:
        """Take the beginning of a message that was larger than it may be: whoever sent it is told, or hung up on."""
        if self.closed or self.sink is None:
            return
        if opcode == websocket.TEXT and beginning[:1] == engineio.MESSAGE:
            self.sink.too_large(beginning[1:])
        else:
            self.close(CloseReason.PROTOCOL, CloseCode.TOO_BIG)

    def overloaded(self) -> None:
        """End a client that sends more than it may and does not stop."""
        self.close(CloseReason.OVERLOADED, CloseCode.TRY_AGAIN_LATER)

    def slow(self) -> None:
        """Drop a client that does not take what is sent; it comes back and resumes."""
        if self.websocket is not None:
            self.websocket.abort()
        self._queue.clear()
        self._end(CloseReason.SLOW_READER)
        self._wake()

    def lost(self, code: int | None) -> None:
        self._end(CloseReason.TRANSPORT if code is None else CloseReason.CLOSED)

    # -- long polling -----------------------------------------------------------------------------

    async def poll(self) -> bytes | None:
        """Wait until there is something to send and return it as one payload; None when the session was over before.

        Raises:
            DuplicatePoll: another poll waits; both are over, and so is the session.
        """
        if self._poll is not None:
            self.close(CloseReason.PROTOCOL)
            raise DuplicatePoll
        if self.closed and not self._queue:
            return None
        if not self._queue:
            if self.upgrade is not None:
                return engineio.NOOP  # the client wants to leave polling: do not keep it
            self._poll = asyncio.get_running_loop().create_future()
            try:
                await self._poll
            finally:
                self._poll = None
            # Whatever else this turn of the loop sends goes along.
            await asyncio.sleep(0)
        if self._queue:
            payload = engineio.take_payload(self._queue, self._engine.max_message_bytes)
            self._queued_bytes = self._queued_bytes - len(payload) if self._queue else 0
            return payload
        return engineio.NOOP

    def poll_lost(self) -> None:
        """Note that the client broke off a poll: what was in it, or would have been, is lost, so the session is over."""
        if self.websocket is None:
            self._queue.clear()
            self._end(CloseReason.TRANSPORT)
            self._wake()

    def release(self) -> None:
        """Let a waiting poll go."""
        self._wake()

    def _wake(self) -> None:
        if self._poll is not None and not self._poll.done():
            self._poll.set_result(None)

    # -- the move from polling to a WebSocket -----------------------------------------------------

    def upgraded(self, socket: WebSocket) -> None:
        """Go on over a WebSocket; what waited for a poll goes there."""
        self.upgrade = None
        self.websocket = socket
        self._engine.upgraded()
        socket.owner = self
        socket.write(b"".join(engineio.framed(packet) for packet in self._queue))
        self._queue.clear()
        self._queued_bytes = 0
        self._wake()


class Upgrade:
    """A WebSocket that asks to take over a polling session: `2probe`, `3probe`, then `5`."""

    __slots__ = ("_probed", "_session", "socket")

    def __init__(self, session: Session, engine: Engine) -> None:
        self._session = session
        self._probed = False
        self.socket = WebSocket(self, engine)
        session.upgrade = self
        engine.upgrades.add(self)

    def received(self, opcode: int, payload: bytes) -> None:
        if opcode == websocket.TEXT and payload == _PROBE_PING and not self._probed:
            self._probed = True
            self.socket.write(_PROBE_PONG)
            self._session.release()
        elif opcode == websocket.TEXT and payload == engineio.UPGRADE and self._probed:
            self._session.upgraded(self.socket)
        else:
            self.abandon()

    def read_all(self) -> None:
        """Nothing is collected during an upgrade."""

    def slow(self) -> None:
        self.socket.abort()

    def too_large(self, opcode: int, beginning: bytes) -> None:
        self.abandon()

    def overloaded(self) -> None:
        self.abandon()

    def lost(self, code: int | None) -> None:
        if self._session.upgrade is self:
            self._session.upgrade = None

    def is_due(self) -> None:
        """Give up when the client did not finish in time; the session goes on over polling."""
        if self._session.upgrade is self:
            self.abandon()

    def abandon(self) -> None:
        self.lost(None)
        self.socket.close(CloseCode.PROTOCOL_ERROR)
