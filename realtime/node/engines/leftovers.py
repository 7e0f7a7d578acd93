"""What a PostgreSQL that was killed leaves behind, and how to tell that from one that still runs.

PostgreSQL takes `postmaster.pid` for alive while any process has the number in its first line. In a container that is
started anew the same few numbers belong to other processes each time. Here a process counts only when it works in that
directory, or was told to.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PROC = pathlib.Path("/proc")


class Process(NamedTuple):
    """A process of this machine. `folder`: where it works; None: that cannot be seen."""

    pid: int
    command: tuple[str, ...]
    folder: str | None


class Note(NamedTuple):
    """What `postmaster.pid` says. `sockets`: the first folder with its socket."""

    pid: int
    sockets: str
    ready: bool


def read_note(text: str) -> Note | None:
    """Read `postmaster.pid`; None: it is empty or damaged, as a crash or a full disk leaves it."""
    lines = [line.strip() for line in text.splitlines()] + [""] * 8
    try:
        pid = abs(int(lines[0]))
    except ValueError:
        return None
    return Note(pid, lines[4], lines[7] == "ready") if pid else None


def holder(processes: Iterable[Process], cluster: pathlib.Path) -> Process | None:
    """Return the PostgreSQL that runs on a cluster's directory, its first process if that is among them.

    Every process of a PostgreSQL works in the directory of its cluster.
    """
    place = os.path.realpath(cluster)
    names = {place, str(cluster)}
    found = [one for one in processes if (one.folder in names if one.folder is not None else _told(one, names))]
    return min(found, key=lambda one: (not _told(one, names), one.pid), default=None)


def started_by_us(process: Process, sockets: pathlib.Path) -> bool:
    """Tell whether a server of ours started a PostgreSQL: it was told to listen in our folder."""
    return str(sockets) in process.command


def _told(process: Process, names: set[str]) -> bool:
    return any(one == "-D" and two in names for one, two in zip(process.command, process.command[1:], strict=False))


def processes() -> Iterator[Process]:
    """Yield the processes of this machine, or of this container. Without /proc by `ps`, which does not tell folders."""
    if not (_PROC / "self").exists():
        listing = subprocess.run(["ps", "-axww", "-o", "pid=,command="], check=False, capture_output=True, text=True).stdout
        for line in listing.splitlines():
            number, *command = line.split()
            yield Process(int(number), tuple(command), None)
        return
    for entry in os.listdir(_PROC):
        if entry.isdigit():
            with contextlib.suppress(OSError):  # it has ended
                command = (_PROC / entry / "cmdline").read_bytes().decode("utf-8", "replace").rstrip("\0").split("\0")
                if command == [""]:
                    continue  # a zombie, or a part of the kernel
                try:
                    folder = os.readlink(_PROC / entry / "cwd")
                except PermissionError:
                    folder = None  # of another user
                yield Process(int(entry), tuple(command), folder)
