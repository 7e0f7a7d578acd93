"""JSON as the clients of many languages write it."""

from __future__ import annotations

import msgspec
import pytest

from realtime import errors
from realtime.wire import socket
from realtime.wire.decode import decode

subscribe = msgspec.json.Decoder(socket.RoomSubscribe).decode


@pytest.mark.parametrize("since", ["2", "2.0", "2e0", "20e-1", "2.000"])
def test_a_whole_number_may_be_written_as_a_fraction_or_a_power(since: str) -> None:
    found = decode(subscribe, b'{"rooms":[{"room":"r","since":%b}]}' % since.encode())
    assert (found.rooms[0].since, type(found.rooms[0].since)) == (2, int)


@pytest.mark.parametrize("since", ["2.5", "-1.0", "1e300", "9007199254740993.0", '"2"', "1e999"])
def test_what_is_no_whole_number_of_the_field_is_refused(since: str) -> None:
    with pytest.raises(errors.InvalidRequest) as refused:
        decode(subscribe, b'{"rooms":[{"room":"r","since":%b}]}' % since.encode())
    assert refused.value.field == "$.rooms[0].since"


def test_a_fraction_beside_a_whole_number_stays_what_it_is() -> None:
    pair = msgspec.json.Decoder(tuple[int, object]).decode
    assert decode(pair, b'[1.0,[0.5,2.0,{"x":1.25}]]') == (1, [0.5, 2, {"x": 1.25}])
