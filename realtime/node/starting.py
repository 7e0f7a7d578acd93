"""A start that waits for what can pass, and can be stopped at any moment."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from typing import TYPE_CHECKING, TypeVar

from realtime import tasks
from realtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import FrameType

logger = logging.getLogger(__name__)

T = TypeVar("T")

EX_TEMPFAIL = 75
"""Exit status for what did not pass in time (sysexits.h): starting again may help."""
_PAUSE_S = (0.2, 2.0)
_SAY_S = 10.0


class Stopped(BaseException):
    """SIGTERM or SIGINT came before the event loop ran."""


def stoppable() -> None:
    """Let the first SIGTERM or SIGINT raise `Stopped`, so that engines are stopped, and the second end the process at once."""
    asked = False

    def ask(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(1)  # the engines end with us
        asked = True
        raise Stopped

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)


async def patiently(attempt: Callable[[], Awaitable[T]], stop: asyncio.Event, within_s: float) -> T | None:
    """Try something that needs PostgreSQL, again while what is wrong can pass.

    Args:
        attempt: Raises `Unavailable`; what of that has an attribute `passing` that is False is not tried again.
        stop: Ends it.
        within_s: When to give up.

    Returns:
        What the attempt returned; None when it was stopped.

    Raises:
        Unavailable: of the last attempt.
    """
    now = asyncio.get_running_loop().time
    until_s, say_from_s, pause_s, said = now() + within_s, now(), _PAUSE_S[0], ""
    stopped = asyncio.create_task(stop.wait())
    try:
        while True:
            trying = asyncio.ensure_future(attempt())
            try:
                await asyncio.wait([trying, stopped], return_when=asyncio.FIRST_COMPLETED)
                if not trying.done():
                    return None
                return trying.result()
            except Unavailable as error:
                if not getattr(error, "passing", True) or now() >= until_s:
                    raise
                if error.message != said or now() >= say_from_s:
                    said, say_from_s = error.message, now() + _SAY_S
                    logger.warning("%s (for %.0f s at most)", error.message, until_s - now())
            finally:
                await tasks.end([trying])
            await asyncio.wait([stopped], timeout=max(0.0, min(pause_s, until_s - now())))
            if stop.is_set():
                return None
            pause_s = min(2 * pause_s, _PAUSE_S[1])
    finally:
        await tasks.end([stopped])
