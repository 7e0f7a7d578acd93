"""The gateway: an Engine.IO server, and what all its Socket.IO connections share."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from realtime import tasks
from realtime.gateway.connection import Connection
from realtime.gateway.deadlines import Calendar, Deadlines
from realtime.gateway.engine import EngineConfig, EngineServer
from realtime.gateway.session import CloseReason, Session
from realtime.gateway.sids import new_sid
from realtime.limits import Rate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from aiohttp import web

    from realtime.gateway.ports import Application, Extensions
    from realtime.model import UserId


class Ended(NamedTuple):
    """A connection that ended. `connection` is its Socket.IO id and empty, as `user` is None, when it did not come so far."""

    reason: CloseReason
    transport: str
    connection: str
    user: UserId | None


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """Bounds: times in seconds, sizes in bytes.

    Args:
        engine: Those of the Engine.IO server below.
        attachments_limit_bytes: What all attachments of one packet may hold together.
    """

    engine: EngineConfig = field(default_factory=EngineConfig)
    connect_timeout_s: float = 10.0
    attachments_timeout_s: float = 10.0
    token_grace_s: float = 30.0
    attachments_limit_bytes: int = 1 << 18


class Gateway:
    """Serves Socket.IO.

    Args:
        config: Bounds.
        application: What connections to the namespace `/` mean; None: `/` is one of the extensions' namespaces.
        clock: Unix seconds, for the expiry of tokens.
        closed: Called at every connection's end.
        extensions: Serve the other namespaces.
        requests: What each connection may ask.
    """

    def __init__(
        self,
        config: GatewayConfig,
        application: Application | None,
        clock: Callable[[], float] = time.time,
        closed: Callable[[Ended], None] = lambda _ended: None,
        extensions: Extensions | None = None,
        requests: Rate | None = None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.application = application
        self.extensions = extensions
        self.requests = requests or Rate(100, 400)
        self.clock = clock
        self.now = time.monotonic  # as the application's, with which it shares budgets
        self.token_grace_s = config.token_grace_s
        self.attachments_limit_bytes = config.attachments_limit_bytes
        self.engine = EngineServer(config.engine, self._accept, self._ended)
        self.connects = Deadlines[Connection](config.connect_timeout_s, lambda one, at_s: one.connect_is_due(at_s), loop)
        self.attachments = Deadlines[Connection](
            config.attachments_timeout_s, lambda one, at_s: one.attachments_are_due(at_s), loop
        )
        self.expiries = Calendar[Connection](lambda one: one.expiry_is_due(), clock, loop)
        self._loop = loop
        self._closed = closed
        self._dirty: list[Connection] = []

    def __len__(self) -> int:
        """How many sessions live."""
        return len(self.engine)

    def routes(self) -> Sequence[web.RouteDef]:
        """Return what to add to the application's router."""
        return self.engine.routes()

    def refuse_new(self) -> None:
        """Take no new sessions from now on."""
        self.engine.refuse_new()

    def close_some(self, at_most: int) -> int:
        """Close that many sessions, the oldest first, so that their clients reconnect elsewhere; return how many."""
        leaving = self.engine.oldest(at_most)
        for session in leaving:
            if isinstance(session.sink, Connection):
                session.sink.close(CloseReason.DRAINING)
        return len(leaving)

    def close(self) -> None:
        """Close what is left, and every timer."""
        self.close_some(len(self.engine))
        self.engine.close()
        for one in (self.connects, self.attachments, self.expiries):
            one.close()
        if self.extensions is not None:
            self.extensions.close()

    # -- shared by connections --------------------------------------------------------------------

    def new_sid(self) -> str:
        return new_sid()

    def write_soon(self, connection: Connection) -> None:
        if not self._dirty:
            self._loop.call_soon(self._flush)
        self._dirty.append(connection)

    def _flush(self) -> None:
        dirty, self._dirty = self._dirty, []
        for connection in dirty:
            try:
                connection.flush()
            except Exception as error:  # noqa: BLE001 - the others have something to say too
                tasks.report(self._loop, "a flush", error)

    def _accept(self, session: Session) -> None:
        Connection(self, session)

    def _ended(self, session: Session, reason: CloseReason) -> None:
        connection = session.sink
        if isinstance(connection, Connection) and connection.is_known:
            self._closed(Ended(reason, session.transport, connection.id, connection.user.id))
        else:
            self._closed(Ended(reason, session.transport, "", None))
