"""How many requests are made at once: bounds hold, nobody starves, and nothing of a host is kept."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from realtime.outbound.slots import Slots


def test_a_host_has_its_share_and_the_rest_is_for_others() -> None:
    slots: Slots[int] = Slots(3, 2, 100)
    assert [slots.take("a"), slots.take("a"), slots.take("a")] == [True, True, False]
    assert [slots.take("b"), slots.take("c")] == [True, False]


def test_a_request_that_waits_for_a_busy_host_holds_no_other_up() -> None:
    slots: Slots[str] = Slots(3, 1, 100)
    assert slots.take("a")
    assert slots.take("b")
    assert slots.wait("a", "first")
    assert slots.wait("b", "second")
    assert slots.give("b") == "second"
    assert slots.give("a") == "first"
    assert slots.give("a") is None
    assert slots.busy == 1


def test_the_queue_is_bounded_in_all_and_for_one_host() -> None:
    slots: Slots[int] = Slots(1, 1, 20)
    assert slots.take("a")
    assert [slots.wait("a", number) for number in range(3)] == [True, True, False]
    assert sum(slots.wait(f"h{number}", number) for number in range(10, 40)) == 18


def test_a_request_that_leaves_the_queue_is_given_no_slot() -> None:
    slots: Slots[int] = Slots(1, 1, 20)
    assert slots.take("a")
    assert slots.wait("a", 1)
    assert slots.leave(1)
    assert not slots.leave(1)
    assert slots.give("a") is None
    assert slots.waiting == 0


@given(st.integers(0, 1_000_000))
def test_the_bounds_hold_and_nothing_is_left_behind(seed: int) -> None:
    choose = random.Random(seed)
    slots: Slots[int] = Slots(5, 2, 30)
    going: list[tuple[int, str]] = []
    waiting: dict[int, str] = {}
    for number in range(200):
        host = choose.choice("abcd")
        if choose.random() < 0.6:
            if slots.take(host):
                going.append((number, host))
            elif slots.wait(host, number):
                waiting[number] = host
        elif going:
            _, host = going.pop(choose.randrange(len(going)))
            after = slots.give(host)
            if after is not None:
                going.append((after, waiting.pop(after)))
        assert len(going) == slots.busy <= 5
        assert all(sum(one == host for _, one in going) <= 2 for host in "abcd")
    while going:
        _, host = going.pop()
        if (after := slots.give(host)) is not None:
            going.append((after, waiting.pop(after)))
    assert not waiting, "whoever waits has a turn"
    assert (slots.busy, slots.waiting, dict(slots._busy), dict(slots._queued)) == (0, 0, {}, {})
