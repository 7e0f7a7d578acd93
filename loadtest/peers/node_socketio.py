"""Socket.IO on Node, from npm, on the Node of the Python environment."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from loadtest.peers import base
from loadtest.peers.base import Peer

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Mapping, Sequence

_FOLDER = base.FOLDER / "node"


class NodeSocketIo(Peer):
    """Rooms and an echo in memory."""

    name = "Socket.IO on Node"
    dialect = "socketio"

    def install(self) -> None:
        module = _FOLDER / "node_modules" / "socket.io" / "package.json"
        if not module.exists():
            base.run([base.beside_python("npm"), "ci", "--silent", "--no-audit", "--no-fund"], _FOLDER, 180, self.environment())
        node = base.run([base.beside_python("node"), "--version"], _FOLDER, 10).strip()
        self.version = f"socket.io {json.loads(module.read_text())['version']}, Node {node.removeprefix('v')}"

    def environment(self) -> Mapping[str, str]:
        # npm looks for node on the path.
        return os.environ | {
            "PATH": f"{os.path.dirname(base.beside_python('node'))}:{os.environ['PATH']}",
            "NODE_ENV": "production",
        }

    def command(self, folder: pathlib.Path) -> Sequence[str]:
        return [base.beside_python("node"), str(_FOLDER / "server.js"), str(self.port)]
