"""The Engine.IO protocol, version 4: packets, payloads and the handshake. Pure, no I/O.

Source: the Engine.IO protocol document, <https://github.com/socketio/engine.io-protocol>.
"""

from __future__ import annotations

import base64
import binascii
import enum

import msgspec

from realtime.gateway import websocket

PROTOCOL = "4"
OPEN, CLOSE, PING, PONG, MESSAGE, UPGRADE, NOOP = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
PROBE = b"probe"
SEPARATOR = b"\x1e"
MAX_POLLED = 16
"""Packets in one payload; python-engineio's client (4.15) drops a payload with more."""
BINARY = b"b"
"""Begins a packet that is binary data in base64: in polling, and on a WebSocket from clients that cannot send bytes."""


class Refusal(enum.Enum):
    """Why a request is answered with an error: code and message as the protocol's reference server sends them."""

    UNKNOWN_TRANSPORT = (0, "Transport unknown")
    UNKNOWN_SID = (1, "Session ID unknown")
    BAD_METHOD = (2, "Bad handshake method")
    BAD_REQUEST = (3, "Bad request")
    FORBIDDEN = (4, "Forbidden")
    UNSUPPORTED_VERSION = (5, "Unsupported protocol version")

    @property
    def body(self) -> bytes:
        code, message = self.value
        return msgspec.json.encode({"code": code, "message": message})


class InvalidPacket(ValueError):
    """The peer sent what is no packet."""


class Handshake(msgspec.Struct, rename="camel"):
    """The payload of the open packet; times in milliseconds."""

    sid: str
    upgrades: list[str]
    ping_interval: int
    ping_timeout: int
    max_payload: int


def open_packet(handshake: Handshake) -> bytes:
    return OPEN + msgspec.json.encode(handshake)


def polled(frames: bytes) -> list[bytes]:
    """Encode joined WebSocket frames, in which everything is sent, as the packets of a payload."""
    return [body if opcode == websocket.TEXT else BINARY + base64.b64encode(body) for opcode, body in websocket.split(frames)]


def framed(packet: bytes) -> bytes:
    """Encode a packet of `polled` as a WebSocket frame again."""
    if packet[:1] == BINARY:
        return websocket.frame(base64.b64decode(packet[1:]), websocket.BINARY)
    return websocket.frame(packet)


def binary(encoded: bytes) -> bytes:
    """Decode the data of a packet `b…`. The official Java client breaks its lines (RFC 2045 §6.8).

    Raises:
        InvalidPacket: it is not base64.
    """
    try:
        return base64.b64decode(encoded.translate(None, b"\r\n"), validate=True)
    except binascii.Error as error:
        raise InvalidPacket(str(error)) from error


def take_payload(queue: list[bytes], limit_bytes: int) -> bytes:
    """Take the next payload off a queue of packets: at least one packet, and no more than clients take at once.

    A close packet comes alone: the official client drops what came before it in the same payload and was not handled yet.
    """
    count, size = 1, len(queue[0])
    for packet in queue[1:MAX_POLLED]:
        if size + len(packet) >= limit_bytes or packet == CLOSE:
            break
        count += 1
        size += len(packet) + 1
    taken = queue[:count]
    del queue[:count]
    return SEPARATOR.join(taken)


def cut(body: bytes) -> tuple[bytes, bytes]:
    """Part the beginning of a body into the packets that are whole and the beginning of the last one."""
    whole, _, last = body.rpartition(SEPARATOR)
    return whole, last[: websocket.BEGINNING_BYTES]


def packets(body: bytes, at_most: int) -> list[tuple[int, bytes]]:
    """Decode the body of a POST into (WebSocket opcode, data): the same that a WebSocket would have brought.

    Args:
        at_most: Packets allowed.

    Raises:
        InvalidPacket: one is no packet, or there are too many.
    """
    if body.count(SEPARATOR) >= at_most:
        raise InvalidPacket("too many packets")
    try:
        body.decode()
        return [
            (websocket.BINARY, binary(packet[1:])) if packet[:1] == BINARY else (websocket.TEXT, packet)
            for packet in body.split(SEPARATOR)
        ]
    except UnicodeDecodeError as error:
        raise InvalidPacket(str(error)) from error
