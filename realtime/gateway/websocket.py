"""The WebSocket protocol (RFC 6455), server side: frames in, frames out. Pure, no I/O.

Extensions are never negotiated: with permessage-deflate a connection may cost 200 KiB of state (RFC 7692 §7.1.2), and a
frame could no longer be encoded once for everybody.
"""

from __future__ import annotations

import base64
import codecs
import enum
import hashlib

from realtime.gateway import masking

_utf8_decoder = codecs.getincrementaldecoder("utf-8")
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 §1.3

TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
TOO_LARGE = 0x10
"""Marks the opcode of a message that was larger than it may be: of it the beginning is there."""
BEGINNING_BYTES = 512
_CONTINUATION = 0x0
_PIECE_BYTES = 1 << 12
_UNIT_SHIFT = 12
_FIN, _RSV, _OPCODE, _MASK = 0x80, 0x70, 0x0F, 0x80


class CloseCode(enum.IntEnum):
    """Status codes (RFC 6455 §7.4.1), and ours from the range for private use."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    NO_STATUS = 1005
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


_SHORT_TEXT = [bytes((_FIN | TEXT, size)) for size in range(126)]


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """Encode a whole message, or a control frame, as one unmasked frame."""
    size = len(payload)
    if size < 126:
        return (_SHORT_TEXT[size] if opcode == TEXT else bytes((_FIN | opcode, size))) + payload
    if size < 1 << 16:
        return bytes((_FIN | opcode, 126, size >> 8, size & 0xFF)) + payload
    return bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big") + payload


def close_frame(code: int, reason: str = "") -> bytes:
    """Encode a close frame; the reason is cut to what fits (RFC 6455 §5.5). `NO_STATUS` stands for an empty one (§7.1.5)."""
    return frame(b"" if code == CloseCode.NO_STATUS else code.to_bytes(2, "big") + reason.encode()[:123], CLOSE)


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

    A message that is whole in what came is cut out of it. Of one that is not, each piece is unmasked and checked when it
    comes, so that wrong text is refused at once (RFC 6455 §8.1 allows to wait) and a big message is not copied again and again.

    Args:
        limit_bytes: Size of a message at most, over all its fragments.
        read_bytes: Up to this size a message that is larger is read and dropped but for its beginning, so that its sender can be
            told; beyond it, and without this, it is a violation.

    Attributes:
        violation: What the peer did wrong. Nothing is read any more once it is set.
        units: What the last `feed` was worth: one for each frame, and one for every 4 KiB of it.
        is_behind: Whether whole frames may wait that the last `feed` had no budget for.
    """

    __slots__ = ("_at", "_head", "_limit_bytes", "_message", "_read_bytes", "is_behind", "units", "violation")

    def __init__(self, limit_bytes: int, read_bytes: int = 0) -> None:
        self._limit_bytes = limit_bytes
        self._read_bytes = max(limit_bytes, read_bytes)
        self._head = b""  # the beginning of a frame that says too little yet, or what there was no budget for
        self._at = 0  # where that begins
        self._message: _Message | None = None
        self.violation: Violation | None = None
        self.units = 0
        self.is_behind = False

    def feed(self, data: bytes, budget: int = 1 << 30) -> list[tuple[int, bytes]]:
        """Return what is complete now, as (opcode, payload): text is valid UTF-8, control frames come in between.

        What was whole before a violation is returned too; look at `violation` afterwards. What there was no budget for waits
        for the next call; look at `is_behind`.

        Args:
            budget: Units to spend; the last frame may cost more than was left.
        """
        if self.violation is not None:
            return []
        found: list[tuple[int, bytes]] = []
        at = 0
        left = budget
        try:
            if self._head:
                data, at = (self._head + data if data else self._head), self._at
                self._head, self._at = b"", 0
            elif self._message is not None and self._message.missing:
                at = self._go_on(data, 0, found)
                left -= 1 + (at >> _UNIT_SHIFT)
            have = len(data)
            while at < have and left > 0:
                end = self._plain(data, at, found) or self._frame(data, at, found)
                if end < 0:
                    self._head = data[at:]
                    at = have
                    break
                left -= 1 + (end - at >> _UNIT_SHIFT)
                at = end
            self.is_behind = at < have
            if self.is_behind:
                self._head, self._at = data, at  # not cut: it would be copied again for every slice
            self.units = budget - left or 1
        except Violation as violation:
            self.violation = violation
            self._message = None
            self._head, self._at, self.is_behind = b"", 0, False
        return found

    def _plain(self, data: bytes, at: int, found: list[tuple[int, bytes]]) -> int:
        """Read a whole ASCII text in one frame, which nearly every frame is; return where it ends, or 0: it is another."""
        have = len(data)
        if have < at + 8 or data[at] != _FIN | TEXT or self._message is not None:
            return 0
        size, head = data[at + 1] ^ _MASK, at + 2
        if size == 126:
            size, head = data[at + 2] << 8 | data[at + 3], at + 4
            if size < 126:
                return 0
        elif size > 126:  # unmasked, or very long
            return 0
        end = head + 4 + size
        if end > have or size > self._limit_bytes:
            return 0
        payload = bytearray(data[head + 4 : end])
        masking.apply(data[head : head + 4], payload)
        if not payload.isascii():
            return 0
        found.append((TEXT, bytes(payload)))
        return end

    def _frame(self, data: bytes, at: int, found: list[tuple[int, bytes]]) -> int:
        """Read one frame; return where it ends, or -1 when more is needed to begin with."""
        have = len(data)
        if have < at + 2:
            return -1
        first, second = data[at], data[at + 1]
        opcode, size, head = first & _OPCODE, second & 0x7F, at + 2
        if first & _RSV:
            raise Violation(CloseCode.PROTOCOL_ERROR, "reserved bits are set and no extension was negotiated")
        if not second & _MASK:
            raise Violation(CloseCode.PROTOCOL_ERROR, "frames of clients are masked")  # §5.1
        message = self._message
        if opcode & 0x8:
            if opcode > PONG:
                raise Violation(CloseCode.PROTOCOL_ERROR, "unknown control opcode")
            if size > 125 or not first & _FIN:
                raise Violation(CloseCode.PROTOCOL_ERROR, "control frames are short and whole")  # §5.5
        elif opcode == _CONTINUATION:
            if message is None:
                raise Violation(CloseCode.PROTOCOL_ERROR, "nothing to continue")
        elif opcode > BINARY:
            raise Violation(CloseCode.PROTOCOL_ERROR, "unknown opcode")
        elif message is not None:
            raise Violation(CloseCode.PROTOCOL_ERROR, "a new message inside a fragmented one")
        if size >= 126:
            width = 2 if size == 126 else 8
            if have < head + width:
                return -1
            size = int.from_bytes(data[head : head + width], "big")
            head += width
            if size < (126 if width == 2 else 1 << 16) or size >> 63:
                raise Violation(CloseCode.PROTOCOL_ERROR, "a length is written in its shortest form")  # §5.2
        is_control = opcode & 0x8
        if not is_control and size + (0 if message is None else message.size) > self._read_bytes:
            raise Violation(CloseCode.TOO_BIG, f"a message has at most {self._limit_bytes} bytes")
        body = head + 4
        end = body + size
        if have < body or (is_control and have < end):
            return -1
        mask = data[head:body]
        if is_control or (message is None and first & _FIN and have >= end and size <= self._limit_bytes):
            payload = bytearray(data[body:end])
            masking.apply(mask, payload)
            whole = bytes(payload)
            if opcode == CLOSE:
                _check_close(whole)
            elif opcode == TEXT and not whole.isascii():
                _check_utf8(whole)
            found.append((opcode, whole))
            return end
        if message is None:
            message = self._message = _Message(opcode, self._limit_bytes)
        message.begin(first & _FIN, mask, size)
        return self._go_on(data, body, found)

    def _go_on(self, data: bytes, at: int, found: list[tuple[int, bytes]]) -> int:
        """Take what belongs to the frame that has begun; return where that ends."""
        message = self._message
        assert message is not None  # both callers looked
        end = message.take(data, at)
        if message.is_whole:
            self._message = None
            found.append((message.opcode | (TOO_LARGE if message.is_too_large else 0), b"".join(message.pieces)))
        return end


class _Message:
    """A message of which not everything is here.

    Attributes:
        size: Of what came.
        is_too_large: Only its beginning is kept.
        missing: Bytes of the frame that has begun.
    """

    __slots__ = ("_decoder", "_fin", "_limit_bytes", "_mask", "is_too_large", "missing", "opcode", "pieces", "size")

    def __init__(self, opcode: int, limit_bytes: int) -> None:
        self.opcode = opcode
        self.is_too_large = False
        self._limit_bytes = limit_bytes
        self.pieces: list[bytearray] = []
        self.size = 0
        self.missing = 0
        self._fin = 0
        self._mask = b""
        self._decoder = _utf8_decoder() if opcode == TEXT else None

    @property
    def is_whole(self) -> bool:
        return bool(self._fin) and not self.missing

    def begin(self, fin: int, mask: bytes, size: int) -> None:
        self._fin = fin
        self._mask = mask
        self.missing = size

    def take(self, data: bytes, at: int) -> int:
        """Take what belongs to the frame; return where that ends."""
        piece = bytearray(memoryview(data)[at : at + self.missing])
        masking.apply(self._mask, piece)
        size = len(piece)
        self.size += size
        self.missing -= size
        turn = size & 3
        if turn:
            self._mask = self._mask[turn:] + self._mask[:turn]
        if self._decoder is not None:
            try:
                self._decoder.decode(piece, self.is_whole)
            except UnicodeDecodeError as error:
                raise Violation(CloseCode.INVALID_DATA, "text is UTF-8") from error  # §8.1
        if self.size > self._limit_bytes:
            if not self.is_too_large:
                self.is_too_large = True
                self.pieces = [bytearray(b"".join([*self.pieces, piece])[:BEGINNING_BYTES])]
        elif self.pieces and len(self.pieces[-1]) < _PIECE_BYTES:
            self.pieces[-1] += piece  # an object for every byte would be a hundred times the message
        else:
            self.pieces.append(piece)
        return at + size


def _check_utf8(payload: bytes) -> None:
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        raise Violation(CloseCode.INVALID_DATA, "text is UTF-8") from error  # §8.1


def _check_close(payload: bytes) -> None:
    if len(payload) == 1:
        raise Violation(CloseCode.PROTOCOL_ERROR, "half a close code")
    if payload:
        code = int.from_bytes(payload[:2], "big")
        # §7.4.2, and the registry behind it: 1000–1014 but the reserved ones, and 3000–4999.
        if not (3000 <= code <= 4999 or (1000 <= code <= 1014 and code not in (1004, 1005, 1006))):
            raise Violation(CloseCode.PROTOCOL_ERROR, "no such close code")
        _check_utf8(payload[2:])
