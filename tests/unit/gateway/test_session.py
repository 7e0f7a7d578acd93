"""Engine.IO sessions over fake transports: heartbeats, polls, the upgrade, and every way to end."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from realtime.gateway import engineio
from realtime.gateway.session import CloseReason, DuplicatePoll, Session, Upgrade
from realtime.gateway.websocket import BINARY, CLOSE, TEXT, CloseCode, frame
from tests.unit.gateway.fakes import Shared, Transport, over_websocket
from tests.unit.gateway.test_websocket import masked

PING, PONG = b"2", b"3"


class Sink:
    """Remembers what a session handed over."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.reads = 0
        self.endings: list[CloseReason] = []

    def message(self, data: bytes) -> None:
        self.seen.append(("text", data))

    def binary(self, data: bytes) -> None:
        self.seen.append(("binary", data))

    def too_large(self, beginning: bytes) -> None:
        self.seen.append(("too large", beginning))

    def read_all(self) -> None:
        self.reads += 1

    def ended(self, reason: CloseReason) -> None:
        self.endings.append(reason)


def live() -> tuple[Shared, Session, Transport, Sink]:
    """Return a session on a WebSocket, whose heartbeat has begun."""
    shared = Shared()
    session, transport = over_websocket(shared)
    session.sink = sink = Sink()
    session.begin()
    return shared, session, transport, sink


def polling() -> tuple[Shared, Session, Sink]:
    """Return a session over long polling, whose heartbeat has begun."""
    shared = Shared()
    session = Session(shared, "engine-sid", "192.0.2.1")
    session.sink = sink = Sink()
    session.begin()
    return shared, session, sink


def closing(transport: Transport) -> tuple[int, bytes]:
    """Return the code and the reason of the close frame, which must be the last frame."""
    opcode, payload = transport.frames[-1]
    assert opcode == CLOSE
    return int.from_bytes(payload[:2], "big"), payload[2:]


# -- what comes in ----------------------------------------------------------------------------------


def test_messages_go_to_the_sink_without_their_engine_type() -> None:
    _, session, _, sink = live()
    for opcode, payload in [(TEXT, b"40"), (BINARY, b"\x00\xff"), (TEXT, b'42["a"]'), (TEXT, b"4")]:
        session.received(opcode, payload)
    session.read_all()
    assert sink.seen == [("text", b"0"), ("binary", b"\x00\xff"), ("text", b'2["a"]'), ("text", b"")]
    assert sink.reads == 1


def test_binary_data_as_text_is_what_binary_data_is() -> None:
    """Clients that cannot send bytes (`forceBase64`) write base64 on a WebSocket too."""
    _, session, _, sink = live()
    for payload in (b"bAP8e", b"bAP\r\n8e\n", b"b"):
        session.received(TEXT, payload)
    assert sink.seen == [("binary", b"\x00\xff\x1e"), ("binary", b"\x00\xff\x1e"), ("binary", b"")]


@pytest.mark.parametrize(
    "packet",
    [
        b"b!",
        b"bA",
        b"bAP8e bAP8e",
        b"b\xc3\xa9",
        b"",
        b"0",
        b"2",
        b"5",
        b"6",
        b"7",
        b"x",
        b"3probe",
        b"2probe",
        b"1more",
        b"\x00",
    ],
)
def test_a_packet_that_a_client_does_not_send_here_closes_as_a_protocol_error(packet: bytes) -> None:
    shared, session, transport, sink = live()
    session.received(TEXT, packet)
    assert shared.reasons == sink.endings == [CloseReason.PROTOCOL]
    assert closing(transport) == (CloseCode.PROTOCOL_ERROR, b"protocol")


def test_a_close_packet_ends_the_session_as_the_clients_wish() -> None:
    shared, session, transport, sink = live()
    session.received(TEXT, b"1")
    assert shared.reasons == sink.endings == [CloseReason.CLIENT]
    assert closing(transport) == (CloseCode.NORMAL, b"client")


def test_nothing_reaches_the_sink_once_the_session_is_over() -> None:
    shared, session, _, sink = live()
    session.close(CloseReason.CLIENT)
    session.received(TEXT, b"4late")
    session.received(BINARY, b"late")
    session.received(TEXT, b"nonsense")
    session.read_all()
    assert (sink.seen, sink.reads) == ([], 0)
    assert shared.reasons == [CloseReason.CLIENT]


@pytest.mark.parametrize(
    ("code", "reason"), [(None, CloseReason.TRANSPORT), (1001, CloseReason.CLOSED), (1005, CloseReason.CLOSED)]
)
def test_a_lost_websocket_is_the_clients_wish_when_it_said_so(code: int | None, reason: CloseReason) -> None:
    shared, session, _, sink = live()
    session.lost(code)
    session.lost(None)
    assert shared.reasons == sink.endings == [reason]


def test_a_session_ends_once_whatever_comes_together() -> None:
    shared, session, transport, sink = live()
    session.close(CloseReason.SESSION_ENDED)
    session.close(CloseReason.DRAINING)
    session.slow()
    session.poll_lost()
    transport.finish()
    shared.loop.advance(600)
    assert shared.reasons == sink.endings == [CloseReason.SESSION_ENDED]


# -- heartbeats -------------------------------------------------------------------------------------


def test_a_ping_goes_out_after_the_interval_and_each_answer_begins_the_next() -> None:
    shared, session, transport, _ = live()
    for beat in range(1, 4):
        shared.loop.advance(24.9)
        assert transport.texts == [PING] * (beat - 1)
        shared.loop.advance(0.1)
        assert transport.texts == [PING] * beat
        session.received(TEXT, PONG)
    shared.loop.advance(20)
    assert shared.ends == []


def test_an_unanswered_ping_closes_with_going_away_after_the_time_out() -> None:
    shared, _, transport, sink = live()
    shared.loop.advance(25 + 19.9)
    assert shared.ends == []
    shared.loop.advance(0.2)
    assert shared.reasons == sink.endings == [CloseReason.PING_TIMEOUT]
    assert closing(transport) == (CloseCode.GOING_AWAY, b"ping_timeout")


def test_messages_are_no_answer_to_a_ping() -> None:
    shared, session, _, _ = live()
    shared.loop.advance(25)
    session.received(TEXT, b"4still here")
    shared.loop.advance(20.1)
    assert shared.reasons == [CloseReason.PING_TIMEOUT]


def test_an_answer_that_nobody_asked_for_begins_no_second_heartbeat() -> None:
    shared, session, transport, _ = live()
    for _ in range(5):
        session.received(TEXT, PONG)
    shared.loop.advance(25)
    session.received(TEXT, PONG)
    session.received(TEXT, PONG)
    shared.loop.advance(25)
    assert transport.texts == [PING, PING]


def test_a_mark_is_reached_when_its_own_ping_is_answered() -> None:
    shared, session, transport, _ = live()
    reached: list[str] = []
    shared.loop.advance(25.0)  # a heartbeat is on its way
    session.write(frame(b"4one"))
    session.mark(lambda: reached.append("one"))
    session.write(frame(b"4two"))
    session.mark(lambda: reached.append("two"))
    assert transport.texts == [PING, b"4one", PING, b"4two", PING]
    session.received(TEXT, PONG)  # the heartbeat's
    assert reached == []
    session.received(TEXT, PONG)
    assert reached == ["one"]
    shared.loop.advance(25.0)  # the next heartbeat stands behind the second mark
    session.received(TEXT, PONG)
    assert reached == ["one", "two"]
    session.received(TEXT, PONG)
    session.received(TEXT, PONG)  # one that nobody asked for
    assert reached == ["one", "two"]
    assert not shared.ends


def test_a_mark_over_polling_is_a_packet_behind_the_others() -> None:
    async def scene() -> None:
        _, session, _ = polling()
        reached: list[str] = []
        session.write(frame(b"4one"))
        session.mark(lambda: reached.append("one"))
        assert await session.poll() == b"4one\x1e2"
        session.received(TEXT, PONG)
        assert reached == ["one"]

    asyncio.run(scene())


def test_a_session_that_ends_reaches_no_mark() -> None:
    shared, session, transport, _ = live()
    session.mark(lambda: pytest.fail("it has ended"))
    session.close(CloseReason.CLIENT)
    session.mark(lambda: pytest.fail("it has ended"))
    session.received(TEXT, PONG)
    assert shared.reasons == [CloseReason.CLIENT]
    assert transport.texts == [PING]


def test_the_deadline_of_an_answered_ping_does_not_end_a_later_one() -> None:
    shared, session, _, _ = live()
    shared.loop.advance(25)
    shared.loop.advance(19)
    session.received(TEXT, PONG)
    shared.loop.advance(25 + 19)  # the first deadline is long past, the second ping's is not
    assert shared.ends == []
    shared.loop.advance(1.1)
    assert shared.reasons == [CloseReason.PING_TIMEOUT]


def test_a_session_that_is_over_is_not_pinged() -> None:
    shared, session, transport, _ = live()
    session.close(CloseReason.CLIENT)
    shared.loop.advance(600)
    assert transport.texts == []
    assert shared.reasons == [CloseReason.CLIENT]


# -- long polling -----------------------------------------------------------------------------------


async def test_a_poll_gets_what_waited_for_it_as_one_payload() -> None:
    _, session, _ = polling()
    session.write(frame(b"40") + frame(b'42["a"]'))
    session.write(frame(b"\x00", BINARY))
    assert await session.poll() == b'40\x1e42["a"]\x1ebAA=='


async def test_a_poll_waits_and_takes_everything_of_the_turn_that_wakes_it() -> None:
    _, session, _ = polling()
    waiting = asyncio.ensure_future(session.poll())
    await asyncio.sleep(0)
    assert not waiting.done()
    session.write(frame(b"4a"))
    session.write(frame(b"4b"))
    assert await waiting == b"4a\x1e4b"


async def test_a_poll_is_pinged_and_answers_by_a_post() -> None:
    shared, session, _ = polling()
    shared.loop.advance(25)
    assert await session.poll() == PING
    session.received(TEXT, PONG)
    shared.loop.advance(20.5)
    assert shared.ends == []


async def test_a_polling_client_that_does_not_answer_is_ended_and_its_poll_let_go() -> None:
    shared, session, _ = polling()
    shared.loop.advance(25)
    assert await session.poll() == PING
    waiting = asyncio.ensure_future(session.poll())
    await asyncio.sleep(0)
    shared.loop.advance(20.1)
    assert await waiting == engineio.NOOP
    assert shared.reasons == [CloseReason.PING_TIMEOUT]
    assert await session.poll() is None


async def test_a_ping_that_was_not_fetched_is_not_kept_for_a_session_that_timed_out() -> None:
    shared, session, _ = polling()
    shared.loop.advance(25)
    shared.loop.advance(20.1)
    assert shared.reasons == [CloseReason.PING_TIMEOUT]
    assert await session.poll() is None


async def test_a_client_that_closes_has_its_poll_let_go_with_a_noop() -> None:
    shared, session, _ = polling()
    waiting = asyncio.ensure_future(session.poll())
    await asyncio.sleep(0)
    session.received(TEXT, engineio.CLOSE)
    assert await waiting == engineio.NOOP
    assert shared.reasons == [CloseReason.CLIENT]
    assert await session.poll() is None


async def test_a_second_poll_at_once_ends_the_session_and_both_polls() -> None:
    shared, session, sink = polling()
    first = asyncio.ensure_future(session.poll())
    await asyncio.sleep(0)
    with pytest.raises(DuplicatePoll):
        await session.poll()
    assert await first == engineio.CLOSE
    assert shared.reasons == sink.endings == [CloseReason.PROTOCOL]
    assert await session.poll() is None


async def test_a_poll_that_was_cancelled_leaves_room_for_the_next() -> None:
    shared, session, _ = polling()
    first = asyncio.ensure_future(session.poll())
    await asyncio.sleep(0)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    session.write(frame(b"4a"))
    assert await session.poll() == b"4a"
    assert shared.ends == []


async def test_a_close_reaches_the_waiting_poll_behind_what_was_sent_and_then_there_is_nothing() -> None:
    shared, session, _ = polling()
    waiting = asyncio.ensure_future(session.poll())
    await asyncio.sleep(0)
    session.write(frame(b"4last"))
    session.close(CloseReason.DRAINING)
    session.write(frame(b"4too late"))
    assert await waiting == b"4last"
    assert await session.poll() == b"1"
    assert await session.poll() is None
    assert shared.reasons == [CloseReason.DRAINING]


async def test_a_poll_whose_answer_was_lost_ends_the_session() -> None:
    shared, session, sink = polling()
    session.write(frame(b"4a"))
    await session.poll()
    session.poll_lost()
    assert shared.reasons == sink.endings == [CloseReason.TRANSPORT]


async def test_more_than_a_payload_takes_several_polls() -> None:
    _, session, _ = polling()
    session.write(b"".join(frame(b"4%d" % number) for number in range(20)))
    first, second = await session.poll(), await session.poll()
    assert first == b"\x1e".join(b"4%d" % number for number in range(16))
    assert second == b"\x1e".join(b"4%d" % number for number in range(16, 20))


async def test_a_client_that_polls_too_slowly_is_dropped_with_what_waited() -> None:
    shared, session, sink = polling()
    session.write(frame(b"4" + b"x" * 150_000))
    assert shared.ends == []
    session.write(frame(b"4" + b"x" * 60_000))
    assert shared.reasons == sink.endings == [CloseReason.SLOW_READER]
    assert await session.poll() is None


async def test_what_was_polled_counts_no_more() -> None:
    shared, session, _ = polling()
    for _ in range(5):
        session.write(frame(b"4" + b"x" * 150_000))
        assert await session.poll() == b"4" + b"x" * 150_000
    assert shared.ends == []


# -- slow readers on a WebSocket --------------------------------------------------------------------


def test_a_websocket_that_lets_too_many_bytes_wait_is_dropped_at_once() -> None:
    shared, session, transport, sink = live()
    transport.stalled = True
    for _ in range(4):
        session.write(frame(b"4" + b"x" * 60_000))
    assert shared.reasons == sink.endings == [CloseReason.SLOW_READER]
    assert transport.aborted
    assert CLOSE not in {opcode for opcode, _ in transport.frames}


def test_a_websocket_that_takes_nothing_is_dropped_after_a_time() -> None:
    shared, session, transport, _ = live()
    transport.stalled = True
    session.write(frame(b"4" + b"x" * 70_000))
    session.write(frame(b"4"))
    shared.loop.advance(22)
    assert shared.reasons == [CloseReason.SLOW_READER]
    assert transport.aborted


# -- the upgrade ------------------------------------------------------------------------------------


def upgrading() -> tuple[Shared, Session, Upgrade, Transport, Sink]:
    """Return a polling session with a WebSocket that asks to take over."""
    shared, session, sink = polling()
    upgrade, transport = Upgrade(session, shared), Transport()
    upgrade.socket.attach(transport)
    return shared, session, upgrade, transport, sink


async def test_the_upgrade_is_probed_lets_the_poll_go_and_then_carries_everything() -> None:
    shared, session, upgrade, transport, sink = upgrading()
    session.upgrade, kept = None, session.upgrade  # a poll that waits since before the upgrade
    waiting = asyncio.ensure_future(session.poll())
    await asyncio.sleep(0)
    session.upgrade = kept
    upgrade.socket.data_received(masked(b"2probe"))
    assert transport.texts == [b"3probe"]
    assert await waiting == engineio.NOOP
    session.write(frame(b"4while") + frame(b"4moving") + frame(b"\x01", BINARY))
    upgrade.socket.data_received(masked(b"5") + masked(b"4hello"))
    assert transport.frames == [(TEXT, b"3probe"), (TEXT, b"4while"), (TEXT, b"4moving"), (BINARY, b"\x01")]
    assert sink.seen == [("text", b"hello")]
    assert sink.reads == 1
    session.write(frame(b"4after"))
    assert transport.texts[-1] == b"4after"
    assert session.upgrade is None
    shared.loop.advance(11)
    assert shared.ends == []
    assert not transport.closed


async def test_during_an_upgrade_a_poll_is_not_kept_but_gets_what_waits() -> None:
    _, session, _, _, _ = upgrading()
    assert await session.poll() == engineio.NOOP
    session.write(frame(b"4a"))
    assert await session.poll() == b"4a"


async def test_a_poll_that_still_waits_when_the_upgrade_is_done_is_let_go_empty_handed() -> None:
    _, session, upgrade, transport, _ = upgrading()
    upgrade.socket.data_received(masked(b"2probe"))
    session.upgrade, kept = None, session.upgrade
    waiting = asyncio.ensure_future(session.poll())
    await asyncio.sleep(0)
    session.upgrade = kept
    upgrade.socket.data_received(masked(b"5"))
    session.write(frame(b"4a"))
    assert await waiting == engineio.NOOP
    assert transport.texts == [b"3probe", b"4a"]


@pytest.mark.parametrize(
    "data",
    [masked(b"5"), masked(b"2"), masked(b"3probe"), masked(b"4hello"), masked(b"2probe", BINARY), masked(b"2probe") * 2,
     masked(b"2probe") + masked(b"6"), masked(b"2probe") + masked(b"5", BINARY), masked(b"")],
)  # fmt: skip
async def test_an_upgrade_out_of_order_is_given_up_and_the_session_goes_on_polling(data: bytes) -> None:
    shared, session, upgrade, transport, _ = upgrading()
    upgrade.socket.data_received(data)
    assert closing(transport)[0] == CloseCode.PROTOCOL_ERROR
    assert session.upgrade is None
    assert session.websocket is None
    session.write(frame(b"4a"))
    assert await session.poll() == b"4a"
    assert shared.ends == []


async def test_an_upgrade_that_does_not_finish_in_time_is_given_up_and_the_session_goes_on_polling() -> None:
    shared, session, upgrade, transport, _ = upgrading()
    upgrade.socket.data_received(masked(b"2probe"))
    shared.loop.advance(9.9)
    assert not transport.closed
    shared.loop.advance(0.2)
    assert closing(transport)[0] == CloseCode.PROTOCOL_ERROR
    session.write(frame(b"4a"))
    assert await session.poll() == b"4a"


async def test_an_upgrade_whose_websocket_breaks_leaves_room_for_another() -> None:
    shared, session, _, transport, _ = upgrading()
    transport.finish()
    assert session.upgrade is None
    again, fresh = Upgrade(session, shared), Transport()
    again.socket.attach(fresh)
    shared.loop.advance(9)
    again.socket.data_received(masked(b"2probe") + masked(b"5"))
    shared.loop.advance(2)  # the first upgrade's deadline passes
    assert not fresh.closed
    assert session.websocket is again.socket


async def test_a_session_that_ends_takes_its_upgrade_with_it() -> None:
    shared, session, upgrade, transport, sink = upgrading()
    session.close(CloseReason.SESSION_ENDED)
    assert transport.closed
    assert await session.poll() == engineio.CLOSE
    upgrade.socket.data_received(masked(b"2probe") + masked(b"5"))
    assert session.websocket is None
    assert shared.reasons == sink.endings == [CloseReason.SESSION_ENDED]


async def test_a_websocket_that_is_slow_during_the_upgrade_is_dropped_and_the_session_goes_on_polling() -> None:
    shared, session, upgrade, transport, _ = upgrading()
    upgrade.slow()
    transport.finish()
    assert transport.aborted
    assert session.upgrade is None
    assert shared.ends == []
