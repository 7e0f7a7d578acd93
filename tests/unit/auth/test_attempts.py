"""Counts of attempts on one node, with a clock that the test moves; and what happens while Redis is away."""

from __future__ import annotations

from realtime.auth.attempts import KNOWN_S, Budget, Charge, MemoryAttempts
from realtime.auth.redis_attempts import RedisAttempts
from realtime.auth.throttle import Throttle

DOUBLING = Budget("guess", free=2, window_s=3600.0, pause_s=10.0)
WINDOW = Budget("address", free=3, window_s=60.0, strangers=True)


def test_a_refused_attempt_counts_nowhere() -> None:
    memory = MemoryAttempts()
    both = [Charge(DOUBLING, "ada"), Charge(WINDOW, "here")]
    assert [memory.take(both, "", 0.0) for _ in range(3)] == [0.0, 0.0, 10.0]
    assert memory.take([Charge(WINDOW, "here")], "", 0.0) == 0.0  # the third of three
    assert memory.take([Charge(WINDOW, "here")], "", 20.0) == 40.0
    assert memory.take(both, "", 20.0) == 40.0


def test_a_pause_grows_to_a_quarter_of_an_hour_and_ends_with_the_window() -> None:
    memory = MemoryAttempts()
    charge = [Charge(DOUBLING, "ada")]
    now_s, waits = 0.0, []
    for _ in range(12):
        wait_s = memory.take(charge, "", now_s)
        now_s += wait_s
        waits.append(wait_s)
        assert wait_s == 0 or memory.take(charge, "", now_s) == 0
    assert [round(wait_s) for wait_s in waits] == [0, 0, 10, 20, 40, 80, 160, 320, 640, 900, 900, 900]
    assert memory.take(charge, "", now_s + 3600) == 0.0
    assert memory.take(charge, "", now_s + 3600) == 0.0


def test_who_is_known_at_an_address_is_not_bound_by_strangers_there() -> None:
    memory = MemoryAttempts()
    address = [Charge(WINDOW, "here")]
    memory.remember("here ada", 0.0)
    for _ in range(3):
        memory.take(address, "", 0.0)
    assert memory.take(address, "here bob", 1.0) > 0
    assert memory.take([Charge(DOUBLING, "ada"), *address], "here ada", 1.0) == 0.0
    for _ in range(3):
        memory.take(address, "", KNOWN_S + 1)
    assert memory.take(address, "here ada", KNOWN_S + 1) > 0


def test_what_is_given_back_can_be_taken_again_and_no_more_than_that() -> None:
    memory = MemoryAttempts()
    charge = [Charge(DOUBLING, "ada")]
    for _ in range(5):
        assert memory.take(charge, "", 0.0) == 0.0
        memory.give_back(charge)
    memory.give_back(charge)
    assert [memory.take(charge, "", 0.0) for _ in range(3)] == [0.0, 0.0, 10.0]


def test_counts_are_bounded_in_number() -> None:
    memory = MemoryAttempts(at_most=2)
    for who in ("ada", "bob", "eve"):
        memory.take([Charge(DOUBLING, who)], "", 0.0)
        memory.remember(who, 0.0)
    assert len(memory._counts) == len(memory._known) == 2


async def test_without_redis_a_node_counts_alone_says_so_once_a_minute_and_does_not_ask_each_time(caplog: object) -> None:
    now_s = 0.0
    redis = RedisAttempts("redis://127.0.0.1:1/0", "rt")
    asked: list[float] = []
    take = redis.take

    async def counted(*arguments: object) -> float:
        asked.append(now_s)
        return await take(*arguments)  # type: ignore[arg-type]

    redis.take = counted  # type: ignore[method-assign,assignment]
    throttle = Throttle(redis, lambda: now_s)
    charge = [Charge(DOUBLING, "ada")]
    assert [await throttle.take(charge) for _ in range(3)] == [0.0, 0.0, 10.0]
    await throttle.give_back(charge)
    await throttle.succeeded(charge, [], "here ada")
    assert await throttle.take(charge) == 0.0
    assert asked == [0.0]
    now_s = 3.0
    await throttle.take(charge)
    assert asked == [0.0, 3.0]
    assert caplog.text.count("counts alone") == 1  # type: ignore[attr-defined]
    await throttle.close()
