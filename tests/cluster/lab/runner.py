"""Runs one scenario: people, load, faults, and then the check of everything that was written down."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import math
import pathlib
import random
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec

from tests.cluster.lab import checker, figures
from tests.cluster.lab.checker import Violation
from tests.cluster.lab.cluster import Cluster
from tests.cluster.lab.figures import Bucket
from tests.cluster.lab.load import Person, Plan
from tests.cluster.lab.record import Period, Record, Revoked

SETTLE_S = 45.0
"""What sends in doubt may need to come to an end when the fault is over."""
CATCH_UP_S = 30.0
ALWAYS = {"acked_lost": 0.0, "doubled": 0.0, "ready_again_s": 10.0}
"""Limits of every scenario."""


class LoadError(Exception):
    """The load could not do what it was told."""


@dataclass(frozen=True)
class Size:
    """How much of everything. `long` scenarios last as long as the promises speak of; short ones fit into `make test`."""

    connections: int = 60
    rate: float = 60.0
    room: int = 6
    long: bool = False


@dataclass(frozen=True)
class Scenario:
    """A fault, or several.

    Args:
        name, title: For the report.
        act: Does the harm, and mends it.
        limits: The most that a figure may be, by name.
        felt: The least that a figure has to be: less means that the fault was none.
        fronts: Whether clients reach the nodes over proxies.
        rate: Messages a second, as a share of the size's.
        room: Members of a room, where the scenario needs its own number.
        connections: How many there are at most.
        settings: Of nodes of its own, where it needs other ones.
    """

    name: str
    title: str
    act: Callable[[Run], Awaitable[None]]
    limits: dict[str, float] = field(default_factory=dict)
    felt: dict[str, float] = field(default_factory=dict)
    fronts: bool = False
    rate: float = 1.0
    room: int = 0
    connections: int = 1_000_000
    settings: dict[str, int] = field(default_factory=dict)


@dataclass
class Result:
    """What a run came to."""

    scenario: Scenario
    size: Size
    seed: int
    violations: list[Violation]
    figures: dict[str, float]
    periods: list[Period]
    buckets: list[Bucket]
    started_s: float

    @property
    def limits(self) -> dict[str, float]:
        """The most that each figure may be."""
        return ALWAYS | self.scenario.limits

    @property
    def over(self) -> dict[str, float]:
        """The figures that are not as they should be; NaN: there was nothing to measure, which is no success."""
        limits = self.limits
        measured = {name: self.figures.get(name, math.nan) for name in limits}
        over = {name: value for name, value in measured.items() if not value <= limits[name]}
        felt = {name: self.figures.get(name, 0.0) for name in self.scenario.felt}
        return over | {name: value for name, value in felt.items() if value < self.scenario.felt[name]}


class Load:
    """The load's process.

    Args:
        path: Where it writes its record.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[None] | None = None
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._numbers = itertools.count()

    async def start(self, plan: Plan) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.cluster.lab.load", str(self._path),
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=1 << 26,
        )  # fmt: skip
        self._write(msgspec.json.encode(plan))
        self._reading = asyncio.create_task(self._read())

    def _write(self, line: bytes) -> None:
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(line + b"\n")

    async def _read(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        async for line in self._process.stdout:
            answer = msgspec.json.decode(line)
            future = self._answers.pop(answer.pop("number"), None)
            if future is not None and not future.done():
                future.set_result(answer)
        for future in self._answers.values():
            if not future.done():
                future.set_exception(LoadError("the load has ended"))

    async def do(self, order: str, *, patience_s: float = 150, **arguments: Any) -> dict[str, Any]:
        """Give an order and return its answer."""
        number = next(self._numbers)
        future = self._answers[number] = asyncio.get_running_loop().create_future()
        self._write(msgspec.json.encode({"number": number, "do": order, **arguments}))
        answer: dict[str, Any] = await asyncio.wait_for(future, patience_s)
        if "error" in answer:
            raise LoadError(f"{order}: {answer['error']}")
        return answer

    async def record(self) -> Record:
        """Wait for its end and read what it wrote."""
        assert self._process is not None and self._reading is not None
        if await asyncio.wait_for(self._process.wait(), 60):
            raise LoadError("the load failed")
        await self._reading
        return await asyncio.to_thread(lambda: msgspec.msgpack.decode(self._path.read_bytes(), type=Record))

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()
        if self._reading is not None:
            self._reading.cancel()


class Run:
    """A scenario under way.

    Attributes:
        notes: Figures that the scenario measures itself.
    """

    def __init__(self, cluster: Cluster, load: Load, size: Size, seed: int) -> None:
        self.cluster = cluster
        self.load = load
        self.size = size
        self.random = random.Random(seed)
        self.people: list[Person] = []
        self.rooms: list[str] = []
        self.periods: list[Period] = []
        self.revoked: list[Revoked] = []
        self.notes: dict[str, float] = {}

    @contextlib.asynccontextmanager
    async def fault(self, name: str) -> AsyncIterator[None]:
        """Write down when a fault lasts."""
        began_s = time.monotonic()
        try:
            yield
        finally:
            self.periods.append(Period(name, began_s, time.monotonic()))

    async def last(self, long_s: float, short_s: float) -> None:
        """Let things go on: faults are about time."""
        await asyncio.sleep(long_s if self.size.long else short_s)

    def note(self, name: str, value: float) -> None:
        """Write down a figure; of several the largest counts."""
        self.notes[name] = max(value, self.notes.get(name, value))

    def owner(self, room: str) -> Person:
        return next(person for person in self.people if room in person.rooms)

    def members(self, room: str) -> list[Person]:
        """The members of a room, its owner first."""
        return [person for person in self.people if room in person.rooms]


async def run(cluster: Cluster, scenario: Scenario, size: Size, seed: int) -> Result:
    """Run a scenario on a cluster that is well, and leave it well."""
    await cluster.ready()
    size = dataclasses.replace(size, connections=min(size.connections, scenario.connections))
    with tempfile.TemporaryDirectory(prefix="roomwire-lab-") as folder:
        load = Load(pathlib.Path(folder) / "record")
        under_way = Run(cluster, load, size, seed)
        room = scenario.room or size.room
        rooms_of = [list(range(at, min(at + room, size.connections))) for at in range(0, size.connections, room)]
        under_way.people, under_way.rooms = await cluster.populate(size.connections, rooms_of)
        try:
            await load.start(Plan(seed, cluster.front_urls if scenario.fronts else cluster.urls, under_way.people))
            return await _measured(under_way, scenario, seed)
        finally:
            await load.kill()
            cluster.heal()


async def _measured(under_way: Run, scenario: Scenario, seed: int) -> Result:
    cluster, load, size = under_way.cluster, under_way.load, under_way.size
    await load.do("enter", within_s=120)
    if scenario.rate:
        await load.do("write", rate=size.rate * scenario.rate)
    await under_way.last(4, 1)
    await scenario.act(under_way)
    cluster.heal()
    under_way.note("ready_again_s", await cluster.ready(60))
    await under_way.last(6, 1)
    settled = await load.do("settle", within_s=SETTLE_S)
    heads = await cluster.heads(under_way.rooms)
    await load.do("finish", heads=heads, within_s=CATCH_UP_S)
    record = await load.record()
    stored = await cluster.stored(under_way.rooms)
    # On a thread: the proxies run in this loop, and nodes are waiting behind them.
    violations = await asyncio.to_thread(checker.check, record, stored, under_way.revoked)
    if settled["unfinished"]:
        violations.append(Violation("stuck", f"{settled['unfinished']} sends came to no end in {SETTLE_S:.0f} s"))
    found = await asyncio.to_thread(figures.figures, record, under_way.periods)
    cut = await asyncio.to_thread(lambda: figures.buckets(record, figures.deliveries(record)))
    kinds = [violation.kind for violation in violations]
    found |= under_way.notes | {"acked_lost": kinds.count("lost"), "doubled": kinds.count("doubled")}
    return Result(scenario, size, seed, violations, found, under_way.periods, cut, record.started_s)
