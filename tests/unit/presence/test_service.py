"""Presence over a fake Redis in virtual time: graces, watchers, signs of life, losses, deaths, and Redis away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
import pytest

from realtime.model import UserId
from realtime.presence.lease import LEASE_S, Lease
from realtime.presence.service import GRACE_S, RENEW_S, SETTLE_S, Change, Presence
from tests.unit.presence.virtual_time import now_s, run

ANN, BOB, CEM = UserId("ann"), UserId("bob"), UserId("cem")
A_READ_S = 0.3
"""In which a node notices what it has to read, and reads it."""


class Redis:
    """Leases with their time, and a bus that may lose messages."""

    def __init__(self) -> None:
        self.away = False
        self.losing = False
        self.leases: dict[str, tuple[int, set[UserId], float]] = {}
        self.nodes: dict[str, Presence] = {}
        self.published: list[Change] = []

    def publish(self, message: bytes) -> None:
        change = msgspec.json.decode(message, type=Change)
        self.published.append(change)
        if not self.losing and not self.away:
            for presence in self.nodes.values():
                presence.received(message)


class FakeLease:
    """The lease of one node, by the contract of `presence.lease.Lease`."""

    def __init__(self, redis: Redis, node: str) -> None:
        self._redis = redis
        self._node = node
        self.calls: list[str] = []
        self.closed = False

    def _ask(self, call: str) -> None:
        self.calls.append(call)
        if self._redis.away:
            raise ConnectionError("Redis is away")

    async def write(self, version: int, joined: Iterable[UserId], left: Iterable[UserId]) -> None:
        self._ask("write")
        _, users, _ = self._redis.leases.get(self._node, (0, set(), 0.0))
        self._redis.leases[self._node] = version, (users | set(joined)) - set(left), now_s() + LEASE_S

    async def rewrite(self, version: int, present: Sequence[UserId]) -> None:
        self._ask("rewrite")
        self._redis.leases[self._node] = version, set(present), now_s() + LEASE_S

    async def remove(self) -> None:
        self._ask("remove")
        self._redis.leases.pop(self._node, None)

    async def others(self) -> list[str]:
        self._ask("others")
        return sorted(self._redis.leases.keys() - {self._node})

    async def read(self, node: str) -> tuple[int, set[UserId]] | None:
        self._ask(f"read {node}")
        version, users, until_s = self._redis.leases.get(node, (0, set[UserId](), 0.0))
        return (version, set(users)) if until_s > now_s() else None

    async def close(self) -> None:
        self.closed = True


class Watcher:
    """Remembers what it was told, and when."""

    def __init__(self) -> None:
        self.told: list[tuple[str, bool]] = []
        self.times: list[float] = []
        self.calls = 0

    def presence(self, changes: Sequence[tuple[str, bool]]) -> None:
        self.calls += 1
        self.told += changes
        self.times += [now_s()] * len(changes)


class Node:
    """A running node."""

    def __init__(self, redis: Redis, name: str) -> None:
        self.redis = redis
        self.name = name
        self.lease = FakeLease(redis, name)
        self.presence = Presence(name, cast("Lease", self.lease), redis.publish, now_s)
        redis.nodes[name] = self.presence

    def watch(self, *users: UserId) -> tuple[Watcher, list[tuple[str, bool]]]:
        watcher = Watcher()
        return watcher, self.presence.watch(watcher, users)

    async def kill(self) -> None:
        """Stop as a killed process does: without a word."""
        del self.redis.nodes[self.name]
        for task in self.presence._tasks:
            task.cancel()
        await asyncio.gather(*self.presence._tasks, return_exceptions=True)


@asynccontextmanager
async def nodes(redis: Redis, *names: str) -> AsyncIterator[list[Node]]:
    running = [Node(redis, name) for name in names]
    for node in running:
        await node.presence.open()
    await asyncio.sleep(2 * RENEW_S)
    redis.published.clear()
    try:
        yield running
    finally:
        for node in running:
            await node.presence.close()


def in_virtual_time(test: Callable[..., Awaitable[None]]) -> Callable[[], None]:
    """Run a test in virtual time, with a Redis."""

    def wrapper() -> None:
        run(cast("Any", test(Redis())))

    wrapper.__name__ = test.__name__
    return wrapper


# -- on one node ------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_watcher_on_the_same_node_is_told_at_once_and_before_that_gets_how_it_is(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        node.presence.connected(BOB)
        watcher, snapshot = node.watch(ANN, BOB, ANN)
        assert snapshot == [(ANN, False), (BOB, True)]
        node.presence.connected(ANN)
        assert watcher.told == [(ANN, True)]


@in_virtual_time
async def test_a_user_goes_only_after_the_grace(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        watcher, _ = node.watch(ANN)
        node.presence.connected(ANN)
        node.presence.disconnected(ANN)
        await asyncio.sleep(GRACE_S - 0.01)
        assert watcher.told == [(ANN, True)]
        await asyncio.sleep(0.02)
        assert watcher.told == [(ANN, True), (ANN, False)]


@in_virtual_time
async def test_a_reload_is_no_departure_and_the_next_grace_is_a_whole_one(redis: Redis) -> None:
    async with nodes(redis, "n1", "n2") as [node, other]:
        node.presence.connected(ANN)
        await asyncio.sleep(1)
        (here, _), (there, _) = node.watch(ANN), other.watch(ANN)
        for _ in range(3):
            node.presence.disconnected(ANN)
            await asyncio.sleep(GRACE_S - 0.1)
            node.presence.connected(ANN)
        await asyncio.sleep(60)
        assert (here.told, there.told) == ([], [])


@in_virtual_time
async def test_a_user_stays_while_one_connection_is_left(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        watcher, _ = node.watch(ANN)
        for _ in range(3):
            node.presence.connected(ANN)
        for _ in range(2):
            node.presence.disconnected(ANN)
        await asyncio.sleep(60)
        assert watcher.told == [(ANN, True)]
        node.presence.disconnected(ANN)
        await asyncio.sleep(GRACE_S + 1)
        assert watcher.told == [(ANN, True), (ANN, False)]


@in_virtual_time
async def test_a_new_watch_replaces_the_one_before_and_an_empty_one_ends_it(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        watcher, _ = node.watch(ANN)
        assert node.presence.watch(watcher, [BOB]) == [(BOB, False)]
        node.presence.connected(ANN)
        node.presence.connected(BOB)
        assert watcher.told == [(BOB, True)]
        assert node.presence.watch(watcher, []) == []
        node.presence.connected(CEM)
        node.presence.unwatch(watcher)
        node.presence.disconnected(BOB)
        await asyncio.sleep(GRACE_S + 1)
        assert watcher.told == [(BOB, True)]


@in_virtual_time
async def test_each_watcher_hears_of_its_own_users_only(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        (one, _), (two, _) = node.watch(ANN), node.watch(ANN, BOB)
        node.presence.connected(ANN)
        node.presence.connected(BOB)
        assert one.told == [(ANN, True)]
        assert two.told == [(ANN, True), (BOB, True)]


# -- between nodes ----------------------------------------------------------------------------------


@in_virtual_time
async def test_changes_of_a_moment_go_out_in_one_numbered_message(redis: Redis) -> None:
    async with nodes(redis, "n1", "n2") as [node, other]:
        watcher, _ = other.watch(ANN, BOB)
        node.presence.connected(ANN)
        node.presence.connected(BOB)
        await asyncio.sleep(SETTLE_S + 0.01)
        [change] = [change for change in redis.published if change.joined]
        assert (change.node, change.version, sorted(change.joined), change.left) == ("n1", 1, ["ann", "bob"], [])
        assert (sorted(watcher.told), watcher.calls) == ([(ANN, True), (BOB, True)], 1)


@in_virtual_time
async def test_a_quiet_node_gives_a_sign_of_life_with_its_last_number(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        node.presence.connected(ANN)
        await asyncio.sleep(1)
        redis.published.clear()
        await asyncio.sleep(4 * RENEW_S)
        assert redis.published == [Change("n1", 1, [], [])] * 4


@in_virtual_time
async def test_a_user_on_two_nodes_is_online_until_both_let_go(redis: Redis) -> None:
    async with nodes(redis, "n1", "n2", "n3") as [one, two, three]:
        watcher, _ = three.watch(ANN)
        one.presence.connected(ANN)
        two.presence.connected(ANN)
        await asyncio.sleep(1)
        one.presence.disconnected(ANN)
        await asyncio.sleep(GRACE_S + 60)
        assert watcher.told == [(ANN, True)]
        two.presence.disconnected(ANN)
        await asyncio.sleep(GRACE_S + 1)
        assert watcher.told == [(ANN, True), (ANN, False)]


@in_virtual_time
async def test_a_node_that_opens_later_knows_who_is_there(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        node.presence.connected(ANN)
        await asyncio.sleep(1)
        late = Node(redis, "late")
        await late.presence.open()
        assert late.watch(ANN, BOB)[1] == [(ANN, True), (BOB, False)]
        await late.presence.close()
        assert node.watch(ANN)[1] == [(ANN, True)]


@in_virtual_time
async def test_a_node_of_which_others_never_heard_is_found_and_read(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        redis.leases["quiet"] = 5, {ANN}, now_s() + 1_000
        watcher, _ = node.watch(ANN)
        await asyncio.sleep(RENEW_S + A_READ_S)
        assert watcher.told == [(ANN, True)]


@in_virtual_time
async def test_a_change_that_was_lost_is_read_when_the_next_one_shows_the_hole(redis: Redis) -> None:
    async with nodes(redis, "n1", "n2") as [node, other]:
        watcher, _ = other.watch(ANN, BOB)
        redis.losing = True
        node.presence.connected(ANN)
        await asyncio.sleep(SETTLE_S + 0.01)
        redis.losing = False
        assert watcher.told == []
        node.presence.connected(BOB)
        await asyncio.sleep(SETTLE_S + A_READ_S)
        assert sorted(watcher.told) == [(ANN, True), (BOB, True)]
        reads = len([call for call in other.lease.calls if call == "read n1"])
        await asyncio.sleep(60)
        assert len([call for call in other.lease.calls if call == "read n1"]) == reads


@in_virtual_time
async def test_the_users_of_a_node_that_closes_have_the_grace_to_come_back_elsewhere(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        leaving = Node(redis, "leaving")
        await leaving.presence.open()
        leaving.presence.connected(ANN)
        leaving.presence.connected(BOB)
        await asyncio.sleep(1)
        leaving.presence.disconnected(BOB)
        watcher, _ = node.watch(ANN, BOB)
        await leaving.presence.close()
        assert "leaving" not in redis.leases
        assert leaving.lease.closed
        await asyncio.sleep(GRACE_S - 1)
        node.presence.connected(ANN)
        assert watcher.told == []
        await asyncio.sleep(60)
        assert watcher.told == [(BOB, False)]


@in_virtual_time
async def test_the_users_of_a_killed_node_are_gone_when_its_lease_is_over_and_stay_gone(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        victim = Node(redis, "victim")
        await victim.presence.open()
        victim.presence.connected(ANN)
        await asyncio.sleep(1)
        watcher, _ = node.watch(ANN)
        killed_at_s = now_s()
        await victim.kill()
        await asyncio.sleep(120)
        assert watcher.told == [(ANN, False)]
        assert LEASE_S - RENEW_S <= watcher.times[0] - killed_at_s <= LEASE_S + RENEW_S + 1


@in_virtual_time
async def test_what_a_node_tells_of_itself_does_not_count_twice(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        node.presence.connected(BOB)
        node.presence.received(msgspec.json.encode(Change("n1", 1, [ANN], [])))
        node.presence.received(msgspec.json.encode(Change("n1", 1, [], [], gone=True)))
        assert node.watch(ANN, BOB)[1] == [(ANN, False), (BOB, True)]


@in_virtual_time
async def test_a_message_that_is_none_of_ours_is_a_value_error(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        for message in (b"", b"{}", b"[]", b'["n2",1,[],"x"]', b"\xff", b'["n2"'):
            with pytest.raises(ValueError, match=r".+"):
                node.presence.received(message)


# -- Redis away -------------------------------------------------------------------------------------


@in_virtual_time
async def test_while_redis_is_away_everybody_stays_as_they_were_however_long(redis: Redis) -> None:
    async with nodes(redis, "n1", "n2") as [node, other]:
        node.presence.connected(ANN)
        await asyncio.sleep(1)
        watcher, _ = other.watch(ANN)
        redis.away = True
        other.presence.suspend()
        await asyncio.sleep(600)
        assert watcher.told == []
        redis.away = False
        await asyncio.sleep(60)
        assert watcher.told == []


@in_virtual_time
async def test_what_changed_while_redis_was_away_is_read_when_it_is_back(redis: Redis) -> None:
    async with nodes(redis, "n1", "n2") as [node, other]:
        node.presence.connected(ANN)
        await asyncio.sleep(1)
        watcher, _ = other.watch(ANN, BOB)
        redis.away = True
        node.presence.disconnected(ANN)
        node.presence.connected(BOB)
        await asyncio.sleep(30)
        redis.away = False
        redis.leases.clear()  # and it came back empty
        for one in (node, other):
            one.presence.resync()
        await asyncio.sleep(RENEW_S + 1)
        assert sorted(watcher.told) == [(ANN, False), (BOB, True)]
        assert redis.leases["n1"][1] == {BOB}


@in_virtual_time
async def test_a_node_that_died_while_redis_was_away_is_gone_when_it_is_back(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        victim = Node(redis, "victim")
        await victim.presence.open()
        victim.presence.connected(ANN)
        await asyncio.sleep(1)
        watcher, _ = node.watch(ANN)
        redis.away = True
        await victim.kill()
        await asyncio.sleep(100)
        assert watcher.told == []
        redis.away = False
        node.presence.resync()
        await asyncio.sleep(LEASE_S + 1)  # its own time runs out: a Redis that came back empty proves nothing
        assert watcher.told == [(ANN, False)]


@in_virtual_time
async def test_a_lease_that_could_not_be_written_is_written_anew_with_everybody(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        node.presence.connected(ANN)
        await asyncio.sleep(1)
        redis.away = True
        node.presence.connected(BOB)
        await asyncio.sleep(1)
        redis.away = False
        await asyncio.sleep(RENEW_S + 1)
        assert "rewrite" in node.lease.calls[-4:]
        version, users, _ = redis.leases["n1"]
        assert (version, users) == (2, {ANN, BOB})


@in_virtual_time
async def test_a_node_opens_and_closes_while_redis_is_away(redis: Redis) -> None:
    redis.away = True
    node = Node(redis, "n1")
    await node.presence.open()
    node.presence.connected(ANN)
    assert node.watch(ANN)[1] == [(ANN, True)]
    await asyncio.sleep(20)
    await node.presence.close()
    assert node.lease.closed
