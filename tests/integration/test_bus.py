"""The bus over a real Redis: what crosses, what is refused, and what it notices when Redis or its connections misbehave."""

from __future__ import annotations

import asyncio
import functools
import os
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from redis.asyncio import Redis

from realtime.bus import bus as bus_module
from realtime.bus.bus import Bus, Hooks, Settings
from realtime.bus.envelope import MAX_BYTES, SPLIT_BYTES, VERSION, EnvelopeMac, Kind, Refusal, Refused
from realtime.model import RoomId
from realtime.node import engines
from realtime.tasks import Loops
from tests.process import readable

if TYPE_CHECKING:
    import contextlib
    import pathlib
    from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence

    from tests.conftest import Engines

ROOM = RoomId("0192f1f0-0000-7000-8000-000000000001")
NOTICED_S = 2.0
NEWER: Kind = 99  # type: ignore[assignment]


class Ring:
    def __init__(self, secret: bytes = b"shared by all nodes") -> None:
        self.secrets = {"kid": secret, "next": secret[::-1]}
        self.signing_kid = "kid"

    @property
    def signing(self) -> tuple[str, bytes]:
        return self.signing_kid, self.secrets[self.signing_kid]


class Heard:
    """A receiver that remembers."""

    def __init__(self) -> None:
        self.frames: list[tuple[str, int, list[bytes]]] = []
        self.signals: list[tuple[str, bytes]] = []
        self.messages: list[bytes] = []
        self.extensions: list[list[bytes]] = []
        self.suspects: list[str] = []
        self.gaps = 0
        self.unsents = 0
        self.refused: Counter[str] = Counter()
        self.health: list[bool] = []
        self.deaf_s = 0.0
        self.dropped = 0

    def events(self, room: RoomId, first_seq: int, frames: Sequence[bytes]) -> None:
        if b"wrong" in frames:
            raise ValueError("wrong content")
        self.frames.append((room, first_seq, list(frames)))

    def signal(self, room: RoomId, frame: bytes) -> None:
        self.signals.append((room, frame))

    def extension(self, parts: Sequence[bytes]) -> None:
        self.extensions.append(list(parts))

    def control(self, message: bytes) -> None:
        if message == b"newer":
            raise Refused(Refusal.KIND)
        if message == b"wrong":
            raise ValueError(message)
        self.messages.append(message)

    def gap(self) -> None:
        self.gaps += 1

    def away(self) -> None:
        assert self.health[-1] is False

    def suspect(self, rooms: Collection[RoomId]) -> None:
        self.suspects += rooms

    def unsent(self) -> None:
        self.unsents += 1

    def _deafened(self, seconds: float) -> None:
        self.deaf_s += seconds

    def _dropped(self, count: int) -> None:
        self.dropped += count


class Node:
    """A bus and what it heard."""

    def __init__(self, url: str, prefix: str, ring: Ring | None = None) -> None:
        self.heard = heard = Heard()
        self.bus = Bus(
            Settings(url, prefix), os.urandom(8), ring or Ring(),
            Hooks(
                refused=lambda reason: heard.refused.update([reason]), health=heard.health.append,
                deaf=heard._deafened, dropped=heard._dropped,
            ), Loops(),
        )  # fmt: skip


Start = "Callable[..., Awaitable[Node]]"


@pytest.fixture
def prefix() -> str:
    return f"t{os.urandom(4).hex()}"


@pytest.fixture
async def start(running_engines: Engines, prefix: str, exits: contextlib.AsyncExitStack) -> Callable[..., Awaitable[Node]]:
    async def start(url: str = running_engines.redis, ring: Ring | None = None) -> Node:
        node = Node(url, prefix, ring)
        await node.bus.open(node.heard)
        exits.push_async_callback(node.bus.close)
        return node

    return start


@pytest.fixture
async def raw(running_engines: Engines, exits: contextlib.AsyncExitStack) -> Redis:
    redis = Redis.from_url(running_engines.redis, protocol=2)
    exits.push_async_callback(redis.aclose)
    return redis


@pytest.fixture
def own_redis(tmp_path: pathlib.Path) -> Iterator[engines.Redis]:
    engine = engines.Redis(readable(tmp_path))
    engines.start_all([engine])
    yield engine
    engines.stop_all([engine])


async def until(condition: Callable[[], Any], within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


def _has(node: Node, mark: bytes) -> bool:
    return mark in node.heard.messages


def _got(node: Node, seq: int) -> bool:
    return (ROOM, seq, [b"x"]) in node.heard.frames


def _gaps(a: Node, b: Node, count: int) -> bool:
    return a.heard.gaps + b.heard.gaps >= count


async def crossed(sender: Node, *receivers: Node) -> None:
    """Send a mark and wait until it came; whatever was published before came before it."""
    mark = os.urandom(8)
    sender.bus.publish_control(mark)
    for one in receivers:
        await until(functools.partial(_has, one, mark))


async def test_each_kind_crosses_over_to_who_wants_it_and_not_back(start: Callable[..., Awaitable[Node]]) -> None:
    a, b, c = await start(), await start(), await start()
    assert await b.bus.subscribe(ROOM)
    a.bus.publish_batch(ROOM, 5, [b"five", b"six"])
    a.bus.publish_signal(ROOM, b"typing")
    await crossed(a, b, c)
    assert b.heard.frames == [(ROOM, 5, [b"five", b"six"])]
    assert b.heard.signals == [(ROOM, b"typing")]
    assert not a.heard.frames and not c.heard.frames and not a.heard.messages
    assert [node.heard.refused for node in (a, b, c)] == [Counter()] * 3


async def test_what_is_too_large_for_one_envelope_goes_in_several(start: Callable[..., Awaitable[Node]]) -> None:
    a, b = await start(), await start()
    assert await b.bus.subscribe(ROOM)
    frames = [bytes([seq]) * (SPLIT_BYTES // 3) for seq in range(1, 11)]
    a.bus.publish_batch(ROOM, 1, frames)
    await until(lambda: sum(len(part) for _, _, part in b.heard.frames) == 10)
    assert [first for _, first, _ in b.heard.frames] == [1, 4, 7, 10]
    assert [frame for _, _, part in b.heard.frames for frame in part] == frames


async def test_forged_and_foreign_publishes_are_refused_counted_and_never_delivered(
    start: Callable[..., Awaitable[Node]], raw: Redis, prefix: str
) -> None:
    a, b = await start(), await start()
    assert await b.bus.subscribe(ROOM)
    room, control = f"{prefix}:room:{ROOM}", f"{prefix}:control"
    ours, theirs = EnvelopeMac(Ring(), b"a node.."), EnvelopeMac(Ring(b"a guess"), b"attacker")
    other_key = EnvelopeMac(type("Other", (Ring,), {"signing": ("other", b"x")})(), b"attacker")
    good = ours.pack(room, Kind.EVENTS, [b"x"], 1)
    forged = [
        (room, b"hello", "form"),
        (room, b"", "form"),
        (room, good[:30], "form"),
        (room, theirs.pack(room, Kind.EVENTS, [b"x"], 1), "seal"),
        (room, ours.pack(f"{prefix}:room:other", Kind.EVENTS, [b"x"], 1), "seal"),
        (room, ours.pack(control, Kind.EVENTS, [b"x"], 1), "seal"),
        (control, theirs.pack(control, Kind.CONTROL, [b"x"]), "seal"),
        (room, good[:-1] + b"y", "seal"),
        (room, other_key.pack(room, Kind.EVENTS, [b"x"], 1), "key"),
        (room, ours.pack(room, Kind.EVENTS, [b"wrong"], 1), "content"),
        (room, ours.pack(room, Kind.CONTROL, [b"x"]), "form"),
        (control, ours.pack(control, Kind.EVENTS, [b"x"], 1), "form"),
        (room, ours.pack(room, Kind.PROBE, [], 1), "form"),
        (room, bytes([VERSION + 1]) + good[1:], "version"),
        (room, ours.pack(room, NEWER, [b"x"], 1), "kind"),
        (control, ours.pack(control, NEWER, [b"x"], 1), "kind"),
        (room, bytes(MAX_BYTES + 1), "size"),
    ]
    for channel, data, _ in forged:
        assert await raw.publish(channel, data) >= 1
    await until(lambda: b.heard.refused.total() == len(forged))
    assert b.heard.refused == Counter(reason for _, _, reason in forged)
    assert set(b.heard.suspects) == {ROOM}, "what only a newer node may have sent is looked for in the store"
    await raw.publish(room, good)
    await crossed(a, b)
    assert b.heard.frames == [(ROOM, 1, [b"x"])]
    assert b.heard.signals == []
    assert len(b.heard.messages) == 1


async def test_a_control_message_that_is_not_understood_is_counted_and_keeps_no_other_from_being_taken(
    start: Callable[..., Awaitable[Node]], raw: Redis, prefix: str
) -> None:
    a, b = await start(), await start()
    control = f"{prefix}:control"
    sealed = EnvelopeMac(Ring(), b"a node..").pack(control, Kind.CONTROL, [b"newer", b"one", b"wrong", b"newer", b"two"])
    await raw.publish(control, sealed)
    await crossed(a, b)
    assert b.heard.messages[:2] == [b"one", b"two"]
    assert b.heard.refused == Counter(kind=2, content=1)


async def test_an_envelope_of_a_kind_that_only_newer_nodes_know_has_its_room_compared_with_the_store(
    start: Callable[..., Awaitable[Node]], raw: Redis, prefix: str
) -> None:
    a, b = await start(), await start()
    assert await b.bus.subscribe(ROOM)
    room = f"{prefix}:room:{ROOM}"
    b.heard.suspects.clear()
    await raw.publish(room, EnvelopeMac(Ring(), b"a node..").pack(room, NEWER, [b"events that may be in it"], 1))
    await crossed(a, b)
    assert (b.heard.suspects, b.heard.frames, b.heard.refused) == ([ROOM], [], Counter(kind=1))
    assert b.bus.state == "ok"


async def test_whatever_the_order_of_coming_and_going_the_server_has_what_is_wanted(
    start: Callable[..., Awaitable[Node]], raw: Redis, prefix: str
) -> None:
    a, b = await start(), await start()
    rooms = [RoomId(f"{number}") for number in range(20)]
    wanted: set[RoomId] = set()
    waiting = []
    for _ in range(600):
        room = random.choice(rooms)
        if room in wanted and random.random() < 0.6:
            wanted.discard(room)
            b.bus.unsubscribe(room)
        elif room not in wanted:
            wanted.add(room)
            waiting.append(asyncio.create_task(b.bus.subscribe(room)))
            await asyncio.sleep(0)  # it has begun
        if random.random() < 0.2:
            await asyncio.sleep(random.choice([0, 0.001]))
    await asyncio.gather(*waiting)
    await until(lambda: all(b.bus.hears(room) == (room in wanted) for room in rooms))
    await until(lambda: not b.bus._missed)

    async def channels() -> set[bytes]:
        return {bytes(one) for one in await raw.pubsub_channels(f"{prefix}:room:*")}  # type: ignore[arg-type]

    async with asyncio.timeout(5):
        while await channels() != {f"{prefix}:room:{room}".encode() for room in wanted}:
            await asyncio.sleep(0.01)
    assert not b.bus._waiting
    for room in rooms:
        a.bus.publish_batch(room, 1, [room.encode()])
    await crossed(a, b)
    assert {room for room, _, _ in b.heard.frames} == wanted
    assert b.bus.state == "ok"


async def test_a_subscription_confirmed_misses_nothing_from_then_on(start: Callable[..., Awaitable[Node]]) -> None:
    a, b = await start(), await start()
    for number in range(100):
        task = asyncio.create_task(b.bus.subscribe(ROOM))
        if number % 2:  # given up and wanted again while Redis is asked
            await asyncio.sleep(0)
            b.bus.unsubscribe(ROOM)
            await asyncio.sleep(0)
            assert await b.bus.subscribe(ROOM)
        await task
        assert b.bus.hears(ROOM)
        a.bus.publish_batch(ROOM, number + 1, [b"x"])
        await until(functools.partial(_got, b, number + 1), 2)
        b.bus.unsubscribe(ROOM)


async def test_one_channel_lost_while_the_connection_lives_is_noticed_and_subscribed_again(
    start: Callable[..., Awaitable[Node]],
) -> None:
    a, b = await start(), await start()
    other = RoomId("other")
    assert await b.bus.subscribe(ROOM)
    assert await b.bus.subscribe(other)
    shard = b.bus._only
    assert shard._connection is not None
    await shard._connection.send_command("UNSUBSCRIBE", f"{b.bus._room_prefix}{ROOM}")  # behind its back
    await until(lambda: b.heard.suspects == [ROOM, ROOM], NOTICED_S)  # when it was lost, and when it is back
    assert b.bus.hears(ROOM) and b.bus.hears(other)
    assert b.heard.gaps == 1, "the others were not disturbed"
    a.bus.publish_batch(ROOM, 1, [b"x"])
    await crossed(a, b)
    assert b.heard.frames == [(ROOM, 1, [b"x"])]


async def test_a_server_that_carries_other_channels_than_it_said_is_connected_to_anew(
    start: Callable[..., Awaitable[Node]], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = await start(), await start()
    assert await b.bus.subscribe(ROOM)
    shard = b.bus._only
    take = shard._take

    def swallow(reply: Any) -> None:
        if reply[0] == b"unsubscribe":  # its news of it gets lost
            monkeypatch.setattr(shard, "_take", take)
        else:
            take(reply)

    monkeypatch.setattr(shard, "_take", swallow)
    assert shard._connection is not None
    await shard._connection.send_command("UNSUBSCRIBE", f"{b.bus._room_prefix}{ROOM}")
    await until(lambda: b.heard.health[-1] is False or b.heard.gaps == 2, NOTICED_S)
    await until(lambda: b.heard.gaps == 2 and b.bus.hears(ROOM))
    a.bus.publish_batch(ROOM, 1, [b"x"])
    await crossed(a, b)
    assert b.heard.frames == [(ROOM, 1, [b"x"])]


async def test_cut_connections_come_back_by_themselves_and_say_that_something_was_lost(
    start: Callable[..., Awaitable[Node]], own_redis: engines.Redis, exits: contextlib.AsyncExitStack
) -> None:
    a, b = await start(own_redis.url), await start(own_redis.url)
    raw = Redis.from_url(own_redis.url, protocol=2)
    exits.push_async_callback(raw.aclose)
    rooms = [RoomId(f"{number}") for number in range(3000)]
    for at in range(0, len(rooms), 500):  # each is waited for no longer than a second, on a busy machine too
        assert all(await asyncio.gather(*(b.bus.subscribe(room) for room in rooms[at : at + 500])))
    for kind in ("pubsub", "normal"):
        gaps = a.heard.gaps + b.heard.gaps
        await raw.client_kill_filter(_type=kind, skipme=True)
        await until(functools.partial(_gaps, a, b, gaps + 2))
        assert b.bus.complete, "back means that every room is carried again"
        assert all(b.bus.hears(room) for room in rooms)
    a.bus.publish_batch(rooms[-1], 1, [b"x"])
    await crossed(a, b)
    assert b.heard.frames == [(rooms[-1], 1, [b"x"])]
    assert b.heard.health[-2:] == [False, True]
    assert b.heard.deaf_s > 0


async def test_a_room_wanted_while_the_bus_is_away_is_suspect_until_it_is_carried(
    start: Callable[..., Awaitable[Node]], own_redis: engines.Redis
) -> None:
    import signal

    node = await start(own_redis.url)
    assert own_redis._process is not None
    os.kill(own_redis._process.pid, signal.SIGSTOP)
    try:
        assert not await node.bus.subscribe(ROOM), "it does not answer within a second"
        assert not node.bus.hears(ROOM)
        await until(lambda: node.bus.state == "away", NOTICED_S)
        assert not await node.bus.subscribe(RoomId("another"))
    finally:
        os.kill(own_redis._process.pid, signal.SIGCONT)
    await until(lambda: node.bus.state == "ok" and node.bus.hears(ROOM) and node.bus.hears(RoomId("another")))
    assert {ROOM, "another"} <= set(node.heard.suspects)


async def test_an_old_probe_that_somebody_repeats_is_no_sign_of_life(
    start: Callable[..., Awaitable[Node]], raw: Redis, prefix: str
) -> None:
    node = await start()
    own = node.bus._own
    async with raw.pubsub() as pubsub:
        await pubsub.subscribe(own)
        old = None
        async with asyncio.timeout(5):
            while old is None:
                message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=1)
                old = message["data"] if message else None
    number = node.bus._only._heard_number
    await until(lambda: node.bus._only._heard_number > number + 1)
    heard_s = node.bus._only._heard_s
    for sender in (node.bus._sender, b"attacker"):  # repeated, and made anew without the key
        await raw.publish(
            own, old if sender == node.bus._sender else EnvelopeMac(Ring(b"?"), sender).pack(own, Kind.PROBE, [], 9999)
        )
    await until(lambda: node.heard.refused["seal"] == 1)
    newest = node.bus._only._heard_number
    assert newest < 9999
    assert node.bus._only._heard_s == heard_s or newest > number + 2
    assert node.bus.healthy


async def test_publishes_that_find_no_room_are_told_to_the_others(start: Callable[..., Awaitable[Node]]) -> None:
    node = await start()
    for seq in range(12_000):  # in one turn of the loop: the outbox holds 10,000
        node.bus.publish_batch(ROOM, seq + 1, [b"x"])
    assert node.heard.dropped >= 1500
    await until(lambda: node.heard.unsents == 1)
    assert node.bus.healthy


# -- who is not heard --------------------------------------------------------------------------------


async def test_a_node_that_falls_silent_is_missed_and_its_rooms_are_suspect(start: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = await start(), await start()
    assert await here.bus.subscribe(ROOM)
    await until(lambda: here.bus._heartbeats._heard_s)
    assert here.bus.hears(ROOM) and here.bus.complete
    here.heard.suspects.clear()
    with monkeypatch.context() as cut:
        cut.setattr(there.bus, "_dispatch", lambda item: None)  # as a link that loses everything one way
        await until(lambda: not here.bus.hears(ROOM), NOTICED_S)
        assert not here.bus.complete and here.bus.silent_nodes == 1 and here.heard.suspects == [ROOM]
        assert here.bus.state == "ok", "it is not this node that is ill"
    await until(lambda: here.bus.hears(ROOM))
    assert here.heard.suspects == [ROOM, ROOM], "once more for the last of what was not heard"


async def test_a_node_that_closes_is_not_missed(start: Any) -> None:
    here, there = await start(), await start()
    await until(lambda: here.bus._heartbeats._heard_s)
    await there.bus.close()
    await until(lambda: not here.bus._heartbeats._heard_s, 0.5)
    await asyncio.sleep(NOTICED_S)
    assert here.bus.complete and not here.heard.suspects


async def test_a_node_alone_publishes_no_rooms_and_tells_the_first_that_comes(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "ALONE_S", 0.5)
    here = await start()
    assert not here.bus._alone, "before it is known nobody is assumed to be away"
    await until(lambda: here.bus._alone)
    here.bus.publish_batch(ROOM, 1, [b"lost, since nobody is there"])
    there = await start()
    await until(lambda: not here.bus._alone, 0.5)
    assert here.heard.unsents == 1, "the newcomer is told to compare"
    assert await there.bus.subscribe(ROOM)
    here.bus.publish_batch(ROOM, 2, [b"heard"])
    await until(lambda: there.heard.frames)
    assert there.heard.frames == [(ROOM, 2, [b"heard"])]
    await there.bus.close()
    await until(lambda: here.bus._alone)


async def test_while_its_peer_is_silent_or_the_bus_is_away_no_node_thinks_that_it_is_alone(
    start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "ALONE_S", 0.5)
    here, there = await start(), await start()
    await until(lambda: here.bus._heartbeats.known)
    monkeypatch.setattr(there.bus, "_dispatch", lambda item: None)
    await until(lambda: here.bus.silent_nodes == 1, NOTICED_S)
    await asyncio.sleep(1)
    assert not here.bus._alone
    monkeypatch.setattr(type(there.bus), "healthy", False)
    assert not there.bus._is_alone()
