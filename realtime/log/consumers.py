"""Consumers of the log: what is done with events behind those who write them.

The writer calls none of them. A node holds a shard of a consumer by a lease, and works through the log from where the shard was
left, whoever worked before. The effect of some events and the position behind them are stored in one transaction, so each
event has its effect once; what an effect leaves for the world outside (an address to be called) it writes down, and whoever
does that does it at least once.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, NamedTuple

from realtime import tasks
from realtime.errors import Unavailable
from realtime.log.consumer_store import Lost, Shard

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from realtime.log.consumer_store import ConsumerStore, Lag, Span
    from realtime.runtime import Runtime
    from realtime.store.connections import Connection

logger = logging.getLogger(__name__)

LEASE_S = 15.0
"""How long a shard stays with a node that does not move it."""
RENEW_S = LEASE_S / 3
"""How often an idle shard is moved, and how often one that another node holds is asked for."""
POLL_S = 0.5
SETTLE_S = 0.02
"""How long one who was woken waits for what commits together with it."""
LAG_S = 5.0
AT_ONCE = 1_000


class Consumer(NamedTuple):
    """What is done with the events of all rooms.

    Args:
        name: Unique, and for ever the same: its position is kept by it.
        effect: Called with a connection in a transaction, and the events to work through, which `consumer_store.events` reads.
            It may be called again for the same ones if the transaction fails, and for fewer of them.
        shards: Rooms are dealt out to so many; the number never changes under one name.
        every_s: How often the log is looked at.
        is_woken: Whether it is looked at after each commit too.
        at_once: Events worked through in one transaction, which has no more time than one statement.
    """

    name: str
    effect: Callable[[Connection, Span], Awaitable[None]]
    shards: int = 1
    every_s: float = POLL_S
    is_woken: bool = True
    at_once: int = AT_ONCE


class Observer(NamedTuple):
    """Who is told how consumers get on, by consumer and shard.

    Args:
        worked: Called for each batch with the number of its events.
        lags: Called now and then with what is left; None: this node does not hold the shard any more.
    """

    worked: Callable[[str, int, int], None] = lambda _name, _shard, _events: None
    lags: Callable[[str, int, Lag | None], None] = lambda _name, _shard, _lag: None


class Worker:
    """Works in one shard, as long as this node holds it. One round at a time."""

    def __init__(
        self, consumer: Consumer, shard: Shard, store: ConsumerStore, observer: Observer, clock: Callable[[], float]
    ) -> None:
        self.woken = asyncio.Event()
        self._consumer = consumer
        self._shard = shard
        self._store = store
        self._observer = observer
        self._clock = clock
        self._is_held = False
        self._at_most = consumer.at_once
        self._next_take_s = float("-inf")
        self._next_move_s = float("-inf")
        self._next_lag_s = float("-inf")

    async def round(self, progress: Callable[[], None]) -> None:
        """Work through what there is, if the shard is held or free.

        Args:
            progress: Called after each batch.

        Raises:
            Exception: whatever the effect raises; the next round tries fewer events.
        """
        if self._consumer.is_woken:
            await asyncio.sleep(SETTLE_S)
        try:
            if not self._is_held and not await self._take():
                return
            while await self._work():
                progress()
            if self._clock() >= self._next_lag_s:
                self._next_lag_s = self._clock() + LAG_S
                self._observer.lags(*self._of, await self._store.lag(self._shard))
        except Lost:
            self._lost()

    @property
    def _of(self) -> tuple[str, int]:
        return self._consumer.name, self._shard.number

    async def _take(self) -> bool:
        if self._clock() < self._next_take_s:
            return False
        self._next_take_s = self._clock() + RENEW_S
        await self._store.add(self._consumer.name, self._consumer.shards)  # it may be gone: a restore
        self._is_held = await self._store.take(self._shard)
        self._next_move_s = self._clock() + RENEW_S
        return self._is_held

    async def _work(self) -> bool:
        """Work through one batch; return whether there may be another one."""
        span = await self._store.look(self._shard, self._at_most)
        if span is None:
            raise Lost
        if span.events == 0 and self._clock() < self._next_move_s:
            return False
        try:
            await self._store.apply(self._shard, span, self._consumer.effect if span.events else None)
        except Lost:
            raise
        except Exception:
            # One event that cannot be worked through holds up those behind it, and not those before it.
            self._at_most = max(1, min(self._at_most, span.events) // 2)
            raise
        self._next_move_s = self._clock() + RENEW_S
        is_full, self._at_most = span.events >= self._at_most, min(2 * self._at_most, self._consumer.at_once)
        if span.events:
            self._observer.worked(*self._of, span.events)
        return is_full

    def _lost(self) -> None:
        self._is_held = False
        self._observer.lags(*self._of, None)


class Consumers:
    """The consumers of a node.

    Args:
        store: Where their positions are.
        consumers: All that there are, the same on every node of a release.
        holder: This run of the node.
        observer: Who is told how they get on.
        runtime: Runs them: a shard that fails holds up no other one, is tried again with growing pauses, and shows as failing.
    """

    def __init__(
        self,
        store: ConsumerStore,
        consumers: Sequence[Consumer],
        holder: str,
        observer: Observer,
        runtime: Runtime,
    ) -> None:
        self._store = store
        self._holder = holder
        self._loops = runtime.loops
        self._workers = [
            (one, Worker(one, Shard(one.name, number, one.shards, holder), store, observer, runtime.clock))
            for one in consumers
            for number in range(one.shards)
        ]
        self._woken = [worker.woken for one, worker in self._workers if one.is_woken]
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Begin to work; what is new begins with what commits from now on. Raises Unavailable."""
        for name, shards in {one.name: one.shards for one, _ in self._workers}.items():
            await self._store.add(name, shards)
        for one, worker in self._workers:
            self._tasks.append(
                self._loops.start(
                    f"consumers.{one.name}",
                    lambda worker=worker: worker.round(self._loops.progress),  # type: ignore[misc]
                    every_s=one.every_s,
                    called=worker.woken,
                )
            )

    async def close(self) -> None:
        """Stop between two batches, and leave the shards to other nodes at once."""
        await tasks.end(self._tasks)
        try:
            await self._store.release(self._holder)
        except Unavailable:
            logger.info("shards of consumers could not be given back; other nodes take them in %.0f s", LEASE_S)

    def wake(self) -> None:
        """Say that something was committed, here or elsewhere: a hint that may be lost."""
        for event in self._woken:
            event.set()
