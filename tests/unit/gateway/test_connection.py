"""Socket.IO connections over fake transports: CONNECT and its bounds, events, acks, and what goes out in which order."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from realtime import errors
from realtime.gateway.connection import CloseReason, Connection
from realtime.gateway.session import Session
from realtime.gateway.socketio import event_frame
from realtime.gateway.websocket import BINARY, CLOSE, TEXT, CloseCode
from realtime.model import Principal, SessionId
from tests.unit.gateway.fakes import BOB, SESSION, Shared, Transport, over_websocket, principal


class Application:
    """Lets everybody in unless told otherwise, and remembers what it was told in order."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.auths: list[bytes] = []
        self.refusal: errors.RealtimeError | None = None
        self.failure: Exception | None = None
        self.expires_at_s = 1_000
        self.session = SESSION
        self.on_event: Callable[[Connection, str, int | None], None] = lambda *_: None

    def authenticate(self, connection: Connection, auth: bytes) -> Principal:
        self.auths.append(auth)
        if self.failure is not None:
            raise self.failure
        if self.refusal is not None:
            raise self.refusal
        return principal(session=self.session, expires_at_s=self.expires_at_s)

    def connected(self, connection: Connection) -> None:
        self.told.append(("connected", connection.user.username))
        connection.emit("ready", b"{}")

    def event(self, connection: Connection, name: str, argument: bytes, packet_id: int | None) -> None:
        self.told.append(("event", name, argument, packet_id))
        self.on_event(connection, name, packet_id)

    def too_large(self, connection: Connection, name: str, packet_id: int) -> None:
        self.told.append(("too large", name, packet_id))

    def guest_came(self, connection: Connection) -> None:
        self.told.append(("guest came", connection.user.username))

    def guest_went(self, connection: Connection) -> None:
        self.told.append(("guest went", connection.user.username))

    def disconnected(self, connection: Connection, reason: CloseReason) -> None:
        self.told.append(("disconnected", connection.user.username, reason))


class Wired:
    """A connection over a WebSocket session."""

    def __init__(self) -> None:
        self.application = Application()
        self.shared = Shared(self.application)
        self.session: Session
        self.transport: Transport
        self.session, self.transport = over_websocket(self.shared)
        self.connection = Connection(self.shared, self.session)

    def send(self, *messages: bytes | str) -> None:
        """Have the client send Socket.IO packets (str) and attachments (bytes) in one read, and end the turn."""
        for message in messages:
            if isinstance(message, str):
                self.session.received(TEXT, b"4" + message.encode())
            else:
                self.session.received(BINARY, message)
        self.session.read_all()
        self.shared.turn()

    def received(self) -> list[str]:
        """Return the Socket.IO packets that the client got so far, and forget them."""
        texts = [text.removeprefix(b"4").decode() for text in self.transport.texts]
        self.transport.writes.clear()
        return texts

    def close_code(self) -> int:
        opcode, payload = self.transport.frames[-1]
        assert opcode == CLOSE
        return int.from_bytes(payload[:2], "big")


@pytest.fixture
def new() -> Wired:
    """Not connected to the namespace yet."""
    return Wired()


@pytest.fixture
def wired() -> Wired:
    """Connected, and what that wrote is forgotten."""
    wired = Wired()
    wired.send('0{"token":"t"}')
    wired.received()
    wired.application.told.clear()
    return wired


def refused_code(packet: str, packet_id: int) -> str:
    head = f"3{packet_id}["
    assert packet.startswith(head), packet
    answer = msgspec.json.decode(packet.removeprefix(head)[:-1])
    assert answer["ok"] is False
    return str(answer["error"]["code"])


# -- CONNECT ----------------------------------------------------------------------------------------


def test_a_connect_is_answered_and_the_application_speaks_right_behind_it_in_one_write(new: Wired) -> None:
    new.send('0{"token":"t"}')
    assert new.application.auths == [b'{"token":"t"}']
    assert new.application.told == [("connected", "ada")]
    assert len(new.transport.writes) == 1
    assert new.received() == ['0{"sid":"sid1"}', '2["ready",{}]']
    assert new.connection.id == "sid1"
    assert new.connection.user.username == "ada"
    assert new.connection.address == "192.0.2.1"


def test_the_id_that_the_client_learns_is_not_the_one_that_lets_a_poll_in(new: Wired) -> None:
    new.send("0")
    assert new.connection.id not in ("", new.session.sid)


def test_a_connect_without_a_payload_is_the_applications_to_judge(new: Wired) -> None:
    new.send("0")
    assert new.application.auths == [b""]


def test_a_refusal_says_why_with_its_code_and_the_client_may_try_again(new: Wired) -> None:
    new.application.refusal = errors.RateLimited(retry_after_ms=1500)
    new.send("0")
    [packet] = new.received()
    assert packet[0] == "4"
    assert msgspec.json.decode(packet[1:]) == {
        "message": errors.RateLimited.default,
        "data": {"code": "rate_limited", "message": errors.RateLimited.default, "retryable": True, "retry_after_ms": 1500},
    }
    assert new.application.told == []
    new.application.refusal = None
    new.send("0")
    assert new.application.told == [("connected", "ada")]


def test_attempts_are_bounded(new: Wired) -> None:
    new.application.refusal = errors.TokenInvalid()
    new.send("0", "0", "0", "0", "0")
    assert len(new.received()) == 5
    assert new.shared.ends == []
    new.send("0")
    assert len(new.application.auths) == 5
    assert new.shared.reasons == [CloseReason.PROTOCOL]


def test_another_namespace_is_refused_and_the_connection_lives(wired: Wired) -> None:
    wired.send('0/admin,{"token":"t"}')
    assert wired.received() == ['4/admin,{"message":"Invalid namespace"}']
    wired.send('2["a"]')
    assert wired.application.told == [("event", "a", b"", None)]


def test_another_namespace_is_no_connect_to_ours(new: Wired) -> None:
    new.send("0/admin")
    assert new.application.auths == []
    new.shared.loop.advance(10.1)
    assert new.shared.reasons == [CloseReason.CONNECT_TIMEOUT]


def test_who_does_not_connect_in_time_is_closed_as_a_matter_of_policy(new: Wired) -> None:
    new.shared.loop.advance(9.9)
    assert new.shared.ends == []
    new.shared.loop.advance(0.2)
    assert new.shared.reasons == [CloseReason.CONNECT_TIMEOUT]
    assert new.close_code() == CloseCode.POLICY
    assert new.application.told == []


def test_refused_attempts_do_not_move_the_deadline(new: Wired) -> None:
    new.application.refusal = errors.TokenInvalid()
    new.shared.loop.advance(9)
    new.send("0")
    new.shared.loop.advance(1.1)
    assert new.shared.reasons == [CloseReason.CONNECT_TIMEOUT]


def test_who_has_connected_is_not_touched_by_the_deadline(wired: Wired) -> None:
    wired.shared.loop.advance(60)
    assert wired.shared.ends == []


def test_who_disconnects_from_the_namespace_may_come_back_and_has_a_new_deadline(wired: Wired) -> None:
    wired.shared.loop.advance(60)
    wired.send("1")
    assert wired.application.told == [("disconnected", "ada", CloseReason.CLIENT)]
    wired.shared.loop.advance(9)
    wired.send("0")
    assert wired.application.told[1:] == [("connected", "ada")]
    wired.shared.loop.advance(60)
    assert wired.shared.ends == []
    wired.send("1")
    wired.shared.loop.advance(10.1)
    assert wired.shared.reasons == [CloseReason.CONNECT_TIMEOUT]
    assert [told[0] for told in wired.application.told] == ["disconnected", "connected", "disconnected"]


@pytest.mark.parametrize("packet", ['2["a"]', "1", '51-["a"]', "3[]", "4{}", '61-["a"]', '2/admin,["a"]', "nonsense", ""])
def test_before_a_connect_everything_else_ends_the_session(new: Wired, packet: str) -> None:
    new.send(packet)
    assert new.shared.reasons == [CloseReason.PROTOCOL]
    assert new.close_code() == CloseCode.PROTOCOL_ERROR
    assert new.application.told == []


# -- events -----------------------------------------------------------------------------------------


def test_events_reach_the_application_in_order_with_their_raw_argument_and_id(wired: Wired) -> None:
    wired.send('2["a"]', '27["b",{"x": 1}]', '20["connect",[]]')
    assert wired.application.told == [
        ("event", "a", b"", None),
        ("event", "b", b'{"x": 1}', 7),
        ("event", "connect", b"[]", 0),
    ]


def test_the_arguments_of_an_event_go_on_as_they_are(wired: Wired) -> None:
    wired.send('23["a",1,2]', '2["a",tru]', '24["b"]')
    assert wired.received() == []
    assert wired.application.told == [("event", "a", b"1,2", 3), ("event", "a", b"tru", None), ("event", "b", b"", 4)]


@pytest.mark.parametrize(
    "packet",
    ["0", "3[]", '4{"message":"x"}', '61-["a"]', '2/admin,["a"]', "1/admin,", "2", "2[]", "2[1]", '2{"a":1}', '2["a"', "5",
     '50-["a"]', '511-["a"]', "51-[]", "9", "", "x"],
)  # fmt: skip
def test_what_a_connected_client_does_not_send_ends_the_session(wired: Wired, packet: str) -> None:
    wired.send(packet)
    assert wired.shared.reasons == [CloseReason.PROTOCOL]
    assert wired.close_code() == CloseCode.PROTOCOL_ERROR
    assert wired.application.told == [("disconnected", "ada", CloseReason.PROTOCOL)]


def test_after_a_violation_the_rest_of_the_read_is_dropped_and_what_was_asked_before_is_answered(wired: Wired) -> None:
    def answer(connection: Connection, _name: str, packet_id: int | None) -> None:
        assert packet_id is not None
        connection.ack(packet_id, b'{"ok":true}')

    wired.application.on_event = answer
    wired.send('21["a"]', "nonsense", '22["b"]')
    assert wired.received() == ['31[{"ok":true}]']
    assert [told[0] for told in wired.application.told] == ["event", "disconnected"]


def test_when_the_application_fails_the_connection_ends_and_the_log_says_why(
    wired: Wired, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_connection: Connection, _name: str, _packet_id: int | None) -> None:
        raise RuntimeError("a bug")

    wired.application.on_event = fail
    wired.send('21["a"]')
    assert wired.close_code() == CloseCode.INTERNAL
    assert [told[0] for told in wired.application.told] == ["event", "disconnected"]
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "a bug" in caplog.text


def test_when_the_application_fails_at_a_connect_the_session_ends_and_nobody_is_connected(
    new: Wired, caplog: pytest.LogCaptureFixture
) -> None:
    new.application.failure = RuntimeError("a bug")
    new.send("0")
    assert new.close_code() == CloseCode.INTERNAL
    assert new.application.told == []
    assert "a bug" in caplog.text


# -- binary events ----------------------------------------------------------------------------------


def test_a_binary_event_is_refused_when_it_is_whole_and_the_connection_lives(wired: Wired) -> None:
    wired.send('52-9["a",{"_placeholder":true,"num":0}]', b"one")
    assert wired.received() == []
    wired.send(b"two")
    [answer] = wired.received()
    assert refused_code(answer, 9) == "invalid_request"
    assert wired.application.told == []
    wired.send('2["after"]')
    assert wired.application.told == [("event", "after", b"", None)]


def test_a_binary_event_that_asks_for_no_answer_gets_none(wired: Wired) -> None:
    wired.send('51-["a",{"_placeholder":true,"num":0}]', b"one", '2["after"]')
    assert wired.received() == []
    assert wired.application.told == [("event", "after", b"", None)]


def test_a_text_packet_where_an_attachment_was_announced_ends_the_session(wired: Wired) -> None:
    wired.send('51-["a"]', '2["b"]')
    assert wired.shared.reasons == [CloseReason.PROTOCOL]
    assert wired.application.told == [("disconnected", "ada", CloseReason.PROTOCOL)]


def test_an_attachment_that_nobody_announced_ends_the_session(wired: Wired) -> None:
    wired.send('51-["a"]', b"one", b"two")
    assert wired.shared.reasons == [CloseReason.PROTOCOL]


def test_an_attachment_before_a_connect_ends_the_session(new: Wired) -> None:
    new.send(b"one")
    assert new.shared.reasons == [CloseReason.PROTOCOL]


# -- what goes out ----------------------------------------------------------------------------------


def test_answers_of_one_turn_go_out_in_one_write_in_their_order(wired: Wired) -> None:
    def answer(connection: Connection, name: str, packet_id: int | None) -> None:
        assert packet_id is not None
        connection.ack(packet_id, b"{}")
        connection.emit(name, b"1")

    wired.application.on_event = answer
    wired.send('21["a"]', '22["b"]')
    assert len(wired.transport.writes) == 1
    assert wired.received() == ["31[{}]", '2["a",1]', "32[{}]", '2["b",1]']


def test_events_of_a_room_stay_behind_an_ack_that_was_made_before_them(wired: Wired) -> None:
    wired.connection.ack(5, b"{}")
    wired.connection.write(event_frame("live", b"1"))
    assert wired.transport.writes == []
    wired.shared.turn()
    assert len(wired.transport.writes) == 1
    assert wired.received() == ["35[{}]", '2["live",1]']


def test_events_of_a_room_go_out_at_once_when_nothing_waits(wired: Wired) -> None:
    wired.connection.write(event_frame("live", b"1"))
    wired.connection.write(event_frame("live", b"2"))
    assert len(wired.transport.writes) == 2
    assert wired.received() == ['2["live",1]', '2["live",2]']


def test_a_connection_asks_once_a_turn_to_be_flushed(wired: Wired) -> None:
    wired.connection.ack(1, b"1")
    wired.connection.ack(2, b"2")
    assert wired.shared.dirty == [wired.connection]
    wired.shared.turn()
    wired.connection.ack(3, b"3")
    assert wired.shared.dirty == [wired.connection]
    wired.shared.turn()
    assert wired.received() == ["31[1]", "32[2]", "33[3]"]


def test_an_answer_that_comes_after_the_end_goes_nowhere(wired: Wired) -> None:
    wired.session.lost(None)
    wired.transport.finish()
    wired.connection.ack(1, b"{}")
    wired.connection.emit("a", b"{}")
    wired.shared.turn()
    assert wired.received() == []


# -- closing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reason", "packets", "code"),
    [
        (CloseReason.SESSION_ENDED, ['2["closing",{"code":"session_ended","retryable":false}]', "1"], CloseCode.NORMAL),
        (CloseReason.TOKEN_EXPIRED, ['2["closing",{"code":"token_expired","retryable":false}]', "1"], CloseCode.NORMAL),
        (CloseReason.DRAINING, ['2["closing",{"code":"draining","retryable":true}]'], CloseCode.GOING_AWAY),
    ],
)
def test_the_client_is_told_why_and_whether_to_come_back(
    wired: Wired, reason: CloseReason, packets: list[str], code: CloseCode
) -> None:
    wired.connection.ack(1, b"{}")
    wired.connection.close(reason)
    assert wired.close_code() == code
    assert wired.received() == ["31[{}]", *packets]
    assert wired.application.told == [("disconnected", "ada", reason)]


def test_who_has_not_connected_is_closed_without_a_word(new: Wired) -> None:
    new.connection.close(CloseReason.DRAINING)
    assert new.close_code() == CloseCode.GOING_AWAY
    assert new.received() == []
    assert new.application.told == []


@pytest.mark.parametrize("reason", [CloseReason.TRANSPORT, CloseReason.SLOW_READER, CloseReason.PING_TIMEOUT])
def test_the_application_hears_the_end_once_with_its_reason(wired: Wired, reason: CloseReason) -> None:
    if reason is CloseReason.TRANSPORT:
        wired.transport.finish()
    elif reason is CloseReason.SLOW_READER:
        wired.session.slow()
    else:
        wired.session.begin()
        wired.shared.loop.advance(45.1)
    wired.connection.close(CloseReason.DRAINING)
    wired.transport.finish()
    assert wired.application.told == [("disconnected", "ada", reason)]
    assert wired.shared.reasons == [reason]


# -- the life of a token ----------------------------------------------------------------------------


def test_a_connection_outlives_its_token_by_the_grace_and_no_longer(wired: Wired) -> None:
    # It expires at 1000; the clock stands at 100.
    wired.shared.loop.advance(929)
    assert wired.shared.ends == []
    wired.shared.loop.advance(4)
    assert wired.shared.reasons == [CloseReason.TOKEN_EXPIRED]
    assert wired.received()[-1] == "1"


def test_a_new_token_moves_the_end_and_tells_the_seconds_left(wired: Wired) -> None:
    wired.shared.loop.advance(800)
    assert wired.connection.renew(principal(expires_at_s=2_000)) == 1_100
    wired.shared.loop.advance(1_100)
    assert wired.shared.ends == []
    wired.shared.loop.advance(35)
    assert wired.shared.reasons == [CloseReason.TOKEN_EXPIRED]


def test_a_token_that_is_over_already_has_no_seconds_left(wired: Wired) -> None:
    assert wired.connection.renew(principal(expires_at_s=50)) == 0


def test_the_deadline_of_an_old_token_does_not_end_who_came_back_with_a_new_one(wired: Wired) -> None:
    wired.send("1")
    wired.application.expires_at_s = 5_000
    wired.send("0")
    wired.shared.loop.advance(1_000)
    assert wired.shared.ends == []


def test_the_principal_is_the_one_of_the_newest_token(wired: Wired) -> None:
    wired.connection.renew(principal(BOB, expires_at_s=3_000))
    assert wired.connection.principal.user == BOB


# -- bounds on attachments --------------------------------------------------------------------------


def test_attachments_that_do_not_come_in_time_end_the_session(wired: Wired) -> None:
    wired.send('52-["a"]', b"one")
    wired.shared.loop.advance(9.9)
    assert wired.shared.ends == []
    wired.shared.loop.advance(0.2)
    assert wired.shared.reasons == [CloseReason.PROTOCOL]


def test_the_deadline_of_attachments_that_came_is_nobodys_business(wired: Wired) -> None:
    wired.send('51-["a"]', b"one")
    wired.shared.loop.advance(5)
    wired.send('51-["a"]')
    wired.shared.loop.advance(6)
    assert wired.shared.ends == []
    wired.send(b"two")
    wired.shared.loop.advance(20)
    assert wired.shared.ends == []


def test_attachments_are_bounded_together(wired: Wired) -> None:
    wired.send('54-["a"]', b"x" * 1000, b"x" * 1000, b"x" * 1000)
    assert wired.shared.ends == []
    wired.send(b"x")
    assert wired.shared.reasons == [CloseReason.PROTOCOL]


# -- one sign-in a session --------------------------------------------------------------------------


def test_who_left_the_namespace_cannot_come_back_as_somebody_else(wired: Wired) -> None:
    wired.send("1")
    wired.application.session = SessionId("019b0000-0000-7000-8000-0000000000cc")
    wired.send("0")
    [packet] = wired.received()
    assert '"token_invalid"' in packet
    assert [told[0] for told in wired.application.told] == ["disconnected"]


def test_a_session_is_let_in_once_and_stays_so(new: Wired) -> None:
    new.application.refusal = errors.TokenInvalid()
    new.send("0")
    assert (new.shared.entries, new.session.entered) == (0, False)
    new.application.refusal = None
    new.send("0", "1", "0")
    assert (new.shared.entries, new.session.entered) == (1, True)


def test_refusals_are_counted_in_a_row(new: Wired) -> None:
    for _ in range(3):
        new.application.refusal = errors.TokenInvalid()
        new.send("0", "0", "0", "0")
        new.application.refusal = None
        new.send("0", "1")
    assert new.shared.ends == []


def test_attempts_at_other_namespaces_are_bounded_too(wired: Wired) -> None:
    wired.send(*["0/admin"] * 5)
    assert wired.shared.ends == []
    wired.send("0/admin")
    assert wired.shared.reasons == [CloseReason.PROTOCOL]


def test_an_event_that_is_too_large_and_asks_for_an_answer_gets_it_and_the_connection_goes_on() -> None:
    wired = Wired()
    wired.send('0{"token":"t"}')
    wired.application.told.clear()
    wired.session.too_large(TEXT, b'4217["message.send",{"room":"')
    wired.session.too_large(TEXT, b'429["strange \\u0041')
    assert wired.application.told == [("too large", "message.send", 17), ("too large", "", 9)]
    assert not wired.session.closed


@pytest.mark.parametrize("beginning", [b'42["x","', b"40{", b"", b"3", b"47", b"4", b'451-7["x",', b'42/other,7["x","'])
def test_anything_else_that_is_too_large_ends_the_connection(beginning: bytes) -> None:
    wired = Wired()
    wired.send('0{"token":"t"}')
    wired.session.too_large(TEXT, beginning)
    assert wired.shared.reasons == [CloseReason.PROTOCOL]
    assert wired.close_code() in (CloseCode.TOO_BIG, CloseCode.PROTOCOL_ERROR)


def test_an_attachment_that_is_too_large_ends_the_connection() -> None:
    wired = Wired()
    wired.send('0{"token":"t"}')
    wired.session.too_large(BINARY, b"xx")
    assert wired.close_code() == CloseCode.TOO_BIG
