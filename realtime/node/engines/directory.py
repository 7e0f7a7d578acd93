"""The data directory: held by one server at a time, and readable by nobody else."""

from __future__ import annotations

import fcntl
import logging
import os
import pathlib
import tempfile
from typing import IO, TYPE_CHECKING

from realtime.node.engines.process import EngineError, no_room

if TYPE_CHECKING:
    import pwd

logger = logging.getLogger(__name__)

_SOCKET_PATH_BYTES = 100  # sun_path holds 108 with its NUL on Linux, 104 on macOS (unix(7))


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
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = open_private(self.path / "lock")
            try:
                self._hold(path)
            except BaseException:
                self._lock.close()
                raise
        except OSError as error:
            raise EngineError(
                f"The data directory {path} cannot be used: {error.strerror or error}. "
                "Give the server one that it may write to with ROOMWIRE_DATA_DIR or --data-dir."
            ) from error

    def _hold(self, path: pathlib.Path) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._lock.seek(0)
            holder = self._lock.read(20).decode("ascii", "replace").strip() or "unknown"
            raise DataDirectoryInUse(
                f"Another server (process {holder}) uses the data directory {path}: "
                "stop it, or give this one its own with --data-dir.",
                holder,
            ) from error
        if full := no_room(self.path):
            raise EngineError(f"The data directory {path} cannot be used: {full}.")
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()).encode())
        self._lock.flush()

    def close(self) -> None:
        self._lock.close()


def open_private(path: pathlib.Path) -> IO[bytes]:
    """Open a file to read it and to append to it, which nobody but its owner may read. Raises OSError."""
    file = open(path, "a+b", opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115 - the caller closes it
    if os.fstat(file.fileno()).st_mode & 0o077:
        os.fchmod(file.fileno(), 0o600)
    return file


def let_pass(path: pathlib.Path, quietly: int = 0) -> None:
    """Let others go through the folders above `path` (not read them), so that an unprivileged engine finds its files.

    Args:
        quietly: How many of them, from `path` on, are our own and need no word.
    """
    for index, folder in enumerate([path, *path.parents]):
        mode = folder.stat().st_mode
        if not mode & 0o001:
            if index >= quietly:
                logger.warning("PostgreSQL runs as another user than root: others may now pass through %s", folder)
            folder.chmod(mode | 0o001)


def socket_directory(wanted: pathlib.Path, user: pwd.struct_passwd | None) -> pathlib.Path:
    """Make a private directory for sockets, in a short place when `wanted` is too long for a socket's path. Raises OSError."""
    if len(os.fsencode(wanted)) + len("/.s.PGSQL.5432.lock") > _SOCKET_PATH_BYTES:
        wanted = pathlib.Path(tempfile.mkdtemp(prefix="roomwire-"))
    wanted.mkdir(mode=0o700, exist_ok=True)
    wanted.chmod(0o700)
    if user is not None:
        os.chown(wanted, user.pw_uid, user.pw_gid)
    return wanted
