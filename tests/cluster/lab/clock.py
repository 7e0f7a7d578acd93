"""A node whose wall clock the laboratory can step: `python -m tests.cluster.lab.clock serve ...`.

The offset, in seconds, stands in the file that `LAB_CLOCK` names. Monotonic time is not touched, as a stepped clock does not
touch it either.
"""

from __future__ import annotations

import os
import pathlib
import struct
import sys
import time
from mmap import ACCESS_READ, mmap

FILE = "LAB_CLOCK"


def write_offset(path: pathlib.Path, offset_s: float) -> None:
    """Step the clock of the nodes that read this file."""
    with path.open("r+b" if path.exists() else "w+b") as file:
        file.write(struct.pack("d", offset_s))


def _step(path: pathlib.Path) -> None:
    with path.open("rb") as file:
        page = mmap(file.fileno(), struct.calcsize("d"), access=ACCESS_READ)
    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + struct.unpack_from("d", page)[0]
    time.time_ns = lambda: real_ns() + int(struct.unpack_from("d", page)[0] * 1e9)


if __name__ == "__main__":
    _step(pathlib.Path(os.environ[FILE]))
    from realtime.cli import main  # behind the step: it takes the clock when it is imported

    sys.exit(main())
