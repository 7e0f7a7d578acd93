"""Real server processes, as an operator starts them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from typing import TYPE_CHECKING

from realtime.config import without_settings

if TYPE_CHECKING:
    import pathlib
    from collections.abc import AsyncIterator, Sequence

LISTENS = re.compile(r"(?:Roomwire|Realtime) is at (\S+)")
"""What a server says once it takes connections; up to 0.2 it was called Realtime."""


class Server:
    """One `roomwire serve`.

    Args:
        settings: Fields of `Config`, given as flags.
    """

    module = "realtime"
    """What Python runs."""

    def __init__(self, **settings: object) -> None:
        self._settings = {"host": "127.0.0.1", "port": 0, "log_level": "warning", "metrics_networks": "127.0.0.0/8"} | settings
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self.output: list[str] = []
        self.url = ""

    @property
    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", self.module]

    async def start(self, within_s: float = 30) -> str:
        """Start and return the URL at which it answers."""
        flags = [part for name, value in self._settings.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        environment = without_settings(os.environ)
        self._process = await asyncio.create_subprocess_exec(
            *self.command, "serve", *flags,
            stderr=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL, env=environment,
        )  # fmt: skip
        assert self._process.stderr is not None
        async with asyncio.timeout(within_s):
            async for raw in self._process.stderr:
                line = raw.decode().rstrip()
                self.output.append(line)
                if found := LISTENS.match(line):
                    self.url = found[1]
                    break
            else:
                raise AssertionError("it did not start:\n" + "\n".join(self.output))
        self._reading = asyncio.create_task(self._read(self._process.stderr))
        return self.url

    async def _read(self, stream: asyncio.StreamReader) -> None:
        async for raw in stream:
            self.output.append(raw.decode().rstrip())

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.returncode is None

    async def end(self, number: signal.Signals = signal.SIGTERM, within_s: float = 20) -> int:
        """Send a signal and return the exit status."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        status = await asyncio.wait_for(self._process.wait(), within_s)
        if self._reading is not None:
            await self._reading
        return status

    async def kill(self) -> None:
        """Let it be gone, if it is not."""
        if self._process is not None and self._process.returncode is None:
            await self.end(signal.SIGKILL)


@contextlib.asynccontextmanager
async def serving(**settings: object) -> AsyncIterator[Server]:
    """Run a server; whatever happens, it is gone afterwards."""
    server = Server(**settings)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


def readable(folder: pathlib.Path) -> pathlib.Path:
    """Let PostgreSQL's user, where it is not ours, reach a folder of the test."""
    for path in (folder, folder.parent, folder.parent.parent):
        path.chmod(path.stat().st_mode | 0o011)
    return folder
