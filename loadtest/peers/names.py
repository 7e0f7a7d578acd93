"""Servers by name, in the order of reports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.peers.centrifugo_server import Centrifugo
from loadtest.peers.floor import Floor
from loadtest.peers.nats_websocket import NatsWebSocket
from loadtest.peers.node_socketio import NodeSocketIo
from loadtest.peers.ours import Roomwire
from loadtest.peers.stock_socketio import StockSocketIo

if TYPE_CHECKING:
    from collections.abc import Callable

    from loadtest.peers.base import Peer

PEERS: dict[str, Callable[[], Peer]] = {
    "roomwire": Roomwire,
    "node": NodeSocketIo,
    "python-socketio": StockSocketIo,
    "nats": NatsWebSocket,
    "centrifugo": Centrifugo,
    "floor": Floor,
}
