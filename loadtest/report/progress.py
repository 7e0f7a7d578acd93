"""Bars that move while a run works."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from loadtest.client.setup import Slot


class Bars:
    """One bar for the whole run and one for what it does now; silent where nobody looks.

    Args:
        steps: How many scenarios will run.
    """

    def __init__(self, steps: int) -> None:
        self.console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}", table_column=None),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[shown]}"),
            TimeElapsedColumn(),
            console=self.console,
            expand=True,
            transient=True,
        )
        self._whole = self._progress.add_task("[bold]all", total=steps, shown="")
        self._now = self._progress.add_task("", total=None, shown="", visible=False)

    @contextlib.contextmanager
    def shown(self) -> Iterator[None]:
        """Show the bars."""
        with self._progress:
            yield

    def begin(self, title: str) -> None:
        """Say which scenario begins."""
        self._progress.update(self._now, description=title, visible=True, completed=0, total=None, shown="")
        if not self.console.is_terminal:
            self.console.print(title, highlight=False)

    def steps(self, count: int) -> None:
        """Say how many scenarios will run, once that is known."""
        self._progress.update(self._whole, total=count)

    def end(self) -> None:
        self._progress.advance(self._whole)

    def counting(self, what: str, slot: Slot, total: int) -> Callable[[Sequence[int]], None]:
        """Return a watcher that moves the bar with a counter, from what it is at first."""
        first: list[int] = []

        def watch(totals: Sequence[int]) -> None:
            if not first:
                first.append(totals[slot] if totals[slot] < total else 0)
            done = totals[slot] - first[0]
            self._progress.update(self._now, total=total, completed=done, shown=f"{done:,} of {total:,} {what}")

        return watch

    def timing(self, what: str, seconds: float, slot: Slot) -> Callable[[Sequence[int]], None]:
        """Return a watcher that moves the bar with the time, and shows a counter."""
        begun = time.monotonic()

        def watch(totals: Sequence[int]) -> None:
            done = time.monotonic() - begun
            self._progress.update(self._now, total=seconds, completed=min(done, seconds), shown=f"{totals[slot]:,} {what}")

        return watch
