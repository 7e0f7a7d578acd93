"""Engine.IO packets and payloads alone: one encoding for WebSockets and polls, and the bounds of both directions."""

from __future__ import annotations

import base64

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.gateway import engineio, websocket
from realtime.gateway.engineio import InvalidPacket, Refusal, framed, packets, polled, take_payload
from realtime.gateway.websocket import BINARY, TEXT, frame

# What a text packet may hold: anything but the separator, and not the mark of a binary one at its beginning.
text_packet = st.text(st.characters(exclude_characters="\x1e", exclude_categories=["Cs"]), max_size=60).filter(
    lambda text: not text.startswith("b")
)
message = st.one_of(
    text_packet.map(lambda text: (TEXT, text.encode())),
    st.binary(max_size=60).map(lambda raw: (BINARY, raw)),
)


def test_the_open_packet_has_the_names_of_the_protocol_and_milliseconds() -> None:
    opened = engineio.open_packet(engineio.Handshake("abc", ["websocket"], 25_000, 20_000, 65_536))
    assert opened[:1] == b"0"
    assert msgspec.json.decode(opened[1:]) == {
        "sid": "abc",
        "upgrades": ["websocket"],
        "pingInterval": 25_000,
        "pingTimeout": 20_000,
        "maxPayload": 65_536,
    }


def test_refusals_have_the_codes_and_messages_of_the_reference_server() -> None:
    bodies = [msgspec.json.decode(refusal.body) for refusal in Refusal]
    assert [body["code"] for body in bodies] == [0, 1, 2, 3, 4, 5]
    assert [body["message"] for body in bodies] == [
        "Transport unknown",
        "Session ID unknown",
        "Bad handshake method",
        "Bad request",
        "Forbidden",
        "Unsupported protocol version",
    ]


# -- to a poll --------------------------------------------------------------------------------------


def test_frames_become_packets_and_binary_ones_base64() -> None:
    frames = frame(b'42["a"]') + frame(b"\x00\xff\x1e", BINARY) + frame(b"2")
    assert polled(frames) == [b'42["a"]', b"bAP8e", b"2"]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.one_of(text_packet.map(str.encode), st.binary(max_size=60)), max_size=6), st.data())
def test_what_waited_for_a_poll_becomes_the_same_frames_again(bodies: list[bytes], data: st.DataObject) -> None:
    frames = []
    for body in bodies:
        as_text = not body.startswith(b"b") and data.draw(st.booleans())
        frames.append(frame(body, TEXT if as_text else BINARY))
    assert [framed(packet) for packet in polled(b"".join(frames))] == frames


@settings(deadline=None, max_examples=60)
@given(st.lists(message, min_size=1, max_size=engineio.MAX_POLLED))
def test_a_payload_is_read_as_what_a_websocket_would_have_brought(messages: list[tuple[int, bytes]]) -> None:
    queue = polled(b"".join(frame(body, opcode) for opcode, body in messages))
    read = []
    while queue:  # a close packet begins a payload of its own
        read += packets(take_payload(queue, 1 << 20), engineio.MAX_POLLED)
    assert read == messages


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 57, 58, 1000])
def test_base64_may_be_broken_into_lines(line_end: str, size: int) -> None:
    """So the official Java client writes it on Android: 76 characters a line, and one end of line more."""
    raw = bytes(range(256)) * 4
    encoded = base64.b64encode(raw[:size]).decode()
    lines = "".join(encoded[at : at + 76] + line_end for at in range(0, len(encoded), 76))
    assert packets(f"b{lines}\x1e4x\x1eb{lines}".encode(), 10) == [(BINARY, raw[:size]), (TEXT, b"4x"), (BINARY, raw[:size])]


# -- bounds of a payload ----------------------------------------------------------------------------


def test_a_payload_has_as_many_packets_as_clients_take_and_the_rest_waits_in_order() -> None:
    queue = [b"4%d" % number for number in range(40)]
    sizes, seen = [], []
    while queue:
        taken = take_payload(queue, 1 << 20).split(b"\x1e")
        sizes.append(len(taken))
        seen += taken
    assert sizes == [16, 16, 8]
    assert seen == [b"4%d" % number for number in range(40)]


def test_a_close_comes_in_a_payload_of_its_own() -> None:
    queue = [b"4first", b"4last", b"1"]
    assert [take_payload(queue, 1000), take_payload(queue, 1000)] == [b"4first\x1e4last", b"1"]


def test_a_payload_fills_the_limit_to_the_byte_and_not_beyond() -> None:
    assert take_payload([b"x" * 49, b"y" * 50], 100) == b"x" * 49 + b"\x1e" + b"y" * 50
    queue = [b"x" * 50, b"y" * 50]
    assert take_payload(queue, 100) == b"x" * 50
    assert queue == [b"y" * 50]


def test_a_packet_larger_than_a_payload_goes_alone_and_is_not_stuck() -> None:
    queue = [b"x" * 500, b"y"]
    assert take_payload(queue, 100) == b"x" * 500
    assert take_payload(queue, 100) == b"y"


@settings(deadline=None, max_examples=60)
@given(st.lists(st.binary(max_size=40).map(lambda raw: raw.replace(b"\x1e", b"")), min_size=1, max_size=60), st.integers(1, 200))
def test_nothing_is_lost_or_reordered_whatever_the_limit(waiting: list[bytes], limit_bytes: int) -> None:
    queue, seen = list(waiting), []
    while queue:
        payload = take_payload(queue, limit_bytes)
        taken = payload.split(b"\x1e")
        assert len(taken) <= engineio.MAX_POLLED
        assert len(payload) <= limit_bytes or len(taken) == 1
        seen += taken
    assert seen == waiting


# -- from a POST ------------------------------------------------------------------------------------


def test_a_post_is_taken_apart_in_order() -> None:
    body = b'42["a"]\x1e3\x1ebAP8=\x1e' + "4é".encode()
    assert packets(body, 10) == [(TEXT, b'42["a"]'), (TEXT, b"3"), (BINARY, b"\x00\xff"), (TEXT, "4é".encode())]


def test_as_many_packets_as_allowed_are_taken_and_one_more_is_refused() -> None:
    assert len(packets(b"\x1e".join([b"3"] * 5), 5)) == 5
    with pytest.raises(InvalidPacket, match="too many"):
        packets(b"\x1e".join([b"3"] * 6), 5)


@pytest.mark.parametrize(
    "body",
    [b"4\xff", b"4caf\xe9", b"4\xed\xa0\x80", b"bAP8", b"b=", b"b****", "bé==".encode(), b"bAP8e\t", b"b A P 8", b"3\x1ebAP8"],
)
def test_what_is_not_utf8_or_not_base64_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidPacket):
        packets(body, 10)


@settings(deadline=None, max_examples=200)
@given(st.one_of(st.binary(max_size=80), st.text(max_size=40).map(lambda text: b"b" + text.encode("utf-8", "surrogatepass"))))
def test_a_post_of_garbage_is_refused_or_taken_and_never_anything_else(body: bytes) -> None:
    try:
        found = packets(body, 20)
    except InvalidPacket:
        return
    assert len(found) == body.count(b"\x1e") + 1
    again = [raw if opcode == TEXT else b"b" + base64.b64encode(raw) for opcode, raw in found]
    assert packets(b"\x1e".join(again), 20) == found


def test_the_packet_types_are_those_of_the_protocol() -> None:
    kinds = [engineio.OPEN, engineio.CLOSE, engineio.PING, engineio.PONG, engineio.MESSAGE, engineio.UPGRADE, engineio.NOOP]
    assert kinds == [b"0", b"1", b"2", b"3", b"4", b"5", b"6"]
    assert engineio.PROTOCOL == "4"
    assert websocket.split(framed(engineio.NOOP)) == [(TEXT, b"6")]
