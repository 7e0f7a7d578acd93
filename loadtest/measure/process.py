"""CPU and memory of a server, from /proc. A server's own processes and the engines it started are told apart."""

from __future__ import annotations

import os
import pathlib
from dataclasses import dataclass
from typing import NamedTuple

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_ENGINES = ("postgres", "redis-server")
_PROC = pathlib.Path("/proc")


class Cpu(NamedTuple):
    """Seconds of CPU, user and system together, since the processes started."""

    server_s: float
    engines_s: float

    def since(self, before: Cpu) -> Cpu:
        return Cpu(self.server_s - before.server_s, self.engines_s - before.engines_s)


@dataclass(frozen=True, slots=True)
class _Process:
    pid: int
    name: str
    parent: int
    cpu_s: float
    children_cpu_s: float

    @property
    def is_engine(self) -> bool:
        return self.name.startswith(_ENGINES)


def parse_stat(text: str) -> tuple[int, str, int, float, float]:
    """Read a line of /proc/PID/stat (proc_pid_stat(5)).

    Returns:
        pid, name, parent's pid, seconds of CPU, seconds of CPU of children that ended.
    """
    pid, _, rest = text.partition(" (")
    name, _, rest = rest.rpartition(") ")
    fields = rest.split()
    return int(pid), name, int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICKS_PER_S, (
        int(fields[13]) + int(fields[14])
    ) / _TICKS_PER_S  # fmt: skip


def _family(pid: int) -> list[_Process]:
    """Return a process and all that descend from it."""
    processes: dict[int, _Process] = {}
    for entry in _PROC.iterdir():
        if entry.name.isdigit():
            try:
                one = _Process(*parse_stat((entry / "stat").read_text()))
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended while we looked
            processes[one.pid] = one
    family = {pid}
    grew = True
    while grew:
        more = {one.pid for one in processes.values() if one.parent in family} - family
        family |= more
        grew = bool(more)
    return [processes[one] for one in family if one in processes]


def cpu(pid: int) -> Cpu:
    """Return the CPU that a server has used: its own processes, and PostgreSQL and Redis that it started."""
    server_s = engines_s = 0.0
    for one in _family(pid):
        if one.is_engine:
            engines_s += one.cpu_s + one.children_cpu_s
        else:
            server_s += one.cpu_s
    return Cpu(server_s, engines_s)


def parse_private_kib(text: str) -> int:
    """Sum the private pages in a smaps_rollup: what would be free again without this process."""
    return sum(int(line.split()[1]) for line in text.splitlines() if line.startswith("Private_"))


def memory_kib(pid: int) -> int:
    """Return the private memory of a server's own processes, user space, in KiB."""
    total = 0
    for one in _family(pid):
        if not one.is_engine:
            try:
                total += parse_private_kib((_PROC / str(one.pid) / "smaps_rollup").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue
    return total


def pin(pid: int, core: int) -> None:
    """Keep the threads of a server's own processes on one core."""
    for one in _family(pid):
        if not one.is_engine:
            for thread in (_PROC / str(one.pid) / "task").iterdir():
                os.sched_setaffinity(int(thread.name), {core})
