"""Tasks that run in the background: loops that survive everything but their cancellation, and how tasks end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import TYPE_CHECKING, Any

from realtime import errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

logger = logging.getLogger(__name__)

AGAIN_S = 1.0
COMPLAIN_S = 60.0
"""How often a failure that repeats itself is logged."""
FAILING_S = 5.0
"""How long a loop has been failing before it counts as failing: one bad answer is no trouble."""
HUNG_S = 60.0
PAUSE_S = (0.25, 2.0)
"""Pauses after failures: the first, and the longest."""


class Loop:
    """One loop. Its work is done again and again: after each pause, and whenever it is called for.

    Attributes:
        name: For logs and metrics: `part.what`.
        task: What runs it.
    """

    def __init__(self, name: str, hung_s: float | None, clock: Callable[[], float]) -> None:
        self.name = name
        self.task: asyncio.Task[None] | None = None
        self._hung_s = hung_s
        self._clock = clock
        self._began_s: float | None = None  # the round that is going on
        self._failing_since_s: float | None = None
        self.error = ""

    def progress(self) -> None:
        """Say that the work goes well: for work that never returns, or lasts longer than it may."""
        self._failing_since_s = None
        if self._began_s is not None:
            self._began_s = self._clock()

    def begin(self) -> None:
        self._began_s = self._clock()

    def end(self) -> None:
        self._began_s = self._failing_since_s = None

    def fail(self, error: BaseException) -> None:
        self._began_s = None
        self.error = type(error).__name__
        if self._failing_since_s is None:
            self._failing_since_s = self._clock()

    def trouble(self) -> str:
        """Say in a few words what is wrong; nothing: it runs."""
        now_s = self._clock()
        if self.task is not None and self.task.done():
            return "ended"
        if self._began_s is not None and self._hung_s is not None and now_s - self._began_s > self._hung_s:
            return "hangs"
        if self._failing_since_s is None or now_s - self._failing_since_s <= FAILING_S:
            return ""
        if self._began_s is not None and self._hung_s is None and now_s - self._began_s > 2 * PAUSE_S[1]:
            return ""  # never returns, and has been running since
        return f"fails ({self.error})"


class Loops:
    """The background loops of a process.

    Args:
        failed: Called with a loop's name for each failure; with `callback` for a failure outside of any loop.
        clock: Monotonic seconds; None: the event loop's.
    """

    def __init__(self, failed: Callable[[str], None] = lambda _name: None, clock: Callable[[], float] | None = None) -> None:
        self._failed = failed
        self._clock = clock or _now_s
        self._loops: dict[str, Loop] = {}
        self._complain_from_s: dict[str, float] = {}

    def start(
        self,
        name: str,
        work: Callable[[], Awaitable[None]],
        *,
        every_s: Callable[[], float] | float | None = None,
        called: asyncio.Event | None = None,
        hung_s: float | None = HUNG_S,
    ) -> asyncio.Task[None]:
        """Do some work again and again until the task is cancelled (by `end`).

        Whatever it raises is logged once a minute (the type and the place, no values), counted, and shown by `troubles`;
        then it is done again after a pause. It is never done twice at a time.

        Args:
            name: `part.what`. Where two loops have the same, `troubles` adds a number.
            work: One round.
            every_s: The pause before each round, in seconds, the first one too; None with `called`: no round without a call;
                None without it: one round follows the other.
            called: Ends the pause. Cleared before the round, so that a call during a round causes one more.
            hung_s: How long a round may last; None: for ever.
        """
        kind, name = name, _free(name, self._loops)
        loop = self._loops[name] = Loop(kind, hung_s, self._clock)
        task = loop.task = asyncio.get_running_loop().create_task(self._run(loop, work, every_s, called), name=name)
        task.add_done_callback(lambda done: self._over(kind, name, done))
        return task

    def progress(self) -> None:
        """Say, from within a loop's work, that it goes well: for work that never returns, or lasts longer than it may."""
        task = asyncio.current_task()
        loop = None if task is None else self._loops.get(task.get_name())
        if loop is not None and loop.task is task:
            loop.progress()

    def troubles(self) -> dict[str, str]:
        """Return which loops have been failing for a while, hang, or have ended, by their names."""
        return {name: said for name, loop in self._loops.items() if (said := loop.trouble())}

    async def _run(
        self,
        loop: Loop,
        work: Callable[[], Awaitable[None]],
        every_s: Callable[[], float] | float | None,
        called: asyncio.Event | None,
    ) -> None:
        pause_s, failures = 0.0, 0
        me = asyncio.current_task()
        assert me is not None  # it runs on one
        while not me.cancelling():  # a cancellation that the work swallowed counts too
            try:
                if failures:
                    await asyncio.sleep(min(PAUSE_S[0], pause_s))
                    await _pause(pause_s * random.uniform(0.5, 1.0), called)
                else:
                    await _pause(every_s() if callable(every_s) else every_s, called)
                if called is not None:
                    called.clear()
                loop.begin()
                await work()
            except asyncio.CancelledError as error:
                if me.cancelling():
                    raise
                # Of something else that the work waited for.
                failures, pause_s = failures + 1, self._note(loop, error, failures)
            except Exception as error:  # noqa: BLE001 - whatever it is, the loop goes on
                failures, pause_s = failures + 1, self._note(loop, error, failures)
            else:
                loop.end()
                failures = 0

    def _note(self, loop: Loop, error: BaseException, failures: int) -> float:
        """Take note of a failure; return the pause after it."""
        loop.fail(error)
        self._report(loop.name, f"the background task {loop.name} failed and goes on", error)
        return min(PAUSE_S[0] * 2.0 ** min(failures, 10), PAUSE_S[1])

    def _report(self, name: str, sentence: str, error: BaseException | None) -> None:
        with contextlib.suppress(Exception):  # counting must not end what it counts
            self._failed(name)
        now_s = self._clock()
        kind = f"{sentence} {type(error).__name__}"
        if now_s >= self._complain_from_s.get(kind, 0.0):
            if len(self._complain_from_s) > 1000:
                self._complain_from_s.clear()
            self._complain_from_s[kind] = now_s + COMPLAIN_S
            if isinstance(error, errors.Unavailable):
                logger.warning("%s, %s; said once a minute", sentence, error.code)
            else:
                logger.error("%s; said once a minute", sentence, exc_info=error)

    def _over(self, kind: str, name: str, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.cancelling():
            self._loops.pop(name, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._report(kind, f"the background task {kind} ended", error)

    def unhandled(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Take what a callback or a task raised and nobody handled: an exception handler for event loops.

        asyncio's own writes the values down that the callback was called with.
        """
        error = context.get("exception")
        self._report("callback", f"something failed that nobody handled: {_what(context)}", error)


def report(loop: asyncio.AbstractEventLoop, where: str, error: Exception) -> None:
    """Tell the loop's exception handler what was raised, where others wait for the same turn or timer and must not be held up."""
    loop.call_exception_handler({"message": where, "where": where, "exception": error})


def _what(context: dict[str, Any]) -> str:
    """Say what failed by the names in the program."""
    if "where" in context:
        return str(context["where"])
    task = context.get("task") or context.get("future")
    if isinstance(task, asyncio.Task):
        return f"the task {getattr(task.get_coro(), '__qualname__', type(task).__name__)}"
    if "protocol" in context:
        return f"the protocol {type(context['protocol']).__qualname__}"
    callback = getattr(context.get("handle"), "_callback", None)
    return f"the callback {getattr(callback, '__qualname__', type(callback).__name__)}" if callback else "a callback"


def _free(name: str, taken: dict[str, Loop]) -> str:
    if name not in taken:
        return name
    number = 2
    while f"{name}.{number}" in taken:
        number += 1
    return f"{name}.{number}"


async def _pause(seconds: float | None, called: asyncio.Event | None) -> None:
    if called is None:
        await asyncio.sleep(seconds or 0.0)
    elif seconds is None:
        await called.wait()
    else:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await called.wait()


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


def _now_s() -> float:
    return asyncio.get_running_loop().time()
