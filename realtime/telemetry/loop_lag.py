"""How late the event loop runs: the one number that says whether something blocks it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

INTERVAL_S = 0.1


async def look(observe: Callable[[float], None]) -> None:
    """Sleep, and tell how much too long the sleep was, in seconds."""
    loop = asyncio.get_running_loop()
    due_s = loop.time() + INTERVAL_S
    await asyncio.sleep(INTERVAL_S)
    observe(max(0.0, loop.time() - due_s))
