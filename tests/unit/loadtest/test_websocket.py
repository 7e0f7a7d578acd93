"""The client's frames, against RFC 6455."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtest.protocols import websocket


def unmasked(frame: bytes) -> tuple[int, bytes]:
    """Read a client's frame byte by byte, as RFC 6455 §5.2 and §5.3 say."""
    size, at = frame[1] & 127, 2
    if size == 126:
        size, at = int.from_bytes(frame[2:4], "big"), 4
    elif size == 127:
        size, at = int.from_bytes(frame[2:10], "big"), 10
    assert frame[0] & 0x80 and frame[1] & 0x80
    mask, payload = frame[at : at + 4], frame[at + 4 :]
    assert len(payload) == size
    return frame[0] & 15, bytes(byte ^ mask[number % 4] for number, byte in enumerate(payload))


def server_frame(payload: bytes, first: int = 0x81) -> bytes:
    size = len(payload)
    head = (
        bytes((size,))
        if size < 126
        else b"\x7e" + size.to_bytes(2, "big")
        if size < 1 << 16
        else b"\x7f" + size.to_bytes(8, "big")
    )
    return bytes((first,)) + head + payload


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_a_masked_frame_reads_back_as_its_payload(payload: bytes, mask: bytes) -> None:
    assert unmasked(websocket.client_frame(websocket.TEXT, payload, mask)) == (websocket.TEXT, payload)


@pytest.mark.parametrize("size", [125, 126, 65535, 65536])
def test_lengths_take_the_form_of_their_size(size: int) -> None:
    assert unmasked(websocket.client_frame(websocket.BINARY, b"x" * size, b"\0abc")) == (websocket.BINARY, b"x" * size)


def test_masks_are_four_bytes_and_do_not_repeat() -> None:
    masks = websocket.Masks()
    taken = [masks.take() for _ in range(10_000)]
    assert {len(mask) for mask in taken} == {4}
    assert len(set(taken)) > 9_990


@given(st.lists(st.binary(max_size=200), max_size=5), st.data())
def test_frames_come_whole_wherever_the_stream_is_cut(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(server_frame(payload) for payload in payloads)
    cut = data.draw(st.integers(0, len(stream)))
    first, taken = websocket.server_frames(stream[:cut])
    second, rest = websocket.server_frames(stream[taken:])
    assert [payload for _, payload in first + second] == payloads
    assert taken + rest == len(stream)


@pytest.mark.parametrize("frame", [server_frame(b"x", 0xC1), server_frame(b"x", 0x01), b"\x81\x81abcdx"])
def test_what_a_server_must_not_send_is_refused(frame: bytes) -> None:
    with pytest.raises(websocket.WebSocketError):
        websocket.server_frames(frame)


def test_the_answer_of_the_rfc_is_taken() -> None:
    key = b"dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 §1.3
    head = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
    assert websocket.upgrade_answer(head[:-1], key) == 0
    assert websocket.upgrade_answer(head + b"more", key) == len(head)


def test_an_answer_to_another_key_is_refused() -> None:
    head = b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: AAAA\r\n\r\n"
    with pytest.raises(websocket.WebSocketError, match="does not answer"):
        websocket.upgrade_answer(head, websocket.new_key())


def test_a_refusal_says_when_to_come_back() -> None:
    with pytest.raises(websocket.Refused) as refused:
        websocket.upgrade_answer(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 3\r\n\r\n", b"")
    assert (refused.value.status, refused.value.retry_after_s) == (503, 3.0)
