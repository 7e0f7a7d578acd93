"""Consumers of the log: each event has its effect once, whoever is killed, frozen, late or restored."""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from realtime import tasks
from realtime.log.consumer_store import ConsumerStore, Lag, Lost, Position, Shard, Span, events
from realtime.log.consumers import RENEW_S, Consumer, Consumers, Observer, Worker
from realtime.presence import last_seen
from realtime.runtime import Runtime
from realtime.store import epoch
from realtime.store.pool import Database
from tests.conftest import Nodes
from tests.integration.test_changes import append, build

if TYPE_CHECKING:
    import contextlib
    from collections.abc import AsyncIterator, Awaitable, Callable

    import aiohttp

    from realtime.store.connections import Connection
    from realtime.store.provision import Urls
    from tests.conftest import Engines

    Effect = Callable[[Connection, Span], Awaitable[None]]

LEASE_S = 60.0
EXPIRE = "UPDATE consumers SET held_until = clock_timestamp() - interval '1 s'"


@pytest.fixture
async def owner(own_database: Urls) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(own_database.owner)
    await connection.execute(
        "CREATE TABLE effects (n bigserial PRIMARY KEY, room uuid, seq bigint, node text);"
        "GRANT SELECT, INSERT ON effects TO roomwire_app; GRANT USAGE ON SEQUENCE effects_n_seq TO roomwire_app;"
    )
    yield connection
    await connection.close()


@pytest.fixture
async def database(own_database: Urls, owner: asyncpg.Connection[Any]) -> AsyncIterator[Database]:
    database = Database(own_database.application, size=8)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def store(database: Database) -> ConsumerStore:
    return ConsumerStore(database, LEASE_S)


class Clock:
    """Seconds that a test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def note(node: str) -> Effect:
    """Make an effect that counts: a second one of the same event shows."""

    async def effect(connection: Connection, span: Span) -> None:
        rows = [(event.room, event.seq, node) for event in await events(connection, span)]
        assert len(rows) == span.events
        await connection.executemany("INSERT INTO effects (room, seq, node) VALUES ($1, $2, $3)", rows)

    return effect


def worker(store: ConsumerStore, node: str, effect: Effect | None = None, clock: Clock | None = None, **more: Any) -> Worker:
    consumer = Consumer("noting", effect or note(node), is_woken=False, **more)
    return Worker(consumer, Shard("noting", 0, 1, node), store, Observer(), clock or Clock())


async def work(worker: Worker) -> None:
    await worker.round(lambda: None)


async def effects(owner: asyncpg.Connection[Any]) -> list[tuple[str, int]]:
    rows = await owner.fetch("SELECT room, seq FROM effects ORDER BY n")
    return [(str(row["room"]), row["seq"]) for row in rows]


async def position(owner: asyncpg.Connection[Any]) -> Position:
    row = await owner.fetchrow("SELECT position, room, seq FROM consumers WHERE name = 'noting' AND shard = 0")
    assert row is not None
    return Position(row["position"], str(row["room"]), row["seq"])


async def test_each_event_has_its_effect_once_while_many_write_and_nodes_come_and_go(
    own_database: Urls, owner: asyncpg.Connection[Any], store: ConsumerStore
) -> None:
    user, rooms = await build(owner, 10)
    await store.add("noting", 3)
    loops = tasks.Loops()
    names = iter(range(1000))

    async def node() -> Consumers:
        name = f"node{next(names)}"
        consumer = Consumer("noting", note(name), shards=3, every_s=0.005, at_once=7)
        consumers = Consumers(store, [consumer], name, Observer(), Runtime(loops))
        await consumers.open()
        return consumers

    async def write(seed: int) -> None:
        dice = random.Random(seed)
        connection = await asyncpg.connect(own_database.owner)
        try:
            for _ in range(30):
                transaction = connection.transaction()
                await transaction.start()
                for room in sorted(dice.sample(rooms, dice.randint(1, 3))):
                    await append(connection, room, user, dice.randint(1, 4))
                    await asyncio.sleep(dice.choice((0, 0, 0.002, 0.01)))
                await (transaction.rollback() if dice.random() < 0.15 else transaction.commit())
        finally:
            await connection.close()

    writing = asyncio.gather(*(write(seed) for seed in range(6)))
    nodes = [await node(), await node()]
    while not writing.done():
        await asyncio.sleep(0.1)
        await nodes.pop(0).close()
        nodes.append(await node())
    await writing
    async with asyncio.timeout(20):
        while True:
            heads = {str(row["id"]): row["head_seq"] for row in await owner.fetch("SELECT id, head_seq FROM rooms")}
            done = await effects(owner)
            if len(done) >= sum(heads.values()):
                break
            await owner.execute(EXPIRE)  # what a node that was stopped in a batch could not give back
            await asyncio.sleep(0.05)
    for one in nodes:
        await one.close()
    assert sorted(done) == sorted((room, seq) for room, head in heads.items() for seq in range(1, head + 1))
    used = await owner.fetchval("SELECT count(DISTINCT node) FROM effects")
    assert used > 1


async def test_of_two_nodes_one_works_and_the_other_takes_over_when_it_stops(
    owner: asyncpg.Connection[Any], store: ConsumerStore
) -> None:
    user, [room] = await build(owner, 1)
    clock = Clock()
    first, second = worker(store, "first", clock=clock), worker(store, "second", clock=clock)
    await work(first)
    await append(owner, room, user)
    await work(second)
    assert await effects(owner) == []
    await work(first)
    assert await effects(owner) == [(room, 1)]
    await append(owner, room, user)
    await store.release("first")
    await work(second)
    assert await effects(owner) == [(room, 1)], "it asks only now and then"
    clock.now_s += RENEW_S
    await work(second)
    await work(first)
    assert await effects(owner) == [(room, 1), (room, 2)]


async def test_a_holder_that_is_killed_in_a_batch_leaves_it_undone_and_another_one_does_it_once(
    own_database: Urls, owner: asyncpg.Connection[Any], store: ConsumerStore
) -> None:
    user, [room] = await build(owner, 1)
    doing = asyncio.Event()

    async def effect(connection: Connection, span: Span) -> None:
        await note("first")(connection, span)
        doing.set()
        await asyncio.sleep(60)

    other = Database(own_database.application, size=2)
    await other.open()
    first = worker(ConsumerStore(other, LEASE_S), "first", effect)
    try:
        await store.add("noting", 1)
        await append(owner, room, user, 3)
        working = asyncio.create_task(work(first))
        async with asyncio.timeout(5):
            await doing.wait()
        await work(worker(store, "another"))  # it does not wait for the row that is locked
        assert await effects(owner) == []
        working.cancel()
    finally:
        await other.close()
        await asyncio.gather(working, return_exceptions=True)
    async with asyncio.timeout(5):
        while await effects(owner) == []:
            await owner.execute(EXPIRE)
            await work(worker(store, "second"))
    assert await effects(owner) == [(room, 1), (room, 2), (room, 3)]
    assert await owner.fetchval("SELECT array_agg(DISTINCT node) FROM effects") == ["second"]


async def test_a_holder_that_was_frozen_past_its_lease_does_nothing_and_moves_nothing_back(
    owner: asyncpg.Connection[Any], store: ConsumerStore
) -> None:
    user, [room] = await build(owner, 1)
    frozen = Shard("noting", 0, 1, "frozen")
    await store.add("noting", 1)
    assert await store.take(frozen)
    await append(owner, room, user, 2)
    span = await store.look(frozen, 10)
    assert span is not None and span.events == 2
    await owner.execute(EXPIRE)  # it is frozen here
    await work(worker(store, "second"))
    await append(owner, room, user)
    await owner.execute(EXPIRE)
    await work(worker(store, "third"))
    reached = await position(owner)
    with pytest.raises(Lost):
        await store.apply(frozen, span, note("frozen"))
    with pytest.raises(Lost):
        await store.apply(frozen, span, None)
    assert await store.look(frozen, 10) is None
    assert await position(owner) == reached
    assert await effects(owner) == [(room, 1), (room, 2), (room, 3)]
    # Nor may it, if it holds the shard again and still means what it saw before.
    await owner.execute(EXPIRE)
    assert await store.take(frozen)
    with pytest.raises(Lost):
        await store.apply(frozen, span, note("frozen"))


async def test_what_cannot_be_worked_through_holds_up_what_follows_it_and_nothing_else(
    owner: asyncpg.Connection[Any], store: ConsumerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "PAUSE_S", (0.01, 0.05))
    user, [room] = await build(owner, 1)
    clock = Clock()
    failures: list[str] = []
    loops = tasks.Loops(failed=failures.append, clock=clock)
    broken = True

    async def effect(connection: Connection, span: Span) -> None:
        if broken and any(event.seq == 6 for event in await events(connection, span)):
            raise ValueError("this one")
        await note("node")(connection, span)

    async def count(connection: Connection, span: Span) -> None:
        await connection.execute("INSERT INTO effects (node, seq) VALUES ('other', $1)", span.events)

    consumers = Consumers(
        store,
        [Consumer("noting", effect, every_s=0.005, is_woken=False), Consumer("other", count, every_s=0.005, is_woken=False)],
        "node", Observer(), Runtime(loops),
    )  # fmt: skip
    await store.add("noting", 1)
    await store.add("other", 1)
    await append(owner, room, user, 10)
    await consumers.open()
    try:
        async with asyncio.timeout(10):
            while len(failures) < 5:
                await asyncio.sleep(0.01)
                clock.now_s += 0.1
        done = await owner.fetch("SELECT seq FROM effects WHERE node = 'node' ORDER BY n")
        assert [row["seq"] for row in done] == [1, 2, 3, 4, 5]
        assert await owner.fetchval("SELECT seq FROM effects WHERE node = 'other'") == 10
        clock.now_s += tasks.FAILING_S + 1
        assert loops.troubles() == {"consumers.noting": "fails (ValueError)"}
        assert set(failures) == {"consumers.noting"}
        broken = False
        async with asyncio.timeout(10):
            while len(await effects(owner)) < 11:
                await asyncio.sleep(0.01)
        assert loops.troubles() == {}
    finally:
        await consumers.close()


async def test_who_is_woken_works_at_once_and_who_is_not_finds_it_by_itself(
    owner: asyncpg.Connection[Any], store: ConsumerStore
) -> None:
    user, [room] = await build(owner, 1)

    async def latency_s(every_s: float, *, wake: bool) -> float:
        await owner.execute("TRUNCATE effects")
        loops = tasks.Loops()
        consumer = Consumer("noting", note("node"), every_s=every_s)
        consumers = Consumers(store, [consumer], "node", Observer(), Runtime(loops))
        await store.add("noting", 1)
        await consumers.open()
        try:
            await append(owner, room, user)
            began_s = time.monotonic()
            async with asyncio.timeout(5):
                while await effects(owner) == []:
                    if wake:
                        consumers.wake()
                    await asyncio.sleep(0.01)
            return time.monotonic() - began_s
        finally:
            await consumers.close()

    assert await latency_s(60.0, wake=True) < 2
    assert await latency_s(0.1, wake=False) < 2


async def test_a_message_on_one_node_wakes_the_consumers_of_another_one(
    own_database: Urls,
    running_engines: Engines,
    http: aiohttp.ClientSession,
    exits: contextlib.AsyncExitStack,
    owner: asyncpg.Connection[Any],
    store: ConsumerStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    patient = Consumer("noting", note("node"), every_s=60.0)
    await store.add("noting", 1)
    monkeypatch.setattr(last_seen, "CONSUMER", patient)
    nodes = Nodes(own_database, running_engines.redis, exits, http)
    first = await nodes.start()
    anna = await first.register()
    room = await anna.room("private")
    await anna.send(room)
    async with asyncio.timeout(5):
        while len(await effects(owner)) < 1:
            await asyncio.sleep(0.01)
    second = await nodes.start()
    socket = await anna.connect()  # on the node that holds the shard: it hears the room
    await socket.subscribe(room)
    await anna.at(second.url).send(room, "over there")
    async with asyncio.timeout(5):
        while len(await effects(owner)) < 2:
            await asyncio.sleep(0.01)
    await socket.close()


async def test_a_transaction_that_is_open_for_long_delays_consumers_and_the_lag_says_so(
    own_database: Urls, owner: asyncpg.Connection[Any], store: ConsumerStore
) -> None:
    user, [room] = await build(owner, 1)
    lags: list[Lag | None] = []
    clock = Clock()
    one = Worker(
        Consumer("noting", note("node"), is_woken=False), Shard("noting", 0, 1, "node"), store,
        Observer(lags=lambda _name, _shard, lag: lags.append(lag)), clock,
    )  # fmt: skip
    await work(one)
    other = await asyncpg.connect(own_database.owner)
    try:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SELECT pg_current_xact_id()")
        await append(owner, room, user, 4)
        await owner.execute("UPDATE events SET at = at - interval '90 s'")
        clock.now_s += 10
        await work(one)
        assert await effects(owner) == []
        assert lags[-1] is not None and lags[-1].events == 4 and 90 <= lags[-1].age_s < 120
        await transaction.commit()
    finally:
        await other.close()
    clock.now_s += 10
    await work(one)
    assert len(await effects(owner)) == 4
    assert lags[-1] == (0, 0)
    await owner.execute("UPDATE consumers SET holder = 'another'")
    await work(one)
    assert lags[-1] is None


async def test_a_transaction_with_more_events_than_a_batch_is_worked_through_in_parts(
    owner: asyncpg.Connection[Any], store: ConsumerStore
) -> None:
    user, rooms = await build(owner, 3)
    await store.add("noting", 1)
    async with owner.transaction():
        for room in rooms:
            await append(owner, room, user, 25)
    await work(worker(store, "node", at_once=10))
    assert await effects(owner) == [(room, seq) for room in rooms for seq in range(1, 26)]


async def test_after_a_restore_into_another_postgresql_the_rest_is_done_and_nothing_lies_in_the_future(
    own_database: Urls, owner: asyncpg.Connection[Any], store: ConsumerStore
) -> None:
    user, [room, other] = await build(owner, 2)
    await store.add("noting", 1)
    await append(owner, room, user, 3)
    one = worker(store, "node")
    await work(one)
    await append(owner, other, user, 2)
    # As a dump of a PostgreSQL that had counted further: all stamps, and the position between them.
    far = 10**12
    tables = "events", "members", "users", "presence", "departures"
    for table in tables:
        await owner.execute(f"UPDATE {table} SET xid = (xid::text::bigint + {far})::text::xid8")
    await owner.execute(f"UPDATE consumers SET position = (position::text::bigint + {far})::text::xid8")
    await epoch.renew(owner)
    for table in tables:
        assert not await owner.fetchval(f"SELECT EXISTS (SELECT FROM {table} WHERE xid > pg_current_xact_id())")
    await append(owner, room, user)
    await work(worker(store, "after the restore"))
    assert sorted(await effects(owner)) == sorted([(room, 1), (room, 2), (room, 3), (room, 4), (other, 1), (other, 2)])
    indexes = await owner.fetch("SELECT indexdef FROM pg_indexes WHERE tablename = 'events' AND indexdef LIKE '%(xid)%'")
    assert len(indexes) == 1
    application = await asyncpg.connect(own_database.application)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await application.execute("SELECT bring_back_stamps()")
    finally:
        await application.close()


async def test_who_was_killed_together_with_everything_is_last_seen_when_they_last_wrote(
    own_database: Urls,
    running_engines: Engines,
    http: aiohttp.ClientSession,
    exits: contextlib.AsyncExitStack,
    owner: asyncpg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(last_seen, "CONSUMER", last_seen.CONSUMER._replace(every_s=0.05))
    nodes = Nodes(own_database, running_engines.redis, exits, http)
    api = await nodes.start()
    anna, hidden, silent = await api.register(), await api.register(), await api.register()
    room = await anna.room("public", members=[hidden, silent])
    await owner.execute(
        "INSERT INTO presence (user_id, status, invisible_since, last_seen_at) "
        "VALUES ($1, 'invisible', now() - interval '1 day', now() - interval '2 days')", hidden.id,
    )  # fmt: skip
    for person in (anna, hidden):
        await person.send(room)
    async with asyncio.timeout(10):
        while True:
            rows = await owner.fetch(
                "SELECT user_id, last_seen_at > now() - interval '1 minute' AS is_now, "
                "last_seen_at = invisible_since AS is_hidden "
                "FROM presence"
            )
            found = {str(row["user_id"]): (row["is_now"], row["is_hidden"]) for row in rows}
            if found.get(anna.id) and found[hidden.id][1]:
                break
            await asyncio.sleep(0.02)
    assert found == {anna.id: (True, None), hidden.id: (False, True)}, "and who was silent is not invented"


async def test_a_new_consumer_begins_with_what_commits_from_now_on(owner: asyncpg.Connection[Any], store: ConsumerStore) -> None:
    user, [room] = await build(owner, 1)
    await append(owner, room, user, 3)
    await store.add("noting", 1)
    await append(owner, room, user)
    await work(worker(store, "node"))
    await store.add("noting", 1)
    await work(worker(store, "node"))
    assert await effects(owner) == [(room, 4)]


async def test_what_is_read_does_not_grow_with_what_is_left(owner: asyncpg.Connection[Any], store: ConsumerStore) -> None:
    """The plan was made over an empty table, and statistics do not come for a minute."""
    user, [room] = await build(owner, 1)
    shard = Shard("noting", 0, 1, "node")
    await store.add("noting", 1)
    await store.take(shard)
    for _ in range(6):
        assert await store.look(shard, 50) is not None
        assert await store.lag(shard) == (0, 0)
    await owner.execute("ALTER TABLE events SET (autovacuum_enabled = off)")
    for _ in range(100):
        await append(owner, room, user, 200)

    async def read_rows() -> int:
        await owner.execute("SELECT pg_stat_clear_snapshot()")
        read: int = await owner.fetchval(
            "SELECT seq_tup_read + coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relname = 'events'"
        )
        return read

    async with asyncio.timeout(10):
        while await owner.fetchval("SELECT n_tup_ins FROM pg_stat_user_tables WHERE relname = 'events'") < 20_000:
            await owner.execute("SELECT pg_stat_force_next_flush()")
    before = await read_rows()
    await store._database.execute("SELECT pg_stat_force_next_flush()")
    span = await store.look(shard, 50)
    assert span is not None and span.events == 50
    await store._database.execute("SELECT pg_stat_force_next_flush()")  # the connection that was lent last is lent again
    assert 0 < await read_rows() - before < 1000


async def test_a_node_closes_although_postgresql_is_away_and_its_shards_are_free_when_their_leases_end(
    owner: asyncpg.Connection[Any], own_database: Urls
) -> None:
    await build(owner, 1)
    gone = Database(own_database.application, size=2)
    await gone.open()
    consumers = Consumers(
        ConsumerStore(gone, LEASE_S), [Consumer("noting", note("node"), every_s=0.01)], "node", Observer(), Runtime(tasks.Loops())
    )
    await consumers.open()
    async with asyncio.timeout(5):
        while await owner.fetchval("SELECT holder FROM consumers WHERE name = 'noting'") is None:
            await asyncio.sleep(0.01)
    await gone.close()
    await consumers.close()
    assert await owner.fetchval("SELECT holder FROM consumers WHERE name = 'noting'") == "node"
