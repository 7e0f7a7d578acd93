"""The behaviours that the official suites of Engine.IO 4 and Socket.IO 5 ask for, on the same echo peers, in our own words;
and their variants for a client that answers pings, which those suites leave out.

What the server's own contract adds to the protocols is in test_engineio.py and test_socketio.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.conformance import wire
from tests.conformance.peer import CUSTOM, Served, serving
from tests.conformance.wire import Closed, Polling, RawSocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

INTERVAL_S, TIMEOUT_S, CONNECT_S = 0.3, 0.2, 1.0
LATE_S = 0.25  # what a loaded machine may add
WEBSOCKET = "EIO=4&transport=websocket"
HANDSHAKE = {"pingInterval": 300, "pingTimeout": 200, "maxPayload": 1_000_000}


class Site:
    """A peer and how to reach it."""

    def __init__(self, served: Served, path: str, http: aiohttp.ClientSession) -> None:
        self.url = served.url
        assert served.engine is not None
        self._engine = served.engine
        self.path = path
        self.http = http

    def polling(self) -> Polling:
        return Polling(self.http, self.url, self.path)

    async def polled(self) -> None:
        """Return when a poll waits."""
        async with asyncio.timeout(5):
            while all(session._poll is None for session in self._engine.oldest(9)):
                await asyncio.sleep(0.001)

    async def upgrade(self, query: str = WEBSOCKET) -> tuple[RawSocket, int]:
        socket, status, _ = await RawSocket.upgrade(self.url, query, path=self.path)
        return socket, status

    async def open(self) -> RawSocket:
        """Open a session over a WebSocket."""
        socket, status = await self.upgrade()
        assert status == 101
        handshake = json.loads((await socket.text()).removeprefix("0"))
        assert len(handshake.pop("sid")) >= 22
        assert handshake == {**HANDSHAKE, "upgrades": []}
        return socket


@pytest.fixture
async def engine(http: aiohttp.ClientSession) -> AsyncIterator[Site]:
    async with serving("engineio") as served:
        yield Site(served, "/engine.io/", http)


@pytest.fixture
async def server(http: aiohttp.ClientSession) -> AsyncIterator[Site]:
    async with serving("socketio") as served:
        yield Site(served, "/socket.io/", http)


@pytest.fixture(params=["engineio", "socketio"])
async def either(request: pytest.FixtureRequest, http: aiohttp.ClientSession) -> AsyncIterator[Site]:
    """Both: what Engine.IO asks for holds under Socket.IO too."""
    async with serving(request.param) as served:
        yield Site(served, "/engine.io/" if request.param == "engineio" else "/socket.io/", http)


@contextlib.asynccontextmanager
async def answering(socket: RawSocket) -> AsyncIterator[list[str]]:
    """Answer pings as a client does; yield what else comes, in order, and the close code as the last."""
    heard: list[str] = []

    async def run() -> None:
        try:
            while True:
                text = await socket.text(10)
                if text == "2":
                    socket.send("3")
                else:
                    heard.append(text)
        except Closed as closed:
            heard.append(f"closed {closed.code}")

    task = asyncio.create_task(run())
    try:
        yield heard
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def until(heard: list[str], count: int, timeout_s: float = 5) -> None:
    async with asyncio.timeout(timeout_s):
        while len(heard) < count:
            await asyncio.sleep(0.005)


# -- Engine.IO: handshake -------------------------------------------------------------------------


async def test_a_session_opens_over_polling(either: Site) -> None:
    handshake = await either.polling().open()
    assert len(handshake.pop("sid")) >= 22
    assert handshake == {**HANDSHAKE, "upgrades": ["websocket"]}


async def test_a_session_opens_over_a_websocket(either: Site) -> None:
    await either.open()


@pytest.mark.parametrize("query", [{}, {"EIO": "abc"}, {"EIO": "3"}, {"EIO": ""}, {"EIO": "44"}])
@pytest.mark.parametrize("transport", ["polling", "websocket"])
async def test_another_version_is_refused(either: Site, transport: str, query: dict[str, str]) -> None:
    query = {**query, "transport": transport}
    if transport == "polling":
        answer = await either.polling().request("GET", query)
        assert (answer.status, answer.code) == (400, 5)
    else:
        _, status = await either.upgrade("&".join(f"{name}={value}" for name, value in query.items()))
        assert status == 400


@pytest.mark.parametrize("query", ["EIO=4", "EIO=4&transport=abc", "EIO=4&transport=", "EIO=4&transport=Polling"])
async def test_another_transport_is_refused(either: Site, query: str) -> None:
    answer = await either.polling().request("GET", dict(part.split("=") for part in query.split("&")))
    assert (answer.status, answer.code) == (400, 0)
    _, status = await either.upgrade(query)
    assert status == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "HEAD"])
async def test_another_method_opens_nothing(either: Site, method: str) -> None:
    answer = await either.polling().request(method, wire.HANDSHAKE)
    assert answer.status == 400


async def test_pages_of_every_origin_may_use_a_peer(engine: Site) -> None:
    answer = await engine.polling().request("GET", wire.HANDSHAKE, headers={"Origin": "https://elsewhere.example"})
    assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (200, "*")


# -- Engine.IO: messages --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "packets", [["4hello"], ["4test1", "4test2", "4test3"], ["4hello", "bAQIDBA=="], ["bAQIDBA==", "b", "4", "4é\u2028😀"]]
)
async def test_messages_come_back_over_polling_in_their_order(engine: Site, packets: list[str]) -> None:
    polling = engine.polling()
    await polling.open()
    answer = await polling.post(*packets)
    assert (answer.status, answer.body) == (200, b"ok")
    assert (await polling.get()).packets == packets


async def test_messages_come_back_over_a_websocket(engine: Site) -> None:
    socket = await engine.open()
    socket.send("4hello")
    assert await socket.text() == "4hello"
    socket.write(wire.frame(bytes([1, 2, 3, 4]), wire.BINARY))
    assert await socket.receive() == (wire.BINARY, bytes([1, 2, 3, 4]))


async def test_a_message_of_the_announced_size_is_taken_and_one_byte_more_is_not(engine: Site) -> None:
    polling = engine.polling()
    await polling.open()
    assert (await polling.post("4" + "x" * 999_999)).status == 200
    assert len((await polling.get()).body) == 1_000_000
    assert (await polling.post("4" + "x" * 1_000_000)).status == 413
    assert await polling.is_gone()


INVALID = ["abc", "", "7", "0{}", "2", "6", "5", "3probe", "-1", "４"]


@pytest.mark.parametrize("packet", INVALID)
async def test_an_invalid_packet_closes_a_session_over_polling(either: Site, packet: str) -> None:
    polling = either.polling()
    await polling.open()
    assert (await polling.post(packet)).status == 400
    assert await polling.is_gone()


@pytest.mark.parametrize("packet", ["abc", "0{}", "2"])
async def test_an_invalid_packet_closes_a_session_over_a_websocket(either: Site, packet: str) -> None:
    socket = await either.open()
    async with answering(socket) as heard:  # not by the missing pong, that is
        await asyncio.sleep(INTERVAL_S + TIMEOUT_S + 0.1)
        socket.send(packet)
        await until(heard, 1)
        assert heard == ["closed 1002"]


async def test_two_polls_at_once_close_the_session(either: Site) -> None:
    polling = either.polling()
    await polling.open()
    first = asyncio.create_task(polling.get())
    await either.polled()
    second = await polling.get()
    assert ((await first).status, (await first).body) == (200, b"1")
    assert second.status == 400
    assert await polling.is_gone()


async def test_a_poll_that_is_broken_off_closes_the_session(either: Site) -> None:
    polling = either.polling()
    await polling.open()
    poll = asyncio.create_task(polling.get())
    await either.polled()
    poll.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await poll
    async with asyncio.timeout(2):
        while (await polling.post("3")).status == 200:
            await asyncio.sleep(0.01)
    assert await polling.is_gone()


async def test_a_connection_that_is_kept_alive_may_end_between_two_polls(engine: Site) -> None:
    polling = engine.polling()
    await polling.open()
    await polling.post("4a")
    assert (await polling.get()).packets == ["4a"]
    async with aiohttp.ClientSession() as other:  # another connection, as browsers take them
        again = Polling(other, engine.url, engine.path)
        again.sid = polling.sid
        await again.post("4b")
        assert (await again.get()).packets == ["4b"]
    await polling.post("4c")
    assert (await polling.get()).packets == ["4c"]


@pytest.mark.parametrize("count", [1001, 5000])
async def test_more_packets_in_a_post_than_are_allowed_close_the_session_and_none_is_handled(engine: Site, count: int) -> None:
    polling = engine.polling()
    await polling.open()
    waiting = asyncio.create_task(polling.get())
    await engine.polled()
    assert (await polling.post(*["4x"] * count)).status == 400
    assert (await waiting).packets == ["1"]
    assert await polling.is_gone()


# -- Engine.IO: heartbeat and close ---------------------------------------------------------------


async def test_polling_goes_on_with_pongs_and_ends_without(either: Site) -> None:
    polling = either.polling()
    await polling.open()
    opened = time.monotonic()
    for beat in (1, 2, 3):
        assert (await polling.get()).packets == ["2"]
        # Each interval begins with the answer to the ping before it.
        assert beat * INTERVAL_S - 0.005 <= time.monotonic() - opened < beat * (INTERVAL_S + LATE_S)
        assert (await polling.post("3")).status == 200
    if either.path == "/socket.io/":
        return  # who is in no namespace by now has no time left anyway
    assert (await polling.get()).packets == ["2"]
    await asyncio.sleep(TIMEOUT_S + 0.01)
    assert await polling.is_gone()


async def test_a_websocket_goes_on_with_pongs_and_ends_without(engine: Site) -> None:
    socket = await engine.open()
    for _ in range(3):
        assert await socket.text() == "2"
        socket.send("3")
    pinged = time.monotonic()
    assert await socket.text() == "2"
    with pytest.raises(Closed) as closed:
        await socket.text()
    assert closed.value.code == 1001
    assert time.monotonic() - pinged >= INTERVAL_S + TIMEOUT_S - 0.005


async def test_a_silent_session_is_gone_after_interval_and_time_out(either: Site) -> None:
    polling = either.polling()
    await polling.open()
    await asyncio.sleep(INTERVAL_S + TIMEOUT_S + 0.01)
    assert await polling.is_gone()


async def test_a_client_that_closes_is_gone(either: Site) -> None:
    polling = either.polling()
    await polling.open()
    poll = asyncio.create_task(polling.get())
    await either.polled()
    assert (await polling.post("1")).status == 200
    assert (await poll).packets == ["6"]
    assert await polling.is_gone()
    socket = await either.open()
    socket.send("1")
    assert await socket.close_code() == 1000


# -- Engine.IO: upgrade ---------------------------------------------------------------------------


async def probed(site: Site, polling: Polling) -> RawSocket:
    socket, status = await site.upgrade(f"{WEBSOCKET}&sid={polling.sid}")
    assert status == 101
    socket.send("2probe")
    assert await socket.text() == "3probe"
    return socket


async def test_an_upgrade_lets_the_poll_go_and_carries_on(engine: Site) -> None:
    polling = engine.polling()
    await polling.open()
    socket = await probed(engine, polling)
    assert (await polling.get()).packets == ["6"]
    assert (await polling.post("4during")).status == 200, "posts are served until the upgrade is done"
    socket.send("5")
    socket.send("4after")
    assert [await socket.text() for _ in range(2)] == ["4during", "4after"]


async def test_during_and_after_an_upgrade_nobody_else_gets_the_session(engine: Site) -> None:
    polling = engine.polling()
    await polling.open()
    socket = await probed(engine, polling)
    for done in (False, True):
        if done:
            socket.send("5")
            socket.send("4there?")
            assert await socket.text() == "4there?"
            assert (await polling.get()).status == 400
            assert (await polling.post("4x")).status == 400
        second, status = await engine.upgrade(f"{WEBSOCKET}&sid={polling.sid}")
        assert (status, await second.close_code()) == (101, None), "answered, and hung up on at once"
    socket.send("4hello")
    assert await socket.text() == "4hello"


async def test_an_upgraded_session_is_pinged_on_its_websocket(engine: Site) -> None:
    polling = engine.polling()
    await polling.open()
    socket = await probed(engine, polling)
    socket.send("5")
    async with answering(socket) as heard:
        await asyncio.sleep(3 * INTERVAL_S)
        socket.send("4still here")
        await until(heard, 1)
        assert heard == ["4still here"]


# -- Socket.IO: connecting ------------------------------------------------------------------------


@pytest.mark.parametrize("auth", [None, {"token": "123"}])
@pytest.mark.parametrize("namespace", ["/", CUSTOM])
async def test_a_namespace_lets_in_and_tells_the_handshakes_payload(server: Site, namespace: str, auth: Any) -> None:
    socket = await server.open()
    head = "" if namespace == "/" else namespace + ","
    socket.send("40" + head + ("" if auth is None else json.dumps(auth)))
    answer = await socket.text()
    assert answer.startswith("40" + head)
    assert set(json.loads(answer[2 + len(head) :])) == {"sid"}
    assert await socket.text() == f"42{head}" + json.dumps(["auth", auth or {}], separators=(",", ":"))


@pytest.mark.parametrize("packet", ["40/random", "40/random,", '40/random,{"token":"x"}', "40/custom2"])
async def test_an_unknown_namespace_is_refused(server: Site, packet: str) -> None:
    socket = await server.open()
    socket.send(packet)
    namespace = packet[2:].partition(",")[0]
    assert await socket.text() == f'44{namespace},{{"message":"Invalid namespace"}}'


async def entered(site: Site, packet: str = "40") -> RawSocket:
    socket = await site.open()
    socket.send(packet)
    assert (await socket.text()).startswith(packet)
    assert '["auth",' in await socket.text()
    return socket


@pytest.mark.parametrize("packet", ["4abc", "40{", "40[]", '40"x"', "42[]", "4", "43[]", "41", "45-[]", "46[]", "47"])
async def test_an_invalid_handshake_closes_the_connection_of_a_client_that_answers_pings(server: Site, packet: str) -> None:
    socket = await server.open()
    async with answering(socket) as heard:
        socket.send(packet)
        await until(heard, 1)
        assert heard == ["closed 1002"]


@pytest.mark.parametrize("answers", [False, True])
async def test_who_is_in_no_namespace_is_closed_in_time_though_it_answers_pings(server: Site, answers: bool) -> None:
    socket = await server.open()
    opened = time.monotonic()
    if not answers:
        assert await socket.close_code() in (1001, 1008)
        return
    async with answering(socket) as heard:
        await until(heard, 1)
        assert heard == ["closed 1008"]
        assert CONNECT_S - 0.01 <= time.monotonic() - opened < CONNECT_S + LATE_S


async def test_who_is_refused_everywhere_is_closed_in_time_too(server: Site) -> None:
    socket = await server.open()
    async with answering(socket) as heard:
        socket.send("40/random")
        await until(heard, 2)
        assert heard == ['44/random,{"message":"Invalid namespace"}', "closed 1008"]


async def test_over_polling_the_deadline_holds_as_well(server: Site) -> None:
    polling = server.polling()
    await polling.open()
    packets: list[str] = []
    async with asyncio.timeout(5):
        while "1" not in packets:
            packets += (await polling.get()).packets
            if packets[-1] == "2":
                await polling.post("3")
    assert await polling.is_gone()


# -- Socket.IO: leaving ---------------------------------------------------------------------------


async def test_leaving_the_namespace_leaves_the_connection_open_for_another(server: Site) -> None:
    socket = await entered(server)
    async with answering(socket) as heard:
        socket.send("41")
        await asyncio.sleep(2 * INTERVAL_S)
        socket.send("40/custom")
        await until(heard, 2)
        await asyncio.sleep(CONNECT_S)
        assert [text[:11] for text in heard] == ['40/custom,{', '42/custom,[']  # fmt: skip


async def test_leaving_one_namespace_does_not_touch_the_other(server: Site) -> None:
    socket = await entered(server)
    async with answering(socket) as heard:
        socket.send("40/custom")
        await until(heard, 2)
        socket.send("41/custom")
        socket.send('42["message","message to main namespace"]')
        await until(heard, 3)
        assert heard[2] == '42["message-back","message to main namespace"]'


async def test_what_is_sent_to_a_namespace_that_was_left_closes(server: Site) -> None:
    socket = await entered(server)
    socket.send("41")
    async with answering(socket) as heard:
        await asyncio.sleep(0.05)
        socket.send('42["message","late"]')
        await until(heard, 1)
        assert heard == ["closed 1002"]


# -- Socket.IO: events and acks -------------------------------------------------------------------

PLACES = '{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}'
PARTS = [bytes([1, 2, 3]), bytes([4, 5, 6])]


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        ('42["message",1,"2",{"3":[true]}]', '42["message-back",1,"2",{"3":[true]}]'),
        ('42456["message-with-ack",1,"2",{"3":[false]}]', '43456[1,"2",{"3":[false]}]'),
        ('420["message-with-ack"]', "430[]"),
        ('42/,7["message-with-ack",null]', "437[null]"),
    ],
)
async def test_an_event_is_answered(server: Site, sent: str, answer: str) -> None:
    socket = await entered(server)
    socket.send(sent)
    assert await socket.text() == answer


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (f'452-["message",{PLACES}]', f'452-["message-back",{PLACES}]'),
        (f'452-789["message-with-ack",{PLACES}]', f"462-789[{PLACES}]"),
    ],
)
async def test_an_event_with_attachments_is_answered_with_them(server: Site, sent: str, answer: str) -> None:
    socket = await entered(server)
    socket.send(sent)
    for part in PARTS:
        socket.write(wire.frame(part, wire.BINARY))
    assert await socket.text() == answer
    assert [await socket.receive() for _ in PARTS] == [(wire.BINARY, part) for part in PARTS]


async def test_attachments_go_over_polling_both_ways(server: Site) -> None:
    polling = server.polling()
    await polling.open()
    await polling.post("40")
    await polling.until(lambda packet: packet.startswith('42["auth"'))
    assert (await polling.post(f'452-1["message-with-ack",{PLACES}]', "bAQID", "bBAUG")).status == 200
    packets = await polling.until(lambda packet: packet == "bBAUG")
    assert [packet for packet in packets if packet != "2"] == [f"462-1[{PLACES}]", "bAQID", "bBAUG"]


@pytest.mark.parametrize(
    "packet",
    [
        "4abc",
        "42{}",
        '42abc["message-with-ack",1,"2",{"3":[false]}]',
        "42",
        "42[1]",
        '42["message"',
        '42["message",]',
        '421.5["message"]',
        '42-1["message"]',
        '450-["message"]',
        '4511-["message"]',
        '451-["message",{"_placeholder":true,"num":9}]',
        '44{"message":"x"}',
        "40",
        '42/random,["message"]',
        "41/random",
    ],
)
async def test_an_invalid_packet_closes_the_connection_of_a_client_that_answers_pings(server: Site, packet: str) -> None:
    socket = await entered(server)
    async with answering(socket) as heard:
        socket.send(packet)
        await until(heard, 1)
        assert heard[-1] == "closed 1002"


async def test_reserved_names_reach_no_handler(server: Site) -> None:
    socket = await entered(server)
    async with answering(socket) as heard:
        for number, name in enumerate(
            ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"]
        ):
            socket.send(f'42{number}["{name}",{{"token":"x"}}]')
        socket.send('429["message-with-ack","done"]')
        await until(heard, 7)
        assert all('"unknown_event"' in text for text in heard[:6])
        assert heard[6] == '439["done"]', "nobody was connected twice or disconnected"


@pytest.mark.parametrize("count", [1, 10])
async def test_attachments_may_be_as_many_as_announced(server: Site, count: int) -> None:
    socket = await entered(server)
    places = ",".join(f'{{"_placeholder":true,"num":{number}}}' for number in range(count))
    socket.send(f'45{count}-5["message-with-ack",{places}]')
    for number in range(count):
        socket.write(wire.frame(bytes([number]), wire.BINARY))
    assert await socket.text() == f"46{count}-5[{places}]"
    assert [(await socket.receive())[1] for _ in range(count)] == [bytes([number]) for number in range(count)]
