"""Cursors as text: what is given out comes back, and nothing else reaches a cast in PostgreSQL."""

from __future__ import annotations

import base64
import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.errors import CursorReset, InvalidRequest
from realtime.log.cursor import MAX_CHARS, Cursor, decode, fitting, is_snapshot

EPOCH = "0190a6b2-7c1f-7000-8000-0123456789ab"


@st.composite
def snapshots(draw: st.DrawFn, at_most: int = 40) -> str:
    steps = draw(st.lists(st.integers(1, 1_000), max_size=at_most))
    low = draw(st.integers(1, 2**62))
    open_ones = list(itertools.accumulate(steps, initial=low))[:-1] if steps else []
    high = open_ones[-1] + draw(st.integers(1, 1_000)) if open_ones else low
    return f"{low}:{high}:{','.join(map(str, open_ones))}"


def packed(*parts: object) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).rstrip(b"=").decode()


def sees(snapshot: str, xid: int) -> bool:
    low, high, open_ones = snapshot.split(":")
    return xid < int(low) or (xid < int(high) and str(xid) not in open_ones.split(","))


@given(snapshots())
def test_a_cursor_comes_back_as_it_was_given(snapshot: str) -> None:
    assert decode(Cursor(EPOCH, snapshot).encode()) == (EPOCH, snapshot)


@given(snapshots(), st.integers(80, 400))
def test_a_snapshot_that_is_cut_sees_nothing_that_the_whole_one_did_not_see(snapshot: str, at_most_chars: int) -> None:
    cut = fitting(snapshot, at_most_chars)
    assert len(cut) <= at_most_chars
    assert is_snapshot(cut)
    low, high, _ = snapshot.split(":")
    for xid in {*range(int(low), min(int(high), int(low) + 500)), int(high) - 1, int(high)}:
        assert sees(snapshot, xid) or not sees(cut, xid)


def test_a_cursor_fits_into_a_url_however_many_transactions_are_open() -> None:
    open_ones = range(10**12, 10**12 + 20_000, 2)
    text = Cursor(EPOCH, f"{open_ones[0]}:{open_ones[-1] + 1}:{','.join(map(str, open_ones))}").encode()
    assert MAX_CHARS - 100 < len(text) <= MAX_CHARS
    assert decode(text).snapshot.startswith(f"{open_ones[0]}:")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "not a cursor",
        "A" * (MAX_CHARS + 1),
        "W" * MAX_CHARS,
        packed(),
        packed(1),
        packed("1", EPOCH, "5:5:"),
        packed(1, EPOCH),
        packed(1, EPOCH, "5:5:", "more"),
        packed(1, EPOCH.upper(), "5:5:"),
        packed(1, "'; DROP TABLE events; --", "5:5:"),
        packed(1, EPOCH, "5:5:'; --"),
        packed(1, EPOCH, "5:5:\n"),
        packed(1, EPOCH, None),
        base64.urlsafe_b64encode(b"[" * 3000).rstrip(b"=").decode(),
    ],
)
def test_what_is_no_cursor_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(InvalidRequest, match="no cursor of this server"):
        decode(text)


@pytest.mark.parametrize("version", [0, 2, 10**30])
def test_a_cursor_of_another_version_is_to_be_forgotten(version: int) -> None:
    with pytest.raises(CursorReset):
        decode(packed(version, EPOCH, "5:5:"))


@pytest.mark.parametrize(
    "text", ["0:0:", "5:4:", "5:9:9", "5:9:4", "5:9:7,6", "5:9:6,6", "5:9:6,", "5:9", "٥:9:", f"5:{2**63}:", "5:9: 6"]
)
def test_what_postgresql_would_refuse_is_no_snapshot(text: str) -> None:
    assert not is_snapshot(text)
