"""Ending tasks that run in the background."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

AGAIN_S = 1.0


async def end(tasks: Iterable[asyncio.Task[Any] | None]) -> None:
    """Cancel tasks and return when all have ended, whatever they raise. None stands for no task.

    Asked again every second: `asyncio.wait_for` before Python 3.12, which libraries are full of, forgets a cancellation
    that comes in the moment in which what it waits for is there (CPython issue 86296), and one lost cancellation would
    keep a node from ever closing.
    """
    all_tasks = [task for task in tasks if task is not None]
    pending = {task for task in all_tasks if not task.done()}
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=AGAIN_S)
    for task in all_tasks:
        if not task.cancelled():
            task.exception()  # seen: nobody else will ask
