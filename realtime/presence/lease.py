"""This node's lease in Redis, with its users, for nodes that start later or have missed something.

`<prefix>:{presence}:nodes` is the set of nodes; each has `<prefix>:{presence}:<node>:version`, which lives only as long as the
lease, and `<prefix>:{presence}:<node>:users`. A node without a lease does not count, whatever else there is of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

from realtime import redis_url
from realtime.model import UserId

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LEASE_S = 15.0
# uvloop raises RuntimeError for a write to a transport that has just been closed, and redis-py passes it on.
FAILURES = (RedisError, OSError, asyncio.TimeoutError, RuntimeError)
_USERS_AT_ONCE = 1000


class Lease:
    """Reads and writes leases. Every method raises one of `FAILURES` when Redis does not answer.

    Args:
        url: Of Redis.
        prefix: Of all keys.
        node: This node.
    """

    def __init__(self, url: str, prefix: str, node: str) -> None:
        self._redis = redis_url.client(url, decode_responses=True, socket_timeout=2, socket_connect_timeout=2)
        self._node = node
        self._prefix = f"{prefix}:{{presence}}"  # in a cluster the keys of a transaction live on one server
        self._nodes = f"{self._prefix}:nodes"

    async def close(self) -> None:
        with contextlib.suppress(*FAILURES):
            await self._redis.aclose()

    async def write(self, version: int, joined: Iterable[UserId], left: Iterable[UserId]) -> None:
        """Renew the lease, with what changed since the last time."""
        users = self._users(self._node)
        joined, left = list(joined), list(left)
        async with self._redis.pipeline(transaction=True) as pipeline:
            for at in range(0, len(joined), _USERS_AT_ONCE):
                pipeline.sadd(users, *joined[at : at + _USERS_AT_ONCE])
            for at in range(0, len(left), _USERS_AT_ONCE):
                pipeline.srem(users, *left[at : at + _USERS_AT_ONCE])
            self._renew(pipeline, version)
            await pipeline.execute()

    async def rewrite(self, version: int, present: Sequence[UserId]) -> None:
        """Write the lease and all users anew: Redis may have lost them."""
        users = self._users(self._node)
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.delete(users)
            for at in range(0, len(present), _USERS_AT_ONCE):
                pipeline.sadd(users, *present[at : at + _USERS_AT_ONCE])
            self._renew(pipeline, version)
            await pipeline.execute()

    def _renew(self, pipeline: Any, version: int) -> None:
        pipeline.sadd(self._nodes, self._node)
        pipeline.set(self._version(self._node), version, px=int(LEASE_S * 1000))
        pipeline.pexpire(self._users(self._node), int(LEASE_S * 4000))

    async def remove(self) -> None:
        """Give the lease back."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.srem(self._nodes, self._node)
            pipeline.delete(self._version(self._node), self._users(self._node))
            await pipeline.execute()

    async def others(self) -> list[str]:
        """List the other nodes that may be alive."""
        nodes = {str(node) for node in await self._redis.smembers(self._nodes)}
        return sorted(nodes - {self._node})

    async def read(self, node: str) -> tuple[int, set[UserId]] | None:
        """Return a node's version and users; None when it holds no lease.

        A node without one is taken off the list; should it be alive after all, it puts itself there with its next renewal.
        Its users are left to their time to live: it may be writing them anew at this moment.
        """
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.get(self._version(node))
            pipeline.smembers(self._users(node))
            version, users = await pipeline.execute()
        if version is None:
            await self._redis.srem(self._nodes, node)
            return None
        return int(version), {UserId(user) for user in users}

    def _version(self, node: str) -> str:
        return f"{self._prefix}:{node}:version"

    def _users(self, node: str) -> str:
        return f"{self._prefix}:{node}:users"
