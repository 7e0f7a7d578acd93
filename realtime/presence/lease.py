"""This node's lease in Redis, with its users, for nodes that start later or have missed something.

`<prefix>:{presence}:nodes` is the set of nodes; each has `<prefix>:{presence}:<node>:version`, which lives only as long as the
lease, `<prefix>:{presence}:<node>:users`, and `<prefix>:{presence}:<node>:entries` of those of them who are to be seen in
another way than most. A node without a lease does not count, whatever else there is of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import msgspec
from redis.exceptions import RedisError

from realtime import redis_url
from realtime.model import UserId
from realtime.presence.state import PLAIN, Entry

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

LEASE_S = 15.0
# uvloop raises RuntimeError for a write to a transport that has just been closed, and redis-py passes it on.
FAILURES = (RedisError, OSError, asyncio.TimeoutError, RuntimeError)
_USERS_AT_ONCE = 1000
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode


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

    async def write(self, version: int, shown: Mapping[UserId, Entry], left: Collection[UserId]) -> None:
        """Renew the lease, with what changed since the last time."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            self._show(pipeline, shown)
            plain = [user for user, entry in shown.items() if entry == PLAIN]
            for part in _parts(list(left)):
                pipeline.srem(self._users(self._node), *part)
            for part in _parts([*left, *plain]):
                pipeline.hdel(self._entries(self._node), *part)
            self._renew(pipeline, version)
            await pipeline.execute()

    async def rewrite(self, version: int, shown: Mapping[UserId, Entry]) -> None:
        """Write the lease and all users anew: Redis may have lost them."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.delete(self._users(self._node), self._entries(self._node))
            self._show(pipeline, shown)
            self._renew(pipeline, version)
            await pipeline.execute()

    def _show(self, pipeline: Any, shown: Mapping[UserId, Entry]) -> None:
        for part in _parts(list(shown)):
            pipeline.sadd(self._users(self._node), *part)
        for part in _parts([user for user, entry in shown.items() if entry != PLAIN]):
            pipeline.hset(self._entries(self._node), mapping={user: _encode(shown[user]).decode() for user in part})

    def _renew(self, pipeline: Any, version: int) -> None:
        pipeline.sadd(self._nodes, self._node)
        pipeline.set(self._version(self._node), version, px=int(LEASE_S * 1000))
        for key in (self._users(self._node), self._entries(self._node)):
            pipeline.pexpire(key, int(LEASE_S * 4000))

    async def remove(self) -> None:
        """Give the lease back."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.srem(self._nodes, self._node)
            pipeline.delete(self._version(self._node), self._users(self._node), self._entries(self._node))
            await pipeline.execute()

    async def others(self) -> list[str]:
        """List the other nodes that may be alive."""
        nodes = {str(node) for node in await self._redis.smembers(self._nodes)}
        return sorted(nodes - {self._node})

    async def read(self, node: str) -> tuple[int, dict[UserId, Entry]] | None:
        """Return a node's version and users; None when it holds no lease.

        A node without one is taken off the list; should it be alive after all, it puts itself there with its next renewal.
        Its users are left to their time to live: it may be writing them anew at this moment.
        """
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.get(self._version(node))
            pipeline.smembers(self._users(node))
            pipeline.hgetall(self._entries(node))
            version, users, entries = await pipeline.execute()
        if version is None:
            await self._redis.srem(self._nodes, node)
            return None
        return int(version), {UserId(user): _entry(entries.get(user)) for user in users}

    def _version(self, node: str) -> str:
        return f"{self._prefix}:{node}:version"

    def _users(self, node: str) -> str:
        return f"{self._prefix}:{node}:users"

    def _entries(self, node: str) -> str:
        return f"{self._prefix}:{node}:entries"


def _entry(text: str | None) -> Entry:
    try:
        return PLAIN if text is None else _decode(text)
    except msgspec.MsgspecError:
        return PLAIN  # of a release to come, or not ours: there they are, and no more is known


def _parts(users: list[UserId]) -> list[list[UserId]]:
    return [users[at : at + _USERS_AT_ONCE] for at in range(0, len(users), _USERS_AT_ONCE)]
