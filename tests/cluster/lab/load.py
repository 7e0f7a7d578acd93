"""The load: many clients in a process of its own, told over standard input what to do, one JSON line an order.

`python -m tests.cluster.lab.load RECORD` reads a `Plan`, connects everybody, answers `{"ready": ...}`, obeys orders, and
writes the record when it is told to finish.
"""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import random
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import uvloop

from tests.cluster.lab.record import Absent, Connection, Record, Sent
from tests.cluster.lab.wire import Answer, Problem, RoomAnswer, Wire, clock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

CONNECT_S = 5.0
ACK_S = 10.0
PENDING_MAX = 5000
_SMALL_BUFFER = 4096


class Person(msgspec.Struct):
    user: str
    token: str
    refresh_token: str
    rooms: list[str]


class Plan(msgspec.Struct):
    """Who takes part. `urls` are where nodes are reached, `people` have one client each."""

    seed: int
    urls: list[str]
    people: list[Person]
    body_bytes: int = 100


class Client:
    """Somebody who stays connected, as the official clients do, and comes back with what they have."""

    def __init__(self, load: Load, number: int, person: Person) -> None:
        self.person = person
        self.number = number
        self.held: dict[str, int] = {}
        self.removed: set[str] = set()
        self.wire: Wire | None = None
        self.over = False
        self.reading = True
        self._load = load
        self._came = asyncio.Event()
        self._failures = 0

    async def live(self) -> Wire | None:
        """Return the connection, when there is one and everything is subscribed; None when there will be none any more."""
        while self.wire is None and not self.over:
            self._came.clear()
            await self._came.wait()
        return self.wire

    async def attend(self) -> None:
        """Be there until the session is over."""
        try:
            await self._attend()
        finally:
            self.over = True
            self._came.set()

    async def _attend(self) -> None:
        while not self.over:
            wire = await self._connect()
            if wire is not None and await self._subscribe(wire):
                self._failures = 0
                self.wire = wire
                self._came.set()
            if wire is not None:
                await wire.gone
                self.held |= wire.positions
                self.removed |= wire.removed
                self.wire = None
            if wire is not None and wire.closing == "token_expired":
                await self._refresh(self._load.url())
            elif wire is not None and wire.closing == "session_ended":
                self.over = True
            else:
                await asyncio.sleep(self._pause_s())

    def _pause_s(self) -> float:
        # The official client's: 1 s, doubled up to 5 s, give or take a half.
        self._failures += 1
        return min(5.0, 2.0 ** (self._failures - 1)) * self._load.random.uniform(0.5, 1.5)

    async def _connect(self) -> Wire | None:
        """Try every node once, as a balancer does; None when none lets us in."""
        for url in self._load.urls_anyhow():
            record = self._load.new_connection(self)
            address = urlsplit(url)
            try:
                async with asyncio.timeout(CONNECT_S):
                    buffer = 0 if self.reading else _SMALL_BUFFER
                    return await Wire.open(
                        record, (str(address.hostname), int(address.port or 0)), self.person.token, self._leave_later, buffer
                    )
            except (OSError, TimeoutError) as error:
                record.closed_s = record.closed_s or clock()
                record.reason = record.reason or type(error).__name__
                if record.reason == "refused: token_expired":
                    await self._refresh(url)
                elif record.reason == "refused: session_ended":
                    self.over = True
                    return None
        return None

    def _leave_later(self, pause_s: float) -> None:
        wire = self.wire
        if wire is not None:
            asyncio.get_running_loop().call_later(pause_s, wire.abort, "left as asked")

    async def _refresh(self, url: str) -> None:
        body = {"refresh_token": self.person.refresh_token}
        with contextlib.suppress(aiohttp.ClientError, TimeoutError):  # tried again with the next connection
            async with self._load.http.post(f"{url}/api/v1/auth/refresh", json=body) as answer:
                if answer.status == 200:
                    found = await answer.json()
                    self.person.token, self.person.refresh_token = found["access_token"], found["refresh_token"]
                elif answer.status == 401:
                    self.over = True

    async def _subscribe(self, wire: Wire) -> bool:
        wanted = [room for room in self.person.rooms if room not in self.removed]
        if not wanted:
            return True
        since = {room: self.held.get(room, 0) for room in wanted}
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        gone: set[str] = set()

        def done(answer: Answer) -> None:
            # Written down here, since live events follow in the same turn of the loop.
            for room in answer.rooms:
                if room.error is None:
                    wire.subscribed(room, since[room.room])
                elif not room.error.retryable:
                    gone.add(room.room)
            if not answered.done():
                answered.set_result(answer)

        wire.request("room.subscribe", {"rooms": [{"room": room, "since": seq} for room, seq in since.items()]}, done)
        await wire.until(answered, ACK_S)
        self.removed |= gone
        if not answered.done() or not answered.result().ok or not _all_given(answered.result().rooms):
            wire.abort("not subscribed")
            return False
        wire.record.subscribed_s = clock()
        return True

    def missing(self, heads: dict[str, int]) -> str:
        """Say what this client lacks; nothing when it is here and has everything."""
        wire = self.wire
        if wire is None:
            return "its session ended" if self.over else "it did not come back"
        rooms = [room for room in self.person.rooms if room not in self.removed and room not in wire.removed]
        late = sum(wire.positions.get(room, 0) < heads.get(room, 0) for room in rooms)
        return f"{late} rooms are behind" if late else ""


def _all_given(rooms: list[RoomAnswer]) -> bool:
    return all(room.error is None or not room.error.retryable for room in rooms)


class Load:
    def __init__(self, plan: Plan, http: aiohttp.ClientSession) -> None:
        self.plan = plan
        self.http = http
        self.random = random.Random(plan.seed)
        self.record = Record(plan.seed, clock())
        self.clients = [Client(self, number, person) for number, person in enumerate(plan.people)]
        self.heads: dict[str, int] = {}
        self._attending: list[asyncio.Task[None]] = []
        self._writing: asyncio.Task[None] | None = None
        self._sends: set[asyncio.Task[None]] = set()
        self._extra: set[asyncio.Task[Any]] = set()
        self._paused: list[Client] = []
        self._vanished: list[Wire] = []
        self._messages = 0

    def url(self) -> str:
        return self.random.choice(self.plan.urls)

    def urls_anyhow(self) -> list[str]:
        return self.random.sample(self.plan.urls, len(self.plan.urls))

    def new_connection(self, client: Client) -> Connection:
        record = Connection(len(self.record.connections), client.number, client.person.user, clock())
        self.record.connections.append(record)
        return record

    # -- life -------------------------------------------------------------------------------------

    async def enter(self, within_s: float) -> dict[str, Any]:
        """Connect everybody, a few hundred at a time."""
        began_s = clock()
        for at, client in enumerate(self.clients):
            self._attending.append(asyncio.create_task(client.attend()))
            if at % 50 == 49:
                await asyncio.wait([asyncio.create_task(one.live()) for one in self.clients[at - 49 : at + 1]], timeout=2)
        self._extra.add(asyncio.create_task(self._listen_for_silence()))
        async with asyncio.timeout(within_s):
            for client in self.clients:
                await client.live()
        return {"clients": len(self.clients), "took_s": clock() - began_s}

    async def _listen_for_silence(self) -> None:
        """Give up connections on which no heartbeat comes, as Engine.IO's clients do."""
        while True:
            await asyncio.sleep(0.5)
            now_s = clock()
            for client in self.clients:
                wire = client.wire
                if wire is not None and client.reading and now_s - wire.heard_s > wire.patience_s:
                    wire.abort("no heartbeat")

    async def settle(self, within_s: float) -> dict[str, Any]:
        """Stop writing, and let every send end with an answer."""
        await self.pause()
        await self.read_on()
        if self._sends:
            await asyncio.wait(self._sends, timeout=within_s)
        return {"unfinished": len(self._sends)}

    async def finish(self, heads: dict[str, int], within_s: float) -> dict[str, Any]:
        """Wait until everybody is there and has everything, and end the record.

        Args:
            heads: The last seq of each room.
        """
        deadline_s = clock() + within_s
        while clock() < deadline_s and any(client.missing(heads) for client in self.clients if not client.over):
            await asyncio.sleep(0.02)
        for client in self.clients:
            if why := client.missing(heads):
                self.record.absent.append(Absent(client.number, client.person.user, why))
        self.record.finished_s = clock()
        for task in [*self._sends, *self._extra, *self._attending]:
            task.cancel()
        return {"absent": len(self.record.absent)}

    # -- writing ----------------------------------------------------------------------------------

    async def write(self, rate: float, room: str = "", size: int = 0) -> dict[str, Any]:
        """Send messages at times that are drawn beforehand, whatever became of the ones before (an open model)."""
        await self.pause()
        self._writing = asyncio.create_task(self._write(rate, room, size or self.plan.body_bytes))
        return {}

    async def pause(self) -> dict[str, Any]:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None
        return {}

    async def _write(self, rate: float, room: str, size: int) -> None:
        due_s = clock()
        writers = [client for client in self.clients if not room or room in client.person.rooms]
        while True:
            due_s += self.random.expovariate(rate)
            await asyncio.sleep(max(0.0, due_s - clock()))
            client = self.random.choice(writers)
            rooms = [one for one in client.person.rooms if one not in client.removed and (not room or one == room)]
            if len(self._sends) >= PENDING_MAX or not client.reading or client.over or not rooms:
                self.record.skipped += 1
            else:
                self.send(client, self.random.choice(rooms), size)

    def send(self, client: Client, room: str, size: int) -> asyncio.Task[None]:
        task = asyncio.create_task(self._send(client, room, self._name(client), size))
        self._sends.add(task)
        task.add_done_callback(self._sends.discard)
        return task

    def _name(self, client: Client) -> str:
        self._messages += 1
        return f"c{client.number}-{self._messages}"

    async def _send(self, client: Client, room: str, name: str, size: int) -> None:
        """Send until there is an answer that ends it, always with the same `client_id`."""
        while not client.over and room not in client.removed:
            wire = await client.live()
            if wire is None:
                return
            sent, problem = await self.attempt(wire, client, room, name, size)
            if sent.outcome != "unknown":
                return
            pause_ms = problem.retry_after_ms if problem and problem.retry_after_ms else self.random.uniform(300, 1000)
            await asyncio.sleep(pause_ms / 1000)

    async def attempt(self, wire: Wire, client: Client, room: str, name: str, size: int) -> tuple[Sent, Problem | None]:
        """Try once."""
        sent = Sent(wire.record.number, 0, client.person.user, room, name, 0.0)
        self.record.sent.append(sent)
        answered: asyncio.Future[Problem | None] = asyncio.get_running_loop().create_future()

        def done(sent: Sent, problem: Problem | None) -> None:
            if sent.outcome == "ok":
                self.heads[room] = max(sent.seq, self.heads.get(room, 0))
            if not answered.done():
                answered.set_result(problem)

        wire.send(sent, size, done)
        await wire.until(answered, ACK_S)
        return sent, answered.result() if answered.done() else None

    # -- faults on the side of the clients --------------------------------------------------------

    async def storm(self, share: float = 1.0) -> dict[str, Any]:
        """Reset connections of a share of the clients at once."""
        live = [client.wire for client in self.clients if client.wire is not None]
        for wire in live[: int(len(live) * share)]:
            wire.abort("storm")
        return {}

    async def stop_reading(self, count: int, room: str) -> dict[str, Any]:
        """Let some clients of a room come anew with a small buffer, and then read no more."""
        self._paused = [client for client in self.clients if room in client.person.rooms][-count:]
        for client in self._paused:
            client.reading = False
            if client.wire is not None:
                client.wire.abort("comes anew")
                await client.wire.gone
        await asyncio.sleep(0)  # its client takes note
        for client in self._paused:
            wire = await client.live()
            if wire is not None:
                wire.stop_reading()
        return {"stopped": len(self._paused)}

    async def read_on(self) -> dict[str, Any]:
        paused, self._paused = self._paused, []
        for client in paused:
            client.reading = True
            if client.wire is not None:
                client.wire.read_on()
        return {}

    async def vanish(self, count: int) -> dict[str, Any]:
        """Let clients move to another connection without a word on the old one, as phones do that change networks."""
        moved = self.random.sample([client for client in self.clients if client.wire], count)
        for client in moved:
            wire = client.wire
            assert wire is not None  # chosen for it
            wire.stop_reading()
            wire.record.closed_s, wire.record.reason = clock(), "vanished"
            self._vanished.append(wire)
            if not wire.gone.done():
                wire.gone.set_result(None)
        return {"vanished": len(moved)}

    async def lose_acks(self, count: int, at_once: int = 20) -> dict[str, Any]:
        """Send, lose the ack, and retry on every node at once."""
        clients = self.random.sample(self.clients, min(at_once, len(self.clients)))
        lanes = [asyncio.create_task(self._lose_acks(client, count // len(clients))) for client in clients]
        self._extra.update(lanes)
        await asyncio.gather(*lanes)
        return {"retried": count // len(clients) * len(clients)}

    async def _lose_acks(self, client: Client, count: int) -> None:
        wires = []
        for url in self.plan.urls:
            address = urlsplit(url)
            record = self.new_connection(client)
            wires.append(await Wire.open(record, (str(address.hostname), int(address.port or 0)), client.person.token))
        try:
            for _ in range(count):
                wire, name = await client.live(), self._name(client)
                if wire is None:
                    return
                room = self.random.choice(client.person.rooms)
                lost = Sent(wire.record.number, 0, client.person.user, room, name, 0.0)
                self.record.sent.append(lost)
                wire.send(lost, self.plan.body_bytes, _forget)
                if self.random.random() < 0.5:
                    await asyncio.sleep(self.random.uniform(0, 0.01))
                await asyncio.gather(*(self.attempt(one, client, room, name, self.plan.body_bytes) for one in wires))
        finally:
            for wire in wires:
                wire.abort("done")

    async def cancel(self, count: int, at_once: int = 20) -> dict[str, Any]:
        """Ask for something and go before the answer comes, while others ask and look whether the answer is theirs."""
        began_s = clock()
        left = iter(range(count))
        lanes = [asyncio.create_task(self._cancel(left)) for _ in range(at_once)]
        asking = [asyncio.create_task(self._ask()) for _ in range(4)]
        self._extra.update([*lanes, *asking])
        await asyncio.gather(*lanes)
        for task in asking:
            task.cancel()
        ended = await asyncio.gather(*asking, return_exceptions=True)
        broken = [one for one in ended if isinstance(one, Exception)]
        return {"cancelled": count, "took_s": clock() - began_s, "broken": [repr(one) for one in broken]}

    async def _cancel(self, left: Any) -> None:
        for number in left:
            client = self.random.choice(self.clients)
            room, address = client.person.rooms[0], urlsplit(self.url())
            wire = client.wire
            if number % 10 == 0 and wire is not None and client.reading:
                # A subscription that nobody waits for: the read of the store is under way when the connection goes.
                wire.request("room.subscribe", {"rooms": [{"room": room, "since": 0}]}, lambda _answer: None)
                await asyncio.sleep(self.random.uniform(0, 0.003))
                wire.abort("cancelled")
                continue
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(address.hostname, address.port)
                path = f"/api/v1/rooms/{room}/messages?limit=50"
                writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client.person.token}\r\n\r\n".encode())
                await asyncio.sleep(self.random.uniform(0, 0.005))
                writer.transport.abort()

    async def _ask(self) -> None:
        while True:
            client = self.random.choice(self.clients)
            room = self.random.choice(client.person.rooms)
            headers = {"Authorization": f"Bearer {client.person.token}"}
            path = self.random.choice(["", "/messages?limit=5"])
            async with self.http.get(f"{self.url()}/api/v1/rooms/{room}{path}", headers=headers) as answer:
                found = await answer.json()
                if answer.status == 200:
                    rooms = {found["id"]} if not path else {message["room"] for message in found["messages"]}
                    if rooms - {room}:
                        self.record.mismatches.append(f"asked for {path} of {room}, got that of {rooms}")
                elif answer.status < 500:
                    self.record.mismatches.append(f"asked for {path} of {room}, got {answer.status}")

    async def seen(self) -> dict[str, Any]:
        """Tell how it goes."""
        return {
            "live": sum(client.wire is not None for client in self.clients),
            "pending": len(self._sends),
            "acked": sum(self.heads.values()),
        }

    async def nodes(self) -> dict[str, Any]:
        """Tell on which node everybody is."""
        return {"nodes": {client.number: client.wire.record.node for client in self.clients if client.wire}}


def _forget(_sent: Sent, _problem: Problem | None) -> None:
    """The client does not see this ack; it is written down all the same, so that the checker can compare it."""


async def serve(path: pathlib.Path) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    plan = msgspec.json.decode(await reader.readline(), type=Plan)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as http:
        load = Load(plan, http)
        orders: dict[str, Callable[..., Awaitable[dict[str, Any]]]] = {
            one.__name__: one
            for one in (load.enter, load.write, load.pause, load.storm, load.stop_reading, load.read_on, load.vanish,
                        load.lose_acks, load.cancel, load.seen, load.nodes, load.settle, load.finish)
        }  # fmt: skip
        running: set[asyncio.Task[None]] = set()
        while line := await reader.readline():
            order = msgspec.json.decode(line)
            number, name = order.pop("number"), order.pop("do")
            task = asyncio.create_task(_obey(number, orders[name](**order)))
            running.add(task)
            task.add_done_callback(running.discard)
            if name == "finish":
                await task
                path.write_bytes(msgspec.msgpack.encode(load.record))  # noqa: ASYNC240 - nothing else is left to do
                print(msgspec.json.encode({"number": -1}).decode(), flush=True)
                return


async def _obey(number: int, order: Awaitable[dict[str, Any]] | Coroutine[Any, Any, dict[str, Any]]) -> None:
    try:
        answer = await order
    except Exception as error:  # noqa: BLE001 - whoever gave the order is told
        answer = {"error": repr(error)}
    print(msgspec.json.encode({"number": number, **answer}).decode(), flush=True)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(pathlib.Path(sys.argv[1])))
