"""Background tasks are ended for certain."""

from __future__ import annotations

import asyncio

import pytest

from realtime import tasks


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
