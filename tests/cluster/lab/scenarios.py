"""The faults. Each does its harm under load and mends it; the runner checks the rest."""

from __future__ import annotations

import asyncio
import errno
import os
import pathlib
import signal
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import msgspec
import psutil
from redis import Redis

from tests.cluster.lab import clock
from tests.cluster.lab.attacks import ATTACKS, Order
from tests.cluster.lab.proxy import BOTH, Way
from tests.cluster.lab.record import Revoked
from tests.cluster.lab.runner import Run, Scenario

if TYPE_CHECKING:
    from collections.abc import Iterable

RESUME = {"resume_p99_s": 10.0}
LOSSES = {"lost_connections": 1.0}
ANSWERS = {"answer_max_s": 6.0}  # 5 s are promised; the rest is the way there and back on a busy machine
AWAY = {"cross_p99_during_s": 2.5, "cross_p99_after_3s_s": 0.1}


async def nothing(run: Run) -> None:
    await run.last(15, 2)


async def kill_nodes(run: Run) -> None:
    """Kill one node after the other, each amid the coming back from the one before."""
    for turn in range(6 if run.size.long else 2):
        index = turn % run.cluster.count
        async with run.fault(f"kill -9 n{index}"):
            await run.cluster.kill(index)
            await run.last(4, 0.5)
            await run.cluster.start(index)
        await run.last(3, 0.5)


async def redis_killed(run: Run, long_s: float, short_s: float) -> None:
    async with run.fault("Redis dead"):
        await run.cluster.kill_engine(run.cluster.redis)
        await run.last(long_s, short_s)
        await run.cluster.start_redis()
    await run.last(8, 1)


async def redis_killed_for_5_s(run: Run) -> None:
    await redis_killed(run, 5, 2)


async def redis_killed_for_60_s(run: Run) -> None:
    await redis_killed(run, 60, 5)


async def redis_empty(run: Run) -> None:
    for _ in range(3 if run.size.long else 1):
        async with run.fault("Redis restarted empty"):
            await run.cluster.kill_engine(run.cluster.redis)
            await run.cluster.start_redis()
        await run.last(3, 1)


async def pubsub_cut(run: Run) -> None:
    """CLIENT KILL TYPE pubsub, as an operator or a full output buffer does."""
    with Redis.from_url(run.cluster.redis.url) as redis:
        for _ in range(8 if run.size.long else 3):
            async with run.fault("CLIENT KILL TYPE pubsub"):
                await asyncio.to_thread(redis.execute_command, "CLIENT", "KILL", "TYPE", "pubsub")
            await run.last(1, 0.3)


async def redis_hangs(run: Run) -> None:
    process = run.cluster.redis._process
    assert process is not None
    async with run.fault("Redis hangs (SIGSTOP)"):
        os.kill(process.pid, signal.SIGSTOP)
        try:
            await run.last(8, 3)
        finally:
            os.kill(process.pid, signal.SIGCONT)
    await run.last(8, 1)


async def partition(run: Run, links: str, ways: Iterable[tuple[Way, ...]], long_s: float, short_s: float) -> None:
    """Cut node 0 off on one kind of link, for each set of directions in turn."""
    link = {"Redis": run.cluster.to_redis, "PostgreSQL": run.cluster.to_postgres, "the balancer": run.cluster.fronts}[links][0]
    for directions in ways:
        name = "both ways" if len(directions) == 2 else f"one way ({directions[0].value})"
        async with run.fault(f"n0 cut off from {links}, {name}"):
            link.hold(directions)
            await run.last(long_s, short_s)
            link.release()
        await run.last(8, 2)


ALL_WAYS = ((Way.OUT,), (Way.BACK,), BOTH)


async def cut_off_from_redis(run: Run) -> None:
    await partition(run, "Redis", ALL_WAYS if run.size.long else ((Way.BACK,),), 10, 3)


async def cut_off_from_postgres(run: Run) -> None:
    await partition(run, "PostgreSQL", ALL_WAYS if run.size.long else ((Way.BACK,),), 10, 3)


async def cut_off_from_balancer(run: Run) -> None:
    await partition(run, "the balancer", ALL_WAYS if run.size.long else (BOTH,), 10, 2)
    async with run.fault("n0 refused by the balancer, open connections reset"):
        run.cluster.fronts[0].refuse()
        run.cluster.fronts[0].cut()
        await run.last(6, 2)
        await run.cluster.fronts[0].accept()


async def truncated(run: Run) -> None:
    """End connections amid a frame: of clients, of the bus and of the database."""
    links = [*run.cluster.fronts, *run.cluster.to_redis, *run.cluster.to_postgres]
    async with run.fault("cut amid frames"):
        for _ in range(60 if run.size.long else 18):
            run.random.choice(links).truncate_next(run.random.randrange(1, 40))
            await run.last(0.25, 0.1)


async def latency(run: Run) -> None:
    async with run.fault("100 ms to Redis and to PostgreSQL"):
        for link in (*run.cluster.to_redis, *run.cluster.to_postgres):
            link.latency_s = 0.1
        await run.last(10, 2)
        run.cluster.heal()


async def postgres_killed(run: Run) -> None:
    for _ in range(2 if run.size.long else 1):
        async with run.fault("PostgreSQL kill -9"):
            await run.cluster.kill_engine(run.cluster.postgres)
            await run.last(6, 1)
            await run.cluster.start_postgres()
        run.note("ready_again_s", await run.cluster.ready(30))
        await run.last(3, 0.5)


async def half_open(run: Run) -> None:
    """Clients that go on elsewhere without a word: the server's heartbeat finds out."""
    count = max(5, run.size.connections // 20)
    before = await run.cluster.metric(r'roomwire_closed_total\{reason="ping_timeout"\}')
    async with run.fault(f"{count} half-open clients"):
        began_s = time.monotonic()
        await run.load.do("vanish", count=count)
        async with asyncio.timeout(90):
            while await run.cluster.metric(r'roomwire_closed_total\{reason="ping_timeout"\}') < before + count:
                await asyncio.sleep(0.1)
        run.note("noticed_s", time.monotonic() - began_s)


async def stopped_readers(run: Run) -> None:
    """Members of a busy room that read no more: closed, while the others feel nothing; they come back and resume."""
    room = run.rooms[0]
    before = await run.cluster.metric(r'roomwire_closed_total\{reason="slow_reader"\}')
    count = max(2, len(run.members(room)) // 3)
    async with run.fault(f"{count} stopped readers"):
        began_s = time.monotonic()
        await run.load.do("stop_reading", count=count, room=room)
        await run.load.do("write", rate=100, room=room, size=7000)
        async with asyncio.timeout(90):
            while await run.cluster.metric(r'roomwire_closed_total\{reason="slow_reader"\}') < before + count:
                await asyncio.sleep(0.1)
        run.note("closed_slow_s", time.monotonic() - began_s)
        await run.load.do("write", rate=run.size.rate)
    await run.load.do("read_on")


async def lost_acks(run: Run) -> None:
    async with run.fault("acks lost, retried on all nodes at once"):
        await run.load.do("lose_acks", count=2000 if run.size.long else 200)


async def slow_transactions(run: Run) -> None:
    """Fifty write in one room, whose row somebody else keeps locked again and again, also beyond lock_timeout."""
    room = run.rooms[0]
    await run.load.do("write", rate=run.size.rate, room=room)
    for held_s in (0.5, 1.0, 1.5, 3.0, 5.0, 0.5) if run.size.long else (0.5, 2.5):
        async with run.fault(f"row locked for {held_s} s"), run.cluster.database() as connection, connection.transaction():
            await connection.execute("SELECT 1 FROM rooms WHERE id = $1 FOR UPDATE", room)
            await asyncio.sleep(held_s)
        await run.last(1.5, 0.3)


async def storm(run: Run) -> None:
    for _ in range(2 if run.size.long else 1):
        async with run.fault("every connection reset at once"):
            await run.load.do("storm")
            async with asyncio.timeout(60):
                while (await run.load.do("seen"))["live"] < run.size.connections:
                    await asyncio.sleep(0.1)
        run.note("storm_back_s", run.periods[-1].ended_s - run.periods[-1].began_s)
        await run.last(3, 0.5)


async def clock_steps(run: Run) -> None:
    """A node whose clock goes an hour ahead, and one whose clock goes an hour back; their clients renew their tokens."""
    with tempfile.TemporaryDirectory(prefix="roomwire-lab-") as folder:
        path = pathlib.Path(folder) / "offset"
        clock.write_offset(path, 0)
        os.environ[clock.FILE] = str(path)
        try:
            await run.cluster.kill(0)
            await run.cluster.start(0, "tests.cluster.lab.clock")
            await run.last(6, 2)
            for hours in (1, 0, -1, 0):
                async with run.fault(f"clock of n0 {hours:+d} h"):
                    clock.write_offset(path, hours * 3600)
                    await run.last(6, 2)
        finally:
            del os.environ[clock.FILE]
            await run.cluster.kill(0)
            await run.cluster.start(0)


async def cancellations(run: Run) -> None:
    count = 10_000 if run.size.long else 300
    async with run.fault(f"{count} cancellations"):
        answer = await run.load.do("cancel", patience_s=300, count=count)
    run.note("broken_answers", len(answer["broken"]))


async def disk_full(run: Run) -> None:
    """No room for one more row of the log: sends fail, and go through as soon as there is room again."""
    async with run.cluster.small_disk() as ballast:
        await run.last(3, 1)
        refused = r'roomwire_requests_total\{event="message.send",outcome="unavailable"\}'
        before = await run.cluster.metric(refused)
        async with run.fault("disk full"):
            await asyncio.to_thread(_fill, ballast)
            await run.last(12, 4)
            run.note("refused", await run.cluster.metric(refused) - before)
            ballast.unlink()
        run.note("ready_again_s", await run.cluster.ready(30))
        await run.last(5, 1)


def _fill(ballast: pathlib.Path) -> None:
    """Write until there is no room left."""
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


async def rolling_restart(run: Run) -> None:
    """What a deployment does: SIGTERM, wait for the end, start, wait until ready, the next."""
    for index in range(run.cluster.count):
        async with run.fault(f"SIGTERM n{index}"):
            began_s = time.monotonic()
            status = await run.cluster.servers[index].end(signal.SIGTERM, within_s=40)
            run.note("drain_s", time.monotonic() - began_s)
            run.note("exit_status", status)
            await run.cluster.start(index)
        await run.cluster.ready()
        await run.last(2, 0.3)


async def revocations(run: Run) -> None:
    """Removals from rooms and log-outs while everybody writes; then the same while Redis is dead."""
    rooms = iter(run.rooms)
    await revoke(run, next(rooms), next(rooms), bound_s=1.0)
    if run.size.long:
        async with run.fault("Redis dead"):
            await run.cluster.kill_engine(run.cluster.redis)
            await run.last(3, 0)
            await revoke(run, next(rooms), next(rooms), bound_s=30.0)
            await run.last(32, 0)
            await run.cluster.start_redis()


async def revoke(run: Run, first: str, second: str, bound_s: float) -> None:
    """Remove a member of the first room through n1, and log one of the second out through n2."""
    async with run.fault("removed, logged out"):
        owner, removed, logged_out = run.owner(first), run.members(first)[1], run.members(second)[1]
        assert await run.cluster.request(owner, "DELETE", f"/rooms/{first}/members/{removed.user}", index=1) == 204
        run.revoked.append(Revoked(removed.user, first, time.monotonic(), bound_s, "removed from a room"))
        assert await run.cluster.request(logged_out, "POST", "/auth/logout", index=2) == 204
        run.revoked.append(Revoked(logged_out.user, "", time.monotonic(), bound_s, "logged out"))
        await run.last(3, 2)


async def attacked(run: Run) -> None:
    """Attack all nodes as a client in every way that there is, for five minutes; see what is left of it."""
    processes = [psutil.Process(server.pid) for server in run.cluster.servers]
    before = [(process.memory_info().rss, process.num_fds()) for process in processes]
    lines = 10 if run.size.long else 4
    people, rooms = await run.cluster.populate(lines, [range(lines)])
    each_s = 300 / len(ATTACKS) if run.size.long else 0.5
    order = Order(run.cluster.ports, [one.token for one in people], rooms[0], list(ATTACKS), each_s, lines, addresses=20)
    async with run.fault("attacked"):
        attacker = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.cluster.lab.attacks", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
        )
        try:
            await attacker.communicate(msgspec.json.encode(order))
        finally:
            if attacker.returncode is None:
                attacker.kill()
                await attacker.wait()
    await asyncio.sleep(20)  # floods of clients that have gone are read to their end
    for process, (rss_bytes, files) in zip(processes, before, strict=True):
        run.note("memory_growth_mib", (process.memory_info().rss - rss_bytes) / (1 << 20))
        run.note("descriptors_left", process.num_fds() - files)


ATTACKED = {"cross_p99_during_s": 0.1, "answer_p99_s": 0.1, "memory_growth_mib": 200.0, "descriptors_left": 12.0}

DEFAULTS = {
    "send_rate": 50,
    "send_burst": 200,
    "request_rate": 100,
    "request_burst": 400,
    "connections_per_user": 20,
    "connections_per_address": 1000,
}
"""What holds where nobody set anything, but for the address that all honest clients come from here."""

ALL = [
    Scenario("no_faults", "no faults", nothing, {"cross_p99_before_s": 0.025, "answer_max_s": 1.0}),
    Scenario("node_killed", "a node is killed with -9, again and again", kill_nodes, RESUME, LOSSES),
    Scenario("redis_5_s", "Redis is dead for 5 s", redis_killed_for_5_s, AWAY),
    Scenario("redis_60_s", "Redis is dead for 60 s", redis_killed_for_60_s, AWAY),
    Scenario("redis_empty", "Redis is killed and comes back empty", redis_empty, AWAY),
    Scenario("pubsub_cut", "Redis cuts its pub/sub clients", pubsub_cut, AWAY),
    Scenario("redis_hangs", "Redis hangs", redis_hangs, AWAY),
    Scenario("node_without_redis", "a node is cut off from Redis", cut_off_from_redis, AWAY),
    Scenario("postgres_killed", "PostgreSQL is killed with -9", postgres_killed, ANSWERS),
    Scenario("node_without_postgres", "a node is cut off from PostgreSQL", cut_off_from_postgres, ANSWERS),
    Scenario("node_without_balancer", "a node is cut off from the balancer", cut_off_from_balancer, RESUME, LOSSES, fronts=True),
    Scenario("truncated", "connections end amid frames", truncated, ANSWERS, LOSSES, fronts=True),
    Scenario("latency", "100 ms more on the way to Redis and PostgreSQL", latency, {"cross_p99_during_s": 1.5}),
    Scenario("half_open", "clients vanish without a word", half_open, {"noticed_s": 45.5}),
    Scenario("stopped_readers", "clients stop reading", stopped_readers, {"cross_p99_during_s": 0.25}),
    Scenario("lost_acks", "acks are lost and retried on three nodes at once", lost_acks, ANSWERS),
    Scenario("slow_transactions", "fifty write in one room that is locked", slow_transactions, ANSWERS, room=50),
    Scenario("storm", "every client is cut off at once", storm, {"storm_back_s": 30.0}, LOSSES),
    Scenario("clock_steps", "a node's clock steps by an hour", clock_steps),
    Scenario("cancellations", "requests are cancelled", cancellations, {"broken_answers": 0.0}),
    Scenario("disk_full", "the disk under PostgreSQL is full", disk_full, ANSWERS, {"refused": 1.0}),
    Scenario(
        "rolling_restart",
        "every node is restarted",
        rolling_restart,
        {"drain_s": 25.0, "exit_status": 0.0, "failed": 0.0, **RESUME},
        LOSSES,
    ),
    Scenario("revocations", "removed and logged out", revocations),
    Scenario(
        "attacked",
        "clients attack in every way, for five minutes",
        attacked,
        ATTACKED,
        rate=0.25,
        connections=500,
        settings=DEFAULTS,
    ),
]
BY_NAME = {scenario.name: scenario for scenario in ALL}
