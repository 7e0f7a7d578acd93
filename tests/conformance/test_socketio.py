"""Socket.IO 5 over raw WebSockets and polling: <https://github.com/socketio/socket.io-protocol>."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.client import Api, unique
from tests.conformance import wire
from tests.conformance.wire import Polling, RawSocket

if TYPE_CHECKING:
    from tests.client import Person
    from tests.conftest import Nodes

RESERVED = ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]
"""What servers and clients of Socket.IO call their own events."""


@pytest.fixture
async def anna(api: Api) -> Person:
    return await api.register()


@pytest.fixture
async def outside(api: Api) -> RawSocket:
    """A session whose client has not connected to the namespace yet."""
    socket = await RawSocket.open(api.url)
    assert (await socket.text()).startswith("0{")
    return socket


@pytest.fixture
async def socket(outside: RawSocket, anna: Person) -> RawSocket:
    """A connection that is ready."""
    await outside.connect(anna.token)
    return outside


# -- connecting -----------------------------------------------------------------------------------


async def test_who_does_not_connect_in_time_is_closed(nodes: Nodes) -> None:
    api = await nodes.start(connect_timeout_s=0.3)
    anna = await api.register()
    connected, silent = await RawSocket.open(api.url), await RawSocket.open(api.url)
    await connected.enter(anna.token)
    left = await RawSocket.open(api.url)
    await left.enter(anna.token)
    left.send("41")
    opened = time.monotonic()
    assert await silent.close_code() == 1008
    assert await left.close_code() == 1008, "who has left the namespace has no more time than who never came"
    assert time.monotonic() - opened < 1
    assert await connected.is_alive()
    polling = Polling(api.http, api.url)
    await polling.open()
    assert (await polling.get()).packets == ["1"]
    assert await polling.is_gone()


@pytest.mark.parametrize("namespace", ["/other", "/admin", "/ä", "/other?token=x"])
async def test_another_namespace_is_refused_and_ours_stays_open(outside: RawSocket, anna: Person, namespace: str) -> None:
    outside.send(f"40{namespace},")
    assert await outside.text() == f'44{namespace},{{"message":"Invalid namespace"}}'
    await outside.connect(anna.token)
    outside.send(f'40{namespace},{{"token":"x"}}')
    assert await outside.text() == f'44{namespace},{{"message":"Invalid namespace"}}'
    assert await outside.is_alive()


@pytest.mark.parametrize(
    ("auth", "code"),
    [
        ("", "token_missing"),
        ("{}", "token_missing"),
        ("[]", "invalid_request"),
        ("null", "token_missing"),
        ('{"token":5}', "invalid_request"),
        ('{"token":""}', "token_missing"),
        ('{"token":null}', "token_missing"),
        ('{"other":1}', "token_missing"),
        ('{"token":"' + "x" * 4097 + '"}', "invalid_request"),
        ('{"token":"x","extra":1}', "token_invalid"),
        ('{"token":"x"', "invalid_json"),
        ('{"token":"\\ud800"}', "invalid_json"),
        ('{"token":"x"}', "token_invalid"),
        ('{"token":"a.b.c"}', "token_invalid"),
        ('{"token":"\\u0000"}', "token_invalid"),
        ('{"token":"ä.ö.ü"}', "token_invalid"),
    ],
)
async def test_a_refused_connect_says_why_and_may_be_tried_again(outside: RawSocket, anna: Person, auth: str, code: str) -> None:
    outside.send("40" + auth)
    answer = await outside.text()
    assert answer.startswith("44{")
    refusal = json.loads(answer[2:])
    assert (refusal["data"]["code"], refusal["data"]["retryable"]) == (code, False)
    assert refusal["message"] == refusal["data"]["message"]
    await outside.connect(anna.token)


async def test_nobody_tries_tokens_without_end(outside: RawSocket) -> None:
    for _ in range(5):
        outside.send('40{"token":"x"}')
        assert (await outside.text()).startswith("44{")
    outside.send('40{"token":"x"}')
    assert await outside.close_code() == 1002


async def test_the_id_of_a_connection_is_not_the_one_that_lets_a_poll_in(api: Api, anna: Person) -> None:
    polling = Polling(api.http, api.url)
    packets = await polling.enter(anna.token)
    [connect] = [packet for packet in packets if packet.startswith("40{")]
    assert json.loads(connect[2:])["sid"] != polling.sid


async def test_who_left_the_namespace_may_come_back_and_got_nothing_meanwhile(
    socket: RawSocket, anna: Person, nodes: Nodes
) -> None:
    [node] = nodes.running
    room = await anna.room()
    await socket.ask(0, "room.subscribe", {"rooms": [{"room": room}]})
    socket.send("41")
    socket.write(wire.frame(b"left?", wire.PING))
    while (await socket.receive())[0] != wire.PONG:
        pass  # what was on its way
    assert len(node.hub) == 0
    await anna.send(room)
    await socket.connect(anna.token)  # fails when the message came first
    assert len(node.hub) == 1


@pytest.mark.parametrize(
    ("token", "packet"),
    [
        (False, '42["message.send",{}]'),
        (False, '420["presence.watch",{"users":[]}]'),
        (False, "41"),
        (False, "430[]"),
        (False, '451-["x",{"_placeholder":true,"num":0}]'),
        (True, '40{"token":"x"}'),
        (True, "40"),
        (True, '42/other,["presence.watch",{"users":[]}]'),
        (True, "41/other,"),
        (True, "430[]"),
        (True, '44{"message":"no"}'),
        (True, '461-0[{"_placeholder":true,"num":0}]'),
        (True, "4"),
        (True, "47"),
        (True, "49"),
        (True, "4x"),
        (True, "42"),
        (True, "42{}"),
        (True, "42[]"),
        (True, "42[1]"),
        (True, "42[null,{}]"),
        (True, '42"presence.watch"'),
        (True, '42["presence.watch"'),
        (True, '420.5["presence.watch"]'),
        (True, '42-1["presence.watch"]'),
        (True, "42" + "9" * 20 + '["presence.watch"]'),
        (True, '421-["presence.watch",{}]'),
        (True, '450-["presence.watch"]'),
        (True, '4511-["presence.watch"]'),
        (True, '4599999999999-["presence.watch"]'),
        (True, '45["presence.watch"]'),
        (True, "451-{}"),
        (True, '42["\\ud800"]'),
        (True, "42" + "[" * 60_000),
    ],
)
async def test_what_the_protocol_does_not_allow_closes_the_connection(
    outside: RawSocket, anna: Person, nodes: Nodes, token: bool, packet: str
) -> None:
    if token:
        await outside.connect(anna.token)
    outside.send(packet)
    assert await outside.close_code() == 1002
    assert len(nodes.running[0].hub) == 0


# -- events ---------------------------------------------------------------------------------------


async def test_reserved_names_are_refused_and_reach_nobody(socket: RawSocket, anna: Person, nodes: Nodes) -> None:
    [node] = nodes.running
    room = await anna.room()
    await socket.ask(0, "room.subscribe", {"rooms": [{"room": room}]})
    foreign = [*RESERVED, "ready", "message.created", "closing", "*", "", "__proto__", "constructor", "\x00", "é" * 100]
    for number, name in enumerate(foreign, 1):
        for payload in (None, {}, {"token": "x"}):
            answer = await socket.ask(number, name, payload)
            assert (answer["ok"], answer["error"]["code"]) == (False, "unknown_event"), name
        socket.send("42" + json.dumps([name, {}]))  # and without an id there is nothing to answer
    assert len(node.hub) == 1, "the connection neither left nor came again"
    seq = await anna.send(room)
    event = await socket.text()
    assert (json.loads(event[2:])[0], json.loads(event[2:])[1]["seq"]) == ("message.created", seq)
    assert await socket.is_alive()


async def test_an_event_has_one_argument_at_most(socket: RawSocket) -> None:
    for number, arguments in enumerate(["{},{}", '{"users":[]},{}', "1,2,3"]):
        socket.send(f'42{number}["presence.watch",{arguments}]')
        assert (await socket.ack(number))["error"]["code"] == "invalid_request"
    assert await socket.is_alive()


async def test_an_ack_has_the_number_of_its_request_and_the_namespace_may_be_written_out(socket: RawSocket) -> None:
    for number in (0, 7, 2**31, 2**53, 10**19 - 1):
        socket.send(f'42{number}["presence.watch",{{"users":[]}}]')
        assert (await socket.ack(number))["ok"] is True
    socket.send('42/,5["presence.watch",{"users":[]}]')
    assert (await socket.ack(5))["ok"] is True


async def test_who_asks_for_no_ack_gets_none(socket: RawSocket) -> None:
    socket.send('42["presence.watch",{"users":[]}]')
    socket.send('42["nonsense"]')
    socket.send('42["presence.watch",{"users":5}]')
    heard: list[str] = []
    socket.send('429["presence.watch",{"users":[]}]')
    while not heard or not heard[-1].startswith("439["):
        heard.append(await socket.text())
    assert [text for text in heard if not text.startswith("42[")] == ['439[{"ok":true}]']


async def test_a_connection_has_a_budget_of_requests_and_is_told_when_it_is_used_up(nodes: Nodes) -> None:
    api = await nodes.start(request_rate=1, request_burst=4)
    anna, socket, other = await api.register(), await RawSocket.open(api.url), await RawSocket.open(api.url)
    await socket.enter(anna.token)
    await other.enter(anna.token)
    events = ["presence.watch", "nonsense", "message.send", "presence.watch", "presence.watch", "nonsense"]
    answers = [await socket.ask(number, event, {"users": []}) for number, event in enumerate(events)]
    assert [answer.get("error", {}).get("code") for answer in answers] == [
        None, "unknown_event", "invalid_request", None, "rate_limited", "rate_limited",
    ]  # fmt: skip
    assert 0 < answers[-1]["error"]["retry_after_ms"] <= 1001
    assert await other.is_alive(), "each connection has its own"


# -- binary ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("attachments", [1, 2, 10])
async def test_a_binary_event_is_refused_when_it_is_whole_and_the_connection_lives(socket: RawSocket, attachments: int) -> None:
    places = [{"_placeholder": True, "num": number} for number in range(attachments)]
    socket.send(f"45{attachments}-3" + json.dumps(["message.send", {"body": places}]))
    for number in range(attachments):
        socket.write(wire.frame(bytes([number]) * 100, wire.BINARY))
    assert (await socket.ack(3))["error"]["code"] == "invalid_request"
    socket.send(f'45{attachments}-["connect",{{"_placeholder":true,"num":0}}]')
    for _ in range(attachments):
        socket.write(wire.frame(b"", wire.BINARY))
    assert await socket.is_alive()


async def test_over_polling_binary_comes_in_base64(api: Api, anna: Person) -> None:
    polling = Polling(api.http, api.url)
    await polling.enter(anna.token)
    answer = await polling.post(
        '451-3["message.send",{"_placeholder":true,"num":0}]', "bAAEC", '424["presence.watch",{"users":[]}]'
    )
    assert answer.status == 200
    packets = await polling.until(lambda packet: packet.startswith("434["))
    [refused, done] = [packet for packet in packets if packet.startswith("43")]
    assert refused.startswith("433[") and '"invalid_request"' in refused
    assert done == '434[{"ok":true}]'


@pytest.mark.parametrize(
    "frames",
    [
        wire.frame(b'451-["x",{"_placeholder":true,"num":0}]') + wire.frame(b'420["x"]'),
        wire.frame(b'451-["x",{"_placeholder":true,"num":0}]') * 2,
        wire.frame(b'451-["x"]') + wire.frame(b"a", wire.BINARY) * 2,
        wire.frame(b"a", wire.BINARY),
    ],
    ids=["text in between", "announced twice", "one too many", "not announced"],
)
async def test_attachments_come_as_announced_or_the_connection_is_closed(socket: RawSocket, frames: bytes) -> None:
    socket.write(frames)
    assert await socket.close_code() == 1002


# -- many at once ---------------------------------------------------------------------------------


async def test_thousands_of_packets_in_one_read_are_all_answered_in_order(nodes: Nodes) -> None:
    api = await nodes.start(request_burst=5000)
    anna, socket = await api.register(), await RawSocket.open(api.url)
    await socket.enter(anna.token)
    room = await anna.room()
    kinds: list[tuple[str, Any, str]] = [
        ("presence.set", {"idle": False}, "ok"),
        ("nonsense", {}, "unknown_event"),
        ("message.send", {"room": room}, "invalid_request"),
        ("signal", {"room": room, "kind": "typing"}, "not_subscribed"),
    ]
    count = 5000
    packets = ((number, *kinds[number % len(kinds)]) for number in range(count))
    raw = b"".join(wire.frame(f"42{number}{json.dumps([name, payload])}".encode()) for number, name, payload, _ in packets)
    socket.write(raw)
    for number in range(count):
        while not (text := await socket.text()).startswith("43"):
            assert text.startswith("42[")
        head, _, answer = text.partition("[")
        assert head == f"43{number}"
        found = json.loads("[" + answer)[0]
        assert ("ok" if found["ok"] else found["error"]["code"]) == kinds[number % len(kinds)][2]


async def test_one_clients_sends_keep_their_order(socket: RawSocket, anna: Person) -> None:
    room = await anna.room()
    head = (await socket.ask(0, "room.subscribe", {"rooms": [{"room": room}]}))["rooms"][0]["head_seq"]
    prefix = unique("c")
    raw = b""
    for number in range(1, 151):
        message = {"room": room, "client_id": f"{prefix}-{number}", "body": str(number)}
        raw += wire.frame(f"42{number}{json.dumps(['message.send', message])}".encode())
    socket.write(raw)
    acked: dict[int, int] = {}
    live: list[tuple[int, str]] = []
    while len(acked) < 150 or len(live) < 150:
        text = await socket.text()
        if text.startswith("43"):
            packet_id, _, answer = text[2:].partition("[")
            acked[int(packet_id)] = json.loads("[" + answer)[0]["seq"]
        else:
            event = json.loads(text[2:])[1]
            live.append((event["seq"], event["body"]))
    assert list(acked.items()) == [(number, head + number) for number in range(1, 151)]
    assert live == [(head + number, str(number)) for number in range(1, 151)]
