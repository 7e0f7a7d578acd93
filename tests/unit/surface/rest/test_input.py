"""Whatever bytes come, a decoder returns its struct or raises a refusal, and nothing else."""

from __future__ import annotations

from typing import Any

import hypothesis
import msgspec
import pytest
from hypothesis import strategies as st

from realtime.errors import InvalidJson, InvalidRequest
from realtime.node.operations import OPERATIONS
from realtime.surface.rest.input import body_decoder
from realtime.surface.rest.shape import shape
from realtime.wire import rest

BODIES = [
    body_decoder(shape(row).body, optional=row.rest.body_optional) for row in OPERATIONS if row.rest and row.rest.method != "GET"
]
NAMES = st.sampled_from(["client_id", "body", "kind", "name", "members", "role", "user", "username", "password", "x"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=8,
)
JSON = st.dictionaries(NAMES, VALUES, max_size=4).map(msgspec.json.encode)


def broken(raw: bytes, at: int, byte: int) -> bytes:
    """Put another byte somewhere into valid JSON."""
    place = at % (len(raw) + 1)
    return raw[:place] + bytes([byte]) + raw[place + 1 :]


@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(raw=st.binary(max_size=64) | JSON | st.builds(broken, JSON, st.integers(0, 500), st.integers(0, 255)))
def test_a_decoder_never_fails_in_another_way(raw: bytes) -> None:
    for read in BODIES:
        try:
            outcome = read(raw)
        except (InvalidJson, InvalidRequest) as error:
            outcome = error
        assert isinstance(outcome, msgspec.Struct) or outcome.status == 400


def test_an_absent_body_counts_as_an_empty_object_only_where_it_may_be_left_out() -> None:
    assert body_decoder(rest.LogoutRequest, optional=True)(b"") == rest.LogoutRequest()
    with pytest.raises(InvalidJson):
        body_decoder(rest.LogoutRequest, optional=False)(b"")


@pytest.mark.parametrize("raw", [b'{"x": 1}', b"[]", b"1"])
def test_a_route_without_a_body_takes_nothing_but_an_empty_object(raw: bytes) -> None:
    read: Any = body_decoder(None, optional=False)
    read(b"{}")
    with pytest.raises(InvalidRequest):
        read(raw)
