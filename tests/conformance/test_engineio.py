"""Engine.IO 4 over raw HTTP and WebSockets: <https://github.com/socketio/engine.io-protocol>.

Error numbers are those of the protocol's reference server.
"""

from __future__ import annotations

import asyncio
import io
import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from realtime import config
from tests.client import Api
from tests.conformance import wire
from tests.conformance.wire import Closed, Polling, RawSocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.conftest import Nodes

UNKNOWN_TRANSPORT, UNKNOWN_SID, BAD_METHOD, BAD_REQUEST, FORBIDDEN, UNSUPPORTED_VERSION = range(6)


@pytest.fixture
def polling(api: Api) -> Polling:
    return Polling(api.http, api.url)


# -- handshake ------------------------------------------------------------------------------------


async def test_the_handshake_names_the_session_and_the_bounds(nodes: Nodes) -> None:
    api = await nodes.start(ping_interval_s=7.5, ping_timeout_s=3, max_packet_bytes=200_000)
    expected = {"pingInterval": 7500, "pingTimeout": 3000, "maxPayload": 200_000}
    polling = Polling(api.http, api.url)
    over_polling = await polling.open()
    socket = await RawSocket.open(api.url)
    over_websocket = json.loads((await socket.text()).removeprefix("0"))
    for handshake, upgrades in ((over_polling, ["websocket"]), (over_websocket, [])):
        sid = handshake.pop("sid")
        assert len(sid) >= 22, "an id of less than 128 bits can be guessed"
        assert handshake == {**expected, "upgrades": upgrades}
    again = await polling.request("GET", wire.HANDSHAKE)
    assert json.loads(again.body[1:])["sid"] != polling.sid
    assert again.headers["Content-Type"] == "text/plain; charset=UTF-8"
    assert again.headers["Cache-Control"] == "no-store"


async def test_what_is_no_handshake_and_no_session_is_refused_with_its_number(polling: Polling) -> None:
    await polling.open()
    sid = polling.sid
    wrong: list[tuple[str, dict[str, str], int]] = [
        ("GET", {}, UNKNOWN_TRANSPORT),
        ("GET", {"EIO": "4"}, UNKNOWN_TRANSPORT),
        ("GET", {"EIO": "4", "transport": "abc"}, UNKNOWN_TRANSPORT),
        ("GET", {"EIO": "4", "transport": "__proto__"}, UNKNOWN_TRANSPORT),
        ("GET", {"transport": "polling"}, UNSUPPORTED_VERSION),
        ("GET", {"EIO": "3", "transport": "polling"}, UNSUPPORTED_VERSION),
        ("GET", {"EIO": "abc", "transport": "polling"}, UNSUPPORTED_VERSION),
        ("GET", {"EIO": "abc", "transport": "websocket"}, UNSUPPORTED_VERSION),
        ("POST", {"EIO": "4", "transport": "polling"}, BAD_METHOD),
        ("PUT", {"EIO": "4", "transport": "polling"}, BAD_METHOD),
        ("GET", {"EIO": "4", "transport": "polling", "sid": "unknown"}, UNKNOWN_SID),
        ("POST", {"EIO": "4", "transport": "polling", "sid": ""}, UNKNOWN_SID),
        ("GET", {"EIO": "4", "transport": "polling", "sid": sid + "x"}, UNKNOWN_SID),
        ("GET", {"EIO": "4", "transport": "polling", "sid": "\x00\udcff".encode("utf-8", "replace").decode()}, UNKNOWN_SID),
        ("GET", {"EIO": "4", "transport": "websocket", "sid": "unknown"}, UNKNOWN_SID),
        ("GET", {"EIO": "4", "transport": "websocket"}, BAD_REQUEST),
        ("GET", {"EIO": "4", "transport": "websocket", "sid": sid}, BAD_REQUEST),
        ("PUT", {"EIO": "4", "transport": "polling", "sid": sid}, BAD_REQUEST),
        ("DELETE", {"EIO": "4", "transport": "polling", "sid": sid}, BAD_REQUEST),
    ]
    for method, query, code in wrong:
        answer = await polling.request(method, query)
        assert (answer.status, answer.code) == (400, code), (method, query)
        assert set(json.loads(answer.body)) == {"code", "message"}
    assert (await polling.post("1")).status == 200, "none of this ended the session"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-WebSocket-Version": "12"},
        {"Sec-WebSocket-Version": None},
        {"Sec-WebSocket-Key": None},
        {"Sec-WebSocket-Key": "c2hvcnQ="},
        {"Sec-WebSocket-Key": "not base64 at all!!!!!!"},
        {"Connection": "keep-alive"},
        {"Upgrade": "h2c"},
    ],
)
async def test_what_is_no_websocket_handshake_is_refused(api: Api, headers: dict[str, str | None]) -> None:
    _, status, _ = await RawSocket.upgrade(api.url, headers=headers)
    assert status == 400


async def test_the_key_is_answered_and_no_extension_is_agreed_on(api: Api) -> None:
    offered = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits", "Connection": "keep-alive, Upgrade"}
    _, status, headers = await RawSocket.upgrade(api.url, headers=offered)
    assert status == 101
    assert headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # the example of RFC 6455 §1.3
    assert "sec-websocket-extensions" not in headers


async def test_a_session_goes_on_when_the_address_of_its_client_changes(nodes: Nodes) -> None:
    api = await nodes.start(trusted_proxies="127.0.0.0/8", connections_per_address=2)
    anna, ben = await api.register(), await api.register()
    polling = Polling(api.http, api.url)
    addresses = [{"X-Forwarded-For": address} for address in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:1::1")]
    await polling.open(addresses[0])
    token = json.dumps({"token": anna.token})
    assert (await polling.request("POST", polling.query, f"40{token}", addresses[1])).status == 200
    assert (await polling.get(addresses[2])).packets[0].startswith('40{"sid"')
    another = json.dumps({"token": ben.token})
    assert (await polling.request("POST", polling.query, f"40/x,{another}", addresses[1])).status == 200
    assert "44/x," in (await polling.get(addresses[2])).body.decode(), "it belongs to the sign-in that was shown first"
    query = f"EIO=4&transport=websocket&sid={polling.sid}"
    socket, status, _ = await RawSocket.upgrade(api.url, query, addresses[3])
    assert status == 101
    socket.send("2probe")
    assert await socket.text() == "3probe"
    socket.send("5")
    assert await socket.is_alive()


async def test_a_session_counts_for_the_address_that_opened_it_until_it_ends(nodes: Nodes) -> None:
    api = await nodes.start(trusted_proxies="127.0.0.0/8", connections_per_address=1)
    here, there = {"X-Forwarded-For": "192.0.2.1"}, {"X-Forwarded-For": "192.0.2.2"}
    for _ in range(2):
        polling = Polling(api.http, api.url)
        await polling.open(here)
        assert (await polling.request("GET", wire.HANDSHAKE, headers=here)).status == 429
        assert (await polling.request("POST", polling.query, "1", headers=there)).status == 200, "closed from elsewhere"
    assert (await polling.request("GET", wire.HANDSHAKE, headers=there)).status == 200


async def test_an_address_has_so_many_connections_and_no_more(nodes: Nodes) -> None:
    api = await nodes.start(connections_per_address=2)
    first, second, third = (Polling(api.http, api.url) for _ in range(3))
    await first.open()
    await second.open()
    refused = await third.request("GET", wire.HANDSHAKE)
    assert (refused.status, int(refused.headers["Retry-After"]) >= 1) == (429, True)
    assert json.loads(refused.body)["code"] == "too_many_connections"
    await first.post("1")
    await third.open()


async def test_half_of_an_address_may_be_without_a_token_and_the_rest_is_kept_for_others(nodes: Nodes) -> None:
    api = await nodes.start(connections_per_address=22)
    anna = await api.register()
    silent = [await RawSocket.open(api.url) for _ in range(11)]
    _, status, headers = await RawSocket.upgrade(api.url)
    assert (status, int(headers["retry-after"]) >= 1) == (429, True)
    await silent[0].enter(anna.token)
    await (await RawSocket.open(api.url)).enter(anna.token)


async def test_a_node_takes_so_many_connections_and_so_many_a_second(nodes: Nodes) -> None:
    full, slow = await nodes.start(connections_per_node=2), await nodes.start(connect_rate=1)
    for api, at_once in ((full, 2), (slow, 1)):
        for _ in range(at_once):
            await Polling(api.http, api.url).open()
        refused = await Polling(api.http, api.url).request("GET", wire.HANDSHAKE)
        assert (refused.status, int(refused.headers["Retry-After"]) >= 1) == (503, True)
        error = json.loads(refused.body)
        assert (error["code"], error["retryable"]) == ("overloaded", True)
    async with asyncio.timeout(5):
        while (await Polling(slow.http, slow.url).request("GET", wire.HANDSHAKE)).status == 503:
            await asyncio.sleep(0.05)


# -- heartbeat ------------------------------------------------------------------------------------


@pytest.fixture
async def quick(nodes: Nodes) -> Api:
    """A node whose heartbeat is quick."""
    return await nodes.start(ping_interval_s=0.3, ping_timeout_s=0.2)


async def test_over_a_websocket_who_answers_stays_and_who_does_not_goes(quick: Api) -> None:
    socket = await RawSocket.open(quick.url)
    opened = time.monotonic()
    await socket.text()
    for beat in range(1, 4):
        assert await socket.text() == "2"
        assert beat * 0.3 - 0.01 <= time.monotonic() - opened < beat * 0.3 + 0.25
        socket.send("3")
    assert await socket.text() == "2"
    unanswered = time.monotonic()
    assert await socket.close_code() == 1001
    assert 0.19 <= time.monotonic() - unanswered < 0.5


async def test_over_polling_who_answers_stays_and_who_does_not_goes(quick: Api) -> None:
    polling = Polling(quick.http, quick.url)
    await polling.open()
    for _ in range(3):
        assert (await polling.get()).packets == ["2"]
        assert (await polling.post("3")).status == 200
    assert (await polling.get()).packets == ["2"]
    assert (await polling.get()).packets == ["6"], "the session ended under the waiting poll"
    assert await polling.is_gone()


async def test_a_pong_that_nobody_asked_for_neither_helps_nor_hurts(quick: Api) -> None:
    socket = await RawSocket.open(quick.url)
    await socket.text()
    for _ in range(5):
        socket.send("3")
    assert await socket.text() == "2"
    assert await socket.close_code() == 1001


async def test_a_heartbeat_in_the_wrong_direction_ends_the_session(api: Api, polling: Polling) -> None:
    socket = await RawSocket.open(api.url)
    await socket.text()
    socket.send("2")
    assert await socket.close_code() == 1002
    await polling.open()
    assert (await polling.post("2")).status == 400
    assert await polling.is_gone()


# -- long polling ---------------------------------------------------------------------------------


async def test_two_polls_at_once_end_the_session(polling: Polling) -> None:
    await polling.open()
    first = asyncio.create_task(polling.get())
    await asyncio.sleep(0.05)
    second = await polling.get()
    assert (second.status, second.code) == (400, BAD_REQUEST)
    assert ((await first).status, (await first).body) == (200, b"1")
    assert await polling.is_gone()


async def test_two_posts_at_once_end_the_session(polling: Polling) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield b"40"
        await asyncio.sleep(0.3)
        yield b'{"token":"x"}'

    await polling.open()
    first = asyncio.create_task(polling.request("POST", polling.query, slowly()))
    await asyncio.sleep(0.1)
    assert (await polling.post("3")).status == 400
    assert (await first).status == 400
    assert await polling.is_gone()


@pytest.mark.parametrize(
    "body",
    [b"", b"abc", b"7", b"9", b"\xf0\x9f\x8e\x88", b"0{}", b"6", b"5", b"3probe", b"b!!!", b"4\xff", b"4\x1e\x1e", b"\x1e",
     b"\x1e".join([b"3"] * 1001)],
    ids=lambda body: repr(body[:8]),
)  # fmt: skip
async def test_a_post_of_what_is_no_packet_is_400_and_ends_the_session(polling: Polling, body: bytes) -> None:
    await polling.open()
    waiting = asyncio.create_task(polling.get())
    await asyncio.sleep(0.02)
    assert (await polling.post(body)).status == 400
    assert ((await waiting).status, (await waiting).packets[-1]) == (200, "1"), "the waiting poll is told"
    assert await polling.is_gone()


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_post_far_over_the_limit_is_refused_and_ends_the_session(polling: Polling, chunked: bool) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(257):
            yield b"4" * 4096

    await polling.open()
    answer = await polling.request("POST", polling.query, pieces() if chunked else io.BytesIO(b"4" * ((1 << 20) + 1)))
    assert (answer.status, json.loads(answer.body)["code"]) == (413, "payload_too_large")
    assert json.loads(answer.body)["retryable"] is False
    assert await polling.is_gone()


async def test_a_post_whose_last_packet_is_too_large_gets_that_one_refused_by_its_ack(api: Api, polling: Polling) -> None:
    anna = await api.register()
    await polling.enter(anna.token)
    large = '421["message.send",{"room":"r","client_id":"c","body":"' + "x" * 200_000 + '"}]'
    answer = await polling.post('420["presence.watch",{"users":[]}]', large)
    assert (answer.status, answer.body) == (200, b"ok")
    [refusal] = [packet for packet in await polling.until(lambda packet: packet.startswith("431")) if packet.startswith("431")]
    error = json.loads(refusal[3:])[0]["error"]
    assert (error["code"], error["retryable"]) == ("payload_too_large", False)
    await polling.post('422["presence.watch",{"users":[]}]')
    await polling.until(lambda packet: packet.startswith("432"))


async def test_a_post_with_packets_behind_one_that_is_too_large_is_refused_whole(api: Api, polling: Polling) -> None:
    anna = await api.register()
    await polling.enter(anna.token)
    answer = await polling.post('421["x","' + "x" * 200_000 + '"]', '422["x"]')
    assert answer.status == 413
    assert await polling.is_gone()


@pytest.mark.parametrize("rest", ["x", '{"no": "name"}', '["x","'])
async def test_a_post_of_something_large_that_asks_for_no_answer_is_413_and_ends_the_session(
    api: Api, polling: Polling, rest: str
) -> None:
    anna = await api.register()
    await polling.enter(anna.token)
    assert (await polling.post("42" + rest + "x" * 200_000)).status == 413
    assert await polling.is_gone()


async def test_a_hundred_packets_in_one_post_are_all_answered_in_order(api: Api, polling: Polling) -> None:
    anna = await api.register()
    await polling.enter(anna.token)
    answer = await polling.post(*(f'42{number}["presence.watch",{{"users":[]}}]' for number in range(100)))
    assert (answer.status, answer.body) == (200, b"ok")
    packets = await polling.until(lambda packet: packet.startswith("4399["))
    assert [packet for packet in packets if packet.startswith("43")] == [f'43{number}[{{"ok":true}}]' for number in range(100)]


async def test_a_payload_has_no_more_packets_than_every_client_takes(api: Api, polling: Polling) -> None:
    anna = await api.register()
    await polling.enter(anna.token)
    await polling.post(*(f'42{number}["x"]' for number in range(100)))
    seen = 0
    while seen < 100:
        answer = await polling.get()
        assert len(answer.packets) <= 16
        seen += len(answer.packets)


async def test_a_client_that_closes_is_gone_at_once(api: Api, polling: Polling, nodes: Nodes) -> None:
    await polling.open()
    socket = await RawSocket.open(api.url)
    await socket.text()
    assert len(nodes.running[0].gateway) == 2
    assert (await polling.post("1")).status == 200
    socket.send("1")
    assert await socket.close_code() == 1000
    assert await polling.is_gone()
    assert len(nodes.running[0].gateway) == 0


# -- upgrade --------------------------------------------------------------------------------------


async def probed(polling: Polling) -> RawSocket:
    """Go half of the way to a WebSocket."""
    socket = await polling.socket()
    socket.send("2probe")
    assert await socket.text() == "3probe"
    return socket


async def test_an_upgrade_takes_everything_along(api: Api, polling: Polling) -> None:
    anna = await api.register()
    await polling.enter(anna.token)
    waiting = asyncio.create_task(polling.get())
    await asyncio.sleep(0.02)
    socket = await probed(polling)
    assert (await waiting).packets == ["6"], "the waiting poll is let go"
    await polling.post(*(f'42{number}["presence.watch",{{"users":[]}}]' for number in range(30)))
    socket.send("5")
    socket.send('4230["presence.watch",{"users":[]}]')
    acks: list[str] = []
    while len(acks) < 31:
        packet = await socket.text()
        acks += [packet] if packet.startswith("43") else []
    assert acks == [f'43{number}[{{"ok":true}}]' for number in range(31)]
    for answer in (await polling.get(), await polling.post("3")):
        assert (answer.status, answer.code) == (400, BAD_REQUEST), "polling is over after the upgrade"
    assert await socket.is_alive(), "and asking did not hurt"


async def test_nobody_else_takes_a_session_over_during_or_after_an_upgrade(api: Api, polling: Polling) -> None:
    anna = await api.register()
    await polling.enter(anna.token)
    socket = await probed(polling)
    query = f"EIO=4&transport=websocket&sid={polling.sid}"
    for stage in ("during", "after"):
        second, status, _ = await RawSocket.upgrade(api.url, query)
        assert (status, await second.receive()) == (101, (wire.CLOSE, b"")), stage
        assert await second.close_code() is None, "and the connection closes"
        if stage == "during":
            socket.send("5")
            assert await socket.is_alive()
    assert await socket.is_alive()


async def test_a_second_websocket_is_hung_up_on_whatever_the_first_one_is(api: Api, polling: Polling) -> None:
    """As the protocol's reference server does; only a session that is not there is refused."""
    await polling.open()
    unprobed = await polling.socket()
    over_websocket = await RawSocket.open(api.url)
    sid = json.loads((await over_websocket.text())[1:])["sid"]
    for known in (polling.sid, sid):
        second, status, _ = await RawSocket.upgrade(api.url, f"EIO=4&transport=websocket&sid={known}")
        assert (status, await second.receive()) == (101, (wire.CLOSE, b""))
    unprobed.send("2probe")
    assert await unprobed.text() == "3probe"
    assert (await polling.post("1")).status == 200
    for gone in (polling.sid, "", "x" * 40):
        _, status, _ = await RawSocket.upgrade(api.url, f"EIO=4&transport=websocket&sid={gone}")
        assert status == 400, gone


async def test_what_a_client_sends_behind_its_request_for_a_websocket_is_read(api: Api) -> None:
    """RFC 6455 forbids it to clients, and proxies and clients that reuse a write do it."""
    anna = await api.register()
    connect = wire.frame(b"40" + json.dumps({"token": anna.token}).encode())
    socket, status, _ = await RawSocket.upgrade(api.url, behind=connect)
    assert status == 101
    assert (await socket.text()).startswith("0{")
    assert (await socket.text()).startswith("40{")
    polling = Polling(api.http, api.url)
    await polling.open()
    socket, _, _ = await RawSocket.upgrade(
        api.url, f"EIO=4&transport=websocket&sid={polling.sid}", behind=wire.frame(b"2probe") + wire.frame(b"5") + connect
    )
    assert await socket.text() == "3probe"
    assert (await socket.text()).startswith("40{")


@pytest.mark.parametrize("instead", ["5", "2", "3probe", '40{"token":"x"}', ""])
async def test_an_upgrade_without_a_probe_fails_and_polling_goes_on(api: Api, polling: Polling, instead: str) -> None:
    anna = await api.register()
    await polling.enter(anna.token)
    socket = await polling.socket()
    socket.send(instead)
    assert await socket.close_code() == 1002
    await polling.post('420["presence.watch",{"users":[]}]')
    assert '430[{"ok":true}]' in await polling.until(lambda packet: packet.startswith("430["))
    second = await probed(polling)
    second.send("5")
    assert await second.is_alive(), "and the next attempt may succeed"


async def test_an_upgrade_that_breaks_off_leaves_polling_as_it_was(api: Api, polling: Polling) -> None:
    anna = await api.register()
    await polling.enter(anna.token)
    (await probed(polling)).close()
    await polling.post('420["presence.watch",{"users":[]}]')
    assert '430[{"ok":true}]' in await polling.until(lambda packet: packet.startswith("430["))


# -- WebSocket frames (RFC 6455) ------------------------------------------------------------------

REQUEST = b'420["presence.watch",{"users":[]}]'


@pytest.fixture
async def socket(api: Api) -> RawSocket:
    """A connection that is ready."""
    anna = await api.register()
    raw = await RawSocket.open(api.url)
    await raw.enter(anna.token)
    return raw


async def test_a_message_may_come_in_fragments_with_control_frames_in_between(socket: RawSocket) -> None:
    pieces = [REQUEST[:1], b"", *(REQUEST[at : at + 1] for at in range(1, len(REQUEST)))]
    socket.write(wire.frame(pieces[0], wire.TEXT, fin=False))
    for piece in pieces[1:-1]:
        socket.write(wire.frame(piece, wire.CONTINUATION, fin=False))
    socket.write(wire.frame(b"are you there?", wire.PING))
    assert await socket.receive() == (wire.PONG, b"are you there?")
    socket.write(wire.frame(pieces[-1], wire.CONTINUATION))
    assert (await socket.ack(0))["ok"] is True


async def test_bytes_may_come_one_by_one(socket: RawSocket) -> None:
    raw = wire.frame(REQUEST) + wire.frame(b"", wire.PONG) + wire.frame(REQUEST.replace(b"420", b"421"))
    for at in range(len(raw)):
        socket.write(raw[at : at + 1])
        await asyncio.sleep(0.001)
    assert [(await socket.ack(number))["ok"] for number in (0, 1)] == [True, True]


async def test_a_close_is_answered_with_its_code(api: Api) -> None:
    for payload, code in [(b"", 1000), (b"\x03\xe8", 1000), (b"\x03\xe9going", 1001), (b"\x0f\xa0", 4000)]:
        socket = await RawSocket.open(api.url)
        await socket.text()
        socket.write(wire.frame(payload, wire.CLOSE))
        assert await socket.close_code() == code, payload


LIMIT = config.PACKET_BYTES
VIOLATIONS: list[tuple[str, int, bytes]] = [
    ("unmasked", 1002, wire.frame(REQUEST, masked=False)),
    *((f"reserved bit {bit}", 1002, wire.frame(REQUEST, rsv=bit)) for bit in (1, 2, 4)),
    ("unknown opcode", 1002, wire.frame(REQUEST, 0x3)),
    ("unknown control opcode", 1002, wire.frame(b"", 0xB)),
    ("nothing to continue", 1002, wire.frame(REQUEST, wire.CONTINUATION)),
    ("a message inside another", 1002, wire.frame(b"4", fin=False) + wire.frame(REQUEST)),
    ("a fragmented ping", 1002, wire.frame(b"", wire.PING, fin=False)),
    ("a long ping", 1002, wire.frame(b"x" * 126, wire.PING)),
    ("a length that is not the shortest", 1002, bytes((0x81, 0xFE, 0, 5)) + bytes(4) + b"42000"),
    ("half a close code", 1002, wire.frame(b"\x03", wire.CLOSE)),
    ("close code 1005", 1002, wire.frame(b"\x03\xed", wire.CLOSE)),
    ("close code 999", 1002, wire.frame(b"\x03\xe7", wire.CLOSE)),
    ("close reason not UTF-8", 1007, wire.frame(b"\x03\xe8\xff", wire.CLOSE)),
    ("text not UTF-8", 1007, wire.frame(b'420["\xff"]')),
    ("a raw surrogate", 1007, wire.frame(b'420["\xed\xa0\x80"]')),
    ("overlong UTF-8", 1007, wire.frame(b'420["\xc0\x80"]')),
    ("not UTF-8 over two fragments", 1007, wire.frame(b'420["\xe2\x82', fin=False) + wire.frame(b'"]', wire.CONTINUATION)),
    ("too big", 1009, wire.frame(b"42" + b"x" * LIMIT)),
    ("too big by far", 1009, wire.frame(b"4" * (8 * LIMIT + 1))),
    ("announced too big", 1009, bytes((0x81, 0xFF)) + (1 << 62).to_bytes(8, "big")),
    ("too big together", 1009, (wire.frame(b"42" + b"x" * LIMIT, fin=False) + wire.frame(b"4", wire.CONTINUATION))),
    ("no engine packet", 1002, wire.frame(b"9")),
    ("an empty message", 1002, wire.frame(b"")),
    ("a binary message that nobody announced", 1002, wire.frame(b"\x00", wire.BINARY)),
]


@pytest.mark.parametrize(("code", "raw"), [one[1:] for one in VIOLATIONS], ids=[one[0] for one in VIOLATIONS])
async def test_who_breaks_the_framing_is_closed_with_the_right_code(socket: RawSocket, code: int, raw: bytes) -> None:
    socket.write(raw + wire.frame(b'420["behind a violation nothing is read"]'))
    with pytest.raises(Closed) as closed:
        await socket.text()
    assert closed.value.code == code


async def test_a_message_of_just_the_limit_is_read(socket: RawSocket) -> None:
    head = b'427["message.send",{"room":"'
    socket.write(wire.frame(head + b"x" * (LIMIT - 1 - len(head) - 3) + b'"}]'))
    assert (await socket.ack(7))["error"]["code"] == "invalid_request"
    assert await socket.is_alive()


# -- browser pages from elsewhere -----------------------------------------------------------------


async def answer_to(api: Api, origin: str, method: str = "GET", host: str | None = None) -> tuple[int, dict[str, Any]]:
    headers = {"Origin": origin} | ({"Host": host} if host else {})
    reply = await Polling(api.http, api.url).request(method, wire.HANDSHAKE, headers=headers)
    return reply.status, {name.lower(): value for name, value in reply.headers.items()}


async def test_a_page_of_the_same_host_may_connect_and_a_foreign_one_may_not(api: Api) -> None:
    own = api.url.removeprefix("http://")
    assert (await answer_to(api, f"http://{own}"))[0] == 200
    assert (await answer_to(api, "https://chat.example", host="chat.example"))[0] == 200
    for origin in (
        "ftp://" + own,
        f"capacitor://{own}",
        "https://evil.example",
        "null",
        "http://127.0.0.1",
        f"http://{own}.evil.example",
        "",
        "http://",
    ):
        for method in ("GET", "OPTIONS"):
            status, headers = await answer_to(api, origin, method)
            assert status == 403, origin
            assert "access-control-allow-origin" not in headers
        _, status, _ = await RawSocket.upgrade(api.url, headers={"Origin": origin})
        assert status == 403, origin


async def test_a_page_that_the_operator_named_may_connect_and_is_told_so(nodes: Nodes) -> None:
    api = await nodes.start(cors_origins="https://app.example, https://other.example")
    status, headers = await answer_to(api, "https://app.example")
    assert (status, headers["access-control-allow-origin"], headers["vary"]) == (200, "https://app.example", "Origin")
    assert headers["access-control-allow-credentials"] == "true"
    status, headers = await answer_to(api, "https://app.example", "OPTIONS")
    assert (status, headers["access-control-allow-methods"]) == (204, "GET, POST")
    assert "Content-Type" in headers["access-control-allow-headers"]
    assert (await answer_to(api, "https://app.example.evil.example"))[0] == 403
    _, status, _ = await RawSocket.upgrade(api.url, headers={"Origin": "https://other.example"})
    assert status == 101


async def test_a_page_may_send_credentials_and_headers_of_its_own(nodes: Nodes) -> None:
    api = await nodes.start(cors_origins="https://App.example:443/")
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST",
             "Access-Control-Request-Headers": "content-type,traceparent,x-app"}  # fmt: skip
    answer = await Polling(api.http, api.url).request("OPTIONS", wire.HANDSHAKE, headers=asked)
    assert (answer.status, answer.headers["Access-Control-Allow-Headers"]) == (204, asked["Access-Control-Request-Headers"])
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"
    assert "Access-Control-Request-Headers" in answer.headers["Vary"]


async def test_the_page_and_the_operator_are_told_why_a_page_may_not_connect(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    """As behind a proxy that puts its own Host in place of the one that the page knows."""
    page = {"Origin": "https://chat.example", "Host": "127.0.0.1:8000"}
    for _ in range(3):
        refused = await Polling(api.http, api.url).request("GET", wire.HANDSHAKE, headers=page)
        assert (refused.status, json.loads(refused.body)["code"]) == (403, "origin_not_allowed")
    [said] = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert "https://chat.example was refused at 127.0.0.1:8000" in said
    own = await Polling(api.http, api.url).request("GET", wire.HANDSHAKE, headers={**page, "Sec-Fetch-Site": "same-origin"})
    assert own.status == 200, "a browser knows better"


async def test_a_request_names_one_origin(api: Api) -> None:
    headers = [("Origin", api.url), ("Origin", "https://evil.example")]
    async with api.http.get(f"{api.url}/socket.io/", params=wire.HANDSHAKE, headers=headers) as answer:
        assert answer.status == 400


async def test_every_answer_says_how_browsers_are_to_take_it(polling: Polling) -> None:
    await polling.open()
    for method, query in (("GET", wire.HANDSHAKE), ("GET", {}), ("POST", polling.query), ("OPTIONS", {}), ("PUT", polling.query)):
        headers = (await polling.request(method, query)).headers
        assert headers["Server"] == "roomwire"
        assert headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
        assert headers["Cache-Control"] == "no-store"


async def test_large_cookies_are_taken_and_larger_ones_refused_without_repeating_them(api: Api) -> None:
    for size, expected in ((8_200, 101), (30_000, 101), (33_000, 431), (100_000, 431)):
        _, status, headers = await RawSocket.upgrade(api.url, headers={"Cookie": "sso=" + "s" * size})
        assert status == expected
        if status == 431:
            assert headers["content-type"] == "application/problem+json"
            assert int(headers["content-length"]) < 500
        async with api.http.get(
            f"{api.url}/socket.io/", params=wire.HANDSHAKE, headers={"Cookie": "sso=" + "s" * size}
        ) as answer:
            assert answer.status == (200 if expected == 101 else 431)
            assert "sss" not in await answer.text()
