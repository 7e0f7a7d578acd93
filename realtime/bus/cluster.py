"""The servers of a Redis Cluster, followed as slots move and masters come and go."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
from typing import TYPE_CHECKING

from realtime import redis_url, tasks
from realtime.bus import slots
from realtime.bus.shard import CONNECT_S, FAILURES, Shard
from realtime.bus.slots import Address, Slots

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realtime.redis_url import Servers

logger = logging.getLogger(__name__)

LOOK_S = 10.0
"""Pause between questions about the slots when nothing seems to be wrong."""
LOOK_AGAIN_S = 1.0
"""And while a server is away, whose slots somebody else may take over."""
_AT_LEAST_S = 0.2


class Cluster:
    """Keeps one shard for each master.

    Args:
        servers: By which the cluster is found.
        make: Makes a shard from its URL, True, and what names a hash tag of it.
        changed: Called when shards or slots are others than before.
        loops: Run what runs in the background.
    """

    def __init__(
        self,
        servers: Servers,
        make: Callable[[str, bool, Callable[[], str | None]], Shard],
        changed: Callable[[], None],
        loops: tasks.Loops,
    ) -> None:
        self._loops = loops
        self._servers = servers
        self._make = make
        self._changed = changed
        self._slots = Slots()
        self._shards: dict[Address, Shard] = {}
        self._stale = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        self._task = self._loops.start("bus.slots", self._follow)

    async def close(self) -> None:
        await tasks.end([self._task])
        await asyncio.gather(*self._closing, *(shard.close() for shard in self._shards.values()), return_exceptions=True)

    @property
    def shards(self) -> Sequence[Shard]:
        return list(self._shards.values())

    @property
    def complete(self) -> bool:
        """Whether somebody serves every slot."""
        return self._slots.complete

    def route(self, channel: str) -> Shard | None:
        owner = self._slots.owner(channel)
        return None if owner is None else self._shards.get(owner)

    def refresh(self) -> None:
        """Something is not where it was: ask."""
        self._stale.set()

    def moved(self, slot: int, host: str, port: int) -> None:
        """A server said who has a slot now."""
        self._slots.move(slot, Address(host, port))
        self._stale.set()

    async def _follow(self) -> None:
        """Ask once, and wait until it is due again."""
        found = await self._ask()
        if found is not None:
            self._apply(found)
        pause_s = LOOK_S if found is not None and all(shard.healthy for shard in self.shards) else LOOK_AGAIN_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s * random.uniform(0.5, 1.0)):
                await self._stale.wait()
        await asyncio.sleep(_AT_LEAST_S * random.uniform(0.5, 1.0))
        self._stale.clear()

    async def _ask(self) -> Slots | None:
        """Ask somebody who owns what: those who live first, and whoever the settings name last."""
        known = [address for address, shard in self._shards.items() if shard.healthy]
        random.shuffle(known)
        for url in dict.fromkeys([*(self._servers.at(*address) for address in known), *self._servers.urls]):
            connection = redis_url.connection(url)
            try:
                await redis_url.connect(connection, CONNECT_S)
                async with asyncio.timeout(CONNECT_S):
                    await connection.send_command("CLUSTER", "SLOTS")
                    answer = await connection.read_response()
                host, port = getattr(connection, "host", ""), getattr(connection, "port", 0)
                return slots.parse(answer, Address(host, port))
            except (ValueError, *FAILURES) as error:
                logger.info("the cluster's slots could not be read from one server (%s)", type(error).__name__)
            finally:
                with contextlib.suppress(*FAILURES):
                    await connection.disconnect(nowait=True)
        return None

    def _tag(self, address: Address) -> str | None:
        return self._slots.tag(address)

    def _apply(self, found: Slots) -> None:
        self._slots = found
        masters = found.masters
        for address in masters - self._shards.keys():
            shard = self._make(self._servers.at(*address), True, functools.partial(self._tag, address))
            shard.open()
            self._shards[address] = shard
        for address in self._shards.keys() - masters:
            closing = asyncio.create_task(self._shards.pop(address).close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
        self._changed()
