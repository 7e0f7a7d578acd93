"""What every measured server must offer: a start, an end, a protocol, and accounts and rooms where it has such."""

from __future__ import annotations

import contextlib
import http.client
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Self

from loadtest.measure import process, prometheus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
_START_S = 60.0
_END_S = 20.0


class Unavailable(Exception):
    """This peer cannot be measured here; the text is one line that says why."""


class Peer:
    """A server that runs as a process of ours, on a free port of loopback, with its files in a temporary folder.

    Attributes:
        name: For reports.
        dialect: A name from `protocols.names`.
        can: The scenarios it takes part in.
        pace: Less than 1 for a server so slow that as many deliveries would take minutes.
    """

    name = ""
    dialect = ""
    can: frozenset[str] = frozenset({"connect", "idle", "fanout", "request"})
    pace = 1.0

    def __init__(self) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.version = ""
        self._child: subprocess.Popen[bytes] | None = None
        self._files: tempfile.TemporaryDirectory[str] | None = None

    # -- what a peer says of itself ---------------------------------------------------------------

    def install(self) -> None:
        """Get what it needs, where it is not there yet, and find its version.

        Raises:
            Unavailable: that is not possible here.
        """

    def command(self, folder: pathlib.Path) -> Sequence[str]:
        """Return the command line. `folder` is empty and goes when the server ended."""
        raise NotImplementedError

    def environment(self) -> Mapping[str, str]:
        return os.environ

    def credentials(self, count: int) -> list[str]:
        """Return so many tokens."""
        return [""] * count

    def rooms(self, count: int, credentials: Sequence[str]) -> list[str]:
        """Return so many rooms that all these credentials may use."""
        return [f"room{number}" for number in range(count)]

    def heads(self, rooms: Sequence[str]) -> dict[str, int]:
        """Return the position of each room as the server stores it; empty where it stores none."""
        return {}

    # -- its life ---------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.port = free_port()
        self._files = tempfile.TemporaryDirectory(prefix="loadtest-", ignore_cleanup_errors=True)
        folder = pathlib.Path(self._files.name)
        folder.chmod(0o711)
        self._log = (folder / "output").open("w+b")
        self._child = subprocess.Popen(
            self.command(folder), stdin=subprocess.DEVNULL, stdout=self._log, stderr=subprocess.STDOUT,
            env=dict(self.environment()), cwd=ROOT, start_new_session=True,
        )  # fmt: skip
        try:
            self._wait_until_there()
            self.started()
        except BaseException:
            self.__exit__()
            raise
        return self

    def started(self) -> None:
        """Prepare what needs the running server."""

    def __exit__(self, *_: object) -> None:
        if self._child is not None and self._child.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(_END_S)
            except subprocess.TimeoutExpired:
                self._child.kill()
                self._child.wait()
        self._log.close()
        if self._files is not None:
            self._files.cleanup()

    def _wait_until_there(self) -> None:
        end = time.monotonic() + _START_S
        while not self._is_there():
            assert self._child is not None
            if self._child.poll() is not None or time.monotonic() > end:
                raise Unavailable(f"{self.name} did not start: {self._last_words()}")
            time.sleep(0.05)

    def _is_there(self) -> bool:
        with socket.socket() as one:
            one.settimeout(1)
            return one.connect_ex((self.host, self.port)) == 0

    def _last_words(self) -> str:
        self._log.flush()
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    # -- what is measured -------------------------------------------------------------------------

    @property
    def pid(self) -> int | None:
        """The process whose CPU and memory count; None where it is not ours to look at."""
        return self._child.pid if self._child is not None else None

    def cpu(self) -> process.Cpu | None:
        return process.cpu(self.pid) if self.pid is not None else None

    def memory_kib(self) -> int | None:
        return process.memory_kib(self.pid) if self.pid is not None else None

    def metrics(self) -> prometheus.Page | None:
        """Return the server's Prometheus page; None where it has none."""
        return None


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def run(command: Sequence[str], folder: pathlib.Path, within_s: float, environment: Mapping[str, str] | None = None) -> str:
    """Run a command that installs or asks something; return what it printed.

    Raises:
        Unavailable: it is not there, fails, or takes too long.
    """
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=within_s, check=False,
            env=dict(environment) if environment is not None else None,
        )  # fmt: skip
    except FileNotFoundError:
        raise Unavailable(f"{command[0]} is not here") from None
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{pathlib.Path(command[0]).name} took longer than {within_s:g} s") from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Unavailable(f"{pathlib.Path(command[0]).name} failed: {lines[-1] if lines else done.returncode}")
    return done.stdout


def get(host: str, port: int, path: str) -> str:
    """Fetch a page over HTTP.

    Raises:
        OSError, http.client.HTTPException: it cannot be had.
    """
    connection = http.client.HTTPConnection(host, port, timeout=10)
    try:
        connection.request("GET", path)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def beside_python(name: str) -> str:
    """Return a program of this Python environment."""
    return str(pathlib.Path(sys.executable).parent / name)
