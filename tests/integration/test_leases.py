"""Leases in a real Redis: what a node wrote is read, and what anybody else wrote shows nobody and ends nothing."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from realtime.bus.envelope import EnvelopeMac
from realtime.model import Choice, UserId
from realtime.presence import service
from realtime.presence.lease import Forged, Lease
from realtime.presence.state import PLAIN, Entry
from tests.integration.test_bus import Ring

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable

    from tests.client import Person, Socket
    from tests.conftest import Engines, Nodes

ANN, BOB = UserId("019b0000-0000-7000-8000-00000000000a"), UserId("019b0000-0000-7000-8000-00000000000b")
DND = Entry(Choice.DND, text="ill", version=3)


class Scene:
    """A Redis, and leases in it."""

    def __init__(self, url: str, redis: Redis) -> None:
        self.url = url
        self.redis = redis
        self.prefix = f"t{os.urandom(4).hex()}"
        self.ring = Ring()
        self.now_s = time.time()
        self.opened: list[Lease] = []

    def lease(self, node: str) -> Lease:
        made = Lease(self.url, self.prefix, node, EnvelopeMac(self.ring, os.urandom(8)), lambda: self.now_s)
        self.opened.append(made)
        return made

    def key(self, node: str, part: str) -> str:
        return f"{self.prefix}:{{presence}}:{node}:{part}"

    @property
    def nodes(self) -> str:
        return f"{self.prefix}:{{presence}}:nodes"


@pytest.fixture
async def scene(running_engines: Engines, exits: contextlib.AsyncExitStack) -> Scene:
    redis = Redis.from_url(running_engines.redis, protocol=2)
    exits.push_async_callback(redis.aclose)
    made = Scene(running_engines.redis, redis)

    async def close() -> None:
        for lease in made.opened:
            await lease.close()

    exits.push_async_callback(close)
    return made


async def test_what_a_node_wrote_is_read(scene: Scene) -> None:
    one, other = scene.lease("n1"), scene.lease("n2")
    await one.rewrite(1, {ANN: PLAIN})
    await one.write(2, {BOB: DND}, [])
    assert await other.others() == ["n1"]
    assert await other.read("n1") == (2, {ANN: PLAIN, BOB: DND})
    await one.write(3, {BOB: PLAIN}, [ANN])
    assert await other.read("n1") == (3, {BOB: PLAIN})
    await one.remove()
    assert await other.read("n1") is None
    assert await other.others() == []


async def test_entries_of_a_newer_release_are_read_as_far_as_they_are_known(scene: Scene) -> None:
    one, other = scene.lease("n1"), scene.lease("n2")
    await one.rewrite(1, {ANN: Entry("x.future", text="in a call", version=3), BOB: DND})
    assert await other.read("n1") == (1, {ANN: Entry("x.future", text="in a call", version=3), BOB: DND})
    sealer = EnvelopeMac(scene.ring, os.urandom(8))
    name = f"{scene.prefix}:{{presence}}:n1"
    for user, entry in ((ANN, b'["x.future",true,"","soon",3,"appended"]'), (BOB, b'["dnd",false,"ill",null,3,"appended",[1]]')):
        await scene.redis.hset(scene.key("n1", "sealed"), user, sealer.seal(f"{name} {user}", entry))
    head = sealer.seal(f"{name} ", f'[2,2,{scene.now_s},"appended"]'.encode())
    await scene.redis.set(scene.key("n1", "head"), head)
    assert await other.read("n1") == (2, {ANN: PLAIN, BOB: DND}), "a value of another shape: there, and no more is known"


async def test_who_was_there_when_a_node_was_killed_is_read_once(scene: Scene) -> None:
    one, other = scene.lease("n1"), scene.lease("n2")
    await one.rewrite(1, {ANN: PLAIN})
    await one.write(2, {BOB: DND}, [])
    written_s = scene.now_s
    await scene.redis.delete(scene.key("n1", "head"))  # its time has run out
    scene.now_s += 1000
    assert await other.read("n1") is None
    seen_s, users = await other.remains("n1")
    assert seen_s == pytest.approx(written_s, abs=0.001) and sorted(users) == [ANN, BOB]
    assert await other.remains("n1") == (0.0, [])
    await scene.redis.set(scene.key("evil", "last"), b"x")
    with pytest.raises(Forged):
        await other.remains("evil")


async def test_a_lease_that_nobody_sealed_shows_nobody(scene: Scene) -> None:
    """As the release before wrote it, and as anybody can who writes to Redis."""
    await scene.redis.sadd(scene.nodes, "evil.1")
    await scene.redis.set(scene.key("evil.1", "version"), 1)
    await scene.redis.sadd(scene.key("evil.1", "users"), ANN)
    lease = scene.lease("n1")
    assert await lease.others() == ["evil.1"]
    assert await lease.read("evil.1") is None


@pytest.mark.parametrize("what", ["user", "entry", "node", "old", "head", "fewer", "more", "type", "nonsense"])
async def test_a_lease_that_was_changed_or_copied_is_refused(scene: Scene, what: str) -> None:
    one, other = scene.lease("n1"), scene.lease("n2")
    await one.rewrite(1, {ANN: DND})
    sealed, head = scene.key("n1", "sealed"), scene.key("n1", "head")
    [value] = [bytes(one) for one in await scene.redis.hvals(sealed)]  # type: ignore[arg-type]  # bytes, as it is set up
    asked = "n1"
    if what == "user":
        await scene.redis.hdel(sealed, ANN)
        await scene.redis.hset(sealed, BOB, value)
    elif what == "entry":
        await scene.redis.hset(sealed, ANN, value[:-1] + bytes([value[-1] ^ 1]))
    elif what == "node":
        asked = "evil.1"
        await scene.redis.rename(sealed, scene.key(asked, "sealed"))
        await scene.redis.rename(head, scene.key(asked, "head"))
    elif what == "old":
        scene.now_s += 200
    elif what == "head":
        await scene.redis.set(head, b"x")
    elif what == "fewer":
        await scene.redis.delete(sealed)
    elif what == "more":
        await scene.redis.hset(sealed, mapping={str(number): value for number in range(2000)})
    elif what == "type":
        await scene.redis.delete(sealed)
        await scene.redis.set(sealed, "x")
    else:
        await scene.redis.hset(sealed, b"\xff\xfe", b"\xff")
    with pytest.raises(Forged):
        await other.read(asked)


async def test_names_that_no_node_has_are_left_out_and_what_is_no_set_is_replaced(scene: Scene) -> None:
    one, other = scene.lease("n1"), scene.lease("n2")
    await one.rewrite(1, {})
    await scene.redis.sadd(scene.nodes, b"\xff\xfe", b"", b"x" * 1000, b"a b")
    assert await other.others() == ["n1"]
    await scene.redis.delete(scene.nodes)
    await scene.redis.set(scene.nodes, "x")
    assert await other.others() == []
    await one.write(1, {}, [])
    assert await other.others() == ["n1"]


async def test_another_key_makes_a_lease_stale(scene: Scene) -> None:
    lease = scene.lease("n1")
    await lease.rewrite(1, {})
    assert not lease.is_stale
    scene.ring.signing_kid = "next"
    assert lease.is_stale


async def test_bad_values_in_redis_do_not_stop_presence(
    nodes: Nodes,
    running_engines: Engines,
    close_later: Callable[[Socket], Socket],
    exits: contextlib.AsyncExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(service, "RENEW_S", 0.2)  # how often nodes are looked for
    here, there = await nodes.start(), await nodes.start()
    redis = Redis.from_url(running_engines.redis, protocol=2)
    exits.push_async_callback(redis.aclose)
    prefix = f"{nodes._prefix}:{{presence}}"
    shown, watching, ghost = await here.register(), await there.register(), await here.register()
    a, b = close_later(await shown.connect()), close_later(await watching.connect())
    await b.call("presence.watch", {"users": [shown.id, ghost.id]})
    await redis.sadd(f"{prefix}:nodes", b"\xff\xfe", "evil.1", "evil.2")
    await redis.set(f"{prefix}:evil.1:version", "x")
    await redis.set(f"{prefix}:evil.2:version", "1")
    await redis.sadd(f"{prefix}:evil.2:users", ghost.id, b"\xff")
    await asyncio.sleep(1)
    assert (await a.call("presence.set", {"status": "dnd"}))["presence"]["status"] == "dnd"
    await b.wait(lambda: statuses(b, shown)[-1:] == ["dnd"], 5)
    assert "online" not in statuses(b, ghost)
    async with here.http.get(here.url + "/readyz") as ready:
        assert (await ready.json())["checks"]["tasks"] == "ok"


def statuses(socket: Socket, user: Person) -> list[str]:
    return [one["status"] for payload in socket.payloads("presence") for one in payload["users"] if one["user"] == user.id]
