"""python-socketio as it comes, on aiohttp and uvloop."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import TYPE_CHECKING

from loadtest.peers import base
from loadtest.peers.base import Peer

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Sequence


class StockSocketIo(Peer):
    """Rooms and an echo in memory."""

    name = "python-socketio"
    dialect = "socketio"
    pace = 0.25

    def install(self) -> None:
        self.version = f"python-socketio {importlib.metadata.version('python-socketio')}, Python {sys.version.split()[0]}"

    def command(self, folder: pathlib.Path) -> Sequence[str]:
        return [sys.executable, str(base.FOLDER / "stock_server.py"), str(self.port)]
