"""From events to services: who is let in, what is refused before any service hears of it, and what the acks say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from realtime import errors
from realtime.budgets import Budget
from realtime.gateway.connection import CloseReason, Connection
from realtime.gateway.socketio import event_frame, event_of
from realtime.log.frames import EventCodec
from realtime.log.store import Committed
from realtime.log.writer import Append
from realtime.messages import kinds
from realtime.model import (
    Choice,
    PresenceSetting,
    Principal,
    Role,
    Room,
    RoomId,
    RoomKind,
    Scope,
    SessionId,
    Status,
    User,
    UserId,
)
from realtime.node.kinds import KINDS
from realtime.node.nodes import Outgoing
from realtime.node.operations import CAPABILITIES, OPERATIONS, served
from realtime.operations import Served, by_event
from realtime.presence.state import View
from realtime.surface.door import Door
from realtime.surface.socket.acks import MAX_WAITING, Acks
from realtime.surface.socket.departures import Departures
from realtime.surface.socket.dispatch import Dispatch, Settings
from realtime.surface.socket.hub import Hub
from realtime.surface.socket.live import MAX_DEPTH, Live, _deeper_than
from realtime.surface.socket.peer import Peer
from realtime.wire import socket
from tests.unit.gateway.fakes import ADA, BOB, SESSION, principal

ROOM = RoomId("019b0000-0000-7000-8000-0000000000aa")
AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
LIMITS = socket.Limits(
    body_chars=8_000, packet_bytes=65_536, subscriptions=3, sends_per_s=50, sends_burst=200, signals_per_s=2, resume_events=100
)


class Line:
    """A connection that remembers what was sent, held against the contract."""

    def __init__(self, who: Principal) -> None:
        self.principal = who
        self.app: Any = None
        self.full_s = 0.0
        self.id = "line"
        self.address = "127.0.0.1"
        self.emitted: list[tuple[str, Any]] = []
        self.acks: list[tuple[int, Any]] = []
        self.closed: list[CloseReason] = []

    @property
    def user(self) -> User:
        assert self.principal.user is not None
        return self.principal.user

    def emit(self, name: str, payload: bytes) -> None:
        msgspec.json.decode(payload, type=socket.EMITTED[name])
        self.emitted.append((name, msgspec.json.decode(payload)))

    def ack(self, packet_id: int, answer: bytes) -> None:
        self.acks.append((packet_id, msgspec.json.decode(answer)))

    def renew(self, who: Principal) -> int:
        self.principal = who
        return 77

    def close(self, reason: CloseReason) -> None:
        self.closed.append(reason)

    @property
    def codes(self) -> list[str]:
        """The error codes of the refused requests."""
        return [answer["error"]["code"] for _, answer in self.acks if not answer["ok"]]


class Services:
    """All services that dispatch stands on: they remember what they were asked, and answer what the test wants."""

    def __init__(self, more: tuple[Served, ...] = ()) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.tokens: dict[str, Principal] = {"good": principal()}
        self.dones: list[Callable[[Any], None]] = []
        self.send_refusal: errors.RealtimeError | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self.now_s = 100.0
        self.counted: list[tuple[str, str]] = []
        self.hub = Hub()
        feeds = cast(
            "Any",
            SimpleNamespace(
                epoch="epoch-1",
                subscribe=self.subscribe,
                unsubscribe=lambda peer, room: self.asked.append(("unsubscribe", room)),
                forget=lambda peer: self.asked.append(("forget",)),
                signal=lambda room, frame, peer: self.asked.append(("signal", room, event_of(frame))),
                expel=lambda room, user, reason, seq: self.asked.append(("expel", room, user, reason, seq)),
            ),
        )
        presence = cast(
            "Any",
            SimpleNamespace(
                connected=lambda user: self.asked.append(("online", user)),
                disconnected=lambda user, idle: self.asked.append(("offline", user, idle)),
                look=self.look,
                watch=self.watch,
                unwatch=lambda peer: self.asked.append(("unwatch",)),
                unwatch_room=lambda peer, room: self.asked.append(("unwatch_room", room)),
                lost_room=lambda peer, room: self.asked.append(("lost_room", room)),
                departed=lambda user, room: self.asked.append(("departed", user, room)),
                set_idle=lambda user, idle: self.asked.append(("idle", user, idle)),
                choose=self.choose,
            ),
        )
        acks = Acks(lambda: self.now_s, lambda name, outcome, seconds: self.counted.append((name, outcome)))
        codec = EventCodec(KINDS, event_frame, event_of)
        self.departures = Departures(self.hub, feeds, presence, lambda *said: self.asked.append(("told", *said)))
        live = Live(self.authenticate, feeds, presence, codec, self.publish_signal, LIMITS, acks)
        operations = served(dict.fromkeys(CAPABILITIES, self) | {"live": live}) + more
        door = Door(self.authenticate, self.require_admin, cast("Any", self))
        self.dispatch = Dispatch(operations, door, acks, self.hub, feeds, presence, Settings("node-1", LIMITS, 2))

    def publish_signal(self, room: RoomId, frame: bytes) -> None:
        self.asked.append(("published", room, event_of(frame)))

    async def require_admin(self, user: UserId) -> None:
        raise errors.AdminOnly

    def charge(self, budget: Budget, user: UserId, room: str | None = None, tokens: int = 1) -> None:
        if self.send_refusal is not None:
            raise self.send_refusal

    def authenticate(self, token: str) -> Principal:
        if token not in self.tokens:
            raise errors.TokenInvalid
        return self.tokens[token]

    def admit_send(self, user: UserId, body: str | None) -> None:
        if self.send_refusal is not None:
            raise self.send_refusal

    def submit(self, append: Append) -> None:
        self.asked.append(("append", append.actor, append.room, append.kind, append.client_id, append.target, append.body))
        self.dones.append(append.done)

    async def subscribe(
        self, peer: Peer, wanted: Sequence[tuple[RoomId, int | None]], epochs: Mapping[RoomId, str], *, gone: Callable[[], bool]
    ) -> list[Any]:
        self.asked.append(("subscribe", list(wanted), dict(epochs)) if epochs else ("subscribe", list(wanted)))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return [SimpleNamespace(behind=0, room=room, error=None, frames=[], head_seq=7, role=Role.MEMBER) for room, _ in wanted]

    async def look(self, _asker: UserId, users: Sequence[UserId], rooms: Sequence[RoomId]) -> Sequence[UserId]:
        self.asked.append(("look", list(users), list(rooms)))
        await self.gate.wait()
        return users

    def watch(self, peer: Peer, users: Sequence[UserId], rooms: set[RoomId]) -> tuple[list[View], list[tuple[RoomId, int]]]:
        views = [View(user, Status.ONLINE if user == ADA.id else Status.OFFLINE) for user in users]
        return views, [(room, 5) for room in rooms]

    async def choose(self, user: UserId, choice: Choice | None, text: str | None, life_s: int | None) -> PresenceSetting:
        self.asked.append(("choose", user, choice, text, life_s))
        return PresenceSetting(choice or Choice.ONLINE, text or "")

    def connect(self, user: User = ADA, session: str = SESSION) -> Line:
        line = Line(principal(user, session))
        self.dispatch.connected(self.connection(line))
        self.asked.clear()
        return line

    def send(self, line: Line, name: str, request: object, packet_id: int | None = 1) -> None:
        self.dispatch.event(self.connection(line), name, msgspec.json.encode(request), packet_id)

    @staticmethod
    def connection(line: Line) -> Connection:
        return cast("Connection", line)


@pytest.fixture
async def services() -> Services:
    return Services()


# -- who is let in ----------------------------------------------------------------------------------


def let_in(services: Services, auth: bytes) -> Principal:
    return services.dispatch.authenticate(Services.connection(Line(principal())), auth)


async def test_a_good_token_lets_in(services: Services) -> None:
    assert let_in(services, b'{"token":"good"}') == principal()


async def test_a_caller_that_is_no_user_is_not_let_in(services: Services) -> None:
    services.tokens["key"] = principal(None)
    with pytest.raises(errors.Forbidden):
        let_in(services, b'{"token":"key"}')


async def test_fields_that_clients_add_to_the_token_are_passed_over(services: Services) -> None:
    let_in(services, b'{"pid":"p","offset":"o","token":"good"}')


@pytest.mark.parametrize(
    ("auth", "refusal"),
    [
        (b"", errors.TokenMissing),
        (b'{"token":"bad"}', errors.TokenInvalid),
        (b"{}", errors.TokenMissing),
        (b'{"token":""}', errors.TokenMissing),
        (b'{"token":null}', errors.TokenMissing),
        (b'{"token":1}', errors.InvalidRequest),
        (b'"good"', errors.InvalidRequest),
        (b"null", errors.TokenMissing),
        (b"{", errors.InvalidJson),
        (b'{"token":"\\ud800"}', errors.InvalidJson),
        (b"[" * 50_000, errors.InvalidRequest),
    ],
)
async def test_anything_else_is_refused_with_its_own_error(
    services: Services, auth: bytes, refusal: type[errors.RealtimeError]
) -> None:
    with pytest.raises(errors.RealtimeError) as refused:
        let_in(services, auth)
    assert type(refused.value) is refusal


async def test_connections_of_one_user_are_bounded_and_others_are_let_in(services: Services) -> None:
    services.connect()
    last = services.connect()
    with pytest.raises(errors.TooManyConnections) as refused:
        let_in(services, b'{"token":"good"}')
    assert refused.value.retryable
    assert refused.value.retry_after_ms == 10_000
    services.tokens["bob"] = principal(BOB)
    assert let_in(services, b'{"token":"bob"}').user == BOB
    services.dispatch.disconnected(Services.connection(last), CloseReason.CLIENT)
    assert let_in(services, b'{"token":"good"}').user == ADA


async def test_who_is_here_already_may_show_its_token_for_another_namespace(services: Services) -> None:
    line = services.connect()
    services.connect()
    assert services.dispatch.authenticate(Services.connection(line), b'{"token":"good"}').user == ADA


async def test_guests_count_and_end_with_their_sign_in(services: Services) -> None:
    guest, other = Line(principal()), Line(principal(session="another"))
    for one in (guest, other):
        services.dispatch.guest_came(Services.connection(one))
    with pytest.raises(errors.TooManyConnections):
        let_in(services, b'{"token":"good"}')
    services.hub.end_session(SESSION)
    assert (guest.closed, other.closed) == ([CloseReason.SESSION_ENDED], [])
    services.dispatch.guest_went(Services.connection(guest))
    assert let_in(services, b'{"token":"good"}').user == ADA


async def test_a_draining_node_spreads_those_who_are_there(services: Services) -> None:
    lines = [services.connect(BOB, f"s{number}") for number in range(4)]
    leaving = services.hub.drain(1.0)
    told = [payload for line in lines for name, payload in line.emitted if name == "server.drain"]
    assert sorted(payload["reconnect_after_ms"] for payload in told) == [0, 250, 500, 750]
    assert [after_s for after_s, _ in leaving] == [0, 0.25, 0.5, 0.75]
    assert {peer for _, peer in leaving} == set(services.hub)


async def test_who_authenticates_during_a_drain_is_let_in(services: Services) -> None:
    """A refusal would be final to the official client; closed with the others a moment later, it comes back by itself."""
    services.hub.drain(1.0)
    assert let_in(services, b'{"token":"good"}').user == ADA


async def test_who_connects_is_registered_counted_as_present_and_told_all_limits(services: Services) -> None:
    line = Line(principal())
    services.dispatch.connected(Services.connection(line))
    assert services.asked == [("online", ADA.id)]
    assert [peer.user for peer in services.hub] == [ADA.id]
    [(name, ready)] = line.emitted
    assert name == "ready"
    assert ready == {
        "user": {"id": ADA.id, "username": "ada", "display_name": "Ada"},
        "session": SESSION,
        "node": "node-1",
        "limits": msgspec.to_builtins(LIMITS),
        "epoch": "epoch-1",
    }


async def test_who_disconnects_leaves_nothing_behind(services: Services) -> None:
    line = services.connect()
    line.app.rooms.add(ROOM)
    services.dispatch.disconnected(Services.connection(line), CloseReason.CLIENT)
    assert services.asked == [("unsubscribe", ROOM), ("forget",), ("unwatch",), ("offline", ADA.id, False)]
    assert len(services.hub) == 0
    assert line.app.closed
    assert line.app.rooms == set()


# -- what is refused before any service hears of it -------------------------------------------------


@pytest.mark.parametrize("name", ["nonsense", "connect", "disconnect", "message.created", "ready", "__class__", "", "SIGNAL"])
async def test_a_name_that_the_contract_does_not_know_is_refused_and_counted_as_unknown(services: Services, name: str) -> None:
    line = services.connect()
    services.send(line, name, {})
    assert line.codes == ["unknown_event"]
    assert services.asked == []
    assert services.counted == [("unknown", "unknown_event")]


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("message.send", {}),
        ("message.send", {"room": ROOM, "client_id": "c", "body": ""}),
        ("message.send", {"room": ROOM, "client_id": "a b", "body": "x"}),
        ("message.send", {"room": ROOM, "client_id": "c", "body": "x\u0000"}),
        ("message.send", {"room": ROOM, "client_id": "c", "body": "x" * 8_001}),
        ("message.send", {"room": ROOM, "client_id": "c", "body": "x", "author": "eve"}),
        ("message.edit", {"room": ROOM, "seq": 0, "body": "x"}),
        ("message.delete", {"room": ROOM, "seq": "1"}),
        ("room.subscribe", {"rooms": []}),
        ("room.subscribe", {"rooms": [{"room": ROOM, "since": -1}]}),
        ("room.unsubscribe", {"rooms": "all"}),
        ("signal", {"room": ROOM, "kind": "Typing!"}),
        ("presence.watch", {"users": ["u"] * 201}),
        ("auth.refresh", {"token": ""}),
        ("auth.refresh", []),
    ],
)
async def test_a_request_of_another_shape_is_refused_and_reaches_no_service(
    services: Services, name: str, request_: object
) -> None:
    line = services.connect()
    services.send(line, name, request_, packet_id=9)
    assert [packet_id for packet_id, _ in line.acks] == [9]
    assert line.codes == ["invalid_request"]
    assert services.asked == []
    assert services.counted == [(name, "invalid_request")]


async def test_every_event_of_the_contract_is_known_and_a_refusal_without_an_id_is_silent(services: Services) -> None:
    line = services.connect()
    requests = list(by_event(OPERATIONS))
    for name in requests:
        services.dispatch.event(Services.connection(line), name, b"", None)
    assert services.counted == [(name, "invalid_request") for name in requests]
    assert line.acks == []


async def test_a_request_beyond_the_scopes_of_the_token_reaches_no_service(services: Services) -> None:
    line = services.connect()
    narrow = frozenset({Scope.EVENTS_READ})
    services.tokens["narrow"] = msgspec.structs.replace(principal(), scopes=narrow)
    services.send(line, "auth.refresh", {"token": "narrow"}, 1)
    services.send(line, "message.send", {"room": ROOM, "client_id": "c", "body": "x"}, 2)
    assert (line.codes, services.asked) == (["forbidden"], [])
    services.send(line, "room.subscribe", {"rooms": [{"room": ROOM}]}, 3)
    await settle()
    assert line.acks[-1][1]["ok"]


async def test_json_that_is_none_is_refused_as_such(services: Services) -> None:
    line = services.connect()
    services.dispatch.event(Services.connection(line), "message.send", b'{"room":', 1)
    assert line.codes == ["invalid_json"]


# -- messages ---------------------------------------------------------------------------------------


async def test_a_send_is_acked_when_it_is_committed_and_not_before(services: Services) -> None:
    line = services.connect()
    services.send(line, "message.send", {"room": ROOM, "client_id": "c1", "body": "hi"}, 1)
    services.send(line, "message.edit", {"room": ROOM, "seq": 3, "body": "ho"}, 2)
    services.send(line, "message.delete", {"room": ROOM, "seq": 3, "client_id": "c3"}, 3)
    assert services.asked == [
        ("append", ADA.id, ROOM, kinds.CREATED, "c1", None, "hi"),
        ("append", ADA.id, ROOM, kinds.EDITED, None, 3, "ho"),
        ("append", ADA.id, ROOM, kinds.DELETED, "c3", 3, None),
    ]
    assert line.acks == []
    services.dones[0](Committed(4, AT))
    services.dones[1](Committed(3, AT, duplicate=True))
    services.dones[2](errors.NotAMember())
    assert line.acks[:2] == [
        (1, {"ok": True, "seq": 4, "at": "2026-01-02T03:04:05.678Z"}),
        (2, {"ok": True, "seq": 3, "at": "2026-01-02T03:04:05.678Z", "duplicate": True}),
    ]
    assert line.codes == ["not_a_member"]


async def test_a_send_over_the_rate_reaches_no_service(services: Services) -> None:
    line = services.connect()
    services.send_refusal = errors.RateLimited(retry_after_ms=40)
    services.send(line, "message.send", {"room": ROOM, "client_id": "c1", "body": "hi"})
    assert line.codes == ["rate_limited"]
    assert line.acks[0][1]["error"]["retry_after_ms"] == 40
    assert services.asked == []


async def test_a_commit_after_the_connection_went_answers_nobody(services: Services) -> None:
    line = services.connect()
    services.send(line, "message.send", {"room": ROOM, "client_id": "c1", "body": "hi"})
    services.dispatch.disconnected(Services.connection(line), CloseReason.TRANSPORT)
    services.dones[0](Committed(1, AT))
    services.dones[0](errors.Unavailable())
    assert line.acks == []


# -- signals ----------------------------------------------------------------------------------------


async def test_a_signal_goes_to_the_room_here_and_on_other_nodes_with_the_senders_name(services: Services) -> None:
    line = services.connect()
    line.app.rooms.add(ROOM)
    services.send(line, "signal", {"room": ROOM, "kind": "typing", "data": {"on": True}})
    [(here, room, (name, payload)), there] = services.asked
    assert (here, room, name) == ("signal", ROOM, "signal")
    assert msgspec.json.decode(payload) == {"room": ROOM, "user": ADA.id, "kind": "typing", "data": {"on": True}}
    assert there == ("published", ROOM, (name, payload))
    assert line.acks == [(1, {"ok": True})]


async def test_a_signal_to_a_room_that_is_not_subscribed_is_refused(services: Services) -> None:
    line = services.connect()
    services.send(line, "signal", {"room": ROOM, "kind": "typing"})
    assert line.codes == ["not_subscribed"]
    assert services.asked == []


async def test_signals_are_limited_and_the_refusal_says_how_long(services: Services) -> None:
    line = services.connect()
    line.app.rooms.add(ROOM)
    for _ in range(3):
        services.send(line, "signal", {"room": ROOM, "kind": "typing"})
    assert [answer["ok"] for _, answer in line.acks] == [True, True, False]
    assert line.acks[2][1]["error"]["retry_after_ms"] == 501
    services.now_s += 0.5
    services.send(line, "signal", {"room": ROOM, "kind": "typing"})
    assert line.acks[3][1] == {"ok": True}


def nested(depth: int, inner: object = None) -> object:
    """Return lists and objects in turn, `depth` of them, around a value."""
    for level in range(depth):
        inner = [inner] if level % 2 else {"x": inner}
    return inner


@pytest.mark.parametrize(
    ("data", "limit", "deeper"),
    [
        (None, 1, False),
        ("text", 1, False),
        ([], 1, False),
        ({}, 1, False),
        ([1], 1, True),
        ([1, 2, 3], 2, False),
        ([[], {}], 2, False),
        ([[], {"a": 1}], 2, True),
        ({"a": {"b": [1]}}, 3, True),
        ({"a": {"b": [1]}}, 4, False),
    ],
)
def test_depth_counts_the_levels_down_to_the_deepest_value(data: object, limit: int, deeper: bool) -> None:
    assert _deeper_than(data, limit) is deeper


def test_depth_is_measured_without_recursion_and_ends_at_the_limit() -> None:
    assert _deeper_than(nested(5_000), MAX_DEPTH)
    assert not _deeper_than(nested(MAX_DEPTH - 1), MAX_DEPTH)
    assert _deeper_than(nested(MAX_DEPTH), MAX_DEPTH)


async def test_a_signal_that_is_too_deep_is_refused_by_its_field(services: Services) -> None:
    line = services.connect()
    line.app.rooms.add(ROOM)
    services.send(line, "signal", {"room": ROOM, "kind": "typing", "data": nested(MAX_DEPTH)})
    assert line.acks[0][1]["error"]["field"] == "$.data"
    services.send(line, "signal", {"room": ROOM, "kind": "typing", "data": nested(MAX_DEPTH - 1)})
    assert line.acks[1][1] == {"ok": True}


# -- rooms ------------------------------------------------------------------------------------------


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_subscriptions_are_answered_in_the_order_asked_and_unknown_ids_never_reach_the_store(services: Services) -> None:
    line = services.connect()
    services.send(line, "room.subscribe", {"rooms": [{"room": "nonsense"}, {"room": ROOM, "since": 7}]})
    await settle()
    assert services.asked == [("subscribe", [(ROOM, 7)])]
    [(_, answer)] = line.acks
    assert [room["room"] for room in answer["rooms"]] == ["nonsense", ROOM]
    assert answer["rooms"][0]["error"]["code"] == "room_not_found"
    assert answer["rooms"][1] == {"room": ROOM, "head_seq": 7, "role": "member", "events": []}
    assert line.app.rooms == {ROOM}
    assert line.app.tail is None


async def test_a_request_that_is_too_large_is_refused_for_good(services: Services) -> None:
    line = services.connect()
    services.dispatch.too_large(Services.connection(line), "message.send", 5)
    services.dispatch.too_large(Services.connection(line), "nothing", 6)
    assert [(number, answer["error"]["code"], answer["error"]["retryable"]) for number, answer in line.acks] == [
        (5, "payload_too_large", False),
        (6, "payload_too_large", False),
    ]
    assert services.counted == [("message.send", "payload_too_large"), ("unknown", "payload_too_large")]


async def test_an_epoch_is_told_of_the_whole_request_or_of_one_room(services: Services) -> None:
    line = services.connect()
    other = RoomId("019b0000-0000-7000-8000-0000000000ab")
    rooms = [{"room": ROOM, "since": 3}, {"room": other, "since": 4, "epoch": "b"}]
    services.send(line, "room.subscribe", {"rooms": rooms, "epoch": "a"}, 1)
    await settle()
    assert services.asked[-1] == ("subscribe", [(ROOM, 3), (other, 4)], {ROOM: "a", other: "b"})
    [(_, answer)] = line.acks
    assert answer["epoch"] == "epoch-1"


async def test_more_rooms_than_a_connection_may_hold_are_refused_whole(services: Services) -> None:
    line = services.connect()
    line.app.rooms |= {RoomId("a"), RoomId("b"), ROOM}
    services.send(line, "room.subscribe", {"rooms": [{"room": ROOM}, {"room": "c"}]})
    await settle()
    assert line.codes == ["too_many_subscriptions"]
    services.send(line, "room.subscribe", {"rooms": [{"room": ROOM}]})
    await settle()
    assert line.acks[-1][1]["ok"] is True


async def test_requests_that_must_wait_run_one_after_the_other(services: Services) -> None:
    line = services.connect()
    services.gate.clear()
    services.send(line, "room.subscribe", {"rooms": [{"room": ROOM}]}, 1)
    services.send(line, "room.unsubscribe", {"rooms": [ROOM]}, 2)
    await settle()
    assert services.asked == [("subscribe", [(ROOM, None)])]
    services.gate.set()
    await settle()
    assert services.asked[1:] == [("unsubscribe", ROOM), ("unwatch_room", ROOM)]
    assert [packet_id for packet_id, _ in line.acks] == [1, 2]
    assert line.app.rooms == set()


async def test_requests_that_wait_are_bounded(services: Services) -> None:
    line = services.connect()
    services.gate.clear()
    services.send(line, "room.subscribe", {"rooms": [{"room": ROOM}]}, 0)
    await settle()
    for number in range(MAX_WAITING):
        services.send(line, "room.unsubscribe", {"rooms": [ROOM]}, number + 1)
    assert line.acks == []
    services.send(line, "room.unsubscribe", {"rooms": [ROOM]}, 999)
    assert line.codes == ["overloaded"]
    assert line.acks[0][1]["error"]["retryable"] is True
    services.gate.set()
    for _ in range(MAX_WAITING):
        await settle()
    assert len(line.acks) == MAX_WAITING + 2


async def test_a_service_that_fails_answers_with_internal_and_the_next_request_runs(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    line = services.connect()
    services.failure = RuntimeError("a bug")
    services.send(line, "room.subscribe", {"rooms": [{"room": ROOM}]}, 1)
    services.send(line, "room.unsubscribe", {"rooms": [{"room": ROOM}]}, 2)
    await settle()
    assert [answer["ok"] for _, answer in line.acks] == [False, True]
    assert line.codes == ["internal"]
    assert "a bug" in caplog.text
    [record] = caplog.records
    assert vars(record)["principal"] == str(principal()) == f"session:{SESSION} user:{ADA.id}"
    services.failure = errors.Unavailable()
    services.send(line, "room.subscribe", {"rooms": [{"room": ROOM}]}, 3)
    await settle()
    assert line.codes == ["internal", "unavailable"]


async def test_a_subscription_whose_client_went_meanwhile_answers_nobody(services: Services) -> None:
    line = services.connect()
    services.gate.clear()
    services.send(line, "room.subscribe", {"rooms": [{"room": ROOM}]}, 1)
    await settle()
    services.dispatch.disconnected(Services.connection(line), CloseReason.TRANSPORT)
    services.gate.set()
    await settle()
    assert line.acks == []


# -- presence, tokens, and what other services ask for ----------------------------------------------


async def test_a_watch_is_acked_first_and_the_snapshot_follows(services: Services) -> None:
    line = services.connect()
    peer: Peer = line.app
    peer.rooms.add(ROOM)
    order: list[str] = []
    line.ack = lambda packet_id, answer: order.append("ack")  # type: ignore[method-assign]
    line.emitted.clear()
    services.send(line, "presence.watch", {"users": [ADA.id, BOB.id, ADA.id], "rooms": [ROOM, ROOM]})
    await settle()
    order += [name for name, _ in line.emitted]
    assert order == ["ack", "presence"]
    assert services.asked == [("look", [ADA.id, BOB.id], [ROOM])]
    snapshot = line.emitted[0][1]
    assert snapshot["snapshot"] is True
    assert [one["status"] for one in snapshot["users"]] == ["online", "offline"]
    assert snapshot["rooms"] == [{"room": ROOM, "online": 5}]


async def test_rooms_are_watched_by_those_who_receive_them(services: Services) -> None:
    line = services.connect()
    services.send(line, "presence.watch", {"users": [], "rooms": [ROOM]})
    await settle()
    assert line.codes == ["not_subscribed"]
    assert services.asked == []


async def test_being_idle_is_said_at_once_and_counts_once_a_connection(services: Services) -> None:
    line = services.connect()
    for idle in (True, True, False, True):
        services.send(line, "presence.set", {"idle": idle})
    assert [answer for _, answer in line.acks] == [{"ok": True}] * 4
    assert services.asked == [("idle", ADA.id, True), ("idle", ADA.id, False), ("idle", ADA.id, True)]
    services.asked.clear()
    services.dispatch.disconnected(Services.connection(line), CloseReason.TRANSPORT)
    assert ("offline", ADA.id, True) in services.asked


async def test_a_choice_is_acked_with_what_is_chosen_now(services: Services) -> None:
    line = services.connect()
    services.send(line, "presence.set", {"status": "dnd", "text": "busy", "text_expires_in_s": 60})
    await settle()
    assert services.asked == [("choose", ADA.id, Choice.DND, "busy", 60)]
    assert line.acks == [(1, {"ok": True, "presence": {"status": "dnd", "text": "busy"}})]


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"text": "", "text_expires_in_s": 60}, "$.text_expires_in_s"),
        ({"text": "x", "text_expires_in_s": 0}, "$.text_expires_in_s"),
        ({"text": "x" * 141}, "$.text"),
        ({"text": "a\nb"}, "$.text"),
        ({"status": "offline"}, "$.status"),
    ],
)
async def test_a_choice_that_is_none_is_refused_by_its_field(services: Services, request_: dict[str, Any], field: str) -> None:
    line = services.connect()
    services.send(line, "presence.set", request_)
    await settle()
    assert line.acks[0][1]["error"]["field"] == field
    assert services.asked == []


async def test_a_new_token_of_the_same_session_is_put_on_the_connection(services: Services) -> None:
    line = services.connect()
    services.tokens["newer"] = principal(expires_at_s=9_000)
    services.send(line, "auth.refresh", {"token": "newer"})
    assert line.acks == [(1, {"ok": True, "expires_in": 77})]
    assert line.principal.expires_at_s == 9_000


async def test_a_token_of_another_session_or_user_is_not_put_on_the_connection(services: Services) -> None:
    line = services.connect()
    services.tokens["other"] = principal(BOB, "another-session")
    for token in ("other", "unknown"):
        services.send(line, "auth.refresh", {"token": token})
    assert line.codes == ["token_invalid", "token_invalid"]
    assert line.principal == principal()


async def test_ending_a_session_closes_its_connections_and_no_others(services: Services) -> None:
    mine, also_mine, other = services.connect(), services.connect(), services.connect(session="another-session")
    services.hub.end_session(SessionId(SESSION))
    assert (mine.closed, also_mine.closed, other.closed) == ([CloseReason.SESSION_ENDED], [CloseReason.SESSION_ENDED], [])


async def test_a_user_is_told_on_every_connection_and_nobody_else_is(services: Services) -> None:
    phone, laptop, other = services.connect(), services.connect(session="s2"), services.connect(BOB, "s3")
    room = Room(ROOM, RoomKind.PRIVATE, "Den", 3, AT, AT, 2, Role.MEMBER)
    told: list[bytes] = []
    Outgoing(SimpleNamespace(publish_control=told.append), services.hub).room_added(ADA.id, room)
    assert len(told) == 1, "the other nodes are told too"
    for line in (phone, laptop):
        name, payload = line.emitted[-1]
        assert (name, payload["room"]["id"], payload["room"]["name"]) == ("room.added", ROOM, "Den")
    assert [name for name, _ in other.emitted] == ["ready"]


async def test_who_is_expelled_is_told_by_the_feed_where_it_was_received_and_directly_elsewhere(services: Services) -> None:
    looking, elsewhere = services.connect(), services.connect(session="s2")
    looking.app.rooms.add(ROOM)
    services.departures.everywhere(ADA.id, ROOM, "removed", 7)
    told = ("told", ADA.id, ROOM, "removed", 7)
    assert services.asked == [("departed", ADA.id, ROOM), ("expel", ROOM, ADA.id, "removed", 7), ("lost_room", ROOM), told]
    assert [name for name, _ in looking.emitted] == ["ready"]
    assert elsewhere.emitted[-1] == ("room.removed", {"room": ROOM, "reason": "removed"})
