"""What connections stand on: the application that gives them meaning, and what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.gateway.connection import Connection
    from realtime.gateway.deadlines import Calendar, Deadlines
    from realtime.gateway.extensions import Extensions
    from realtime.gateway.session import CloseReason
    from realtime.limits import Rate
    from realtime.model import Principal


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

    def too_large(self, connection: Connection, name: str, packet_id: int, /) -> None:
        """Refuse an event that was larger than it may be."""

    def disconnected(self, connection: Connection, reason: CloseReason, /) -> None:
        """Called once for each `connected`."""

    def guest_came(self, connection: Connection, /) -> None:
        """A connection showed its token for a namespace of an extension; it need not be connected to `/`."""

    def guest_went(self, connection: Connection, /) -> None:
        """Called once for each `guest_came`."""


class Shared(Protocol):
    """What all connections of a gateway share."""

    application: Application | None
    extensions: Extensions | None
    requests: Rate
    clock: Callable[[], float]
    now: Callable[[], float]
    token_grace_s: float
    attachments_limit_bytes: int
    connects: Deadlines[Connection]
    attachments: Deadlines[Connection]
    expiries: Calendar[Connection]

    def new_sid(self) -> str: ...

    def write_soon(self, connection: Connection, /) -> None:
        """Call `flush` in this turn of the loop."""
