"""PostgreSQL killed, hung, shut down, read-only, locked: sends fail in time, all else goes on, nodes come back by themselves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import signal
import tempfile
import time
from typing import TYPE_CHECKING, Any

import asyncpg
import psutil
import pytest

from realtime.node import engines
from tests import checker
from tests.client import unique
from tests.conftest import Nodes, _prepare
from tests.process import readable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import aiohttp

    from tests.client import Api, Person, Socket
    from tests.conftest import Engines

    Keep = Callable[[Socket], Socket]

ANSWER_S = 5.0
BACK_S = 10.0


class Server:
    """A PostgreSQL of one's own, to be maltreated. It flushes to disk: what was acked before a crash must be there after it."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self.engine = engines.Postgres(path)
        engines.start_all([self.engine])
        self.urls = asyncio.run(_prepare(self.engine.dsn))

    @property
    def pid(self) -> int:
        assert self.engine._process is not None
        return self.engine._process.pid

    def signal_all(self, number: signal.Signals) -> None:
        for process in [psutil.Process(self.pid), *psutil.Process(self.pid).children()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def start_again(self) -> None:
        self.engine = engines.Postgres(self._path)
        engines.start_all([self.engine])

    async def sql(self, *statements: str) -> None:
        connection = await asyncpg.connect(self.engine.dsn.replace("/postgres?", "/roomwire?"))
        try:
            for one in statements:
                await connection.execute(one)
        finally:
            await connection.close()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with tempfile.TemporaryDirectory(prefix="roomwire-test-") as folder:
        server = Server(readable(pathlib.Path(folder)))
        yield server
        engines.stop_all([server.engine])


@pytest.fixture
async def nodes(server: Server, running_engines: Engines, http: aiohttp.ClientSession, exits: contextlib.AsyncExitStack) -> Nodes:
    return Nodes(server.urls, running_engines.redis, exits, http)


class Load:
    """People who write without a pause, each sending again what was refused for the time being, and take down everything."""

    def __init__(self, room: str) -> None:
        self.room = room
        self.acked: dict[tuple[str, str], set[int]] = {}
        self.refused: list[str] = []
        self.longest_s = 0.0
        self.last_ack_s = 0.0
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, person: Person, sockets: list[Socket]) -> None:
        self._tasks += [asyncio.create_task(self._write(person, socket)) for socket in sockets]

    async def _write(self, person: Person, socket: Socket) -> None:
        while not self._stop.is_set():
            client_id = unique("c")
            while True:
                began_s = time.monotonic()
                answer = await socket.ask("message.send", {"room": self.room, "client_id": client_id, "body": "x"})
                self.longest_s = max(self.longest_s, time.monotonic() - began_s)
                if answer["ok"]:
                    self.acked.setdefault((person.id, client_id), set()).add(answer["seq"])
                    self.last_ack_s = time.monotonic()
                    break
                assert answer["error"]["retryable"], answer
                self.refused.append(answer["error"]["code"])
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.01)

    async def acks_again(self) -> float:
        """Return how long it takes until something is acked, in seconds."""
        began_s = time.monotonic()
        async with asyncio.timeout(BACK_S + 5):
            while self.last_ack_s <= began_s:
                await asyncio.sleep(0.02)
        return time.monotonic() - began_s

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._tasks)


class Scene:
    """Two nodes; Anna and Bert in a room, each with a connection on both; Anna writes over all of hers."""

    def __init__(self, nodes: Nodes, keep: Keep) -> None:
        self.nodes = nodes
        self._keep = keep

    async def set_up(self) -> Scene:
        self.apis = [await self.nodes.start(send_rate=10_000, send_burst=10_000) for _ in range(2)]
        self.anna, self.bert = await self.apis[0].register(), await self.apis[0].register()
        self.room = await self.anna.room("private", members=[self.bert])
        self.writers = [self._keep(await self.anna.at(api.url).connect()) for api in self.apis]
        self.readers = [self._keep(await self.bert.at(api.url).connect()) for api in self.apis]
        for socket in (*self.writers, *self.readers):
            await socket.subscribe(self.room)
        self.load = Load(self.room)
        self.load.start(self.anna, self.writers * 3)
        await self.load.acks_again()
        return self

    async def ready(self, expected: bool, within_s: float) -> float:
        """Return how long it takes until both nodes say so."""
        began_s = time.monotonic()

        async def one(api: Api) -> None:
            while True:
                async with api.http.get(f"{api.url}/readyz") as response:
                    if (response.status == 200) == expected:
                        return
                await asyncio.sleep(0.05)

        async with asyncio.timeout(within_s):
            await asyncio.gather(*map(one, self.apis))
        return time.monotonic() - began_s

    async def what_needs_no_store_goes_on(self) -> None:
        """Signals cross over, presence is told, somebody comes; nobody was disconnected."""
        before = [socket.names.count("signal") for socket in self.readers]
        await self.writers[0].call("signal", {"room": self.room, "kind": "typing"})
        for socket, count in zip(self.readers, before, strict=True):
            await socket.wait_for("signal", count + 1)
        late = self._keep(await self.bert.at(self.apis[1].url).connect())
        await late.call("presence.watch", {"users": [self.anna.id]})
        await late.wait_for("presence")
        assert late.payloads("presence")[0]["users"] == [{"user": self.anna.id, "status": "online"}]
        assert not any(socket.gone.is_set() for socket in (*self.writers, *self.readers))

    async def refused_at_once(self) -> None:
        """While it is known to be away nobody waits."""
        began_s = time.monotonic()
        answer = await self.anna.request("POST", f"/rooms/{self.room}/messages", {"client_id": unique(), "body": "x"}, expect=503)
        assert answer.code == "unavailable"
        assert "Retry-After" in answer.headers
        assert time.monotonic() - began_s < 1

    async def nothing_was_lost(self) -> None:
        """Every ack is true, nothing is doubled, and every reader has seen everything in order."""
        await self.load.stop()
        assert self.load.longest_s < ANSWER_S, self.load.longest_s
        head = (await self.anna.get(f"/rooms/{self.room}"))["head_seq"]
        for socket in self.readers:
            await socket.wait(lambda socket=socket: len(socket.events(self.room)) >= head, timeout_s=25)  # type: ignore[misc]
        stored: list[dict[str, Any]] = []
        while len(stored) < head:
            stored += (await self.anna.get(f"/rooms/{self.room}/events?since={len(stored)}&limit=200"))["events"]
        checker.check(stored, self.load.acked, [socket.events(self.room) for socket in self.readers])


@pytest.fixture
async def scene(nodes: Nodes, close_later: Keep) -> Scene:
    return await Scene(nodes, close_later).set_up()


async def test_killed_and_restarted(scene: Scene, server: Server) -> None:
    os.kill(server.pid, signal.SIGKILL)  # the engine's watcher starts it again, and it recovers from its log
    async with asyncio.timeout(BACK_S):
        while not scene.load.refused:
            await asyncio.sleep(0.01)
    assert await scene.load.acks_again() < BACK_S
    await scene.ready(True, BACK_S)
    await scene.nothing_was_lost()


async def test_shut_down_for_a_while(scene: Scene, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: list[float] = []
    connect = asyncpg.connect

    async def counted(*args: Any, **more: Any) -> Any:
        attempts.append(time.monotonic())
        return await connect(*args, **more)

    monkeypatch.setattr(asyncpg, "connect", counted)
    await asyncio.to_thread(server.engine.stop)
    await scene.ready(False, 3)
    began_s = time.monotonic()
    await scene.refused_at_once()
    await scene.what_needs_no_store_goes_on()
    await asyncio.sleep(max(0.0, began_s + 2 - time.monotonic()))
    knocks = sum(1 for at_s in attempts if at_s > began_s)
    assert knocks <= 2 * 8, f"{knocks} connections tried by two nodes in 2 s"
    await asyncio.to_thread(server.start_again)
    assert await scene.load.acks_again() < BACK_S
    await scene.ready(True, BACK_S)
    await scene.nothing_was_lost()


async def test_hung(scene: Scene, server: Server) -> None:
    server.signal_all(signal.SIGSTOP)
    try:
        began_s = time.monotonic()
        await scene.ready(False, 3)
        await scene.what_needs_no_store_goes_on()
        async with asyncio.timeout(ANSWER_S):
            while len(scene.load.refused) < len(scene.writers):
                await asyncio.sleep(0.02)
        await scene.refused_at_once()
        assert time.monotonic() - began_s < 2 * ANSWER_S
    finally:
        server.signal_all(signal.SIGCONT)
    assert await scene.load.acks_again() < BACK_S
    await scene.ready(True, BACK_S)
    await scene.nothing_was_lost()


async def test_read_only_after_a_failover(scene: Scene, server: Server) -> None:
    await server.sql("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
    try:
        await scene.ready(False, 3)
        await scene.refused_at_once()
        await scene.what_needs_no_store_goes_on()
    finally:
        off = "SET default_transaction_read_only = off"
        await server.sql(off, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
    assert await scene.load.acks_again() < BACK_S
    await scene.ready(True, BACK_S)
    await scene.nothing_was_lost()


async def test_connections_cut_without_a_reason_are_replaced_and_nobody_turns_unready(scene: Scene, server: Server) -> None:
    unready: list[bool] = []
    for node in scene.nodes.running:
        node.database._health = unready.append
    for _ in range(5):
        await server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'roomwire_app'")
        assert await scene.load.acks_again() < 2
    assert not unready
    await scene.nothing_was_lost()


async def test_without_a_slot_those_that_have_connections_go_on_and_those_that_have_none_come_back(
    scene: Scene, server: Server
) -> None:
    await server.sql("ALTER ROLE roomwire_app CONNECTION LIMIT 1")
    try:
        assert await scene.load.acks_again() < 2, "what is connected serves"
        rooms = await asyncio.gather(*(scene.anna.request("GET", f"/rooms/{scene.room}") for _ in range(50)))
        assert {answer.status for answer in rooms} == {200}, "and who finds no further one waits for it"
        await server.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'roomwire_app'")
        async with asyncio.timeout(5):
            while not any(node.database.away for node in scene.nodes.running):
                await asyncio.sleep(0.02)
        assert await scene.load.acks_again() < 5, "one node has the one slot"
    finally:
        await server.sql("ALTER ROLE roomwire_app CONNECTION LIMIT -1")
    await scene.ready(True, BACK_S)
    await scene.nothing_was_lost()


async def test_a_row_that_somebody_holds_costs_the_lock_timeout(scene: Scene, server: Server) -> None:
    connection = await asyncpg.connect(server.engine.dsn.replace("/postgres?", "/roomwire?"))
    async with connection.transaction():
        await connection.execute("SELECT 1 FROM rooms WHERE id = $1 FOR UPDATE", scene.room)
        refused = len(scene.load.refused)
        async with asyncio.timeout(ANSWER_S):
            while len(scene.load.refused) == refused:
                await asyncio.sleep(0.02)
        assert not any(node.database.away for node in scene.nodes.running), "it answers"
    await connection.close()
    assert await scene.load.acks_again() < ANSWER_S
    await scene.nothing_was_lost()


@pytest.mark.parametrize(
    "state", ["53100", "53200", "53400", "57014", "55P03", "40P01", "58030", "57P01", "25006"], ids=lambda state: f"error {state}"
)
async def test_what_the_server_says_when_it_cannot_is_told_as_unavailable(nodes: Nodes, server: Server, state: str) -> None:
    """53100 is a full disk, 53200 memory, 58030 an I/O error, 57P01 a shutdown, 25006 a standby."""
    api = await nodes.start()
    anna = await api.register()
    room = await anna.room()
    function = f"""CREATE OR REPLACE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN IF NEW.room = '{room}' THEN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END IF; RETURN NEW; END $$"""
    await server.sql(function, "CREATE TRIGGER fail BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION fail()")
    try:
        body = {"client_id": unique(), "body": "x"}
        answer = await anna.request("POST", f"/rooms/{room}/messages", body, expect=503)
        assert (answer.code, answer.json["retryable"]) == ("unavailable", True)
    finally:
        await server.sql("DROP TRIGGER fail ON events")
    async with asyncio.timeout(BACK_S):
        while (await anna.request("POST", f"/rooms/{room}/messages", body)).status == 503:
            await asyncio.sleep(0.02)
    assert (await anna.get(f"/rooms/{room}"))["head_seq"] == 1
