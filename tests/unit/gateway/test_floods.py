"""What one connection may cost the others: work is cut into slices, and a flood waits for its own budget."""

from __future__ import annotations

import itertools

import pytest

from realtime.gateway.session import CloseReason, Session
from realtime.gateway.transport import BURST_S, DROPPED_BYTES_PER_S, OVERDRAWN_S, SLICE_UNITS, WebSocket
from realtime.gateway.turns import AT_ONCE
from realtime.gateway.websocket import BINARY, CLOSE, PING, PONG, CloseCode
from tests.unit.gateway.fakes import Shared, Transport
from tests.unit.gateway.test_transport import Owner, Wired
from tests.unit.gateway.test_websocket import CONTINUATION, masked


@pytest.fixture
def wired() -> Wired:
    return Wired()


def test_what_one_read_brings_is_served_in_slices_and_nothing_is_read_meanwhile(wired: Wired) -> None:
    wired.socket.data_received(b"".join(masked(b"%d" % number) for number in range(200)))
    assert len(wired.owner.messages) == SLICE_UNITS
    assert not wired.transport.reading
    wired.shared.loop.advance(0)
    assert [int(payload) for _, payload in wired.owner.messages] == list(range(200))
    assert wired.transport.reading


@pytest.mark.parametrize(
    "frame",
    [masked(b"", PING), masked(b"", PONG), masked(b"x"), masked(b"", BINARY), masked(b"x" * 900)],
    ids=["pings", "pongs", "texts", "empty binaries", "long texts"],
)
def test_a_flood_of_frames_of_any_kind_is_read_at_the_rate_of_its_budget_and_then_closed(wired: Wired, frame: bytes) -> None:
    started_s = wired.shared.loop.now_s
    sent = 0
    while not wired.owner.overloads:
        if wired.transport.reading:
            wired.socket.data_received(frame * 1000)
            sent += 1000
        wired.shared.loop.advance(0.01)
    took_s = wired.shared.loop.now_s - started_s
    assert OVERDRAWN_S - BURST_S <= took_s < 2 * OVERDRAWN_S
    assert sent <= (took_s + BURST_S) * wired.shared.units_per_s + 1000
    wired.shared.loop.advance(60)
    assert not wired.transport.reading


def test_empty_fragments_cost_what_messages_cost(wired: Wired) -> None:
    wired.socket.data_received(masked(b"4", fin=False))
    for _ in range(20):
        wired.socket.data_received(masked(b"", CONTINUATION, fin=False) * 1000)
        wired.shared.loop.advance(0)
    assert not wired.transport.reading


def test_a_burst_within_the_budget_is_read_at_once_and_an_honest_stream_never_waits(wired: Wired) -> None:
    wired.socket.data_received(masked(b"2") * 1000)
    wired.shared.loop.advance(0)
    assert len(wired.owner.messages) == 1000
    for _ in range(500):  # ten seconds of an extension's 2,000 small frames a second
        wired.socket.data_received(masked(b"", BINARY) * 40)
        wired.shared.loop.advance(0.02)
        assert wired.transport.reading
    assert len(wired.owner.messages) == 21_000
    assert wired.owner.overloads == 0


def test_a_connection_that_pauses_by_itself_is_kept_however_often_it_had_to_wait(wired: Wired) -> None:
    for _ in range(5):
        wired.socket.data_received(masked(b"2") * 16_000)
        wired.shared.loop.advance(6)
    assert wired.owner.overloads == 0
    assert len(wired.owner.messages) == 80_000


def test_what_is_charged_is_paid_by_waiting(wired: Wired) -> None:
    wired.socket.charge(int(2 * wired.shared.units_per_s))
    wired.socket.data_received(masked(b"2"))
    assert not wired.transport.reading
    wired.shared.loop.advance(0.9)
    assert not wired.transport.reading
    wired.shared.loop.advance(0.2)
    assert wired.transport.reading


def test_pongs_keep_their_place_among_messages_and_go_out_in_one_write(wired: Wired) -> None:
    wired.socket.data_received(masked(b"1", PING) + masked(b"2", PING))
    assert len(wired.transport.writes) == 1
    assert wired.transport.frames == [(PONG, b"1"), (PONG, b"2")]


def test_what_comes_after_the_close_is_dropped_one_read_a_turn(wired: Wired) -> None:
    wired.socket.close(CloseCode.NORMAL)
    wired.socket.data_received(masked(b"x"))
    assert not wired.transport.reading
    wired.shared.loop.advance(0)
    assert wired.transport.reading
    assert wired.owner.messages == []


def test_a_flood_that_goes_on_after_the_close_is_dropped_at_a_bounded_pace(wired: Wired) -> None:
    wired.socket.close(CloseCode.NORMAL)
    wired.socket.data_received(bytes(DROPPED_BYTES_PER_S // 4))
    wired.shared.loop.advance(0.2)
    assert not wired.transport.reading
    wired.shared.loop.advance(0.1)
    assert wired.transport.reading
    assert wired.owner.messages == []


def test_all_floods_together_get_the_same_share_of_a_turn_however_many_they_are() -> None:
    shared = Shared()
    floods = [Owner() for _ in range(40)]
    for owner in floods:
        socket = WebSocket(owner, shared)
        socket.attach(Transport())
        socket.data_received(masked(b"2") * 10 * SLICE_UNITS)
    served: list[int] = []

    def look() -> None:
        served.append(sum(len(owner.messages) for owner in floods))
        if len(served) < 5:
            shared.loop.call_soon(look)

    shared.loop.call_soon(look)
    shared.loop.advance(0)
    assert [after - before for before, after in itertools.pairwise(served)] == [AT_ONCE * SLICE_UNITS] * 4


def test_a_flood_is_closed_with_a_code_that_says_try_again_later() -> None:
    shared, transport = Shared(), Transport()
    session = Session(shared, "sid", "192.0.2.1")
    session.websocket = WebSocket(session, shared)
    session.websocket.attach(transport)
    while not shared.ends:
        if transport.reading:
            session.websocket.data_received(masked(b"", PING) * 1000)
        shared.loop.advance(0.01)
    assert shared.reasons == [CloseReason.OVERLOADED]
    assert transport.frames[-1] == (CLOSE, b"\x03\xf5overloaded")
    shared.loop.advance(10)
    assert transport.aborted
