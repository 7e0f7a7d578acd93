"""Counts of attempts in Redis, which all nodes share. Keys are hashes: neither names nor addresses stand in Redis.

Every key is `<prefix>:{auth}:…` and lives for its budget's window at most.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from realtime import redis_url
from realtime.auth.attempts import KNOWN_S

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.auth.attempts import Charge

# uvloop raises RuntimeError for a write to a transport that has just been closed, and redis-py passes it on.
FAILURES = (RedisError, OSError, asyncio.TimeoutError, RuntimeError)
_WITHIN_S = 1.0


class RedisAttempts:
    """The same as `MemoryAttempts`, over all nodes. Every method raises one of `FAILURES` when Redis does not answer.

    Args:
        url: Of Redis.
        prefix: Of all keys.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self._redis = redis_url.client(url, decode_responses=True, socket_timeout=_WITHIN_S, socket_connect_timeout=_WITHIN_S)
        self._prefix = f"{prefix}:{{auth}}"  # in a cluster the keys of a transaction live on one server

    async def close(self) -> None:
        with contextlib.suppress(*FAILURES):
            await self._redis.aclose()

    async def take(self, charges: Sequence[Charge], known: str) -> float:
        """Count one attempt against each budget; return 0.0 or the seconds to wait, and then nothing was counted.

        Of attempts at the same moment on several nodes no more get through than the budget has: each is counted first.
        """
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.get(self._key("known", known))
            for charge in charges:
                self._charge(pipeline, charge)
            is_known, *answers = await pipeline.execute()
        wait_ms, pauses = 0, []
        for at, charge in enumerate(charges):
            _, attempts, ttl_ms = answers[3 * at : 3 * at + 3]
            budget = charge.budget
            if attempts < budget.free or (budget.strangers and is_known):
                continue
            if not budget.pause_s:
                wait_ms = max(wait_ms, ttl_ms if attempts > budget.free else 0)
            elif attempts > budget.free and ttl_ms > 0:
                wait_ms = max(wait_ms, ttl_ms)
            else:
                # Of several that see no pause at once, one sets the next and passes.
                pause_ms = int(budget.pause_after_s(attempts) * 1000) + 1
                if await self._redis.set(self._pause(charge), 1, px=pause_ms, nx=True):
                    pauses.append(self._pause(charge))
                    await self._redis.pexpire(self._count(charge), int(budget.window_s * 1000))
                else:
                    wait_ms = max(wait_ms, pause_ms)
        if wait_ms > 0:
            await self._uncount(charges, *pauses)
        return wait_ms / 1000

    async def give_back(self, charges: Sequence[Charge]) -> None:
        """Undo one `take`: the attempt was not judged."""
        await self._uncount(charges, *(self._pause(charge) for charge in charges if charge.budget.pause_s))

    async def succeeded(self, forget: Sequence[Charge], give_back: Sequence[Charge], known: str) -> None:
        """Begin some counts anew, undo one attempt of others, and know the account at its address."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            for charge in forget:
                pipeline.delete(self._count(charge), self._pause(charge))
            for charge in give_back:
                self._decrease(pipeline, charge)
            if known:
                pipeline.set(self._key("known", known), 1, px=int(KNOWN_S * 1000))
            await pipeline.execute()

    async def _uncount(self, charges: Sequence[Charge], *pauses: str) -> None:
        async with self._redis.pipeline(transaction=True) as pipeline:
            for charge in charges:
                self._decrease(pipeline, charge)
            if pauses:
                pipeline.delete(*pauses)
            await pipeline.execute()

    def _charge(self, pipeline: Any, charge: Charge) -> None:
        """Three answers each: of the second the attempts so far, of the third how long to wait if that is too many."""
        count, window_ms = self._count(charge), int(charge.budget.window_s * 1000)
        pipeline.set(count, 0, px=window_ms, nx=True)
        pipeline.incr(count)
        pipeline.pttl(self._pause(charge) if charge.budget.pause_s else count)

    def _decrease(self, pipeline: Any, charge: Charge) -> None:
        """Made first where it is gone meanwhile: a key without an end would stay for ever."""
        count = self._count(charge)
        pipeline.set(count, 0, px=int(charge.budget.window_s * 1000), nx=True)
        pipeline.decr(count)

    def _count(self, charge: Charge) -> str:
        return self._key(charge.budget.name, charge.key)

    def _pause(self, charge: Charge) -> str:
        return self._key(charge.budget.name + ".pause", charge.key)

    def _key(self, name: str, key: str) -> str:
        return f"{self._prefix}:{name}:{hashlib.blake2b(key.encode(errors='surrogatepass'), digest_size=16).hexdigest()}"
