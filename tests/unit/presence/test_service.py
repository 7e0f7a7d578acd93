"""Presence over a fake Redis in virtual time: graces, watchers, signs of life, losses, deaths, and Redis away."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
import pytest

from realtime import errors
from realtime.model import Choice, PresenceSetting, RoomId, Status, UserId
from realtime.presence.lease import LEASE_S, Forged, Lease
from realtime.presence.service import CHOICES_S, GRACE_S, RENEW_S, SETTLE_S, Change, Presence
from realtime.presence.state import PLAIN, Entry, View
from realtime.presence.store import Known, PresenceStore
from realtime.presence.watches import UPDATE_S
from realtime.runtime import Runtime
from realtime.tasks import Loops
from tests.unit.presence.virtual_time import now_s, run

ANN, BOB, CEM, EVE = (UserId(f"019b0000-0000-7000-8000-00000000000{letter}") for letter in "abce")
ROOM, HALL = RoomId("room"), RoomId("hall")
A_MOMENT_S = 0.001
"""In which a node asks the store what somebody chose."""
A_READ_S = 0.3
"""In which a node notices what it has to read, and reads it."""


class Redis:
    """Leases with their time, and a bus that may lose messages."""

    def __init__(self) -> None:
        self.away = False
        self.losing = False
        self.leases: dict[str, tuple[int, dict[UserId, Entry], float]] = {}
        self.nodes: dict[str, Presence] = {}
        self.published: list[Change] = []
        self.store = Store()

    def publish(self, message: bytes) -> None:
        change = msgspec.json.decode(message, type=Change)
        self.published.append(change)
        if not self.losing and not self.away:
            for presence in self.nodes.values():
                presence.received(message)

    def chose(self, user: UserId, setting: PresenceSetting) -> None:
        if not self.losing and not self.away:
            for presence in self.nodes.values():
                presence.chosen(user, setting)


class Store:
    """What people chose and when they were last seen, by the contract of `store.presence.PresenceStore`."""

    def __init__(self) -> None:
        self.away = False
        self.settings: dict[UserId, PresenceSetting] = {}
        self.last_seen_s: dict[UserId, float] = {}
        self.invisible_since_s: dict[UserId, float] = {}
        self.rooms: dict[RoomId, list[UserId]] = {}
        self.asked: list[str] = []
        self.fails: type[Exception] | None = None

    def _ask(self, query: str) -> None:
        self.asked.append(query)
        if self.fails is not None:
            raise self.fails
        if self.away:
            raise errors.Unavailable

    def _known(self, user: UserId) -> Known:
        return Known(self.settings.get(user, PresenceSetting()), self.last_seen_s.get(user))

    async def read(self, users: Sequence[UserId]) -> dict[UserId, Known]:
        self._ask("read")
        return {user: self._known(user) for user in users if user in self.settings or user in self.last_seen_s}

    async def changed_since(self, ago_s: float) -> dict[UserId, Known]:
        self._ask("changed_since")
        return {user: self._known(user) for user in self.settings}

    async def choose(self, user: UserId, choice: Choice | None, text: str | None, life_s: float | None) -> PresenceSetting:
        self._ask("choose")
        old = self.settings.get(user, PresenceSetting())
        until_s = old.text_until_s if text is None else None if life_s is None else now_s() + life_s
        self.settings[user] = new = PresenceSetting(
            old.choice if choice is None else choice, old.text if text is None else text, until_s, old.version + 1
        )
        if new.choice is Choice.INVISIBLE:
            self.invisible_since_s.setdefault(user, now_s())
        else:
            self.invisible_since_s.pop(user, None)
        return new

    async def seen(self, times_s: Mapping[UserId, float]) -> None:
        self._ask("seen")
        for user, at_s in times_s.items():
            latest_s = max(at_s, self.last_seen_s.get(user, 0.0))
            self.last_seen_s[user] = min(latest_s, self.invisible_since_s.get(user, latest_s))

    async def invisible(self, at_most: int) -> set[UserId]:
        self._ask("invisible")
        return {user for user, setting in self.settings.items() if setting.choice is Choice.INVISIBLE}

    async def members(self, room: RoomId, at_most: int) -> list[UserId]:
        self._ask("members")
        return self.rooms.get(room, [])[:at_most]


class FakeLease:
    """The lease of one node, by the contract of `presence.lease.Lease`."""

    def __init__(self, redis: Redis, node: str) -> None:
        self._redis = redis
        self._node = node
        self.calls: list[str] = []
        self.closed = False
        self.is_stale = False
        self.fails: Exception | None = None

    def _ask(self, call: str) -> None:
        self.calls.append(call)
        if self.fails is not None:
            raise self.fails
        if self._redis.away:
            raise ConnectionError("Redis is away")

    async def write(self, version: int, shown: Mapping[UserId, Entry], left: Collection[UserId]) -> None:
        self._ask("write")
        _, users, _ = self._redis.leases.get(self._node, (0, dict[UserId, Entry](), 0.0))
        users = {user: entry for user, entry in {**users, **shown}.items() if user not in left}
        self._redis.leases[self._node] = version, users, now_s() + LEASE_S

    async def rewrite(self, version: int, shown: Mapping[UserId, Entry]) -> None:
        self._ask("rewrite")
        self._redis.leases[self._node] = version, dict(shown), now_s() + LEASE_S

    async def remove(self) -> None:
        self._ask("remove")
        self._redis.leases.pop(self._node, None)

    async def others(self) -> list[str]:
        self._ask("others")
        return sorted(self._redis.leases.keys() - {self._node})

    async def read(self, node: str) -> tuple[int, dict[UserId, Entry]] | None:
        self._ask(f"read {node}")
        if "forged" in node:
            raise Forged
        version, users, until_s = self._redis.leases.get(node, (0, dict[UserId, Entry](), 0.0))
        return (version, dict(users)) if until_s > now_s() else None

    async def remains(self, node: str) -> tuple[float, list[UserId]]:
        self._ask(f"remains {node}")
        _, users, until_s = self._redis.leases.pop(node, (0, dict[UserId, Entry](), LEASE_S))
        return until_s - LEASE_S, list(users)

    async def close(self) -> None:
        self.closed = True


class Watcher:
    """Remembers what it was told, and when."""

    def __init__(self, user: UserId = EVE) -> None:
        self.user = user
        self.told: list[tuple[str, bool]] = []
        self.views: list[View] = []
        self.counts: list[tuple[RoomId, int]] = []
        self.times: list[float] = []
        self.calls: list[float] = []

    def presence(self, views: Sequence[View], counts: Sequence[tuple[RoomId, int]]) -> None:
        self.calls.append(now_s())
        self.views += views
        self.counts += counts
        self.told += [(view.user, view.status is not Status.OFFLINE) for view in views]
        self.times += [now_s()] * len(views)


class Node:
    """A running node."""

    def __init__(self, redis: Redis, name: str) -> None:
        self.redis = redis
        self.name = name
        self.lease = FakeLease(redis, name)
        self.loops = Loops()
        self.presence = Presence(
            name,
            cast("Lease", self.lease),
            cast("PresenceStore", redis.store),
            redis.publish,
            redis.chose,
            3,
            Runtime(self.loops, now_s, now_s),
        )
        redis.nodes[name] = self.presence

    async def comes(self, *users: UserId) -> None:
        """Somebody connects, and the node has asked what they chose."""
        for user in users:
            self.presence.connected(user)
        await asyncio.sleep(A_MOMENT_S)

    async def watch(self, *users: UserId) -> tuple[Watcher, list[tuple[str, bool]]]:
        watcher = Watcher()
        return watcher, await self.watch_again(watcher, *users)

    async def watch_again(self, watcher: Watcher, *users: UserId) -> list[tuple[str, bool]]:
        views = await self.look(watcher, users)
        return [(view.user, view.status is not Status.OFFLINE) for view in sorted(views)]

    async def look(self, watcher: Watcher, users: Sequence[UserId] = (), rooms: Sequence[RoomId] = ()) -> list[View]:
        sight = await self.presence.look(watcher.user, users, rooms)
        views, counts = self.presence.watch(watcher, sight, set(rooms))
        watcher.counts += counts
        return views

    async def sees(self, user: UserId) -> View:
        [view] = await self.look(Watcher(), [user])
        return view

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
        await node.comes(BOB)
        watcher, snapshot = await node.watch(ANN, BOB, ANN)
        assert snapshot == [(ANN, False), (BOB, True)]
        await node.comes(ANN)
        assert watcher.told == [(ANN, True)]


@in_virtual_time
async def test_a_user_goes_only_after_the_grace(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        watcher, _ = await node.watch(ANN)
        await node.comes(ANN)
        node.presence.disconnected(ANN)
        await asyncio.sleep(GRACE_S - 0.01)
        assert watcher.told == [(ANN, True)]
        await asyncio.sleep(0.02)
        assert watcher.told == [(ANN, True), (ANN, False)]


@in_virtual_time
async def test_a_reload_is_no_departure_and_the_next_grace_is_a_whole_one(redis: Redis) -> None:
    async with nodes(redis, "n1", "n2") as [node, other]:
        await node.comes(ANN)
        await asyncio.sleep(1)
        (here, _), (there, _) = await node.watch(ANN), await other.watch(ANN)
        for _ in range(3):
            node.presence.disconnected(ANN)
            await asyncio.sleep(GRACE_S - 0.1)
            await node.comes(ANN)
        await asyncio.sleep(60)
        assert (here.told, there.told) == ([], [])


@in_virtual_time
async def test_a_user_stays_while_one_connection_is_left(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        watcher, _ = await node.watch(ANN)
        for _ in range(3):
            await node.comes(ANN)
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
        watcher, _ = await node.watch(ANN)
        assert await node.watch_again(watcher, BOB) == [(BOB, False)]
        await node.comes(ANN)
        await node.comes(BOB)
        assert watcher.told == [(BOB, True)]
        assert await node.watch_again(watcher) == []
        await node.comes(CEM)
        node.presence.unwatch(watcher)
        node.presence.disconnected(BOB)
        await asyncio.sleep(GRACE_S + 1)
        assert watcher.told == [(BOB, True)]


@in_virtual_time
async def test_each_watcher_hears_of_its_own_users_only(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        (one, _), (two, _) = await node.watch(ANN), await node.watch(ANN, BOB)
        await node.comes(ANN)
        await node.comes(BOB)
        await asyncio.sleep(UPDATE_S + A_READ_S)
        assert one.told == [(ANN, True)]
        assert two.told == [(ANN, True), (BOB, True)]


# -- between nodes ----------------------------------------------------------------------------------


@in_virtual_time
async def test_changes_of_a_moment_go_out_in_one_numbered_message(redis: Redis) -> None:
    async with nodes(redis, "n1", "n2") as [node, other]:
        watcher, _ = await other.watch(ANN, BOB)
        await node.comes(ANN, BOB)
        await asyncio.sleep(SETTLE_S + 0.01)
        [change] = [change for change in redis.published if change.joined]
        assert (change.node, change.version, sorted(change.joined), change.left) == ("n1", 1, [ANN, BOB], [])
        assert (sorted(watcher.told), len(watcher.calls)) == ([(ANN, True), (BOB, True)], 1)


@in_virtual_time
async def test_a_quiet_node_gives_a_sign_of_life_with_its_last_number(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        await node.comes(ANN)
        await asyncio.sleep(1)
        redis.published.clear()
        await asyncio.sleep(4 * RENEW_S)
        assert redis.published == [Change("n1", 1, [], [], is_sealed=True)] * 4


@in_virtual_time
async def test_a_user_on_two_nodes_is_online_until_both_let_go(redis: Redis) -> None:
    async with nodes(redis, "n1", "n2", "n3") as [one, two, three]:
        watcher, _ = await three.watch(ANN)
        await one.comes(ANN)
        await two.comes(ANN)
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
        await node.comes(ANN)
        await asyncio.sleep(1)
        late = Node(redis, "late")
        await late.presence.open()
        assert (await late.watch(ANN, BOB))[1] == [(ANN, True), (BOB, False)]
        await late.presence.close()
        assert (await node.watch(ANN))[1] == [(ANN, True)]


@in_virtual_time
async def test_a_node_of_which_others_never_heard_is_found_and_read(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        redis.leases["quiet"] = 5, {ANN: PLAIN}, now_s() + 1_000
        watcher, _ = await node.watch(ANN)
        await asyncio.sleep(RENEW_S + A_READ_S)
        assert watcher.told == [(ANN, True)]


@in_virtual_time
async def test_a_change_that_was_lost_is_read_when_the_next_one_shows_the_hole(redis: Redis) -> None:
    async with nodes(redis, "n1", "n2") as [node, other]:
        watcher, _ = await other.watch(ANN, BOB)
        redis.losing = True
        await node.comes(ANN)
        await asyncio.sleep(SETTLE_S + 0.01)
        redis.losing = False
        assert watcher.told == []
        await node.comes(BOB)
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
        await leaving.comes(ANN)
        await leaving.comes(BOB)
        await asyncio.sleep(1)
        leaving.presence.disconnected(BOB)
        watcher, _ = await node.watch(ANN, BOB)
        await leaving.presence.close()
        assert "leaving" not in redis.leases
        assert leaving.lease.closed
        await asyncio.sleep(GRACE_S - 1)
        await node.comes(ANN)
        assert watcher.told == []
        await asyncio.sleep(60)
        assert watcher.told == [(BOB, False)]


@in_virtual_time
async def test_the_users_of_a_killed_node_are_gone_when_its_lease_is_over_and_stay_gone(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        victim = Node(redis, "victim")
        await victim.presence.open()
        await victim.comes(ANN)
        await asyncio.sleep(1)
        watcher, _ = await node.watch(ANN)
        killed_at_s = now_s()
        await victim.kill()
        await asyncio.sleep(120)
        assert watcher.told == [(ANN, False)]
        assert LEASE_S - RENEW_S <= watcher.times[0] - killed_at_s <= LEASE_S + RENEW_S + 1


@in_virtual_time
async def test_what_a_node_tells_of_itself_does_not_count_twice(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        await node.comes(BOB)
        node.presence.received(msgspec.json.encode(Change("n1", 1, [ANN], [])))
        node.presence.received(msgspec.json.encode(Change("n1", 1, [], [], gone=True)))
        assert (await node.watch(ANN, BOB))[1] == [(ANN, False), (BOB, True)]


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
        await node.comes(ANN)
        await asyncio.sleep(1)
        watcher, _ = await other.watch(ANN)
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
        await node.comes(ANN)
        await asyncio.sleep(1)
        watcher, _ = await other.watch(ANN, BOB)
        redis.away = True
        node.presence.disconnected(ANN)
        await node.comes(BOB)
        await asyncio.sleep(30)
        redis.away = False
        redis.leases.clear()  # and it came back empty
        for one in (node, other):
            one.presence.resync()
        await asyncio.sleep(RENEW_S + 1)
        assert sorted(watcher.told) == [(ANN, False), (BOB, True)]
        assert redis.leases["n1"][1].keys() == {BOB}


@in_virtual_time
async def test_a_node_that_died_while_redis_was_away_is_gone_when_it_is_back(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        victim = Node(redis, "victim")
        await victim.presence.open()
        await victim.comes(ANN)
        await asyncio.sleep(1)
        watcher, _ = await node.watch(ANN)
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
        await node.comes(ANN)
        await asyncio.sleep(1)
        redis.away = True
        await node.comes(BOB)
        await asyncio.sleep(1)
        redis.away = False
        await asyncio.sleep(RENEW_S + 1)
        assert "rewrite" in node.lease.calls[-4:]
        version, users, _ = redis.leases["n1"]
        assert (version, set(users)) == (2, {ANN, BOB})


@in_virtual_time
async def test_a_node_opens_and_closes_while_redis_is_away(redis: Redis) -> None:
    redis.away = True
    node = Node(redis, "n1")
    await node.presence.open()
    await node.comes(ANN)
    assert (await node.watch(ANN))[1] == [(ANN, True)]
    await asyncio.sleep(20)
    await node.presence.close()
    assert node.lease.closed


# -- what people choose -----------------------------------------------------------------------------


async def choose(
    node: Node, user: UserId, choice: Choice | None = None, text: str | None = None, life_s: float | None = None
) -> None:
    await node.presence.choose(user, choice, text, life_s)
    await asyncio.sleep(SETTLE_S + 0.01)


@in_virtual_time
async def test_a_choice_is_seen_on_every_node_and_outlives_the_connection(redis: Redis) -> None:
    async with nodes(redis, "n1", "n2") as [node, other]:
        await node.comes(ANN)
        await choose(node, ANN, Choice.DND, "in a meeting")
        assert await other.sees(ANN) == View(ANN, Status.DND, "in a meeting")
        node.presence.disconnected(ANN)
        await asyncio.sleep(60)
        assert (await other.sees(ANN)).status is Status.OFFLINE
        await other.comes(ANN)
        assert await other.sees(ANN) == View(ANN, Status.DND, "in a meeting")


@in_virtual_time
async def test_of_two_nodes_that_disagree_the_later_choice_counts_and_the_other_finds_it_in_the_store(redis: Redis) -> None:
    async with nodes(redis, "n1", "n2", "n3") as [one, two, three]:
        await one.comes(ANN)
        await two.comes(ANN)
        await asyncio.sleep(1)
        redis.losing = True
        await choose(one, ANN, Choice.AWAY)
        redis.losing = False
        await choose(one, ANN, text="lunch")
        await asyncio.sleep(A_READ_S)
        assert await three.sees(ANN) == View(ANN, Status.AWAY, "lunch")
        one.presence.disconnected(ANN)
        await asyncio.sleep(CHOICES_S + GRACE_S + 1)
        assert await three.sees(ANN) == View(ANN, Status.AWAY, "lunch")


@in_virtual_time
async def test_a_text_is_over_at_its_time_and_everybody_is_told(redis: Redis) -> None:
    async with nodes(redis, "n1", "n2") as [node, other]:
        await node.comes(ANN)
        await choose(node, ANN, text="back at ten", life_s=60)
        watcher, _ = await other.watch(ANN)
        assert (await other.sees(ANN)).text == "back at ten"
        await asyncio.sleep(60.5)
        assert [(view.status, view.text) for view in watcher.views] == [(Status.ONLINE, "")]
        assert (await node.presence.setting(ANN)).text == ""


@in_virtual_time
async def test_somebody_is_away_when_all_their_connections_are_idle(redis: Redis) -> None:
    async with nodes(redis, "n1", "n2") as [node, other]:
        await node.comes(ANN)
        await node.comes(ANN)
        await other.comes(ANN)
        node.presence.set_idle(ANN, idle=True)
        other.presence.set_idle(ANN, idle=True)
        await asyncio.sleep(1)
        assert (await other.sees(ANN)).status is Status.ONLINE
        node.presence.disconnected(ANN)  # the one that was not idle
        await asyncio.sleep(1)
        assert (await other.sees(ANN)).status is Status.AWAY
        other.presence.disconnected(ANN, idle=True)
        await asyncio.sleep(GRACE_S + 1)
        node.presence.set_idle(ANN, idle=False)
        await asyncio.sleep(1)
        assert (await other.sees(ANN)).status is Status.ONLINE


# -- invisible --------------------------------------------------------------------------------------


async def observed(redis: Redis, seed: int, *, invisible: bool) -> list[tuple[float, Any]]:
    """Return all that somebody can see of ANN, who becomes invisible at a moment, or goes offline at it; and then, invisible,
    goes on coming and going.
    """
    chance = random.Random(seed)
    seen: list[tuple[float, Any]] = []
    redis.store.rooms = {ROOM: [ANN, EVE], HALL: [ANN, BOB, CEM, EVE]}
    async with nodes(redis, "n1", "n2") as [node, other]:
        await node.comes(ANN)
        await other.comes(EVE)
        await asyncio.sleep(3)
        watcher = Watcher()
        await other.look(watcher, [ANN], [ROOM, HALL])
        redis.published.clear()
        begun_s = now_s()
        if invisible:
            await node.presence.choose(ANN, Choice.INVISIBLE, None, None)
        else:
            node.presence.disconnected(ANN)
        connections = 1
        for _ in range(40):
            await asyncio.sleep(1)
            if invisible:
                at = chance.choice([node, other])
                move = chance.randrange(5)
                if move == 0 and connections == 1:
                    node.presence.disconnected(ANN)
                    connections = 0
                elif move == 1 and connections == 0:
                    await node.comes(ANN)
                    connections = 1
                elif move == 2:
                    await at.comes(ANN)
                    at.presence.disconnected(ANN)
                elif move == 3 and connections:
                    node.presence.set_idle(ANN, idle=True)
                    node.presence.set_idle(ANN, idle=False)
                elif move == 4 and chance.random() < 0.2:
                    await node.presence.choose(ANN, None, chance.choice(["here", ""]), None)
            else:
                await asyncio.sleep(A_MOMENT_S if chance.random() < 0.3 else 0)
            fresh = Watcher()
            views = sorted(await other.look(fresh, [ANN], [ROOM, HALL]))
            seen.append((round(now_s() - begun_s), (views, fresh.counts)))
            other.presence.unwatch(fresh)
        seen += [(round(at_s - begun_s, 1), view) for at_s, view in zip(watcher.times, watcher.views, strict=True)]
        seen.append((0, watcher.counts))
    public = [(change.joined, change.left, change.entries) for change in redis.published if ANN in change.joined]
    assert public == [], "nodes say nothing of who is invisible"
    return [(at_s, repr(what).replace(f"{begun_s}", "then")) for at_s, what in seen]


@pytest.mark.parametrize("seed", range(8))
def test_who_is_invisible_looks_like_somebody_who_went_at_that_moment_whatever_they_do(seed: int) -> None:
    hidden = run(observed(Redis(), seed, invisible=True))
    gone = run(observed(Redis(), seed, invisible=False))
    assert hidden == gone
    assert any("OFFLINE" in what for _, what in hidden)


@in_virtual_time
async def test_who_was_invisible_before_is_never_shown_not_for_a_moment(redis: Redis) -> None:
    redis.store.settings[ANN] = PresenceSetting(Choice.INVISIBLE, version=1)
    async with nodes(redis, "n1", "n2") as [node, other]:
        (here, _), (there, _) = await node.watch(ANN), await other.watch(ANN)
        await node.comes(ANN)
        await asyncio.sleep(30)
        assert (here.told, there.told) == ([], [])
        assert redis.leases["n1"][1] == {}
        await choose(node, ANN, Choice.ONLINE)
        assert (here.told, there.told) == ([(ANN, True)], [(ANN, True)])


@in_virtual_time
async def test_while_the_store_is_away_people_come_and_who_may_be_invisible_waits(redis: Redis) -> None:
    redis.store.settings[ANN] = PresenceSetting(Choice.INVISIBLE, version=1)
    redis.store.settings[CEM] = PresenceSetting(Choice.DND, version=1)
    async with nodes(redis, "n1", "n2") as [node, other]:
        await node.comes(CEM)
        await asyncio.sleep(1)
        redis.store.away = True
        await node.comes(ANN, BOB)
        await other.comes(CEM)
        node.presence.disconnected(CEM)
        await asyncio.sleep(GRACE_S + 1)
        statuses = {user: (await other.sees(user)).status for user in (ANN, BOB, CEM)}
        assert statuses == {ANN: Status.OFFLINE, BOB: Status.ONLINE, CEM: Status.DND}
        with pytest.raises(errors.Unavailable):
            await node.presence.choose(BOB, Choice.AWAY, None, None)
        redis.store.away = False
        await asyncio.sleep(2)
        assert (await other.sees(ANN)).status is Status.OFFLINE
        assert (await other.sees(BOB)).status is Status.ONLINE


# -- last seen --------------------------------------------------------------------------------------


@in_virtual_time
async def test_who_went_was_last_seen_when_their_last_connection_ended(redis: Redis) -> None:
    async with nodes(redis, "n1", "n2") as [node, other]:
        watcher, _ = await other.watch(ANN)
        await node.comes(ANN)
        await asyncio.sleep(10)
        ended_s = now_s()
        node.presence.disconnected(ANN)
        await asyncio.sleep(GRACE_S + 3)
        assert redis.store.last_seen_s == {ANN: ended_s}
        assert watcher.views[-1] == View(ANN, Status.OFFLINE, last_seen_s=ended_s)
        assert await node.sees(ANN) == View(ANN, Status.OFFLINE, last_seen_s=ended_s)


@in_virtual_time
async def test_of_a_killed_node_one_of_the_others_stores_who_was_there(redis: Redis) -> None:
    async with nodes(redis, "n1", "n2", "n3") as [one, two, _]:
        victim = Node(redis, "victim")
        await victim.presence.open()
        await victim.comes(ANN, BOB)
        await two.comes(BOB)
        await asyncio.sleep(1)
        redis.store.asked.clear()
        killed_s = now_s()
        await victim.kill()
        await asyncio.sleep(30)
        assert redis.store.last_seen_s.keys() == {ANN}
        assert killed_s <= redis.store.last_seen_s[ANN] <= killed_s + LEASE_S
        assert redis.store.asked.count("seen") == 1
        assert (await one.sees(BOB)).status is Status.ONLINE


@in_virtual_time
async def test_departures_are_stored_when_the_store_is_back(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        await node.comes(ANN)
        redis.store.away = True
        node.presence.disconnected(ANN)
        await asyncio.sleep(60)
        redis.store.away = False
        await asyncio.sleep(3)
        assert redis.store.last_seen_s.keys() == {ANN}


@in_virtual_time
async def test_the_last_node_that_closes_stores_who_was_there(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        await node.comes(ANN)
    assert redis.store.last_seen_s.keys() == {ANN}


# -- watching ---------------------------------------------------------------------------------------


@in_virtual_time
async def test_a_flapping_crowd_of_500_costs_each_watcher_one_update_a_second(redis: Redis) -> None:
    crowd = [UserId(f"019b0000-0000-7000-8000-{number:012}") for number in range(500)]
    async with nodes(redis, "n1", "n2") as [node, other]:
        watchers = [(await other.watch(*crowd[:200]))[0] for _ in range(3)]
        await node.comes(*crowd)
        chance = random.Random(1)
        for _ in range(400):  # 20 seconds
            for user in chance.sample(crowd, 25):
                node.presence.set_idle(user, idle=True)
                node.presence.set_idle(user, idle=False)
            for user in chance.sample(crowd, 5):
                node.presence.chosen(user, PresenceSetting(text=str(chance.random()), version=round(now_s() * 1000)))
            await asyncio.sleep(0.05)
        await asyncio.sleep(2)
        for watcher in watchers:
            assert 15 <= len(watcher.calls) <= 23
            gaps = [later - earlier for earlier, later in zip(watcher.calls, watcher.calls[1:], strict=False)]
            assert min(gaps) >= UPDATE_S
            last = {view.user: view for view in watcher.views}
            assert last == {user: await other.sees(user) for user in crowd[:200]}, "and in the end they know how it is"


@in_virtual_time
async def test_of_a_small_room_members_are_watched_and_of_a_large_one_their_number(redis: Redis) -> None:
    redis.store.rooms = {ROOM: [ANN, BOB], HALL: [ANN, BOB, CEM, EVE]}
    async with nodes(redis, "n1", "n2") as [node, other]:
        await node.comes(ANN)
        await asyncio.sleep(1)
        watcher = Watcher()
        views = sorted(await other.look(watcher, (), [ROOM, HALL]))
        assert [(view.user, view.status) for view in views] == [(ANN, Status.ONLINE), (BOB, Status.OFFLINE)]
        assert watcher.counts == [(HALL, 1)]
        await node.comes(BOB, CEM)
        await asyncio.sleep(3)
        assert watcher.told == [(BOB, True)]
        assert watcher.counts[-1] == (HALL, 3)


@in_virtual_time
async def test_who_leaves_a_room_sees_nothing_by_it_and_is_not_seen_by_it(redis: Redis) -> None:
    redis.store.rooms = {ROOM: [ANN, BOB, EVE], HALL: [ANN, BOB, CEM, EVE]}
    async with nodes(redis, "n1") as [node]:
        await node.comes(ANN, BOB)
        stays, goes, knows = Watcher(EVE), Watcher(BOB), Watcher(CEM)
        await node.look(stays, (), [ROOM, HALL])
        await node.look(goes, [ANN], [ROOM, HALL])
        await node.look(knows, [BOB], [ROOM])
        for room in (ROOM, HALL):
            redis.store.rooms[room].remove(BOB)
            node.presence.departed(BOB, room)
        assert stays.told == [(BOB, False)]
        assert sorted(goes.told) == [(BOB, False), (EVE, False)]
        assert knows.told == [], "who was named is still watched"
        stays.told.clear()
        goes.told.clear()
        await node.comes(EVE)
        await choose(node, BOB, text="bye")
        await choose(node, ANN, text="hello")
        await asyncio.sleep(3)
        assert {user for user, _ in stays.told} == {EVE, ANN}
        assert {user for user, _ in goes.told} == {ANN}
        assert goes.counts == [(HALL, 2)]
        assert {user for user, _ in knows.told} == {BOB, EVE, ANN}


# -- what nobody expected -------------------------------------------------------------------------


@in_virtual_time
async def test_presence_goes_on_after_the_store_answered_with_something_else(redis: Redis) -> None:
    """As when the right on the table is missing for 15 s."""
    async with nodes(redis, "n1", "n2") as [first, second]:
        watcher, _ = await first.watch(ANN, BOB, CEM)
        redis.store.fails = ValueError
        await second.comes(ANN)
        await asyncio.sleep(15)
        assert (ANN, True) in watcher.told, "shown without what the store knows"
        assert first.loops.troubles() == {"presence.choices": "fails (ValueError)"}
        redis.store.fails = None
        await second.comes(BOB)
        redis.store.settings[CEM] = PresenceSetting(Choice.DND, version=1)
        await second.comes(CEM)
        await asyncio.sleep(15)
        assert {view.user: view.status for view in watcher.views} == {ANN: Status.ONLINE, BOB: Status.ONLINE, CEM: Status.DND}
        assert first.loops.troubles() == second.loops.troubles() == {}


@in_virtual_time
async def test_presence_goes_on_after_redis_answered_with_something_else(redis: Redis) -> None:
    async with nodes(redis, "n1", "n2") as [first, second]:
        watcher, _ = await first.watch(ANN, BOB)
        first.lease.fails = second.lease.fails = UnicodeDecodeError("utf-8", b"", 0, 1, "")
        await second.comes(ANN)
        await asyncio.sleep(60)
        assert watcher.told == [(ANN, True)], "changes go over the bus meanwhile"
        assert set(second.loops.troubles()) == {"presence.tell", "presence.find"}
        first.lease.fails = second.lease.fails = None
        await second.comes(BOB)
        await asyncio.sleep(2 * RENEW_S)
        assert watcher.told == [(ANN, True), (BOB, True)]
        assert redis.leases["n2"][1].keys() == {ANN, BOB}, "written anew"
        assert second.loops.troubles() == {}


@in_virtual_time
async def test_a_forged_lease_shows_nobody_and_the_others_are_read(redis: Redis) -> None:
    async with nodes(redis, "n1", "n2") as [_, second]:
        await second.comes(ANN)
        await asyncio.sleep(1)
        redis.leases["a-forged-one"] = 1, {BOB: PLAIN}, now_s() + 1000
        async with nodes(redis, "n3") as [third]:
            watcher, known = await third.watch(ANN, BOB)
            await asyncio.sleep(2 * RENEW_S)
            assert known == [(ANN, True), (BOB, False)]
            assert watcher.told == []
            assert third.loops.troubles() == {}


@in_virtual_time
async def test_of_a_node_of_the_release_before_those_are_known_who_change(redis: Redis) -> None:
    """Its lease is not sealed, and not read."""

    def tells(version: int, joined: list[UserId], left: list[UserId]) -> None:
        first.presence.received(msgspec.json.encode(["old", version, joined, left]))

    async with nodes(redis, "n1") as [first]:
        watcher, _ = await first.watch(ANN, BOB, CEM)
        tells(7, [ANN], [])
        await asyncio.sleep(2)
        tells(9, [BOB], [])  # 8 was lost
        await asyncio.sleep(2)
        tells(10, [], [ANN])
        await asyncio.sleep(2)
        assert watcher.told == [(ANN, True), (BOB, True), (ANN, False)]
        await asyncio.sleep(LEASE_S)
        assert watcher.told[-1] == (BOB, False), "not heard any more"


@in_virtual_time
async def test_what_newer_nodes_say_of_users_is_taken_as_far_as_it_is_known(redis: Redis) -> None:
    async with nodes(redis, "n1") as [first]:
        watcher, _ = await first.watch(ANN, BOB, CEM)
        entries = {ANN: ["x.future", False, "in a call", None, 4, "appended"], BOB: {"of": "another shape"}}
        change = ["newer", 1, [ANN, BOB, CEM], [], False, entries, {}, True, "appended", 7]
        first.presence.received(msgspec.json.encode(["newer", 0, [], [], False, {}, {}, True]))
        redis.leases["newer"] = 0, {}, now_s() + LEASE_S
        await asyncio.sleep(1)
        first.presence.received(msgspec.json.encode(change))
        await asyncio.sleep(2)
        assert watcher.told == [(ANN, True), (BOB, True), (CEM, True)]
        assert [view.text for view in watcher.views] == ["in a call", "", ""]
        assert [call for call in first.lease.calls if call == "read newer"] == ["read newer"], "once, before the change"
        assert first.loops.troubles() == {}


@in_virtual_time
async def test_a_choice_of_a_newer_release_is_kept_and_hides_on_this_one(redis: Redis) -> None:
    redis.store.settings[ANN] = PresenceSetting("x.future", "secret", None, 3)
    async with nodes(redis, "n1", "n2") as [first, other]:
        await first.comes(ANN, BOB)
        await asyncio.sleep(1)
        assert [(await other.sees(user)).status for user in (ANN, BOB)] == [Status.OFFLINE, Status.ONLINE]
        assert await first.presence.setting(ANN) == PresenceSetting("x.future", "secret", None, 3)
        told = await first.presence.choose(ANN, None, "else", None)
        assert (told.choice, redis.store.settings[ANN].choice) == ("x.future", "x.future"), "what is not changed stays"
        await first.presence.choose(ANN, Choice.ONLINE, None, None)
        await asyncio.sleep(1)
        assert (await other.sees(ANN)).status is Status.ONLINE
        assert first.loops.troubles() == {}


@in_virtual_time
async def test_a_lease_is_written_anew_when_another_key_seals(redis: Redis) -> None:
    async with nodes(redis, "n1") as [node]:
        await node.comes(ANN)
        await asyncio.sleep(1)
        node.lease.calls.clear()
        node.lease.is_stale = True
        await asyncio.sleep(RENEW_S + 1)
        assert "rewrite" in node.lease.calls


@in_virtual_time
async def test_a_node_that_is_back_alone_stores_when_those_were_last_seen_whom_it_lost(redis: Redis) -> None:
    """All nodes were killed: nobody who lives knows who was there."""
    await asyncio.sleep(100)
    killed_s = now_s()
    redis.leases["killed"] = 3, {ANN: PLAIN, BOB: PLAIN}, killed_s + LEASE_S
    await asyncio.sleep(600)
    async with nodes(redis, "n1") as [node]:
        await node.comes(BOB)
        await asyncio.sleep(2 * RENEW_S)
        assert redis.store.last_seen_s == {ANN: killed_s, BOB: killed_s}
        assert "killed" not in redis.leases
