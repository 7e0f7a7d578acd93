"""The body of an answer, decoded within bounds. Pure."""

from __future__ import annotations

import zlib

from realtime.outbound.refusals import Reason, Refused

ACCEPT_ENCODING = "gzip"
_GZIP = 16 + zlib.MAX_WBITS
_STEP_BYTES = 1 << 16


class Body:
    """Collects a body.

    The bound counts decoded bytes. Not many more encoded ones are read: gzip can also make nothing out of much.

    Args:
        limit_bytes: How large the decoded body may be.
        encoding: The answer's Content-Encoding.
        cut: Whether a larger body is cut at the bound instead of refused.

    Raises:
        Refused: the encoding is none that was asked for.
    """

    def __init__(self, limit_bytes: int, encoding: str, *, cut: bool = False) -> None:
        coding = encoding.strip().lower()
        if coding not in ("", "identity", "gzip", "x-gzip"):
            raise Refused(Reason.ENCODING)
        self._inflate = None if coding in ("", "identity") else zlib.decompressobj(_GZIP)
        self._limit_bytes = limit_bytes
        self._encoded_left = limit_bytes + (limit_bytes >> 8) + 1024
        self._cut = cut
        self._parts: list[bytes] = []
        self._bytes = 0
        self._begun = False
        self.done = False
        """Nothing of what may follow is needed."""
        self.complete = True
        """False: it was cut."""

    def announced(self, length: int) -> None:
        """Take note of how long the answer says that it is, before it is read.

        Raises:
            Refused: that is too large.
        """
        if not self._cut and length > (self._limit_bytes if self._inflate is None else self._encoded_left):
            raise Refused(Reason.SIZE)

    def feed(self, data: bytes) -> None:
        """Take a part of the answer.

        Raises:
            Refused: the body is too large, or not what its encoding says.
        """
        if self.done:
            return
        self._begun = True
        self._encoded_left -= len(data)
        if self._inflate is None:
            self._take(data)
        else:
            self._decode(data)
        if self._encoded_left < 0 and not self.done:
            self._over()

    def end(self) -> bytes:
        """Return the body.

        Raises:
            Refused: it ends too early.
        """
        if self._inflate is not None and self.complete and not self._inflate.eof and self._begun:
            raise Refused(Reason.ENCODING)
        return b"".join(self._parts)

    def _decode(self, data: bytes) -> None:
        assert self._inflate is not None
        while data and not self.done:
            try:
                self._take(self._inflate.decompress(data, min(_STEP_BYTES, self._limit_bytes - self._bytes + 1)))
            except zlib.error:
                raise Refused(Reason.ENCODING) from None
            data = self._inflate.unconsumed_tail
            if self._inflate.eof:
                self.done = True  # a second member is no part of what anybody means to send

    def _take(self, part: bytes) -> None:
        left = self._limit_bytes - self._bytes
        if len(part) > left:
            self._parts.append(part[:left])
            self._bytes = self._limit_bytes
            self._over()
        elif part:
            self._parts.append(part)
            self._bytes += len(part)

    def _over(self) -> None:
        if not self._cut:
            raise Refused(Reason.SIZE)
        self.done, self.complete = True, False
