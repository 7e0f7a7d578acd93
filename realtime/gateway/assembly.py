"""A binary packet of Socket.IO while its attachments come. Pure, no I/O."""

from __future__ import annotations

from realtime.gateway import socketio


class Assembly:
    """A binary packet whose attachments are still coming.

    Args:
        due_at_s: When the last must be here, as `Deadlines.add` returned it.
        is_kept: Whether somebody wants the attachments; else they are counted only.
    """

    __slots__ = ("_size", "attachments", "due_at_s", "is_kept", "message", "missing", "packet")

    def __init__(self, packet: socketio.Packet, message: bytes, due_at_s: float, is_kept: bool) -> None:
        self.packet = packet
        self.message = message
        self.due_at_s = due_at_s
        self.is_kept = is_kept
        self.missing = packet.attachments
        self.attachments: list[bytes] = []
        self._size = 0

    def take(self, data: bytes, limit_bytes: int) -> None:
        """Take the next attachment. Raises InvalidPacket when they are too large together."""
        self.missing -= 1
        self._size += len(data)
        if self._size > limit_bytes:
            raise socketio.InvalidPacket(f"the attachments of a packet have at most {limit_bytes} bytes together")
        if self.is_kept:
            self.attachments.append(data)
