"""Masks of WebSocket frames (RFC 6455 §5.3), by what is fastest here.

aiohttp ships its own as a C extension, which is no public name: without it (another build, another release) one XOR over a
big integer does the same, slower. docs/decisions/014-gateway.md has the figures; a test says which one is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def xor(mask: bytes, data: bytearray) -> None:
    """Mask data in place, in Python."""
    size = len(data)
    key = (mask * (size // 4 + 1))[:size]
    data[:] = (int.from_bytes(data, "little") ^ int.from_bytes(key, "little")).to_bytes(size, "little")


try:
    from aiohttp._websocket.mask import _websocket_mask_cython as _compiled  # type: ignore[import-not-found]  # Cython
except ImportError:  # a Python without aiohttp's extensions
    _compiled = xor

apply: Callable[[bytes, bytearray], None] = _compiled
"""Mask data in place; the mask has four bytes."""
