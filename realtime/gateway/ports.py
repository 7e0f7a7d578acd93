"""What connections stand on: the application that gives them meaning, and what they share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.gateway.connection import Connection
    from realtime.gateway.deadlines import Calendar, Deadlines
    from realtime.gateway.session import CloseReason
    from realtime.gateway.socketio import Packet
    from realtime.limits import Rate
    from realtime.model import Principal


PRINCIPAL = "realtime.principal"
"""Key of the environ under which extensions find who the client is, a `model.Principal`; None without a token."""


class Application(Protocol):
    """What connections mean. Called in the order in which packets came; must return at once and not raise, but for
    `authenticate`.
    """

    def authenticate(self, connection: Connection, auth: bytes, /) -> Principal:
        """Check the JSON payload of a CONNECT packet (empty: there was none).

        Returns:
            One with a user: sockets are for users alone.

        Raises:
            RealtimeError: to refuse.
        """
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


class Guest(Protocol):
    """A client of the namespaces beside the application's.

    Attributes:
        asked: The namespaces that it asked for and did not leave.
        environ: What its handlers find of its request.
    """

    asked: set[str]
    environ: dict[str, Any]

    @property
    def is_inside(self) -> bool:
        """Whether it is connected to any namespace."""

    def inside(self) -> list[str]:
        """Return the namespaces that it is connected to."""
        ...

    def connect(self, namespace: str, data: bytes, /) -> None:
        """Connect it to a namespace. `data`: the JSON payload without the token."""

    def packet(self, packet: Packet, message: bytes, attachments: list[bytes], /) -> None:
        """Take a packet, in order."""

    def ended(self, reason: CloseReason, /) -> None:
        """The connection is gone; nothing follows."""


class Extensions(Protocol):
    """Who serves the namespaces beside the application's."""

    def serves(self, namespace: str, /) -> bool:
        """Tell whether a namespace is registered."""
        ...

    def needs_token(self, namespace: str, /) -> bool:
        """Tell whether a namespace is for users alone."""
        ...

    def guest(self, carrier: Connection, environ: dict[str, object], /) -> Guest:
        """Begin to serve a client."""
        ...

    def close(self) -> None:
        """Cancel what runs in the background."""


class Shared(Protocol):
    """What all connections of a gateway share."""

    application: Application | None
    requests: Rate
    clock: Callable[[], float]
    now: Callable[[], float]
    token_grace_s: float
    attachments_limit_bytes: int
    connects: Deadlines[Connection]
    attachments: Deadlines[Connection]
    expiries: Calendar[Connection]

    @property
    def extensions(self) -> Extensions | None: ...

    def new_sid(self) -> str: ...

    def write_soon(self, connection: Connection, /) -> None:
        """Call `flush` in this turn of the loop."""
