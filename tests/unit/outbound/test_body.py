"""The body of an answer is bounded by what it decodes to."""

from __future__ import annotations

import gzip
import zlib

import pytest

from realtime.outbound.body import Body
from realtime.outbound.refusals import Reason, Refused


def collect(data: bytes, encoding: str = "", limit: int = 1000, part: int = 7, *, cut: bool = False) -> tuple[bytes, bool]:
    body = Body(limit, encoding, cut=cut)
    for at in range(0, len(data), part):
        body.feed(data[at : at + part])
    return body.end(), body.complete


def reason(data: bytes, encoding: str = "", limit: int = 1000, part: int = 7) -> Reason | None:
    try:
        collect(data, encoding, limit, part)
    except Refused as refused:
        return refused.reason
    return None


def test_a_body_of_exactly_the_bound_is_taken() -> None:
    assert collect(b"a" * 1000) == (b"a" * 1000, True)
    assert collect(gzip.compress(b"a" * 1000), "gzip") == (b"a" * 1000, True)
    assert collect(b"", "gzip") == (b"", True)


def test_one_byte_more_is_refused() -> None:
    assert reason(b"a" * 1001) is Reason.SIZE
    assert reason(gzip.compress(b"a" * 1001), "gzip") is Reason.SIZE


def test_one_byte_more_is_cut_where_the_caller_says_so() -> None:
    assert collect(b"a" * 1001, cut=True) == (b"a" * 1000, False)
    assert collect(gzip.compress(b"a" * 1001), " GZIP ", cut=True) == (b"a" * 1000, False)


def test_an_announced_length_is_judged_by_what_may_come() -> None:
    Body(1000, "").announced(1000)
    Body(1000, "gzip").announced(1023)  # what cannot be compressed grows a little
    Body(1000, "", cut=True).announced(1 << 40)
    for body, length in ((Body(1000, ""), 1001), (Body(1000, "gzip"), 3000)):
        with pytest.raises(Refused, match="larger"):
            body.announced(length)


def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = gzip.compress(bytes(200 << 20), 9)
    body = Body(1 << 16, "gzip")
    with pytest.raises(Refused, match="larger"):
        body.feed(bomb)
    assert body._bytes <= 1 << 16


def test_gzip_that_makes_nothing_out_of_much_is_refused() -> None:
    deflate = zlib.compressobj(wbits=31)
    empty = deflate.compress(b"") + b"".join(deflate.flush(zlib.Z_FULL_FLUSH) + b"\0\0\0\xff\xff" for _ in range(100_000))
    assert reason(empty, "gzip", part=65536) is Reason.SIZE


def test_what_is_not_gzip_or_ends_too_early_is_refused() -> None:
    assert reason(b"plain text", "gzip") is Reason.ENCODING
    assert reason(gzip.compress(b"a" * 100)[:-1], "gzip") is Reason.ENCODING
    assert reason(gzip.compress(b"a" * 100)[:3], "gzip") is Reason.ENCODING


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "compress", "gzip, gzip", "x"])
def test_an_encoding_that_was_not_asked_for_is_refused(encoding: str) -> None:
    assert reason(b"x", encoding) is Reason.ENCODING


def test_what_follows_the_end_of_gzip_is_not_read() -> None:
    assert collect(gzip.compress(b"one") + gzip.compress(b"two"), "gzip") == (b"one", True)
