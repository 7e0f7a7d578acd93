"""Protocols by name, so that a name can travel to the client processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.protocols.centrifugo import Centrifugo
from loadtest.protocols.nats import Nats
from loadtest.protocols.raw import Raw
from loadtest.protocols.socketio import Roomwire, SocketIo

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.protocols.base import Dialect

DIALECTS: dict[str, Callable[[], Dialect]] = {
    "roomwire": Roomwire,
    "socketio": SocketIo,
    "nats": Nats,
    "centrifugo": Centrifugo,
    "raw": Raw,
}
"""For NATS and Centrifugo a connection has an object of its own; the others share one per process."""
OWN_STATE = frozenset({"nats", "centrifugo"})
