"""Says on what a run was measured."""

from __future__ import annotations

import os
import pathlib
import platform
from datetime import UTC, datetime


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
