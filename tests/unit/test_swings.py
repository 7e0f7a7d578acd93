"""What comes and goes is said once a minute, and the last word is true."""

from __future__ import annotations

import asyncio

import pytest

from realtime import swings
from realtime.swings import Swings


class Scene:
    now_s = 100.0

    def __init__(self) -> None:
        self.said: list[tuple[bool, str, int]] = []
        self.swings = Swings(lambda *said: self.said.append(said), lambda: self.now_s)

    def flap(self, times: int) -> None:
        for _ in range(times):
            self.swings.turn(False, "TimeoutError")
            self.swings.turn(True)
            self.now_s += 0.4


async def test_going_and_coming_back_are_said_at_once() -> None:
    scene = Scene()
    scene.swings.turn(True)
    scene.swings.turn(False, "TimeoutError")
    scene.swings.turn(False, "OSError")
    scene.swings.turn(True)
    assert scene.said == [(False, "TimeoutError", 1), (True, "", 1)]


async def test_many_swings_are_two_lines_a_minute() -> None:
    scene = Scene()
    scene.flap(140)  # 56 s
    assert scene.said == [(False, "TimeoutError", 1), (True, "", 1)]
    scene.flap(20)
    assert [well for well, _, _ in scene.said] == [False, True, False, True]
    assert scene.said[2][2] > 200
    scene.swings.close()


async def test_the_last_word_is_true(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swings, "SAY_S", 0.02)
    loop = asyncio.get_running_loop()
    said: list[tuple[bool, str, int]] = []
    flapping = Swings(lambda *one: said.append(one), loop.time)
    for is_well in (False, True, False):
        flapping.turn(is_well, "TimeoutError")
    assert [well for well, _, _ in said] == [False, True]
    async with asyncio.timeout(5):
        while len(said) < 3:
            await asyncio.sleep(0.005)
    assert said[2] == (False, "TimeoutError", 1)
    flapping.close()
