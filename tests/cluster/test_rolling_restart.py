"""A rolling restart under load: each node drains and is replaced in turn, and nobody but the operator knows."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import asyncpg
import pytest

from tests import checker
from tests.balancer import balancing
from tests.client import PASSWORD, Api, Person, unique
from tests.conformance.official import Driver, Official, driving
from tests.integration.test_readme_clients import EXAMPLES, running
from tests.process import Server

if TYPE_CHECKING:
    import pathlib
    from collections.abc import AsyncIterator, Callable

    from realtime.store.provision import Urls
    from tests.client import Socket
    from tests.conftest import Engines

    Keep = Callable[[Socket], Socket]

DRAIN_S = 25
TRANSPORTS: list[list[str] | None] = [None, ["websocket"], ["polling"]]


class Fleet:
    """Two nodes, each replaced by a new process when it is restarted."""

    def __init__(self, **settings: object) -> None:
        self._settings = settings
        self.servers: list[Server] = []

    async def start(self) -> str:
        """Start one more node; return its URL."""
        server = Server(**self._settings)
        self.servers.append(server)
        return await server.start()

    async def close(self) -> None:
        for server in self.servers:
            if server.alive:
                await server.end(signal.SIGKILL)


@pytest.fixture
async def fleet(running_engines: Engines, own_database: Urls) -> AsyncIterator[Fleet]:
    found = Fleet(
        database_url=own_database.application, redis_url=running_engines.redis, redis_prefix=f"r{os.getpid()}",
        send_rate=100_000, send_burst=100_000, drain_s=DRAIN_S,
    )  # fmt: skip
    yield found
    await found.close()


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    async with driving() as running:
        yield running


class Member:
    """An app on the official client: after every `ready` it subscribes with `since`, as the examples do, and it retries sends."""

    def __init__(self, client: Official, person: Person, room: str, watched: list[str]) -> None:
        self.client, self.person, self.room = client, person, room
        self.acked: dict[tuple[str, str], set[int]] = {}
        self.longest_send_s = 0.0
        self._watched = watched
        self._caught_up: list[dict[str, Any]] = []

    @property
    def seen(self) -> list[dict[str, Any]]:
        """Return all events of the room that it got, live and caught up."""
        return sorted(self._caught_up + self.client.events(self.room), key=lambda event: int(event["seq"]))

    @property
    def lost(self) -> list[str]:
        """Return whom it was shown as offline after it had been shown them online."""
        online, lost = set(), []
        for payload in self.client.payloads("presence"):
            for one in payload["users"]:
                if one["status"] == "online":
                    online.add(one["user"])
                elif one["user"] in online:
                    lost.append(one["user"])
        return lost

    async def follow(self) -> None:
        """Subscribe after each connect."""
        for number in itertools.count(1):
            await self.client.wait(lambda number=number: self.client.names.count("ready") >= number, 120)  # type: ignore[misc]
            since = max((event["seq"] for event in self.seen), default=0)
            await self._until_answered("presence.watch", {"users": self._watched})
            answer = await self._until_answered("room.subscribe", {"rooms": [{"room": self.room, "since": since}]})
            self._caught_up += answer["rooms"][0]["events"]

    async def write(self, stop: asyncio.Event) -> None:
        """Send, and send again with the same id until there is an answer."""
        while not stop.is_set():
            client_id = unique("c")
            started_s = time.monotonic()
            answer = await self._until_answered("message.send", {"room": self.room, "client_id": client_id, "body": "x"})
            self.longest_send_s = max(self.longest_send_s, time.monotonic() - started_s)
            self.acked[self.person.id, client_id] = {answer["seq"]}
            await asyncio.sleep(0.01)

    async def _until_answered(self, event: str, payload: Any) -> Any:
        for _ in range(20):
            try:
                answer = await self.client.call(event, payload, timeout=1)
            except TimeoutError:
                continue
            if answer["ok"]:
                return answer
            assert answer["error"]["retryable"], answer
        raise AssertionError(f"{event} was not answered in 20 tries")


async def write_over_rest(person: Person, room: str, stop: asyncio.Event, acked: dict[tuple[str, str], set[int]]) -> None:
    """Post messages; a connection that breaks or a 503 is a reason to post the same again."""
    while not stop.is_set():
        client_id = unique("c")
        for _ in range(100):
            try:
                body = {"client_id": client_id, "body": "y"}
                answer = await person.request("POST", f"/rooms/{room}/messages", body)
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
                continue
            if answer.status in (200, 201):
                acked[person.id, client_id] = {answer.json["seq"]}
                break
            assert answer.status == 503, answer.json
        else:
            raise AssertionError("100 tries")
        await asyncio.sleep(0.01)


@pytest.mark.timeout(180)
async def test_nobody_notices_that_the_nodes_are_replaced(fleet: Fleet, http: aiohttp.ClientSession, driver: Driver) -> None:
    urls = [await fleet.start(), await fleet.start()]
    async with balancing(*urls) as balancer, asyncio.TaskGroup() as tasks:
        for url in urls:
            await balancer.until_ready(url)
        home = Api(http, await balancer.door())
        people = [await home.register() for _ in range(7)]
        room = await people[0].room("private", members=people[1:])
        watched = [person.id for person in people[:6]]
        members = []
        for number, person in enumerate(people[:6]):
            client = driver.open(await balancer.door(), person.token, TRANSPORTS[number % 3])
            await client.ready()
            members.append(Member(client, person, room, watched))
        stop, by_rest = asyncio.Event(), dict[tuple[str, str], set[int]]()
        following = [tasks.create_task(one.follow()) for one in members]
        writing = [tasks.create_task(one.write(stop)) for one in members]
        writing += [
            tasks.create_task(write_over_rest(people[6].at(await balancer.door()), room, stop, by_rest)) for _ in range(2)
        ]
        for index in range(2):
            await _written(members, 10)
            started_s = time.monotonic()
            assert await fleet.servers[index].end(signal.SIGTERM, within_s=DRAIN_S + 5) == 0
            assert time.monotonic() - started_s < DRAIN_S
            await _written(members, 10)
            balancer.nodes[index] = await fleet.start()
            await balancer.until_ready(balancer.nodes[index])
        await _written(members, 10)
        stop.set()
        await asyncio.gather(*writing)
        head = (await people[0].get(f"/rooms/{room}"))["head_seq"]
        for one in members:
            await one.client.wait(lambda one=one: len(one.seen) >= head, 30)  # type: ignore[misc]
        for task in following:
            task.cancel()
        stored: list[dict[str, Any]] = []
        while len(stored) < head:
            stored += (await people[0].get(f"/rooms/{room}/events?since={len(stored)}&limit=200"))["events"]
    acked = by_rest | {key: value for one in members for key, value in one.acked.items()}
    checker.check(stored, acked, [one.seen for one in members])
    assert len(by_rest) > 20
    for one in members:
        assert one.lost == [], "nobody seemed to leave"
        assert {user["user"] for payload in one.client.payloads("presence") for user in payload["users"]} == set(watched)
        assert one.client.names.count("ready") >= 2, "each came to a node that went"
        assert one.longest_send_s < 10


async def _written(members: list[Member], more: int) -> None:
    """Wait until every member has written so many more messages."""
    goals = [len(one.acked) + more for one in members]
    async with asyncio.timeout(60):
        while any(len(one.acked) < goal for one, goal in zip(members, goals, strict=True)):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("language", EXAMPLES)
async def test_a_program_of_a_few_lines_comes_back_on_another_node_and_resumes(
    fleet: Fleet, http: aiohttp.ClientSession, tmp_path: pathlib.Path, language: str
) -> None:
    urls = [await fleet.start(), await fleet.start()]
    async with balancing(*urls) as balancer:
        for url in urls:
            await balancer.until_ready(url)
        anna, ben = await Api(http, urls[1]).register(), await Api(http, urls[1]).register()
        room = await anna.room(members=[ben])
        door = await balancer.door()
        async with running(language, tmp_path, door, ben.username, PASSWORD, room) as example:
            before = (await example.until("ready"))["node"]
            await anna.send(room, "before")
            await example.until("message.created", body="before")
            ending = asyncio.create_task(fleet.servers[0].end(signal.SIGTERM))
            await example.until("server.drain")
            await anna.send(room, "amid")
            assert await ending == 0
            assert (await example.until("ready"))["node"] != before
            await anna.send(room, "after")
            await example.until("message.created", body="after")
    seqs = example.seqs(room)
    assert seqs == list(range(1, seqs[-1] + 1))


async def test_a_draining_node_is_unready_at_once_and_takes_nobody(
    fleet: Fleet, http: aiohttp.ClientSession, close_later: Keep
) -> None:
    url = await fleet.start()
    anna = await Api(http, url).register()
    socket = close_later(await anna.connect())
    room = await anna.room("private")
    ending = asyncio.create_task(fleet.servers[0].end(signal.SIGTERM))
    await socket.wait_for("server.drain")
    async with http.get(f"{url}/readyz") as response:
        assert response.status == 503
        assert (await response.json())["checks"]["node"] == "draining"
    for transport in ("polling", "websocket"):
        async with http.get(f"{url}/socket.io/?EIO=4&transport={transport}", headers=UPGRADE[transport]) as response:
            assert (response.status, response.headers["Retry-After"]) == (503, "1")
    await socket.send(room, "it still serves who is there")
    assert socket.payloads("closing") == []
    assert await ending == 0


UPGRADE: dict[str, dict[str, str]] = {
    "polling": {},
    "websocket": {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
                  "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ=="},
}  # fmt: skip


async def test_a_drain_that_cannot_finish_ends_in_time(
    fleet: Fleet, http: aiohttp.ClientSession, own_database: Urls, close_later: Keep
) -> None:
    """A commit that hangs is nobody's reason to be killed by the system later."""
    fleet._settings |= {"drain_s": 2, "statement_timeout_ms": 60_000, "lock_timeout_ms": 60_000}
    url = await fleet.start()
    anna = await Api(http, url).register()
    room = await anna.room("private")
    socket = close_later(await anna.connect())
    connection = await asyncpg.connect(own_database.owner)
    try:
        async with connection.transaction():
            await connection.execute("SELECT FROM rooms WHERE id = $1 FOR UPDATE", room)
            sending = asyncio.create_task(socket.send(room))
            await asyncio.sleep(0.1)
            started_s = time.monotonic()
            assert await fleet.servers[0].end(signal.SIGTERM) == 1
            assert 1.5 < time.monotonic() - started_s < 5
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
    finally:
        await connection.close()
    assert any("not finished 2 s after SIGTERM" in line for line in fleet.servers[0].output)
