"""What a process of the sandbox says is checked before it is believed."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.sandbox import frames
from realtime.sandbox.frames import AnswerReader, Confined, Garbled, Status

NUMBER = 0x1122_3344_5566_7788


@given(st.binary(max_size=200), st.lists(st.integers(1, 40), max_size=40), st.sampled_from(Status))
def test_an_answer_is_the_same_however_it_arrives(body: bytes, parts: list[int], status: Status) -> None:
    data, reader, found = frames.answer(NUMBER, status, body), AnswerReader(NUMBER, 200), None
    for size in [*parts, len(data)]:
        if data:
            assert found is None
            found, data = reader.feed(data[:size]), data[size:]
    assert found == (status, body)


@given(st.binary(max_size=64))
def test_garbage_is_refused_or_waited_for_and_nothing_else(data: bytes) -> None:
    reader = AnswerReader(NUMBER, 16)
    try:
        found = reader.feed(data)
    except Garbled:
        return
    assert found is None and len(data) < frames.ANSWER_BYTES + 16


@pytest.mark.parametrize(
    "data",
    [
        frames.answer(NUMBER + 1, Status.OK, b""),
        struct.pack("!QBI", NUMBER, max(Status) + 1, 0),
        struct.pack("!QBI", NUMBER, 0, 17),
        struct.pack("!QBI", NUMBER, 0, 0xFFFF_FFFF),
        frames.answer(NUMBER, Status.OK, b"x") + b"y",
        frames.answer(NUMBER, Status.OK) * 2,
    ],
)
def test_an_answer_to_something_else_or_too_large_or_with_more_behind_it_is_refused(data: bytes) -> None:
    with pytest.raises(Garbled):
        AnswerReader(NUMBER, 16).feed(data)


def test_a_request_says_the_same_to_both_sides() -> None:
    head = frames.request(NUMBER, "module:function", 3, 100, b"data")
    found = frames.read_request(head[: frames.REQUEST_BYTES])
    assert (found.id, found.cpu_s, found.answer_bytes, found.data_bytes) == (NUMBER, 3, 100, 4)
    assert head[frames.REQUEST_BYTES :] == b"module:function"
    assert found.name_bytes == len("module:function")


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"short",
        struct.pack("!QIHII", 1, 0, 1, 1, 1),
        struct.pack("!QIHII", 1, 1, 257, 1, 1),
        struct.pack("!QIHII", 1, 1, 1, frames.MAX_BYTES + 1, 1),
        struct.pack("!QIHII", 1, 1, 1, 1, frames.MAX_BYTES + 1),
    ],
)
def test_a_request_out_of_its_bounds_is_refused(head: bytes) -> None:
    with pytest.raises(Garbled):
        frames.read_request(head)


@pytest.mark.parametrize("data", [b"", b"rws1", b"rws2\x00", b"HTTP/", b"rws1\x00\x00"])
def test_a_process_that_does_not_greet_is_none_of_ours(data: bytes) -> None:
    with pytest.raises(Garbled):
        frames.read_hello(data)


def test_a_greeting_says_what_the_process_was_kept_from() -> None:
    assert frames.read_hello(frames.hello(Confined.NETWORK)) == Confined.NETWORK
    assert frames.read_hello(b"rws1\xff") == Confined.NETWORK | Confined.FILES
