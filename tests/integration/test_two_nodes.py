"""Two nodes on one database and one Redis are one server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client import Api, Socket
    from tests.conftest import Nodes

    Keep = Callable[[Socket], Socket]


@pytest.fixture
async def pair(nodes: Nodes) -> tuple[Api, Api]:
    return await nodes.start(send_rate=10_000, send_burst=10_000), await nodes.start(send_rate=10_000, send_burst=10_000)


async def test_messages_of_both_nodes_arrive_on_both_in_one_order(pair: tuple[Api, Api], close_later: Keep) -> None:
    here, there = pair
    anna, bert = await here.register(), await here.register()
    room = await anna.room("private", members=[bert])
    a, b = close_later(await anna.connect()), close_later(await bert.at(there.url).connect())
    await a.subscribe(room)
    await b.subscribe(room)
    await asyncio.gather(*(socket.send(room, f"{number}") for number in range(100) for socket in (a, b)))
    for socket in (a, b):
        await socket.wait_events(room, 200)
        assert socket.seqs(room) == list(range(1, 201))
    assert a.events(room) == b.events(room)


async def test_signals_membership_and_removal_cross_over(pair: tuple[Api, Api], close_later: Keep) -> None:
    here, there = pair
    anna, bert = await here.register(), await here.register()
    a, b = close_later(await anna.connect()), close_later(await bert.at(there.url).connect())
    room = await anna.room("private", members=[bert])
    await b.wait_for("room.added")
    await a.subscribe(room)
    await b.subscribe(room)
    await a.call("signal", {"room": room, "kind": "typing"})
    await b.wait_for("signal")
    await anna.request("DELETE", f"/rooms/{room}/members/{bert.id}", expect=204)
    await b.wait_for("room.removed", timeout_s=1)
    await a.send(room)
    await a.wait_events(room, 2)
    assert all(event["kind"] == "member.removed" for event in b.events(room))


async def test_a_retry_on_the_other_node_is_no_second_message(pair: tuple[Api, Api]) -> None:
    here, there = pair
    anna = await here.register()
    room = await anna.room("private")
    seqs = await asyncio.gather(
        *(one.send(room, client_id="same") for one in [anna, anna.at(there.url)] * 5),
    )
    assert set(seqs) == {1}
    assert (await anna.get(f"/rooms/{room}"))["head_seq"] == 1


async def test_presence_crosses_over_and_ends_with_the_node(nodes: Nodes, close_later: Keep) -> None:
    here, there = await nodes.start(), await nodes.start()
    anna, bert = await here.register(), await here.register()
    a = close_later(await anna.connect())
    await a.call("presence.watch", {"users": [bert.id, anna.id]})
    await a.wait_for("presence")
    [snapshot] = a.payloads("presence")
    assert snapshot["snapshot"] is True
    assert {one["user"]: one["status"] for one in snapshot["users"]} == {bert.id: "offline", anna.id: "online"}
    close_later(await bert.at(there.url).connect())
    await a.wait_for("presence", 2)
    assert a.payloads("presence")[1]["users"] == [{"user": bert.id, "status": "online"}]
    await nodes.stop(1)
    await a.wait_for("presence", 3, timeout_s=15)  # a farewell leaves people the grace in which they come back elsewhere
    [gone] = a.payloads("presence")[2]["users"]
    assert (gone["user"], gone["status"]) == (bert.id, "offline")
    assert gone["last_seen_at"]


async def test_a_frame_lost_by_the_bus_is_read_from_the_store(pair: tuple[Api, Api], nodes: Nodes, close_later: Keep) -> None:
    here, there = pair
    anna = await here.register()
    room = await anna.room("private")
    a, b = close_later(await anna.connect()), close_later(await anna.at(there.url).connect())
    await a.subscribe(room)
    await b.subscribe(room)
    bus = nodes.running[0].bus
    publish, bus.publish_batch = bus.publish_batch, lambda *_: None  # type: ignore[method-assign]
    await a.send(room, "lost")
    bus.publish_batch = publish  # type: ignore[method-assign]
    await a.send(room, "shows the hole")
    await b.wait_events(room, 2, timeout_s=2)
    assert b.seqs(room) == [1, 2]
    assert nodes.running[1].metrics.repaired._value.get() >= 1


async def test_what_a_node_cannot_announce_arrives_all_the_same(
    nodes: Nodes, pair: tuple[Api, Api], close_later: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link that loses what one node publishes, while Redis looks well to the other."""
    here, there = pair
    anna, bert = await here.register(), await here.register()
    room = await anna.room("private", members=[bert])
    a, b = close_later(await anna.connect()), close_later(await bert.at(there.url).connect())
    await a.subscribe(room)
    await b.subscribe(room)
    await a.send(room)
    await b.wait_events(room, 1)
    async with asyncio.timeout(2):
        while not nodes.running[1].bus._heartbeats._heard_s:
            await asyncio.sleep(0.01)
    monkeypatch.setattr(nodes.running[0].bus, "_dispatch", lambda _item: None)
    await a.send(room)
    await b.wait_events(room, 2, timeout_s=2.5)
    await a.send(room)
    await b.wait_events(room, 3, timeout_s=2.5)
