"""Background loops survive what their work raises and say so; background tasks are ended for certain."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import pytest

from realtime import tasks
from realtime.tasks import Loops
from realtime.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Callable


async def forever() -> None:
    await asyncio.Event().wait()


async def test_they_are_cancelled_and_waited_for() -> None:
    slow = asyncio.Event()

    async def tidy() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            slow.set()

    running = [asyncio.create_task(forever()), asyncio.create_task(tidy()), None]
    await asyncio.sleep(0)
    await tasks.end(running)
    assert [one.cancelled() for one in running if one] == [True, True]
    assert slow.is_set()


async def test_one_that_lost_its_cancellation_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_S", 0.01)
    lost = 0

    async def forgetful() -> None:
        nonlocal lost
        while True:
            try:
                await forever()
            except asyncio.CancelledError:
                lost += 1
                if lost == 3:
                    raise

    task = asyncio.create_task(forgetful())
    await asyncio.sleep(0)
    await asyncio.wait_for(tasks.end([task]), 5)
    assert lost == 3


async def test_what_has_ended_or_fails_on_the_way_is_no_matter() -> None:
    async def fails() -> None:
        try:
            await forever()
        finally:
            raise OSError

    done, failing = asyncio.create_task(asyncio.sleep(0)), asyncio.create_task(fails())
    await done
    await asyncio.sleep(0)
    await tasks.end([done, failing])
    assert failing.done()
    await tasks.end([])


# -- loops ----------------------------------------------------------------------------------------


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(tasks, "PAUSE_S", (0.001, 0.002))
    return Clock()


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0)


class Rounds:
    """Work that fails as it is told."""

    def __init__(self, *errors: BaseException | None) -> None:
        self.errors = list(errors)
        self.done = 0

    async def __call__(self) -> None:
        self.done += 1
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error
        await asyncio.sleep(0)


class Own(Exception):
    pass


@pytest.mark.parametrize(
    "error",
    [
        ValueError("secret"),
        MemoryError(),
        RecursionError(),
        asyncio.CancelledError(),
        TimeoutError(),
        ExceptionGroup("x", [Own()]),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_loop_survives_everything_but_its_cancellation(clock: Clock, error: BaseException) -> None:
    failed: list[str] = []
    loops = Loops(failed.append, clock)
    work = Rounds(error, error)
    task = loops.start("part.work", work, every_s=0.0)
    await until(lambda: work.done > 3)
    assert failed == ["part.work"] * 2
    await tasks.end([task])
    assert task.done() and loops.troubles() == {}


async def test_a_loop_that_goes_on_failing_is_in_trouble_until_a_round_succeeds(clock: Clock) -> None:
    loops = Loops(clock=clock)
    work = Rounds(*[ValueError("secret")] * 3, None)
    task = loops.start("part.work", work, every_s=0.0)
    await until(lambda: work.done >= 2)
    assert loops.troubles() == {}  # for a moment only
    clock.now_s += tasks.FAILING_S + 1
    assert loops.troubles() == {"part.work": "fails (ValueError)"}
    await until(lambda: work.done > 4)
    assert loops.troubles() == {}
    await tasks.end([task])


async def test_a_round_that_does_not_end_is_in_trouble_and_waiting_for_a_call_is_not(clock: Clock) -> None:
    loops, called, hold = Loops(clock=clock), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        await hold.wait()

    task = loops.start("part.work", work, called=called, hung_s=10)
    await asyncio.sleep(0)
    clock.now_s += 1000
    assert loops.troubles() == {}
    called.set()
    await until(lambda: not called.is_set())
    assert loops.troubles() == {}
    clock.now_s += 11
    assert loops.troubles() == {"part.work": "hangs"}
    hold.set()
    await asyncio.sleep(0.01)
    assert loops.troubles() == {}
    await tasks.end([task])


async def test_work_that_never_returns_says_that_it_goes_well(clock: Clock) -> None:
    loops, turn, again = Loops(clock=clock), asyncio.Event(), Rounds(ValueError())

    async def work() -> None:
        await again()
        while True:
            await turn.wait()
            turn.clear()
            loops.progress()

    task = loops.start("part.work", work, hung_s=10)
    await until(lambda: again.done == 2)
    clock.now_s += 9
    turn.set()
    await until(lambda: not turn.is_set())
    clock.now_s += 9
    assert loops.troubles() == {}
    clock.now_s += 2
    assert loops.troubles() == {"part.work": "hangs"}
    await tasks.end([task])


async def test_a_loop_that_ended_is_in_trouble(clock: Clock) -> None:
    class Fatal(BaseException):
        pass

    loops = Loops(clock=clock)
    task = loops.start("part.work", Rounds(Fatal()))
    with contextlib.suppress(Fatal):
        await task
    assert loops.troubles() == {"part.work": "ended"}


async def test_a_call_during_a_round_causes_one_more(clock: Clock) -> None:
    loops, called, rounds = Loops(clock=clock), asyncio.Event(), 0

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        if rounds == 1:
            called.set()

    task = loops.start("part.work", work, every_s=1000, called=called)
    called.set()
    await until(lambda: rounds == 2)
    await tasks.end([task])


async def test_a_loop_whose_work_lost_its_cancellation_ends_after_the_round(clock: Clock) -> None:
    loops, begun = Loops(clock=clock), asyncio.Event()

    async def work() -> None:
        begun.set()
        with contextlib.suppress(asyncio.CancelledError):
            await forever()

    task = loops.start("part.work", work)
    await begun.wait()
    task.cancel()
    await asyncio.wait([task], timeout=5)
    assert task.done() and loops.troubles() == {}


async def test_two_loops_of_one_name_are_told_apart(clock: Clock) -> None:
    failed: list[str] = []
    loops = Loops(failed.append, clock)
    both = [loops.start("part.work", Rounds(*[ValueError()] * 1000), every_s=0.0) for _ in range(2)]
    await until(lambda: len(failed) >= 4)
    clock.now_s += tasks.FAILING_S + 1
    assert sorted(loops.troubles()) == ["part.work", "part.work.2"]
    assert set(failed) == {"part.work"}
    await tasks.end(both)


async def test_a_failure_is_logged_once_a_minute_without_values(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    loops = Loops(clock=clock)
    work = Rounds(*[ValueError("secret")] * 1000)
    task = loops.start("part.work", work, every_s=0.0)
    await until(lambda: work.done >= 3)
    assert [record.getMessage() for record in caplog.records] == [
        "the background task part.work failed and goes on; said once a minute"
    ]
    assert logs.describe(caplog.records[0].exc_info[1]).endswith("builtins.ValueError")  # type: ignore[index, arg-type]
    clock.now_s += 61
    await until(lambda: len(caplog.records) == 2)
    await tasks.end([task])


async def test_what_nobody_handled_is_logged_and_counted_without_values(caplog: pytest.LogCaptureFixture) -> None:
    failed: list[str] = []
    loops = Loops(failed.append)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(loops.unhandled)

    def fails(secret: str) -> None:
        raise ValueError(secret)

    async def fails_too(secret: str) -> None:
        fails(secret)

    loop.call_soon(fails, "hunter2")
    forgotten: asyncio.Task[None] | None = loop.create_task(fails_too("hunter2"))
    await asyncio.wait([forgotten])  # type: ignore[type-var]
    assert len(failed) == 1
    forgotten = None
    await until(lambda: len(failed) == 2)
    assert failed == ["callback", "callback"]
    shown = logs.JsonFormatter()
    lines = [shown.format(record) for record in caplog.records]
    assert len(lines) == 2 and not any("hunter2" in line for line in lines)
    assert "test_what_nobody_handled_is_logged_and_counted_without_values.<locals>.fails_too" in lines[1]
