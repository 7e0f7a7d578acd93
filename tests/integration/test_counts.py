"""What a node does for each connection, delivery and resume, in counts that do not depend on the clock."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from realtime.gateway.connection import Connection
from realtime.gateway.session import Session
from realtime.gateway.transport import WebSocket
from realtime.surface.socket.peer import Peer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from realtime.node.app import Node
    from tests.client import Person, Socket
    from tests.conftest import Nodes

OF_A_CONNECTION = (Connection, Peer, Session, WebSocket)
MEMBERS = 50
BURST = 20


@contextlib.asynccontextmanager
async def readers(person: Person, room: str, count: int, since: int | None = None) -> AsyncIterator[list[Socket]]:
    sockets = [await person.connect(["websocket"]) for _ in range(count)]
    try:
        await asyncio.gather(*(socket.subscribe(room, since) for socket in sockets))
        yield sockets
    finally:
        await asyncio.gather(*(socket.close() for socket in sockets))


def found() -> list[object]:
    return [one for one in gc.get_objects() if isinstance(one, OF_A_CONNECTION)]


def living() -> Counter[str]:
    return Counter(type(one).__name__ for one in found())


def uses(node: Node) -> int:
    """How often the database was used."""
    return int(node.metrics.registry.get_sample_value("roomwire_database_seconds_count") or 0)


@pytest.fixture
async def node(nodes: Nodes) -> tuple[Node, Person, str]:
    api = await nodes.start(
        connections_per_user=1000, ping_interval_s=0.3, ping_timeout_s=0.3, connect_timeout_s=0.3, feed_memory_events=100
    )
    person = await api.register()
    return nodes.running[0], person, await person.room()


async def test_an_idle_connection_has_four_small_objects_of_ours_and_no_task(node: tuple[Node, Person, str]) -> None:
    _, person, room = node
    gc.collect()  # what earlier tests left
    before = living()
    async with readers(person, room, 10):
        assert living() - before == Counter({kind.__name__: 10 for kind in OF_A_CONNECTION})
        for kind in OF_A_CONNECTION:
            one = next(one for one in found() if isinstance(one, kind))
            assert not hasattr(one, "__dict__"), kind
            assert sys.getsizeof(one) <= 200, kind
        own = [task for task in asyncio.all_tasks() if "realtime/gateway" in str(task.get_coro())]
        assert own == []


async def test_a_closed_connection_leaves_nothing_to_the_garbage_collector(node: tuple[Node, Person, str]) -> None:
    _, person, room = node
    gc.collect()
    before = {id(one) for one in found()}
    gc.disable()
    try:
        async with readers(person, room, 10) as sockets:
            await asyncio.gather(*(socket.send(room) for socket in sockets))
            await asyncio.gather(*(socket.call("presence.watch", {"users": [person.id]}) for socket in sockets))
            await asyncio.gather(*(socket.call("signal", {"room": room, "kind": "typing"}) for socket in sockets))
            opened = {id(one) for one in found()} - before
            assert len(opened) == 10 * len(OF_A_CONNECTION)
        async with asyncio.timeout(15):  # until the last deadline that names one of them has passed
            while not opened.isdisjoint(id(one) for one in found()):
                await asyncio.sleep(0.05)
    finally:
        gc.enable()


async def test_a_batch_is_one_write_for_each_member_and_one_publish(
    node: tuple[Node, Person, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, person, room = node
    written: Counter[WebSocket] = Counter()
    batches: list[int] = []
    write, offer, publish = WebSocket.write, running.feeds._offer, running.bus.publish_batch
    published: list[int] = []

    def counting(socket: WebSocket, frames: bytes) -> None:
        if b'"message.created"' in frames:
            written[socket] += 1
        write(socket, frames)

    def offering(room: Any, first_seq: int, entries: Any) -> None:
        batches.append(len(entries))
        offer(room, first_seq, entries)

    def publishing(room: Any, first_seq: int, frames: Any) -> None:
        published.append(len(frames))
        publish(room, first_seq, frames)

    async with readers(person, room, MEMBERS) as sockets, readers(person, room, 1) as [sender]:
        monkeypatch.setattr(WebSocket, "write", counting)
        monkeypatch.setattr(running.feeds, "_offer", offering)
        monkeypatch.setattr(running.bus, "publish_batch", publishing)
        await asyncio.gather(*(sender.send(room, f"{number}") for number in range(BURST)))
        await asyncio.gather(*(socket.wait_events(room, BURST) for socket in sockets))
        monkeypatch.undo()
    assert sum(batches) == BURST
    assert published == batches
    assert len(written) == MEMBERS + 1
    assert set(written.values()) == {len(batches)}, "one write a batch, whatever it holds"
    assert len(batches) < BURST, "what came while a commit was in flight went together"


async def test_a_hundred_resumes_of_a_busy_room_cost_two_queries_at_most(node: tuple[Node, Person, str]) -> None:
    running, person, room = node
    first = await person.send(room)
    for number in range(10):
        await person.send(room, f"{number}")
    sockets = [await person.connect(["websocket"]) for _ in range(200)]
    async with readers(person, room, 1):
        before = uses(running)
        answers = await asyncio.gather(*(socket.subscribe(room, first) for socket in sockets))
        assert uses(running) - before <= 4
    assert all([event["seq"] for event in answer["events"]] == list(range(first + 1, first + 11)) for answer in answers)
    await asyncio.gather(*(socket.close() for socket in sockets))
