"""RFC 6455 framing alone: what clients may send, what they may not and with which close code, however the bytes are cut."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.gateway import websocket
from realtime.gateway.websocket import BINARY, CLOSE, PING, PONG, TEXT, TOO_LARGE, CloseCode, Reader, close_frame, frame, split

CONTINUATION = 0
SIZES = [0, 1, 125, 126, 127, 65535, 65536, 70_000]
MASKS = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x01\x02\x03\x04", b"\x00\x00\x00\x80"]


def masked(payload: bytes, opcode: int = TEXT, *, fin: bool = True, mask: bytes = b"\x37\xfa\x21\x3d", rsv: int = 0) -> bytes:
    """Encode a frame as a client does, byte by byte after §5.2 and §5.3."""
    size = len(payload)
    head = bytes([(0x80 if fin else 0) | rsv | opcode])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([0x80 | 127]) + size.to_bytes(8, "big")
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def read(*pieces: bytes, limit_bytes: int = 1 << 20) -> tuple[list[tuple[int, bytes]], CloseCode | None]:
    """Return what a reader finds in these pieces, and the code of its violation."""
    reader = Reader(limit_bytes)
    found = [message for piece in pieces for message in reader.feed(piece)]
    return found, None if reader.violation is None else reader.violation.code


def one_by_one(data: bytes) -> Iterable[bytes]:
    return (data[at : at + 1] for at in range(len(data)))


# -- what is sent -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_is_whole_unmasked_and_its_length_in_the_shortest_form(size: int) -> None:
    encoded = frame(b"x" * size, BINARY)
    head = {True: 2, False: 4 if size < 1 << 16 else 10}[size < 126]
    assert encoded[0] == 0x80 | BINARY
    assert encoded[1] == (size if size < 126 else 126 if size < 1 << 16 else 127)
    assert int.from_bytes(encoded[2:head], "big") == (size if head > 2 else 0)
    assert encoded[head:] == b"x" * size


def test_joined_frames_of_every_size_come_apart_again() -> None:
    sent = [(opcode, os.urandom(size)) for size in SIZES for opcode in (TEXT, BINARY, PING, PONG)]
    assert split(b"".join(frame(payload, opcode) for opcode, payload in sent)) == sent
    assert split(b"") == []


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from([TEXT, BINARY, CLOSE, PING, PONG]), st.binary(max_size=300)), max_size=8))
def test_split_is_the_reverse_of_joining(sent: list[tuple[int, bytes]]) -> None:
    assert split(b"".join(frame(payload, opcode) for opcode, payload in sent)) == sent


def test_a_close_frame_holds_the_code_and_a_reason_that_fits_a_control_frame() -> None:
    assert split(close_frame(1001, "bye")) == [(CLOSE, b"\x03\xe9bye")]
    [(_, payload)] = split(close_frame(1008, "r" * 500))
    assert len(payload) == 125


def test_the_key_is_answered_as_in_the_example_of_the_rfc() -> None:
    assert websocket.accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


@pytest.mark.parametrize("key", ["", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZQ==", "!!!!IHNhbXBsZSBub25jZQ==", "é" * 24])
def test_a_key_that_is_not_sixteen_bytes_of_base64_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        websocket.accept_key(key)


# -- what is received -------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("size", SIZES)
def test_a_message_of_every_size_comes_out_under_every_mask(size: int, mask: bytes) -> None:
    payload = os.urandom(size)
    assert read(masked(payload, BINARY, mask=mask)) == ([(BINARY, payload)], None)


def test_several_messages_in_one_read_keep_their_order() -> None:
    data = masked(b"a") + masked(b"b", BINARY) + masked(b"", PING) + masked(b"c")
    assert read(data) == ([(TEXT, b"a"), (BINARY, b"b"), (PING, b""), (TEXT, b"c")], None)


def test_control_frames_between_fragments_come_out_at_once_and_the_message_whole_at_its_end() -> None:
    reader = Reader(100)
    assert reader.feed(masked(b"Hel", fin=False)) == []
    assert reader.feed(masked(b"beat", PING)) == [(PING, b"beat")]
    assert reader.feed(masked(b"", CONTINUATION, fin=False)) == []
    assert reader.feed(masked(b"", PONG)) == [(PONG, b"")]
    assert reader.feed(masked(b"lo", CONTINUATION)) == [(TEXT, b"Hello")]
    assert reader.feed(masked(b"next")) == [(TEXT, b"next")]
    assert reader.violation is None


def test_a_character_may_be_cut_over_fragments() -> None:
    text = "Grüße 👋".encode()
    for at in range(len(text) + 1):
        assert read(masked(text[:at], fin=False) + masked(text[at:], CONTINUATION)) == ([(TEXT, text)], None)


def test_a_client_that_sends_byte_by_byte_is_understood() -> None:
    data = masked("é".encode() * 100) + masked(b"now", PING) + masked(b"x" * 65536, BINARY) + masked(b"\x03\xe8bye", CLOSE)
    expected = [(TEXT, "é".encode() * 100), (PING, b"now"), (BINARY, b"x" * 65536), (CLOSE, b"\x03\xe8bye")]
    assert read(*one_by_one(data)) == (expected, None)


def valid_stream() -> st.SearchStrategy[tuple[bytes, list[tuple[int, bytes]]]]:
    """Streams of valid messages, some in fragments with control frames between them, and what they mean."""
    control = st.tuples(st.sampled_from([PING, PONG]), st.binary(max_size=125))

    @st.composite
    def draw_stream(draw: st.DrawFn) -> tuple[bytes, list[tuple[int, bytes]]]:
        data, meaning = b"", []
        for _ in range(draw(st.integers(0, 5))):
            opcode = draw(st.sampled_from([TEXT, BINARY]))
            payload = draw(st.text(max_size=150)).encode() if opcode == TEXT else draw(st.binary(max_size=150))
            cuts = sorted(draw(st.lists(st.integers(0, len(payload)), max_size=3)))
            bounds = [0, *cuts, len(payload)]
            for index in range(len(bounds) - 1):
                fragment = payload[bounds[index] : bounds[index + 1]]
                kind = opcode if index == 0 else CONTINUATION
                data += masked(fragment, kind, fin=index == len(bounds) - 2, mask=draw(st.binary(min_size=4, max_size=4)))
                if index < len(bounds) - 2:
                    for between in draw(st.lists(control, max_size=2)):
                        data += masked(between[1], between[0])
                        meaning.append(between)
            meaning.append((opcode, payload))
        return data, meaning

    return draw_stream()


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    bounds = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[low:high] for low, high in itertools.pairwise(bounds)]


@settings(deadline=None, max_examples=100)
@given(valid_stream(), st.lists(st.integers(0, 10_000), max_size=12))
def test_any_cutting_of_a_stream_gives_the_same_messages(stream: tuple[bytes, list[tuple[int, bytes]]], cuts: list[int]) -> None:
    data, meaning = stream
    assert read(*pieces_of(data, cuts)) == (meaning, None)


@settings(deadline=None, max_examples=150)
@given(st.binary(max_size=200), st.lists(st.integers(0, 10_000), max_size=8))
def test_any_cutting_of_garbage_gives_the_same_messages_and_the_same_violation(data: bytes, cuts: list[int]) -> None:
    assert read(*pieces_of(data, cuts), limit_bytes=100) == read(data, limit_bytes=100)


# -- violations -------------------------------------------------------------------------------------

VIOLATIONS = {
    "a frame without a mask": (frame(b"hello"), CloseCode.PROTOCOL_ERROR),
    "a control frame without a mask": (frame(b"", PING), CloseCode.PROTOCOL_ERROR),
    "the first reserved bit": (masked(b"x", rsv=0x40), CloseCode.PROTOCOL_ERROR),
    "the second reserved bit": (masked(b"x", rsv=0x20), CloseCode.PROTOCOL_ERROR),
    "the third reserved bit": (masked(b"x", rsv=0x10), CloseCode.PROTOCOL_ERROR),
    "a reserved bit on a control frame": (masked(b"", PING, rsv=0x40), CloseCode.PROTOCOL_ERROR),
    **{f"data opcode {opcode}": (masked(b"", opcode), CloseCode.PROTOCOL_ERROR) for opcode in range(3, 8)},
    **{f"control opcode {opcode}": (masked(b"", opcode), CloseCode.PROTOCOL_ERROR) for opcode in range(11, 16)},
    "a ping of 126 bytes": (masked(b"x" * 126, PING), CloseCode.PROTOCOL_ERROR),
    "a close frame of 126 bytes": (masked(b"\x03\xe8" + b"x" * 124, CLOSE), CloseCode.PROTOCOL_ERROR),
    "a ping in fragments": (masked(b"x", PING, fin=False), CloseCode.PROTOCOL_ERROR),
    "a close in fragments": (masked(b"\x03\xe8", CLOSE, fin=False), CloseCode.PROTOCOL_ERROR),
    "a continuation of nothing": (masked(b"x", CONTINUATION), CloseCode.PROTOCOL_ERROR),
    "an unfinished continuation of nothing": (masked(b"x", CONTINUATION, fin=False), CloseCode.PROTOCOL_ERROR),
    "a new message inside a fragmented one": (masked(b"a", fin=False) + masked(b"b"), CloseCode.PROTOCOL_ERROR),
    "new fragments inside a fragmented one": (masked(b"a", fin=False) + masked(b"b", fin=False), CloseCode.PROTOCOL_ERROR),
    "125 bytes with a length of two bytes": (b"\x82\xfe\x00\x7d" + bytes(4 + 125), CloseCode.PROTOCOL_ERROR),
    "65535 bytes with a length of eight bytes": (b"\x82\xff" + (65535).to_bytes(8, "big"), CloseCode.PROTOCOL_ERROR),
    "a length with its highest bit set": (b"\x82\xff" + (1 << 63).to_bytes(8, "big"), CloseCode.PROTOCOL_ERROR),
    "text that is not UTF-8": (masked(b"caf\xe9"), CloseCode.INVALID_DATA),
    "text with half a character at its end": (masked("€".encode()[:2]), CloseCode.INVALID_DATA),
    "text with a surrogate": (masked(b"\xed\xa0\x80"), CloseCode.INVALID_DATA),
    "text in an overlong form": (masked(b"\xc0\xaf"), CloseCode.INVALID_DATA),
    "text beyond the last character": (masked(b"\xf4\x90\x80\x80"), CloseCode.INVALID_DATA),
    "text in fragments that is not UTF-8": (masked(b"a", fin=False) + masked(b"\xff", CONTINUATION), CloseCode.INVALID_DATA),
    "half a close code": (masked(b"\x03", CLOSE), CloseCode.PROTOCOL_ERROR),
    "a close reason that is not UTF-8": (masked(b"\x03\xe8\xff", CLOSE), CloseCode.INVALID_DATA),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_is_found_with_its_close_code_however_it_comes(name: str) -> None:
    data, code = VIOLATIONS[name]
    assert read(data) == ([], code)
    assert read(*one_by_one(data)) == ([], code)


@pytest.mark.parametrize("name", VIOLATIONS)
def test_what_was_whole_before_a_violation_is_returned_and_nothing_after_it_is_read(name: str) -> None:
    data, code = VIOLATIONS[name]
    before, after = masked(b"before") + masked(b"ping", PING), masked(b"after")
    reader = Reader(1 << 20)
    assert reader.feed(before + data + after) == [(TEXT, b"before"), (PING, b"ping")]
    assert reader.violation is not None
    assert reader.violation.code == code
    assert str(reader.violation)
    assert reader.feed(after) == []


@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999])
def test_a_close_code_that_may_be_sent_is_taken(code: int) -> None:
    payload = code.to_bytes(2, "big") + "Tschüß".encode()
    assert read(masked(payload, CLOSE)) == ([(CLOSE, payload)], None)


@pytest.mark.parametrize("code", [0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535])
def test_a_close_code_that_may_not_be_sent_is_a_violation(code: int) -> None:
    assert read(masked(code.to_bytes(2, "big"), CLOSE)) == ([], CloseCode.PROTOCOL_ERROR)


def test_a_close_frame_may_be_empty() -> None:
    assert read(masked(b"", CLOSE)) == ([(CLOSE, b"")], None)


# -- bounds -----------------------------------------------------------------------------------------


def test_a_message_at_the_limit_is_taken_and_one_byte_more_is_too_big() -> None:
    assert read(masked(b"x" * 1000, BINARY), limit_bytes=1000) == ([(BINARY, b"x" * 1000)], None)
    assert read(masked(b"x" * 1001, BINARY), limit_bytes=1000) == ([], CloseCode.TOO_BIG)


def test_a_message_is_too_big_as_soon_as_its_length_is_known() -> None:
    assert read(b"\x82\xff" + (1 << 40).to_bytes(8, "big")) == ([], CloseCode.TOO_BIG)


def test_the_limit_holds_over_all_fragments_and_control_frames_do_not_count() -> None:
    start, ping, rest = masked(b"x" * 60, fin=False), masked(b"p" * 100, PING), masked(b"y" * 40, CONTINUATION)
    assert read(start + ping + rest, limit_bytes=100) == ([(PING, b"p" * 100), (TEXT, b"x" * 60 + b"y" * 40)], None)
    more = masked(b"y" * 41, CONTINUATION)
    assert read(start + ping + more, limit_bytes=100) == ([(PING, b"p" * 100)], CloseCode.TOO_BIG)


def test_after_a_fragmented_message_the_next_one_has_the_whole_limit_again() -> None:
    parts = masked(b"x" * 50, fin=False) + masked(b"x" * 50, CONTINUATION)
    assert read(parts + parts, limit_bytes=100) == ([(TEXT, b"x" * 100)] * 2, None)


@given(st.data())
def test_of_a_message_that_is_too_large_the_beginning_comes_out_however_it_is_cut(data: st.DataObject) -> None:
    size = data.draw(st.integers(1_001, 8_000))
    fragments = data.draw(st.lists(st.integers(0, size), max_size=4).map(sorted))
    payload = (b'421["message.send",' + b"x" * size)[:size]
    bounds = [0, *fragments, size]
    parts = [payload[low:high] for low, high in itertools.pairwise(bounds)]
    stream = b"".join(
        masked(part, CONTINUATION if index else TEXT, fin=index == len(parts) - 1) for index, part in enumerate(parts)
    )
    reader = Reader(1_000, 8_000)
    cuts = data.draw(st.lists(st.integers(0, 10_000), max_size=8))
    found = [message for piece in pieces_of(stream + masked(b"next"), cuts) for message in reader.feed(piece)]
    assert found == [(TEXT | TOO_LARGE, payload[: websocket.BEGINNING_BYTES]), (TEXT, b"next")]


def test_of_a_message_that_is_too_large_no_more_than_the_beginning_is_held() -> None:
    reader = Reader(1_000, 8_000)
    raw = masked(b"x" * 8_000)
    assert reader.feed(raw[:7_000]) == []
    assert reader._message is not None and sum(map(len, reader._message.pieces)) == websocket.BEGINNING_BYTES
    other = Reader(1_000, 8_000)
    assert other.feed(masked(b"x" * 8_001)[:14]) == []
    assert other.violation is not None and other.violation.code == CloseCode.TOO_BIG
