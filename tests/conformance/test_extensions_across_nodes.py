"""What extensions do reaches the clients of all nodes: two nodes, official clients on both."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest

from realtime import errors
from tests.conformance.extension import ACROSS, ends
from tests.conformance.test_extensions import BYTES, NAME, Python, payloads

if TYPE_CHECKING:
    from realtime.node.app import Node
    from tests.client import Api
    from tests.conftest import Nodes


class Scene:
    """Two nodes that know each other; `here` and `also_here` are clients of the first, `there` of the second.

    Attributes:
        sids: Of the three, in this order.
    """

    def __init__(self, nodes: Nodes, here: Python, also_here: Python, there: Python) -> None:
        self.nodes = nodes
        self.here, self.also_here, self.there = here, also_here, there
        self.sids: list[str] = []

    def told(self) -> list[list[Any]]:
        return [payloads(one, "told") for one in (self.here, self.also_here, self.there)]

    async def settle(self) -> None:
        """Return when everything that was told before has arrived: the order is kept."""
        await self.here.values("tell", None, None, "the end")
        for one in (self.here, self.also_here, self.there):
            async with asyncio.timeout(5):
                while ["the end"] not in payloads(one, "told"):
                    await asyncio.sleep(0.01)
            one.got = [entry for entry in one.got if entry[1] != ["the end"]]


async def know_each_other(nodes: list[Node]) -> None:
    async with asyncio.timeout(10):
        while not all(node.bus.publish_extension(()) for node in nodes):
            await asyncio.sleep(0.02)


async def client_of(api: Api, exits: contextlib.AsyncExitStack) -> Python:
    client = Python(ACROSS)
    exits.push_async_callback(client.client.disconnect)
    auth = {"token": (await api.register()).token}
    await client.client.connect(api.url, auth=auth, namespaces=[ACROSS], transports=["websocket"])
    return client


@pytest.fixture
async def scene(nodes: Nodes, exits: contextlib.AsyncExitStack) -> Scene:
    ends.clear()
    first, second = await nodes.start(extensions=NAME), await nodes.start(extensions=NAME)
    await know_each_other(nodes.running)
    made = Scene(nodes, *[await client_of(api, exits) for api in (first, first, second)])
    made.sids = [(await one.values("me"))[0] for one in (made.here, made.also_here, made.there)]
    return made


async def test_an_emit_reaches_the_clients_of_all_nodes_once(scene: Scene) -> None:
    await scene.here.values("tell", None, None, 1, BYTES, {"deep": b"\x00"})
    await scene.settle()
    assert scene.told() == [[[1, BYTES, {"deep": b"\x00"}]]] * 3


async def test_a_client_that_is_skipped_is_skipped_on_every_node(scene: Scene) -> None:
    for sid in scene.sids:
        await scene.there.values("tell", None, sid, sid)
    await scene.settle()
    here, also_here, there = scene.sids
    assert scene.told() == [[[also_here], [there]], [[here], [there]], [[here], [also_here]]]


async def test_rooms_hold_clients_of_all_nodes(scene: Scene) -> None:
    here, also_here, there = scene.sids
    await scene.here.values("enter", here, "garden")
    await scene.here.values("enter", there, "garden")  # of the other node
    await scene.there.values("enter", also_here, "shed")
    await scene.settle()
    await scene.here.values("tell", "garden", None, "garden")
    await scene.here.values("tell", ["garden", "shed"], None, "both")
    await scene.settle()
    await scene.here.values("leave", there, "garden")
    await scene.settle()
    await scene.here.values("tell", "garden", None, "left")
    await scene.here.values("close", "shed")
    await scene.settle()
    await scene.here.values("tell", "shed", None, "closed")
    await scene.settle()
    assert scene.told() == [[["garden"], ["both"], ["left"]], [["both"]], [["garden"], ["both"]]]


async def test_one_client_is_told_by_its_sid_wherever_it_is(scene: Scene) -> None:
    for sid in scene.sids:
        await scene.here.values("tell", sid, None, sid)
    await scene.settle()
    assert scene.told() == [[[sid]] for sid in scene.sids]


async def test_a_question_to_a_client_of_another_node_is_answered(scene: Scene) -> None:
    assert await scene.here.values("ask", scene.sids[2], "how", BYTES) == ["how", BYTES]
    assert payloads(scene.there, "question") == [["how", BYTES]]
    await scene.here.values("ask_back", scene.sids[2], BYTES, 7)
    await scene.here.wait_for("answered")
    assert payloads(scene.here, "answered") == [[BYTES, 7]]


async def test_a_question_to_a_client_that_goes_ends_at_once(scene: Scene) -> None:
    there = scene.there

    async def go(*_values: Any) -> None:
        await there.client.disconnect()

    there.client.on("question", go, namespace=ACROSS)
    async with asyncio.timeout(10):
        assert await scene.here.values("ask", scene.sids[2], "who?") == ["gone"]


async def test_a_client_of_another_node_is_disconnected(scene: Scene) -> None:
    await scene.here.values("kick", scene.sids[2])
    async with asyncio.timeout(5):
        while scene.there.client.connected:
            await asyncio.sleep(0.01)
    assert [end for end in ends if end[0] == ACROSS] == [(ACROSS, "", "server disconnect")]


async def test_a_node_alone_publishes_nothing(nodes: Nodes, exits: contextlib.AsyncExitStack) -> None:
    client = await client_of(await nodes.start(extensions=NAME), exits)
    [node] = nodes.running
    published: list[object] = []
    node.bus._put = lambda *what: published.append(what)  # type: ignore[method-assign]
    [sid] = await client.values("me")
    await client.values("enter", sid, "garden")
    await client.values("tell", "garden", None, "alone")
    await client.values("close", "garden")
    assert payloads(client, "told") == [["alone"]]
    assert await client.values("ask", "nobody", "?") == ["gone"]
    assert [what for what in published if "EXTENSION" in repr(what)] == []


async def test_more_than_other_nodes_take_is_refused_before_anybody_is_told(scene: Scene) -> None:
    extensions = scene.nodes.running[0].extensions
    assert extensions is not None
    with pytest.raises(errors.PayloadTooLarge):
        await extensions.emit("told", b"x" * ((1 << 20) + 1), namespace=ACROSS)

    async def emit_much() -> None:
        for _ in range(20):
            await extensions.emit("told", b"x" * (1 << 19), room="empty", namespace=ACROSS)

    with pytest.raises(errors.Overloaded):
        await emit_much()
    with pytest.raises(TypeError):
        await extensions.emit("told", 1, room=object(), namespace=ACROSS)
    assert payloads(scene.here, "told") == []
