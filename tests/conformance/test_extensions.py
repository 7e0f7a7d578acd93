"""Namespaces of extensions over a real node: what is written for python-socketio's server runs, for official clients of two
languages, over every transport."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Protocol

import pytest
import socketio

from realtime import config
from realtime.extensions.loading import load
from realtime.model import UserId
from tests.conformance import extension, wire
from tests.conformance.extension import CLOSED, ECHO, OPEN, ROOMS, ends, gates
from tests.conformance.official import ROOT, Stranger, driving
from tests.conformance.test_official_client import token_of
from tests.conformance.wire import Polling, RawSocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from realtime.extensions.namespaces import Extensions
    from tests.client import Api, Person
    from tests.conftest import Nodes

NAME = "tests.conformance.extension:register"
BYTES = bytes(range(256)) * 20
Transports = list[str] | None


@pytest.fixture
async def api(nodes: Nodes) -> Api:
    """A node with the extension."""
    ends.clear()
    gates.clear()
    return await nodes.start(extensions=NAME)


@pytest.fixture
async def anna(api: Api) -> Person:
    return await api.register()


# -- two languages, one face ----------------------------------------------------------------------


class Client(Protocol):
    """One client of one namespace; it acks whatever it is asked with the same values."""

    got: list[tuple[str, Any]]

    async def values(self, event: str, *values: Any) -> list[Any]: ...

    async def wait_for(self, name: str, count: int = 1, timeout_s: float = 5) -> None: ...


class Python:
    """python-socketio's client."""

    def __init__(self, namespace: str) -> None:
        self.client = socketio.AsyncClient(reconnection=False)
        self.got: list[tuple[str, Any]] = []
        self._namespace = namespace
        self._changed = asyncio.Event()
        self.client.on("*", self._take, namespace=namespace)

    async def _take(self, name: str, *values: Any) -> tuple[Any, ...]:
        self.got.append((name, list(values)))
        self._changed.set()
        return values

    async def values(self, event: str, *values: Any) -> list[Any]:
        answered: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        await self.client.emit(event, values, namespace=self._namespace, callback=lambda *args: answered.set_result(list(args)))
        return await asyncio.wait_for(answered, 10)

    async def wait_for(self, name: str, count: int = 1, timeout_s: float = 5) -> None:
        async with asyncio.timeout(timeout_s):
            while [got for got, _ in self.got].count(name) < count:
                self._changed.clear()
                await self._changed.wait()


class Open(Protocol):
    async def __call__(self, person: Person, namespace: str) -> Client: ...


@pytest.fixture(params=["js", "python"])
def language(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


@pytest.fixture(params=[["websocket"], ["polling"], None], ids=["websocket", "polling", "upgrade"])
def transports(request: pytest.FixtureRequest) -> Transports:
    found: Transports = request.param
    return found


@pytest.fixture
async def connect(language: str, transports: Transports) -> AsyncIterator[Open]:
    """Connects clients; they end with the test."""
    async with contextlib.AsyncExitStack() as stack:
        driver = await stack.enter_async_context(driving()) if language == "js" else None

        async def opened(person: Person, namespace: str) -> Client:
            if driver is not None:
                client = driver.open(person.api.url + namespace, person.token, transports)
                await client.until("connect")
                if transports is None:
                    await client.until("upgrade")
                assert isinstance(client, Stranger)
                return client
            python = Python(namespace)
            stack.push_async_callback(python.client.disconnect)
            auth = {"token": person.token}
            await python.client.connect(person.api.url, auth=auth, namespaces=[namespace], transports=transports)
            return python

        yield opened


def payloads(client: Client, name: str) -> list[Any]:
    return [values for got, values in client.got if got == name]


async def test_events_acks_and_bytes_go_both_ways(connect: Open, anna: Person) -> None:
    client = await connect(anna, ECHO)
    await client.wait_for("hello")
    assert payloads(client, "hello") == [[{"auth": None, "address": "127.0.0.1"}]]
    assert await client.values("who") == [anna.username]
    mixed = [1, "zwei", None, {"drei": [True, 4.5]}, BYTES, {"deep": [{"er": b"\x00"}]}]
    assert await client.values("echo", *mixed) == mixed
    assert await client.values("echo") == []
    assert await client.values("back", *mixed) == []
    await client.wait_for("back")
    assert payloads(client, "back") == [mixed]
    assert await client.values("ask", "how", BYTES) == ["how", BYTES], "the server's question was acked by the client"
    assert payloads(client, "question") == [["how", BYTES]]


async def test_rooms_reach_who_is_in_them_and_not_who_speaks(connect: Open, api: Api, anna: Person) -> None:
    ben, cleo = await api.register(), await api.register()
    first, second, third = [await connect(one, ROOMS) for one in (anna, ben, cleo)]
    for client in (first, second):
        assert await client.values("join", "garden") == [["garden"]]
    assert await first.values("say", "garden", "hi", b"\x01\x02") == []
    await second.wait_for("said")
    assert await second.values("leave", "garden") == []
    assert await first.values("say", "garden", "anybody?") == []
    assert await second.values("join", "garden") == [["garden"]]
    assert await first.values("say", "garden", "again") == []
    await second.wait_for("said", 2)
    assert payloads(second, "said") == [[anna.username, "hi", b"\x01\x02"], [anna.username, "again"]]
    assert payloads(first, "said") == payloads(third, "said") == []


async def test_an_extension_may_disconnect_a_client_from_its_namespace(connect: Open, anna: Person) -> None:
    client = await connect(anna, ROOMS)
    with contextlib.suppress(TimeoutError, socketio.exceptions.SocketIOError):
        async with asyncio.timeout(0.5):
            await client.values("go")
    assert ends == [(ROOMS, anna.username, "server disconnect")]


async def test_refusals_and_bugs_of_handlers_are_answered_and_the_connection_lives(connect: Open, anna: Person) -> None:
    client = await connect(anna, ECHO)
    codes = []
    for event in ("refuse", "fail", "nonsense", "connect_error"):
        if event == "connect_error":  # clients refuse to emit it; see the raw test below
            continue
        [answer] = await client.values(event)
        assert answer["ok"] is False
        codes.append(answer["error"]["code"])
    assert codes == ["forbidden", "internal", "unknown_event"]
    assert await client.values("echo", 1) == [1]


async def test_two_namespaces_share_a_connection_with_the_contract(api: Api, anna: Person, transports: Transports) -> None:
    room = await anna.room()
    async with driving() as driver:
        main = driver.open(api.url, anna.token, transports)
        await main.ready()
        echo = driver.open(api.url + ECHO, anna.token, beside=main)
        rooms = driver.open(api.url + ROOMS, anna.token, beside=main)
        assert isinstance(echo, Stranger) and isinstance(rooms, Stranger)
        await asyncio.gather(echo.until("connect"), rooms.until("connect"))
        await main.subscribe(room)
        seq = await main.send(room)
        assert await echo.values("echo", BYTES) == [BYTES]
        assert await rooms.values("join", "x") == [["x"]]
        await main.wait_events(room, 1)
        assert main.seqs(room) == [seq]


async def test_the_example_runs_as_it_is(nodes: Nodes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    api = await nodes.start(extensions="board:register")
    anna, ben = await api.register(), await api.register()
    async with driving() as driver:
        first, second = [driver.open(api.url + "/board", one.token) for one in (anna, ben)]
        assert isinstance(first, Stranger) and isinstance(second, Stranger)
        await asyncio.gather(first.until("connect"), second.until("connect"))
        assert (await first.values("draw", "b1", b"x"))[0]["error"]["code"] == "not_subscribed"
        assert await first.values("open", "b1") == [{"ok": True}]
        assert await second.values("open", "b1") == [{"ok": True}]
        await first.wait_for("came")
        assert payloads(first, "came") == [[ben.username]]
        assert await first.values("draw", "b1", b"\x01\x02") == [{"ok": True}]
        await second.wait_for("drawn")
        assert payloads(second, "drawn") == [[anna.username, b"\x01\x02"]]


# -- who is let in --------------------------------------------------------------------------------


async def opened(api: Api) -> RawSocket:
    socket = await RawSocket.open(api.url)
    assert (await socket.text()).startswith("0{")
    return socket


async def inside(api: Api, person: Person, namespace: str = ECHO) -> RawSocket:
    """Return a connection to a namespace of the extension and to nothing else."""
    socket = await opened(api)
    socket.send(f"40{namespace}," + json.dumps({"token": person.token}))
    assert (await socket.text()).startswith(f'40{namespace},{{"sid":"')
    if namespace == ECHO:
        assert (await socket.text()).startswith(f'42{namespace},["hello",')
    return socket


async def answer(socket: RawSocket, packet: str) -> str:
    socket.send(packet)
    return await socket.text()


@pytest.mark.parametrize(
    ("auth", "code"),
    [("", "token_missing"), ("{}", "token_missing"), ("null", "token_missing"), ('{"token":null}', "token_missing"),
     ('{"token":""}', "token_missing"), ('{"token":"x"}', "token_invalid"), ('{"token":5}', "invalid_request"),
     ("[]", "invalid_request"), ("{", "invalid_json")],
)  # fmt: skip
async def test_without_a_good_token_nobody_gets_in_and_no_handler_hears_of_it(
    api: Api, anna: Person, auth: str, code: str
) -> None:
    socket = await opened(api)
    refused = await answer(socket, f"40{ECHO},{auth}")
    assert refused.startswith(f"44{ECHO},{{")
    assert json.loads(refused[len(f"44{ECHO},") :])["data"]["code"] == code
    assert (await answer(socket, f"40{ECHO}," + json.dumps({"token": anna.token, "more": 1}))).startswith(f"40{ECHO},")
    assert json.loads((await socket.text())[len(f"42{ECHO},") :])[1]["auth"] == {"more": 1}, "it never sees the token"


async def test_a_namespace_that_says_so_is_open_to_everybody(api: Api, anna: Person) -> None:
    socket = await opened(api)
    assert (await answer(socket, f"40{OPEN}")).startswith(f"40{OPEN},")
    assert await answer(socket, f'42{OPEN},0["who"]') == f"43{OPEN},0[]"
    # and is no way into the others
    assert '"token_missing"' in await answer(socket, f"40{ECHO}")


async def test_an_unknown_namespace_is_refused_as_the_protocol_has_it(api: Api, anna: Person) -> None:
    socket = await inside(api, anna)
    for namespace in ("/other", "/echo?x=1", "/ECHO", "/echo/"):
        assert await answer(socket, f"40{namespace},") == f'44{namespace},{{"message":"Invalid namespace"}}'
    assert await answer(socket, f'42{ECHO},1["echo",2]') == f"43{ECHO},1[2]"


async def test_a_handler_may_refuse_a_connect_in_three_ways(api: Api, anna: Person) -> None:
    socket = await opened(api)

    async def refusal(say: str) -> Any:
        text = await answer(socket, f"40{CLOSED}," + json.dumps({"token": anna.token, "say": say}))
        return json.loads(text.removeprefix(f"44{CLOSED},"))

    assert await refusal("no") == {"message": "not today", "data": {"come": "tomorrow"}}
    assert (await refusal("ours"))["data"]["code"] == "not_a_member"
    assert (await refusal("bug"))["data"]["code"] == "internal"
    socket.send(f'42{CLOSED},["echo"]')
    assert await socket.close_code() == 1002, "who was refused is not connected"


async def test_what_is_on_its_way_when_an_extension_disconnects_is_dropped_and_the_client_may_come_back(
    api: Api, anna: Person
) -> None:
    socket = await inside(api, anna, ROOMS)
    token = json.dumps({"token": anna.token})
    socket.send(f'42{ROOMS},1["go"]')
    socket.send(f'42{ROOMS},2["join","x"]')
    socket.send(f"40{ROOMS},{token}")
    socket.send(f'42{ROOMS},3["join","x"]')
    assert await socket.text() == f"41{ROOMS},"
    heard = [await socket.text() for _ in range(3)]
    assert (heard[0], heard[1][:11], heard[2]) == (f"43{ROOMS},1[]", f'40{ROOMS},{{"', f'43{ROOMS},3[["x"]]')


async def test_attempts_that_a_handler_refuses_are_bounded_and_those_that_succeed_are_not(api: Api, anna: Person) -> None:
    token = json.dumps({"token": anna.token})
    socket = await opened(api)
    for _ in range(8):
        assert (await answer(socket, f"40{ROOMS},{token}")).startswith(f"40{ROOMS},")
        socket.send(f"41{ROOMS},")
    for _ in range(5):
        assert (await answer(socket, f"40{CLOSED},{token}")).startswith(f"44{CLOSED},")
    socket.send(f"40{CLOSED},{token}")
    assert await socket.close_code() == 1002


async def test_a_session_belongs_to_the_sign_in_that_was_shown_first(api: Api, anna: Person) -> None:
    ben = await api.register()
    polling = Polling(api.http, api.url)
    await polling.enter(anna.token)
    for packet in ("40" + ECHO + ",", "41\x1e40"):
        assert (await polling.post(packet + json.dumps({"token": ben.token}))).status == 200
        refused = (await polling.until(lambda one: one.startswith("44")))[-1]
        assert '"token_invalid"' in refused
    assert (await polling.post("40" + json.dumps({"token": anna.token}))).status == 200
    await polling.until(lambda one: one.startswith('42["ready"'))


async def test_connections_of_a_user_are_counted_wherever_they_are(nodes: Nodes) -> None:
    api = await nodes.start(extensions=NAME, connections_per_user=2)
    anna = await api.register()
    first, second = await inside(api, anna), await RawSocket.open(api.url)
    await second.enter(anna.token)
    third = await opened(api)
    assert '"too_many_connections"' in await answer(third, f"40{ECHO}," + json.dumps({"token": anna.token}))
    assert (await answer(second, f"40{ROOMS}," + json.dumps({"token": anna.token}))).startswith(f"40{ROOMS},")
    first.close()


# -- when it ends ---------------------------------------------------------------------------------


async def until_ended(*expected: tuple[str, str, str]) -> None:
    async with asyncio.timeout(5):
        while sorted(ends) != sorted(expected):
            await asyncio.sleep(0.01)


async def test_a_logout_closes_a_connection_that_is_in_no_other_namespace(api: Api, anna: Person) -> None:
    socket, idle = await inside(api, anna), await inside(api, await api.register())
    await anna.request("POST", "/auth/logout", expect=204)
    assert await socket.text() == f'42{ECHO},["closing",{{"code":"session_ended","retryable":false}}]'
    assert await socket.text() == f"41{ECHO},"
    assert await socket.close_code() == 1000
    await until_ended((ECHO, anna.username, "server disconnect"))
    assert await answer(idle, f'42{ECHO},1["echo"]') == f"43{ECHO},1[]"


async def test_an_expired_token_closes_it_too(nodes: Nodes) -> None:
    api = await nodes.start(extensions=NAME, token_grace_s=0)
    anna = await api.register()
    session = (await (await RawSocket.open(api.url)).enter(anna.token))["session"]
    socket = await opened(api)
    token = token_of(nodes.running[0], anna, session, 2)
    assert (await answer(socket, f"40{ROOMS}," + json.dumps({"token": token}))).startswith(f"40{ROOMS},")
    assert await socket.text() == f'42{ROOMS},["closing",{{"code":"token_expired","retryable":false}}]'
    assert await socket.text() == f"41{ROOMS},"


async def test_handlers_hear_why_a_client_went_behind_what_it_had_sent(api: Api, anna: Person) -> None:
    socket = await inside(api, anna, ROOMS)
    socket.send(f"41{ROOMS}")
    await until_ended((ROOMS, anna.username, "client disconnect"))
    ends.clear()
    other = await inside(api, anna)
    other.send(f'42{ECHO},["wait","end"]')
    other.send(f'42{ECHO},["back"]')
    other.send("1")
    await other.close_code()
    assert ends == []
    gates["end"].set()
    await until_ended((ECHO, anna.username, "client disconnect"))


async def test_who_leaves_every_namespace_has_as_long_as_who_never_came(nodes: Nodes) -> None:
    api = await nodes.start(extensions=NAME, connect_timeout_s=0.3)
    anna = await api.register()
    staying, leaving, sent_away = await inside(api, anna), await inside(api, anna), await inside(api, anna, ROOMS)
    leaving.send(f"41{ECHO},")
    sent_away.send(f'42{ROOMS},["go"]')
    assert await leaving.close_code() == 1008
    assert await sent_away.close_code() == 1008
    assert await answer(staying, f'42{ECHO},1["echo"]') == f"43{ECHO},1[]"


async def test_nothing_is_kept_of_who_has_gone(api: Api, nodes: Nodes) -> None:
    [node] = nodes.running
    server = node.extensions
    assert server is not None
    people = [await api.register() for _ in range(3)]
    for person in people:
        socket = await inside(api, person)
        await answer(socket, f"40{ROOMS}," + json.dumps({"token": person.token}))
        await answer(socket, f'42{ROOMS},1["join","x"]')
        socket.send(f'42{ECHO},2["ask"]')  # and never answers: whoever waits for it is told so when it goes
        assert await socket.text() == f'42{ECHO},1["question"]'
        socket.close()
    async with asyncio.timeout(5):
        while server.eio.guests:
            await asyncio.sleep(0.01)
    manager = server.manager
    assert (server.environ, manager.rooms, manager.callbacks, manager.pending_connect, manager.pending_disconnect) == ({},) * 5
    assert node.hub.connections_of_user(UserId(people[0].id)) == set()


# -- order, bounds, what is not allowed -----------------------------------------------------------


async def test_events_of_a_client_wait_for_one_another_and_acks_do_not(api: Api, anna: Person) -> None:
    socket = await inside(api, anna)
    socket.send(f'42{ECHO},1["wait","order"]')
    for number in range(2, 30):
        socket.send(f'42{ECHO},{number}["echo",{number}]')
    other = await inside(api, anna)
    assert await answer(other, f'42{ECHO},1["echo"]') == f"43{ECHO},1[]", "others do not wait for it"
    gates["order"].set()
    assert await socket.text() == f'43{ECHO},1["order"]'
    assert [await socket.text() for _ in range(28)] == [f"43{ECHO},{number}[{number}]" for number in range(2, 30)]


async def test_a_client_has_a_budget_of_events_and_is_told_when_it_is_used_up(nodes: Nodes) -> None:
    api = await nodes.start(extensions=NAME, request_rate=1, request_burst=5)
    socket = await inside(api, await api.register())
    answers = [await answer(socket, f'42{ECHO},{number}["echo"]') for number in range(6)]
    assert answers[:5] == [f"43{ECHO},{number}[]" for number in range(5)]
    error = json.loads(answers[5].removeprefix(f"43{ECHO},5"))[0]["error"]
    assert (error["code"], error["retryable"], 0 < error["retry_after_ms"] <= 1001) == ("rate_limited", True, True)


async def test_a_client_whose_handlers_cannot_keep_up_is_closed(nodes: Nodes) -> None:
    api = await nodes.start(extensions=NAME, request_burst=5000)
    socket = await inside(api, await api.register())
    socket.write(wire.frame(f'42{ECHO},["wait","never"]'.encode()) + wire.frame(f'42{ECHO},["echo"]'.encode()) * 1100)
    assert await socket.close_code() == 1013
    gates["never"].set()


async def test_a_client_that_does_not_read_is_closed_and_what_waits_for_it_is_bounded(api: Api, nodes: Nodes) -> None:
    [node] = nodes.running
    socket = await inside(api, await api.register())
    healthy = await inside(api, await api.register())
    socket.send(f'42{ECHO},["flood",400,60000]')
    async with asyncio.timeout(10):
        while len(node.gateway) > 1:
            await asyncio.sleep(0.01)
    assert await answer(healthy, f'42{ECHO},1["echo"]') == f"43{ECHO},1[]"
    assert 'roomwire_closed_total{reason="slow_reader"} 1.0' in await metrics(api)


async def metrics(api: Api) -> str:
    async with api.http.get(api.url + "/metrics") as page:
        return await page.text()


async def test_an_idle_client_has_no_task(api: Api) -> None:
    people = [await api.register() for _ in range(3)]
    before = len(asyncio.all_tasks())
    sockets = [await inside(api, person) for person in people]
    for number, socket in enumerate(sockets):
        assert await answer(socket, f'42{ECHO},{number}["echo"]') == f"43{ECHO},{number}[]"
    assert len(asyncio.all_tasks()) <= before, "the node's own come and go"


PLACE = '{"_placeholder":true,"num":%s}'


@pytest.mark.parametrize(
    "frames",
    [
        [f"42{ECHO},{{}}"],
        [f"42{ECHO},[1]"],
        [f'42{ECHO},["echo",tru]'],
        [f'42{ECHO},["echo"'],
        [f'42{ECHO},["echo","\\ud800"]'],
        [f'42{ECHO},["echo",' + "[" * 5000 + "]" * 5000 + "]"],
        [f'42{ECHO},abc["echo"]'],
        [f'450-{ECHO},["echo"]'],
        [f'4511-{ECHO},["echo"]'],
        [f'451-{ECHO},["echo",{PLACE % 1}]', b"x"],
        [f'451-{ECHO},["echo",{PLACE % -1}]', b"x"],
        [f'451-{ECHO},["echo",{PLACE % "true"}]', b"x"],
        [f'451-{ECHO},["echo",{PLACE % 0}]', f'42{ECHO},["echo"]'],
        [f'451-{ECHO},["echo"]', b"x", b"y"],
        [f'44{ECHO},{{"message":"no"}}'],
        [f"43{ECHO},1{{}}"],
        [f"40{ECHO},TOKEN"],
        ['42/rooms,["join","x"]'],
        ["41/rooms,"],
        ["43/rooms,1[]"],
        [b"x"],
    ],
    ids=lambda frames: repr(frames[0][:40]),
)
async def test_what_the_protocol_does_not_allow_closes_the_connection(api: Api, anna: Person, frames: list[str | bytes]) -> None:
    socket = await inside(api, anna)
    for one in frames:
        if isinstance(one, bytes):
            socket.write(wire.frame(one, wire.BINARY))
        else:
            socket.send(one.replace("TOKEN", json.dumps({"token": anna.token})))
    assert await socket.close_code() == 1002


async def test_reserved_names_and_acks_that_nobody_waits_for_reach_no_handler(api: Api, anna: Person) -> None:
    socket = await inside(api, anna)
    for number, name in enumerate(["connect", "connect_error", "disconnect", "disconnecting", "newListener", "*"]):
        assert '"unknown_event"' in await answer(socket, f'42{ECHO},{number}["{name}"]')
    for number in (0, 1, 7, 10**18):
        socket.send(f"43{ECHO},{number}[1]")
    assert await answer(socket, f'42{ECHO},9["echo"]') == f"43{ECHO},9[]"
    assert ends == []


async def test_attachments_are_bounded_together(nodes: Nodes) -> None:
    api = await nodes.start(extensions=NAME)
    socket = await inside(api, await api.register())
    places = ",".join(PLACE % number for number in range(5))
    socket.send(f'455-{ECHO},["echo",{places}]')
    for _ in range(5):
        socket.write(wire.frame(b"x" * 130_000, wire.BINARY))
    assert await socket.close_code() == 1002


# -- loading --------------------------------------------------------------------------------------


def test_the_setting_names_functions_that_can_be_called() -> None:
    assert load((), 1) is None
    for name in ("no.such.module:register", "tests.conformance.extension:nothing", "tests.conformance.extension", ":"):
        with pytest.raises(config.ConfigError, match="ROOMWIRE_EXTENSIONS"):
            load((name,), 1)


def test_a_node_without_extensions_does_not_load_their_server() -> None:
    # In a process of its own: here the tests' client has imported the package.
    program = "import sys, realtime.node.app; sys.exit('socketio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def takes_the_root(server: Extensions) -> None:
    server.on("anything", lambda _sid: None)


def test_an_extension_cannot_take_the_namespace_of_the_contract() -> None:
    with pytest.raises(config.ConfigError, match="others"):
        load((f"{__name__}:takes_the_root",), 1)


def takes_every_namespace(server: Extensions) -> None:
    @server.on("*", namespace="*")  # type: ignore[untyped-decorator]  # python-socketio has no types
    async def anything(event: str, namespace: str, sid: str, *values: Any) -> list[Any]:
        return [event, namespace, *values]


async def test_a_handler_for_everything_serves_every_namespace_but_the_contracts(nodes: Nodes) -> None:
    api = await nodes.start(extensions=f"{__name__}:takes_every_namespace")
    anna = await api.register()
    socket = await opened(api)
    for namespace in ("/one", "/two"):
        assert (await answer(socket, f"40{namespace}," + json.dumps({"token": anna.token}))).startswith(f"40{namespace},")
        assert await answer(socket, f'42{namespace},1["draw",2]') == f'43{namespace},1[["draw","{namespace}",2]]'
    assert (await answer(socket, "40" + json.dumps({"token": anna.token}))).startswith('40{"sid"')
    assert (await socket.text()).startswith('42["ready"')
    assert json.loads((await answer(socket, '420["draw",{}]'))[3:])[0]["error"]["code"] == "unknown_event"


def asks_for_the_admin_page(server: Extensions) -> None:
    server.instrument(auth=False)


def test_an_extension_that_asks_for_what_is_not_served_stops_the_start_with_a_sentence() -> None:
    with pytest.raises(config.ConfigError, match=r"asks_for_the_admin_page .* not served: instrument\(\) .*\.$"):
        load((f"{__name__}:asks_for_the_admin_page",), 1)


def test_the_extension_of_the_tests_is_one() -> None:
    found = load((NAME,), 1)
    assert found is not None
    assert all(found.serves(namespace) for namespace in (ECHO, ROOMS, OPEN, CLOSED))
    assert [found.needs_token(namespace) for namespace in (ECHO, OPEN)] == [True, False]
    assert extension.register.__module__ == "tests.conformance.extension"
