"""Slots and their owners, as a cluster tells them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from realtime.bus.slots import SLOTS, Address, parse, slot_of

ASKED = Address("10.0.0.9", 7000)
A, B = Address("10.0.0.1", 7001), Address("10.0.0.2", 7002)
ANSWER = [[0, 8191, [b"10.0.0.1", 7001, b"id"], [b"10.0.0.3", 7003, b"a replica"]], [8192, 16383, [b"10.0.0.2", 7002, b"id"]]]


def test_the_slot_of_the_specifications_example() -> None:
    assert slot_of("123456789") == 0x31C3
    assert slot_of("{user1000}.following") == slot_of("user1000")
    assert slot_of("foo{}{bar}") == key_slot(b"foo{}{bar}")


@given(st.text())
def test_slots_are_those_of_the_driver(channel: str) -> None:
    assert slot_of(channel) == key_slot(channel.encode())


def test_owners_are_read() -> None:
    slots = parse(ANSWER, ASKED)
    assert slots.masters == {A, B}
    assert slots.complete
    assert slots.owner("x{user1000}") == (A if slot_of("user1000") < 8192 else B)


@pytest.mark.parametrize("host", [None, b"", b"?"])
def test_a_server_that_does_not_know_its_name_is_the_one_that_was_asked(host: bytes | None) -> None:
    assert parse([[0, 5, [host, 7000, b"id"]]], ASKED).masters == {ASKED}


def test_slots_that_nobody_serves_are_known() -> None:
    slots = parse([[0, 0, [b"10.0.0.1", 7001, b"id"]]], ASKED)
    assert not slots.complete
    assert slots.owner("{user1000}") is None


@pytest.mark.parametrize("owner", [A, B])
def test_a_tag_leads_to_its_server(owner: Address) -> None:
    slots = parse(ANSWER, ASKED)
    tag = slots.tag(owner)
    assert slots.owner(f"rt:node:ab:{{{tag}}}") == owner


def test_even_the_owner_of_one_slot_has_a_tag_and_who_has_none_has_not() -> None:
    slots = parse(ANSWER, ASKED)
    assert slots.tag(ASKED) is None
    slots.move(12_345, ASKED)
    tag = slots.tag(ASKED)
    assert tag is not None and slot_of(tag) == 12_345


@pytest.mark.parametrize("answer", [[1], [[0, 1]], [[0, SLOTS + 5, [b"h", 1]]], [["a", "b", [b"h", 1]]], [[0, 1, b"host"]]])
def test_what_is_no_answer_is_refused(answer: list[object]) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse(answer, ASKED)
