"""What travels between nodes: who sends, what it is, and bytes as they are. Pure.

Layout, big-endian: sender (8 bytes), kind (1), first seq (8), then for each frame its length (4) and its bytes.
"""

from __future__ import annotations

import enum
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEAD = struct.Struct("!8sBQ")
_LENGTH = struct.Struct("!I")
SENDER_BYTES = 8


class Kind(enum.IntEnum):
    EVENTS = 1
    SIGNAL = 2
    CONTROL = 3
    PROBE = 4


class Envelope(NamedTuple):
    sender: bytes
    kind: Kind
    first_seq: int
    frames: list[bytes]


def pack(sender: bytes, kind: Kind, frames: Sequence[bytes], first_seq: int = 0) -> bytes:
    """Encode; `sender` is 8 bytes that no other node has."""
    parts = [_HEAD.pack(sender, kind, first_seq)]
    for frame in frames:
        parts += (_LENGTH.pack(len(frame)), frame)
    return b"".join(parts)


def unpack(data: bytes) -> Envelope:
    """Decode.

    Raises:
        ValueError: it is no envelope.
    """
    try:
        sender, kind, first_seq = _HEAD.unpack_from(data)
        frames = []
        at = _HEAD.size
        while at < len(data):
            [size] = _LENGTH.unpack_from(data, at)
            at += _LENGTH.size
            frame = data[at : at + size]
            if len(frame) != size:
                raise ValueError("a frame is cut off")
            frames.append(frame)
            at += size
        return Envelope(sender, Kind(kind), first_seq, frames)
    except struct.error as error:
        raise ValueError(str(error)) from error
