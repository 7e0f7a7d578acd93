"""Looks at the server while the clients work: CPU and memory over time."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from loadtest.report.model import Series

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loadtest.scenarios.context import Context


class Look:
    """Notes CPU and memory at most every so many seconds.

    Args:
        every_s: Reading the memory of a large process takes it some milliseconds, so not too often.
    """

    def __init__(self, context: Context, every_s: float = 1.0) -> None:
        self.cpu: list[tuple[float, float]] = []
        self.memory: list[tuple[float, float]] = []
        self._context = context
        self._every_s = every_s
        self._begun = self._last = time.monotonic()
        self._cpu = context.cpu()

    def beside(self, watch: Callable[[Sequence[int]], None]) -> Callable[[Sequence[int]], None]:
        """Return a watcher that does what another does, and looks."""

        def both(totals: Sequence[int]) -> None:
            watch(totals)
            self.now()

        return both

    def now(self) -> None:
        """Look, if it is time."""
        now = time.monotonic()
        if now - self._last < self._every_s or self._context.peer.pid is None:
            return
        cpu = self._context.cpu()
        self.cpu.append((now - self._begun, cpu.since(self._cpu).server_s / (now - self._last) * 100))
        self.memory.append((now - self._begun, (self._context.peer.memory_kib() or 0) / 1024))
        self._last, self._cpu = now, cpu

    def series(self) -> list[Series]:
        """Return what was seen, as lines for plots."""
        lines = [Series("CPU of the server", "% of a core", self.cpu), Series("private memory of the server", "MiB", self.memory)]
        return [line for line in lines if line.points]
