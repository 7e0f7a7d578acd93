"""Says on what a run was measured."""

from __future__ import annotations

import os
import pathlib
import platform
import resource
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from loadtest.measure.process import Cpu

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def describe() -> dict[str, str]:
    """Return what a reader needs in order to judge the figures."""
    info = pathlib.Path("/proc/cpuinfo").read_text()
    models = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    memory = pathlib.Path("/proc/meminfo").read_text().split()[1]
    load = os.getloadavg()[0]
    return {
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "processor": f"{models[0] if models else platform.machine()}, {os.cpu_count()} cores",
        "memory": f"{int(memory) / (1 << 20):.0f} GiB",
        "kernel": f"{platform.system()} {platform.release().partition('-')[0]}",
        "python": platform.python_version(),
        "load before": f"{load:.2f}",
    }


class Others:
    """Measures what programs that are no part of a run took of the machine meanwhile: much of it, and the run says little.

    Args:
        server: What the measured server has used so far.
    """

    def __init__(self, server: Cpu) -> None:
        self._wall_s = time.monotonic()
        self._busy_s = _busy_s()
        self._ours_s = _own_s() + server.server_s + server.engines_s

    def share(self, server: Cpu) -> float:
        """Return it as a share of all cores, from 0 to 1. The client processes must have ended."""
        wall_s = (time.monotonic() - self._wall_s) * (os.cpu_count() or 1)
        ours_s = _own_s() + server.server_s + server.engines_s - self._ours_s
        return min(1.0, max(0.0, _busy_s() - self._busy_s - ours_s) / max(wall_s, 1e-3))


def _busy_s() -> float:
    """Return the seconds of CPU that the machine has worked, over all cores (proc_stat(5): all but idle and iowait)."""
    first = pathlib.Path("/proc/stat").read_text().partition("\n")[0].split()[1:9]
    ticks = [int(part) for part in first]
    return (sum(ticks) - ticks[3] - ticks[4]) / _TICKS_PER_S


def _own_s() -> float:
    """Return the CPU of this process and of its children that ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )
