"""What a process gives to its parts: its clocks, new ids, and who runs what runs in the background."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realtime.model import uuid7

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.tasks import Loops


def new_id() -> str:
    """Make an id: time-ordered, so that indexes grow at their end, and unguessable."""
    return uuid7(time.time_ns() // 1_000_000, os.urandom(10))


@dataclass(frozen=True, slots=True)
class Runtime:
    """Handed to each part that needs more than one of these; tests hand over their own.

    Args:
        loops: Run what runs in the background.
        clock: Monotonic seconds.
        wall: Unix seconds.
        new_id: Makes ids.
    """

    loops: Loops
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    new_id: Callable[[], str] = new_id
