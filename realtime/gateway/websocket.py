"""The WebSocket protocol (RFC 6455), server side: frames in, frames out. Pure, no I/O.

Extensions are never negotiated: with permessage-deflate a connection may cost 200 KiB of state (RFC 7692 §7.1.2), and a
frame could no longer be encoded once for everybody.
"""

from __future__ import annotations

import base64
import enum
import hashlib

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_CONTINUATION = 0x0
_FIN, _RSV, _OPCODE, _MASK = 0x80, 0x70, 0x0F, 0x80


class CloseCode(enum.IntEnum):
    """Status codes (RFC 6455 §7.4.1), and ours from the range for private use."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    INVALID_DATA = 1007
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL = 1011
    TRY_AGAIN_LATER = 1013


class Violation(Exception):
    """The peer broke the protocol; `code` goes into the close frame."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def accept_key(key: str) -> str:
    """Answer a `Sec-WebSocket-Key` (RFC 6455 §4.2.2).

    Raises:
        ValueError: it is not the base64 of 16 bytes.
    """
    if len(base64.b64decode(key, validate=True)) != 16:
        raise ValueError("the key is 16 bytes")
    return base64.b64encode(hashlib.sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest()).decode()


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Encode a whole message, or a control frame, as one unmasked frame."""
    size = len(payload)
    if size < 126:
        return bytes((_FIN | opcode, size)) + payload
    if size < 1 << 16:
        return bytes((_FIN | opcode, 126)) + size.to_bytes(2, "big") + payload
    return bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big") + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Encode a close frame; the reason is cut to what fits (RFC 6455 §5.5)."""
    return frame(code.to_bytes(2, "big") + reason.encode()[:123], CLOSE)


def split(frames: bytes) -> list[tuple[int, bytes]]:
    """Take joined frames of `frame` apart again, into (opcode, payload)."""
    found = []
    at = 0
    while at < len(frames):
        size, head = frames[at + 1], 2
        if size == 126:
            size, head = int.from_bytes(frames[at + 2 : at + 4], "big"), 4
        elif size == 127:
            size, head = int.from_bytes(frames[at + 2 : at + 10], "big"), 10
        found.append((frames[at] & _OPCODE, frames[at + head : at + head + size]))
        at += head + size
    return found


class Reader:
    """Takes bytes as they come and returns whole messages and control frames.

    Args:
        limit_bytes: Size of a message at most, over all its fragments.

    Attributes:
        violation: What the peer did wrong. Nothing is read any more once it is set.
    """

    __slots__ = ("_buffer", "_fragments", "_limit_bytes", "_needed", "_opcode", "violation")

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._buffer: bytearray | None = None
        self._needed = 0
        self._opcode = 0
        self._fragments: bytearray | None = None
        self.violation: Violation | None = None

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return what is complete now, as (opcode, payload): text is valid UTF-8, control frames come in between.

        What was whole before a violation is returned too; look at `violation` afterwards.
        """
        if self.violation is not None:
            return []
        if self._buffer is not None:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return []  # do not parse the same beginning with every segment
            data, self._buffer = bytes(self._buffer), None
        found: list[tuple[int, bytes]] = []
        at = 0
        try:
            while at < len(data):
                end = self._frame(data, at, found)
                if end < 0:
                    self._needed = -end - at
                    self._buffer = bytearray(data[at:])
                    break
                at = end
        except Violation as violation:
            self.violation = violation
            self._fragments = None
        return found

    def _frame(self, data: bytes, at: int, found: list[tuple[int, bytes]]) -> int:
        """Read one frame; return where it ends, or minus the place up to which more is needed."""
        have = len(data)
        if have < at + 2:
            return -(at + 2)
        first, second = data[at], data[at + 1]
        opcode, size, head = first & _OPCODE, second & 0x7F, at + 2
        if first & _RSV:
            raise Violation(CloseCode.PROTOCOL_ERROR, "reserved bits are set and no extension was negotiated")
        if not second & _MASK:
            raise Violation(CloseCode.PROTOCOL_ERROR, "frames of clients are masked")  # §5.1
        if opcode & 0x8:
            if opcode > PONG:
                raise Violation(CloseCode.PROTOCOL_ERROR, "unknown control opcode")
            if size > 125 or not first & _FIN:
                raise Violation(CloseCode.PROTOCOL_ERROR, "control frames are short and whole")  # §5.5
        elif opcode > BINARY:
            raise Violation(CloseCode.PROTOCOL_ERROR, "unknown opcode")
        if size >= 126:
            width = 2 if size == 126 else 8
            if have < head + width:
                return -(head + width)
            size = int.from_bytes(data[head : head + width], "big")
            head += width
            if size < (126 if width == 2 else 1 << 16) or size >> 63:
                raise Violation(CloseCode.PROTOCOL_ERROR, "a length is written in its shortest form")  # §5.2
        if not opcode & 0x8 and size + len(self._fragments or b"") > self._limit_bytes:
            raise Violation(CloseCode.TOO_BIG, f"a message has at most {self._limit_bytes} bytes")
        end = head + 4 + size
        if have < end:
            return -end
        payload = _unmask(data[head : head + 4], data[head + 4 : end])
        if opcode & 0x8:
            found.append((opcode, _checked_close(payload) if opcode == CLOSE else payload))
        else:
            self._data(first & _FIN, opcode, payload, found)
        return end

    def _data(self, fin: int, opcode: int, payload: bytes, found: list[tuple[int, bytes]]) -> None:
        if opcode == _CONTINUATION:
            if self._fragments is None:
                raise Violation(CloseCode.PROTOCOL_ERROR, "nothing to continue")
            self._fragments += payload
            if not fin:
                return
            opcode, payload, self._fragments = self._opcode, bytes(self._fragments), None
        elif self._fragments is not None:
            raise Violation(CloseCode.PROTOCOL_ERROR, "a new message inside a fragmented one")
        elif not fin:
            self._opcode, self._fragments = opcode, bytearray(payload)
            return
        if opcode == TEXT and not payload.isascii():
            _check_utf8(payload)
        found.append((opcode, payload))


def _unmask(mask: bytes, payload: bytes) -> bytes:
    # One XOR over a big integer: linear, and faster in CPython than any loop over bytes.
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


def _check_utf8(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise Violation(CloseCode.INVALID_DATA, "text is UTF-8") from error  # §8.1


def _checked_close(payload: bytes) -> bytes:
    if len(payload) == 1:
        raise Violation(CloseCode.PROTOCOL_ERROR, "half a close code")
    if payload:
        code = int.from_bytes(payload[:2], "big")
        # §7.4.2, and the registry behind it: 1000–1014 but the reserved ones, and 3000–4999.
        if not (3000 <= code <= 4999 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006))):
            raise Violation(CloseCode.PROTOCOL_ERROR, "no such close code")
        _check_utf8(payload[2:])
    return payload
