"""Ask for many things in one query: what is wanted while a query is in flight, or too soon after one, goes into the next one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable, Sequence

K = TypeVar("K", bound="Hashable")
V = TypeVar("V")


class Coalescer(Generic[K, V]):
    """Joins concurrent look-ups of single keys into loads of many.

    An answer is always read after the question was asked: a key that is already being loaded is loaded again for whoever
    asks later, since the running query may have taken its snapshot before.

    Args:
        load: Takes distinct keys, returns one value for each in the same order, or raises for all.
        at_most: Keys in one load.
        pause_s: From the beginning of one load to that of the next, unless so many wait. Who asks first never waits; when
            thousands come back at once, this makes their loads few.
    """

    def __init__(self, load: Callable[[Sequence[K]], Awaitable[Sequence[V]]], at_most: int, pause_s: float = 0.02) -> None:
        self._load = load
        self._at_most = at_most
        self._pause_s = pause_s
        self._next_s = 0.0
        self._waiting: dict[K, asyncio.Future[V]] = {}
        self._running: asyncio.Task[None] | None = None
        self.loads = 0

    async def get(self, key: K) -> V:
        """Return the value of a key, as of now or later. Raises what `load` raises."""
        return await asyncio.shield(self._ask(key))

    async def get_many(self, keys: Sequence[K]) -> list[V]:
        """Return the values of several keys, in their order."""
        return list(await asyncio.gather(*(asyncio.shield(self._ask(key)) for key in keys)))

    def _ask(self, key: K) -> asyncio.Future[V]:
        future = self._waiting.get(key)
        if future is None:
            future = self._waiting[key] = asyncio.get_running_loop().create_future()
            # Whoever asked may have gone; an error that nobody waits for is no news.
            future.add_done_callback(lambda done: done.cancelled() or done.exception())
        if self._running is None:
            self._running = asyncio.get_running_loop().create_task(self._run())
        return future

    async def _run(self) -> None:
        now = asyncio.get_running_loop().time
        try:
            while self._waiting:
                early_s = self._next_s - now()
                if early_s > 0 and len(self._waiting) < self._at_most:
                    await asyncio.sleep(early_s)
                self._next_s = now() + self._pause_s
                keys = list(self._waiting)[: self._at_most]
                asked = [self._waiting.pop(key) for key in keys]
                self.loads += 1
                try:
                    found = list(zip(asked, await self._load(keys), strict=True))
                except Exception as error:  # noqa: BLE001 - handed to everybody who asked
                    for future in asked:
                        future.set_exception(error)
                else:
                    for future, value in found:
                        future.set_result(value)
        finally:
            self._running = None
            for future in self._waiting.values():
                future.cancel()  # only when this task was cancelled: the node is closing
            self._waiting.clear()
