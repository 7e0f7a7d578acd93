"""Servers by name, in the order of reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.peers.node_socketio import NodeSocketIo
from loadtest.peers.ours import Realtime

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.peers.base import Peer

PEERS: dict[str, Callable[[], Peer]] = {
    "realtime": Realtime,
    "node": NodeSocketIo,
}
