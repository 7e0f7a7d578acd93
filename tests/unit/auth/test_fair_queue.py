"""The queue of password checks: turns by address, and who goes when it is full."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from realtime.auth.fair_queue import FairQueue


def popped(queue: FairQueue[str]) -> list[str]:
    return [one for _ in range(len(queue)) if (one := queue.pop()) is not None]


def test_addresses_take_turns_and_each_keeps_its_order() -> None:
    queue = FairQueue[str](10)
    for entry in ("a1", "a2", "a3", "b1", "c1", "b2"):
        assert queue.push(entry[0], entry) is None
    assert popped(queue) == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert queue.pop() is None


def test_a_newcomer_takes_the_last_place_of_the_address_that_has_the_most() -> None:
    queue = FairQueue[str](4)
    for entry in ("a1", "a2", "a3", "b1"):
        queue.push(entry[0], entry)
    assert queue.push("c", "c1") == "a3"
    assert queue.push("b", "b2") == "b2"  # two against one: nothing would be fairer
    assert queue.push("d", "d1") == "a2"
    assert queue.push("e", "e1") == "e1"  # each has one
    assert popped(queue) == ["a1", "b1", "c1", "d1"]


def test_one_address_alone_may_fill_the_queue_and_no_more() -> None:
    queue = FairQueue[str](2)
    assert [queue.push("a", entry) for entry in ("a1", "a2", "a3")] == [None, None, "a3"]


def test_an_entry_that_nobody_waits_for_leaves_and_again_is_harmless() -> None:
    queue = FairQueue[str](4)
    for entry in ("a1", "a2", "b1"):
        queue.push(entry[0], entry)
    queue.remove("a", "a1")
    queue.remove("a", "a1")
    queue.remove("z", "z1")
    assert len(queue) == 2
    assert popped(queue) == ["a2", "b1"]


@given(st.integers(1, 6), st.lists(st.one_of(st.none(), st.integers(0, 4)), max_size=80))
def test_nobody_has_more_than_a_share_while_another_is_refused(at_most: int, steps: list[int | None]) -> None:
    queue = FairQueue[tuple[int, int]](at_most)
    for number, who in enumerate(steps):
        if who is None:
            queue.pop()
            continue
        gone = queue.push(str(who), (who, number))
        counts = [sum(1 for one, _ in queue if one == address) for address in range(5)]
        assert len(queue) == sum(counts) <= at_most
        if gone == (who, number):
            assert max(counts) <= counts[who] + 1
