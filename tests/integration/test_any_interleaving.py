"""Any interleaving of sends, retries, edits, deletions, subscribes, disconnects and lost frames, over two nodes, leaves
every reader with the same dense sequence."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import checker

if TYPE_CHECKING:
    from tests.client import Api, Person, Socket
    from tests.conftest import Nodes

WRITERS, READERS = 3, 3
COMINGS = ("connect", "disconnect")
_at = st.integers(0, 1)
_actions = st.one_of(
    st.tuples(st.just("send"), st.integers(0, WRITERS - 1), st.integers(0, 5), _at),
    st.tuples(st.just("edit"), st.integers(0, WRITERS - 1), st.integers(1, 8), _at),
    st.tuples(st.just("delete"), st.integers(0, WRITERS - 1), st.integers(1, 8), _at),
    st.tuples(st.just("connect"), st.integers(0, READERS - 1), st.just(0), _at),
    st.tuples(st.just("disconnect"), st.integers(0, READERS - 1), st.just(0), _at),
    st.tuples(st.just("lose"), st.just(0), st.just(0), _at),
)
_steps = st.lists(st.lists(_actions, min_size=1, max_size=6), min_size=1, max_size=8)


@dataclass
class Reader:
    """Somebody who comes and goes, and keeps what they saw."""

    person: Person
    room: str
    seen: list[dict[str, Any]] = field(default_factory=list)
    socket: Socket | None = None

    async def connect(self, api: Api) -> None:
        await self.disconnect()
        socket = await self.person.at(api.url).connect()
        answer = await socket.subscribe(self.room, since=len(self.seen))
        assert "reset" not in answer
        self.seen += answer["events"]
        self.socket = socket

    async def disconnect(self) -> None:
        socket, self.socket = self.socket, None
        if socket is not None:
            await socket.close()
            self.seen += socket.events(self.room)

    async def finish(self, api: Api, head: int) -> list[dict[str, Any]]:
        """Come back, and wait until nothing is missing."""
        if self.socket is None:
            await self.connect(api)
        assert self.socket is not None
        socket, have = self.socket, len(self.seen)
        await socket.wait_events(self.room, head - have, timeout_s=3)
        await self.disconnect()
        return self.seen


@pytest.fixture
async def pair(nodes: Nodes) -> list[Api]:
    generous = {"send_rate": 10_000, "send_burst": 10_000, "connections_per_user": 1000}
    return [await nodes.start(**generous), await nodes.start(**generous)]


@given(steps=_steps)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_every_reader_ends_with_the_same_dense_sequence(
    pair: list[Api], nodes: Nodes, steps: list[list[tuple[str, int, int, int]]]
) -> None:
    owner, *others = [await pair[0].register() for _ in range(WRITERS)]
    writers = [owner, *others]
    room = await owner.room("private", members=others)
    readers = [Reader(writers[index % WRITERS], room) for index in range(READERS)]
    acked: dict[tuple[str, str], set[int]] = {}

    async def write(method: str, person: Person, path: str, client_id: str, body: dict[str, str], at: int) -> None:
        answer = await person.at(pair[at].url).request(method, f"/rooms/{room}/messages{path}", {**body, "client_id": client_id})
        if answer.status in (200, 201):
            acked.setdefault((person.id, client_id), set()).add(answer.json["seq"])
        else:
            assert answer.code in ("message_not_found", "forbidden"), answer.json

    async def act(kind: str, who: int, what: int, at: int) -> None:
        if kind == "send":  # a client_id that comes again is a retry, here or on the other node
            await write("POST", writers[who], "", f"m{what}", {"body": f"text {what} of {who}"}, at)
        elif kind == "edit":
            await write("PATCH", writers[who], f"/{what}", f"e{what}", {"body": f"edit {what} by {who}"}, at)
        elif kind == "delete":
            await delete(writers[who].at(pair[at].url), what)
        elif kind == "connect":
            await readers[who].connect(pair[at])
        elif kind == "disconnect":
            await readers[who].disconnect()
        else:
            lose_next(nodes, at)

    async def delete(person: Person, seq: int) -> None:
        answer = await person.request("DELETE", f"/rooms/{room}/messages/{seq}?client_id=d{seq}")
        if answer.status == 200:
            acked.setdefault((person.id, f"d{seq}"), set()).add(answer.json["seq"])
        else:
            assert answer.code in ("message_not_found", "forbidden"), answer.json

    for step in steps:
        # One reader does one thing at a time; everything else of a step happens at once.
        comings = {who: (kind, who, what, at) for kind, who, what, at in step if kind in COMINGS}
        writes = [action for action in step if action[0] not in COMINGS]
        await asyncio.gather(*(act(*action) for action in [*writes, *comings.values()]))
    head = (await owner.get(f"/rooms/{room}"))["head_seq"]
    for node in nodes.running:
        node.feeds.compare_soon()  # a lost last frame shows no hole: found by the comparison that is made now and then
    seen = [await reader.finish(pair[index % 2], head) for index, reader in enumerate(readers)]
    stored = (await owner.get(f"/rooms/{room}/events?since=0&limit=200"))["events"]
    checker.check(stored, acked, seen)


def lose_next(nodes: Nodes, index: int) -> None:
    """Let the bus lose the next batch of a node."""
    bus = nodes.running[index].bus

    def lose(*_: object) -> None:
        del bus.publish_batch  # the class' own again

    bus.publish_batch = lose  # type: ignore[assignment,method-assign]
