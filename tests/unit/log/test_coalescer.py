"""Concurrent look-ups become few loads, and an answer is never older than its question."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence

import pytest

from realtime.log.coalescer import Coalescer


async def test_a_hundred_questions_make_two_loads() -> None:
    loads: list[list[int]] = []

    async def load(keys: Sequence[int]) -> list[int]:
        loads.append(list(keys))
        await asyncio.sleep(0)
        return [key * 2 for key in keys]

    coalescer = Coalescer[int, int](load, 1000)
    first = asyncio.create_task(coalescer.get(0))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rest = await asyncio.gather(*(coalescer.get(key % 10) for key in range(1, 100)))
    assert await first == 0
    assert rest == [key % 10 * 2 for key in range(1, 100)]
    assert len(loads) == 2
    assert coalescer.loads == 2


async def test_loads_begin_a_pause_apart_and_the_first_after_a_rest_at_once() -> None:
    began: list[float] = []
    now = asyncio.get_running_loop().time

    async def load(keys: Sequence[int]) -> list[int]:
        began.append(now())
        return list(keys)

    coalescer = Coalescer[int, int](load, 3, pause_s=0.2)
    asked_s = now()
    for key in range(3):
        await coalescer.get(key)
    assert began[0] - asked_s < 0.1
    assert all(later - earlier >= 0.19 for earlier, later in itertools.pairwise(began))
    full_s = now()
    await coalescer.get_many([1, 2, 3])  # as many as one load takes: nothing to wait for
    assert began[-1] - full_s < 0.1


async def test_a_key_in_flight_is_loaded_again_for_whoever_asks_later() -> None:
    value = 1
    started, go_on = asyncio.Event(), asyncio.Event()

    async def load(keys: Sequence[str]) -> list[int]:
        seen = value
        started.set()
        await go_on.wait()
        return [seen] * len(keys)

    coalescer = Coalescer[str, int](load, 10)
    early = asyncio.create_task(coalescer.get("key"))
    await started.wait()
    value = 2
    late = asyncio.create_task(coalescer.get("key"))
    go_on.set()
    assert (await early, await late) == (1, 2)


async def test_a_failed_load_fails_who_asked_and_nobody_else() -> None:
    fail = True

    async def load(keys: Sequence[int]) -> list[int]:
        if fail:
            raise ConnectionError
        return list(keys)

    coalescer = Coalescer[int, int](load, 10)
    with pytest.raises(ConnectionError):
        await coalescer.get(1)
    fail = False
    assert await coalescer.get_many([1, 2]) == [1, 2]


async def test_a_caller_who_gives_up_does_not_take_the_answer_from_the_others() -> None:
    go_on = asyncio.Event()

    async def load(keys: Sequence[int]) -> list[int]:
        await go_on.wait()
        return list(keys)

    coalescer = Coalescer[int, int](load, 10)
    quits, stays = asyncio.create_task(coalescer.get(1)), asyncio.create_task(coalescer.get(1))
    await asyncio.sleep(0)
    quits.cancel()
    await asyncio.sleep(0)
    go_on.set()
    assert await stays == 1
