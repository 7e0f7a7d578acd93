"""A WebSocket over a fake transport: what goes to its owner, how it closes, and when a reader is slow."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from realtime.gateway.transport import HIGH_WATER_BYTES, WebSocket, take_over
from realtime.gateway.websocket import BINARY, CLOSE, PING, PONG, TEXT, TOO_LARGE, CloseCode, frame
from tests.unit.gateway.fakes import Shared, Transport
from tests.unit.gateway.test_websocket import masked


class Owner:
    """Remembers what it was told, and how many messages it had at each `read_all`."""

    def __init__(self) -> None:
        self.messages: list[tuple[int, bytes]] = []
        self.reads: list[int] = []
        self.slow_calls = 0
        self.overloads = 0
        self.losses: list[int | None] = []

    def received(self, opcode: int, payload: bytes) -> None:
        self.messages.append((opcode, payload))

    def too_large(self, opcode: int, beginning: bytes) -> None:
        self.messages.append((opcode | TOO_LARGE, beginning))

    def read_all(self) -> None:
        self.reads.append(len(self.messages))

    def slow(self) -> None:
        self.slow_calls += 1

    def overloaded(self) -> None:
        self.overloads += 1

    def lost(self, code: int | None) -> None:
        self.losses.append(code)


class Wired:
    """A WebSocket with an owner and a transport."""

    def __init__(self) -> None:
        self.shared, self.owner, self.transport = Shared(), Owner(), Transport()
        self.socket = WebSocket(self.owner, self.shared)
        self.socket.attach(self.transport)


@pytest.fixture
def wired() -> Wired:
    return Wired()


# -- in ---------------------------------------------------------------------------------------------


def test_messages_reach_the_owner_in_order_and_it_hears_when_a_read_is_over(wired: Wired) -> None:
    wired.socket.data_received(masked(b"a") + masked(b"b", BINARY))
    wired.socket.data_received(masked(b"c"))
    assert wired.owner.messages == [(TEXT, b"a"), (BINARY, b"b"), (TEXT, b"c")]
    assert wired.owner.reads == [2, 3]


def test_a_ping_is_answered_with_its_own_payload_and_a_pong_with_nothing(wired: Wired) -> None:
    wired.socket.data_received(masked(b"hi", PING) + masked(b"unasked", PONG))
    assert wired.transport.frames == [(PONG, b"hi")]
    assert wired.owner.messages == []


def test_a_close_frame_is_answered_with_its_code_after_what_came_before_it(wired: Wired) -> None:
    wired.socket.data_received(masked(b"last") + masked(b"\x03\xe9bye", CLOSE) + masked(b"never"))
    assert wired.owner.messages == [(TEXT, b"last")]
    assert wired.owner.reads == [1]
    assert wired.transport.frames == [(CLOSE, b"\x03\xe9")]
    assert wired.transport.closed
    assert wired.owner.losses == []
    wired.transport.finish()
    assert wired.owner.losses == [1001]


def test_a_close_frame_without_a_code_is_answered_normally_and_counts_as_1005(wired: Wired) -> None:
    wired.socket.data_received(masked(b"", CLOSE))
    assert wired.transport.frames == [(CLOSE, b"\x03\xe8")]
    wired.transport.finish()
    assert wired.owner.losses == [1005]


def test_a_connection_that_breaks_without_a_close_frame_is_lost_without_a_code(wired: Wired) -> None:
    wired.transport.finish()
    assert wired.owner.losses == [None]
    assert wired.socket.eof_received() is False


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(b"no mask"), CloseCode.PROTOCOL_ERROR),
        (masked(b"\xff"), CloseCode.INVALID_DATA),
        (masked(b"x" * 8001, BINARY), CloseCode.TOO_BIG),
    ],
)
def test_a_violation_closes_with_its_code_and_what_came_before_is_handed_over(wired: Wired, data: bytes, code: CloseCode) -> None:
    wired.socket.data_received(masked(b"good") + data)
    assert wired.owner.messages == [(TEXT, b"good")]
    assert wired.owner.reads == [1]
    [(opcode, payload)] = wired.transport.frames
    assert (opcode, int.from_bytes(payload[:2], "big")) == (CLOSE, code)
    assert wired.transport.closed
    wired.socket.data_received(masked(b"more"))
    assert wired.owner.messages == [(TEXT, b"good")]


def test_when_the_owner_closes_inside_a_message_the_rest_of_the_read_is_dropped() -> None:
    class Closing(Owner):
        def received(self, opcode: int, payload: bytes) -> None:
            super().received(opcode, payload)
            socket.close(CloseCode.POLICY, "enough")

    owner, transport = Closing(), Transport()
    socket = WebSocket(owner, Shared())
    socket.attach(transport)
    socket.data_received(masked(b"a") + masked(b"b") + masked(b"", PING))
    assert owner.messages == [(TEXT, b"a")]
    assert transport.frames == [(CLOSE, b"\x03\xf0enough")]


def test_the_owner_may_be_exchanged_between_two_messages() -> None:
    class Leaving(Owner):
        def received(self, opcode: int, payload: bytes) -> None:
            super().received(opcode, payload)
            socket.owner = heir

    owner, heir = Leaving(), Owner()
    socket = WebSocket(owner, Shared())
    socket.attach(Transport())
    socket.data_received(masked(b"a") + masked(b"b"))
    assert owner.messages == [(TEXT, b"a")]
    assert heir.messages == [(TEXT, b"b")]


# -- out and closing --------------------------------------------------------------------------------


def test_writes_go_out_at_once_and_as_they_are(wired: Wired) -> None:
    wired.socket.write(frame(b"a") + frame(b"b"))
    wired.socket.write(frame(b"c"))
    assert wired.transport.writes == [frame(b"a") + frame(b"b"), frame(b"c")]


def test_before_it_is_attached_and_after_it_is_closed_a_write_goes_nowhere(wired: Wired) -> None:
    WebSocket(wired.owner, wired.shared).write(frame(b"too early"))
    wired.socket.close(1000)
    wired.socket.write(frame(b"too late"))
    wired.transport.finish()
    wired.socket.write(frame(b"much too late"))
    assert wired.transport.texts == []


def test_who_closes_first_still_takes_what_the_peer_sends_so_that_nothing_said_is_lost(wired: Wired) -> None:
    wired.socket.close(CloseCode.POLICY)
    assert wired.transport.ended
    wired.socket.data_received(masked(b"dropped") + masked(b"\x03\xf0", CLOSE))
    assert wired.owner.messages == []
    assert wired.transport.frames == [(CLOSE, b"\x03\xf0")]
    assert wired.socket.eof_received() is False, "the peer has closed too: that ends it"


def test_a_close_that_the_peer_began_ends_with_the_answer(wired: Wired) -> None:
    wired.socket.data_received(masked(b"\x03\xe8", CLOSE))
    assert wired.transport.closed
    assert not wired.transport.ended


def test_closing_twice_sends_one_close_frame(wired: Wired) -> None:
    wired.socket.close(CloseCode.GOING_AWAY, "first")
    wired.socket.close(CloseCode.POLICY, "second")
    assert wired.transport.frames == [(CLOSE, b"\x03\xe9first")]


def test_a_close_that_the_peer_does_not_let_finish_is_ended_by_force(wired: Wired) -> None:
    wired.socket.close(1000)
    wired.shared.loop.advance(4.9)
    assert not wired.transport.aborted
    wired.shared.loop.advance(0.2)
    assert wired.transport.aborted


def test_a_close_that_finished_needs_no_force(wired: Wired) -> None:
    wired.socket.close(1000)
    wired.transport.finish()
    wired.shared.loop.advance(60)
    assert not wired.transport.aborted


def test_aborting_drops_the_connection_and_sends_nothing(wired: Wired) -> None:
    wired.socket.abort()
    assert wired.transport.aborted
    assert wired.transport.writes == []
    wired.socket.data_received(masked(b"late"))
    assert wired.owner.messages == []


# -- slow readers -----------------------------------------------------------------------------------


def test_a_reader_that_lets_more_than_the_limit_wait_is_slow(wired: Wired) -> None:
    wired.transport.stalled = True
    wired.socket.write(b"x" * 200_000)
    assert wired.owner.slow_calls == 0
    wired.socket.write(b"x")
    assert wired.owner.slow_calls == 1


def test_a_single_write_over_the_limit_is_noticed_at_once(wired: Wired) -> None:
    wired.transport.stalled = True
    wired.socket.write(b"x" * 200_001)
    assert wired.owner.slow_calls == 1


def test_a_reader_that_takes_everything_is_never_slow(wired: Wired) -> None:
    for _ in range(100):
        wired.socket.write(b"x" * 100_000)
    wired.shared.loop.advance(600)
    assert wired.owner.slow_calls == 0
    assert wired.shared.loop.timers == 0


def test_a_reader_that_takes_nothing_in_time_is_slow_however_little_waits(wired: Wired) -> None:
    wired.transport.stalled = True
    wired.socket.write(b"x" * (HIGH_WATER_BYTES + 1))
    wired.socket.write(b"more")
    wired.shared.loop.advance(60)
    assert wired.owner.slow_calls == 1


def test_a_reader_that_takes_a_little_all_the_time_is_not_slow(wired: Wired) -> None:
    wired.transport.stalled = True
    wired.socket.write(b"x" * 150_000)
    for _ in range(12):
        wired.shared.loop.advance(5)
        wired.transport.take(1_000)
        wired.socket.write(b"x" * 900)
    assert wired.owner.slow_calls == 0


def test_a_reader_that_stops_again_after_it_had_moved_is_slow(wired: Wired) -> None:
    wired.transport.stalled = True
    wired.socket.write(b"x" * 150_000)
    for _ in range(10):
        wired.shared.loop.advance(5)
        wired.transport.take(1_000)
    assert wired.owner.slow_calls == 0
    wired.shared.loop.advance(25)
    assert wired.owner.slow_calls == 1


def test_a_reader_that_catches_up_is_not_slow_and_a_later_pause_has_its_own_deadline(wired: Wired) -> None:
    wired.transport.stalled = True
    wired.socket.write(b"x" * 100_000)
    wired.shared.loop.advance(9)
    wired.transport.take(100_000)
    wired.socket.write(b"x" * 100_000)
    wired.shared.loop.advance(9)  # the first deadline passes, and is not this one's
    assert wired.owner.slow_calls == 0
    wired.transport.take(100_000)
    wired.shared.loop.advance(60)
    assert wired.owner.slow_calls == 0


def test_a_stall_of_a_connection_that_has_gone_or_is_closing_is_nobodys_business(wired: Wired) -> None:
    wired.transport.stalled = True
    wired.socket.write(b"x" * 100_000)
    wired.socket.close(1000)
    wired.shared.loop.advance(60)
    gone = Wired()
    gone.transport.stalled = True
    gone.socket.write(b"x" * 100_000)
    gone.transport.finish()
    gone.shared.loop.advance(60)
    assert (wired.owner.slow_calls, gone.owner.slow_calls) == (0, 0)


# -- taking over from aiohttp -----------------------------------------------------------------------


def request_on(transport: Transport | None, behind: bytes = b"") -> tuple[Any, list[Exception | None]]:
    """Return a request whose aiohttp handler remembers how its connection was lost, and what came behind it."""
    lost: list[Exception | None] = []
    handler = SimpleNamespace(transport=transport, connection_lost=lost.append, set_parser=lambda tail: tail.feed_data(behind))
    return SimpleNamespace(transport=transport, protocol=handler), lost


def test_the_connection_is_taken_from_aiohttp_before_anything_is_answered() -> None:
    owner, transport, shared = Owner(), Transport(), Shared()
    socket = WebSocket(owner, shared)
    request, lost = request_on(transport)
    assert take_over(request, socket, b"HTTP/1.1 101 Switching Protocols\r\n\r\n") is True
    assert lost == [None]
    assert request.protocol.transport is None
    assert transport.protocol is socket
    assert transport.writes == [b"HTTP/1.1 101 Switching Protocols\r\n\r\n"]
    socket.write(frame(b"a"))
    assert transport.writes[1:] == [frame(b"a")]


def test_what_came_behind_the_request_is_read_after_the_answer() -> None:
    owner, transport = Owner(), Transport()
    request, _ = request_on(transport, masked(b"a") + masked(b"b")[:3])
    socket = WebSocket(owner, Shared())
    assert take_over(request, socket, b"101") is True
    socket.data_received(masked(b"b")[3:])
    assert [payload for _, payload in owner.messages] == [b"a", b"b"]


def test_a_client_that_has_gone_is_not_taken_over() -> None:
    leaving = Transport()
    leaving.closed = True
    for transport in (None, leaving):
        request, lost = request_on(transport)
        assert take_over(request, WebSocket(Owner(), Shared()), b"101") is False
        assert lost == []
