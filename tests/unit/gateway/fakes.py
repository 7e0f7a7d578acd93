"""What the gateway stands on, for tests that move time and bytes by hand: a loop's clock, a transport, the shared parts."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Any, cast

from realtime.extensions.namespaces import Extensions
from realtime.gateway.connection import Connection
from realtime.gateway.deadlines import Calendar, Deadlines
from realtime.gateway.session import CloseReason, Session, Upgrade
from realtime.gateway.transport import WebSocket
from realtime.gateway.turns import Turns
from realtime.gateway.websocket import TEXT, split
from realtime.limits import Rate
from realtime.model import Principal, PrincipalKind, Scope, SessionId, User, UserId

ADA = User(UserId("019b0000-0000-7000-8000-000000000001"), "ada", "Ada")
BOB = User(UserId("019b0000-0000-7000-8000-000000000002"), "bob", "Bob")
SESSION = SessionId("019b0000-0000-7000-8000-0000000000bb")


def principal(user: User | None = ADA, session: str = SESSION, expires_at_s: int = 1_000) -> Principal:
    return Principal(PrincipalKind.SESSION, session, user, frozenset(Scope), expires_at_s)


class Handle:
    """A timer that can be cancelled."""

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """The timers of an event loop; `advance` is the only way in which time passes."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self._order = itertools.count()
        self._timers: list[tuple[float, int, Handle, Callable[..., object], tuple[Any, ...]]] = []

    @property
    def asyncio(self) -> asyncio.AbstractEventLoop:
        return cast("asyncio.AbstractEventLoop", self)

    @property
    def timers(self) -> int:
        """How many timers are set."""
        return sum(not handle.cancelled for _, _, handle, _, _ in self._timers)

    def time(self) -> float:
        return self.now_s

    def call_at(self, when_s: float, callback: Callable[..., object], *args: Any) -> Handle:
        handle = Handle()
        heapq.heappush(self._timers, (when_s, next(self._order), handle, callback, args))
        return handle

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: Any) -> Handle:
        return self.call_at(self.now_s + delay_s, callback, *args)

    def call_soon(self, callback: Callable[..., object], *args: Any) -> Handle:
        return self.call_at(self.now_s, callback, *args)

    def advance(self, seconds: float) -> None:
        """Let time pass and run what falls due, each at its time."""
        until_s = self.now_s + seconds
        while self._timers and self._timers[0][0] <= until_s:
            when_s, _, handle, callback, args = heapq.heappop(self._timers)
            self.now_s = max(self.now_s, when_s)
            if not handle.cancelled:
                callback(*args)
        self.now_s = until_s


class Transport(asyncio.Transport):
    """A socket whose peer takes everything, or nothing while `stalled`. Pauses inside `write`, as asyncio's and uvloop's do."""

    def __init__(self) -> None:
        super().__init__()
        self.stalled = False
        self.writes: list[bytes] = []
        self.unsent = 0
        self.closed = False
        self.aborted = False
        self.ended = False  # nothing more is written, and what comes is still read
        self.reading = True
        self.protocol: asyncio.BaseProtocol | None = None
        self._high = self._low = 0
        self._paused = False

    @property
    def frames(self) -> list[tuple[int, bytes]]:
        """Everything written, as (opcode, payload)."""
        return split(b"".join(self.writes))

    @property
    def texts(self) -> list[bytes]:
        """Every text message written."""
        return [payload for opcode, payload in self.frames if opcode == TEXT]

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high, self._low = high or 0, low or 0

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        assert not self.closed, "nothing may be written after close()"
        self.writes.append(bytes(data))
        if self.stalled:
            self.unsent += len(data)
            if self.unsent > self._high and not self._paused and self.protocol is not None:
                self._paused = True
                self.protocol.pause_writing()

    def take(self, size: int) -> None:
        """The peer takes that many bytes of what is unsent."""
        self.unsent = max(0, self.unsent - size)
        if self._paused and self.unsent <= self._low and self.protocol is not None:
            self._paused = False
            self.protocol.resume_writing()

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.closed = self.ended = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def finish(self) -> None:
        """Call the protocol's end, as the loop does in a later turn after close() or abort()."""
        self.closed = True
        assert isinstance(self.protocol, asyncio.Protocol)
        self.protocol.connection_lost(None)


class Shared:
    """Stands for the gateway: what all WebSockets, sessions and connections share."""

    token_grace_s = 30.0
    attachments_limit_bytes = 3_000

    def __init__(self, application: Any = None) -> None:
        self.loop = loop = Loop()
        self.clock: Callable[[], float] = loop.time  # Unix seconds: here the same as the loop's
        self.application = application
        self.extensions: Extensions | None = None
        self.requests = Rate(100, 400)
        self.now = loop.time
        self.entries = 0
        self.upgrades_done = 0
        self.max_message_bytes = 1_000
        self.unsent_limit_bytes = 200_000
        self.units_per_s = 4_000.0
        self.pings = Deadlines[Session](25.0, lambda session, _: session.ping_is_due(), loop.asyncio)
        self.pongs = Deadlines[Session](20.0, lambda session, at_s: session.pong_is_due(at_s), loop.asyncio)
        self.upgrades = Deadlines[Upgrade](10.0, lambda upgrade, _: upgrade.is_due(), loop.asyncio)
        self.stalls = Deadlines[WebSocket](10.0, lambda one, at_s: one.stall_is_due(at_s), loop.asyncio)
        self.closings = Deadlines[WebSocket](5.0, lambda one, _: one.closing_is_due(), loop.asyncio)
        self.turns = Turns(loop.asyncio)
        self.connects = Deadlines[Connection](10.0, lambda one, at_s: one.connect_is_due(at_s), loop.asyncio)
        self.attachments = Deadlines[Connection](10.0, lambda one, at_s: one.attachments_are_due(at_s), loop.asyncio)
        self.expiries = Calendar[Connection](lambda one: one.expiry_is_due(), self.clock, loop.asyncio)
        self.ends: list[tuple[Session, CloseReason]] = []
        self.dirty: list[Connection] = []
        self._sids = itertools.count(1)

    @property
    def reasons(self) -> list[CloseReason]:
        return [reason for _, reason in self.ends]

    def new_sid(self) -> str:
        return f"sid{next(self._sids)}"

    def entered(self, session: Session) -> None:
        self.entries += 1

    def upgraded(self) -> None:
        self.upgrades_done += 1

    def ended(self, session: Session, reason: CloseReason) -> None:
        self.ends.append((session, reason))

    def write_soon(self, connection: Connection) -> None:
        self.dirty.append(connection)

    def turn(self) -> None:
        """End a turn of the loop: what was collected is written."""
        dirty, self.dirty = self.dirty, []
        for connection in dirty:
            connection.flush()


def over_websocket(shared: Shared) -> tuple[Session, Transport]:
    """Return a session that lives on a WebSocket."""
    session, transport = Session(shared, "engine-sid", "192.0.2.1"), Transport()
    session.websocket = WebSocket(session, shared)
    session.websocket.attach(transport)
    return session, transport
