"""Masks: the function of aiohttp that is used where it is there, and ours that does the same."""

from __future__ import annotations

import importlib
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.gateway import masking


def test_the_fast_function_is_in_use() -> None:
    # Fails when aiohttp takes its function away or comes without extensions: frames of 4 KiB cost four times as much then.
    assert masking.apply is not masking.xor


def test_without_it_ours_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp._websocket.mask", None)
    try:
        assert importlib.reload(masking).apply is masking.xor
    finally:
        monkeypatch.undo()
        importlib.reload(masking)
    assert masking.apply is not masking.xor


@given(st.binary(min_size=4, max_size=4), st.binary(max_size=300))
def test_both_mask_octet_by_octet(mask: bytes, data: bytes) -> None:
    expected = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))  # RFC 6455 §5.3
    for function in (masking.apply, masking.xor):
        masked = bytearray(data)
        function(mask, masked)
        assert bytes(masked) == expected
        function(mask, masked)
        assert bytes(masked) == data
