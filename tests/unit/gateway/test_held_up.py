"""What fails for one connection holds up no other: timers, turns, flushes and queues go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from realtime.gateway.deadlines import Calendar, Deadlines
from realtime.gateway.turns import Turns
from realtime.tasks import Loops

if TYPE_CHECKING:
    from collections.abc import Callable


def watched() -> tuple[asyncio.AbstractEventLoop, list[str]]:
    """Return the loop, and what collects its failures."""
    loop, failed = asyncio.get_running_loop(), list[str]()
    loop.set_exception_handler(Loops(failed.append).unhandled)
    return loop, failed


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():
            await asyncio.sleep(0.001)


async def test_a_deadline_that_fails_holds_up_no_other() -> None:
    loop, failed = watched()
    seen: list[str] = []

    def due(item: str, _at_s: float) -> None:
        seen.append(item)
        if item.startswith("bad"):
            raise ValueError

    deadlines = Deadlines[str](0.001, due, loop)
    for item in ("bad", "good"):
        deadlines.add(item)
    await until(lambda: seen == ["bad", "good"])
    deadlines.add("bad again")
    await until(lambda: len(seen) == 3)
    deadlines.add("later")
    await until(lambda: seen[-1] == "later")
    for item in ("bad at last", "good at last"):
        deadlines.add(item)
    deadlines.expire()
    assert seen[-2:] == ["bad at last", "good at last"]
    assert failed == ["callback"] * 3


async def test_an_expiry_that_fails_holds_up_no_other() -> None:
    loop, failed = watched()
    seen: list[str] = []

    def due(item: str) -> None:
        seen.append(item)
        raise ValueError

    calendar = Calendar[str](due, lambda: 10.0, loop)
    for item in ("a", "b"):
        calendar.add(item, 5.0)
    calendar.add("c", 6.0)
    calendar._fire()
    assert sorted(seen) == ["a", "b", "c"] and len(failed) == 3
    calendar.close()


async def test_a_turn_that_fails_holds_up_nobody() -> None:
    loop, failed = watched()
    served: list[str] = []

    class One:
        def __init__(self, name: str) -> None:
            self.name = name

        def go_on(self) -> None:
            served.append(self.name)
            if self.name == "bad":
                raise ValueError

    turns = Turns(loop, at_once=2)
    for name in ("bad", "good", "bad", "bad", "good"):
        turns.add(One(name))
    await until(lambda: len(served) == 5)
    turns.add(One("later"))
    await until(lambda: served[-1] == "later")
    assert failed == ["callback"] * 3
