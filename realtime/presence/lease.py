"""This node's lease in Redis, with its users, for nodes that start later or have missed something.

`<prefix>:{presence}:nodes` is the set of nodes; each has `<prefix>:{presence}:<node>:head`, which lives only as long as the
lease and says how many users belong to it, and `<prefix>:{presence}:<node>:sealed`, a hash of its users. These, and `…:last`, the
same as the head, stay for an hour: the first node that is back reads who was there when all were killed. Head and users are
sealed, each with its name, as messages between nodes are: whoever can write to Redis, and is no node, can repeat what was there
(for two minutes) and make nothing new. A node without a head does not count, whatever else there is of it.

`…:version`, `…:users` and `…:entries` say the same unsealed, for nodes of the release before. They are written, and not read.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from redis.exceptions import RedisError, ResponseError

from realtime import redis_url
from realtime.model import UserId
from realtime.presence.state import PLAIN, Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

LEASE_S = 15.0
# uvloop raises RuntimeError for a write to a transport that has just been closed, and redis-py passes it on.
FAILURES = (RedisError, OSError, asyncio.TimeoutError, RuntimeError)
_USERS_AT_ONCE = 1000
_CHECKED_AT_ONCE = 250  # 1 ms; then others have their turn
_NODES_AT_MOST = 1000
_REMAINS_S = 3600.0
_PARTS = ("head", "last", "sealed", "version", "users", "entries")
_OLD_S = 120.0  # how far clocks of nodes may be apart, with the time that a lease lives
_NODE = re.compile(rb"[\x21-\x7e]{1,200}", re.ASCII)
_encode = msgspec.json.Encoder().encode


class Forged(ValueError):
    """No node wrote this, or not lately."""


class Seal(Protocol):
    """What nodes sign with."""

    @property
    def key(self) -> str:
        """Which key seals now: what was sealed before is sealed anew when it changes."""

    def seal(self, name: str, data: bytes, /) -> bytes: ...

    def unseal(self, name: str, data: bytes, /) -> bytes:
        """Return what was sealed under this name. Raises ValueError."""


class _Head(msgspec.Struct, array_like=True, frozen=True):
    """`at_s`: Unix seconds."""

    version: int
    users: int
    at_s: float


_decode_head = msgspec.json.Decoder(_Head).decode


class Lease:
    """Reads and writes leases. Every method raises one of `FAILURES` when Redis does not answer.

    Args:
        url: Of Redis.
        prefix: Of all keys.
        node: This node.
        seal: Shared by all nodes.
        wall: Unix seconds.
    """

    def __init__(self, url: str, prefix: str, node: str, seal: Seal, wall: Callable[[], float]) -> None:
        self._redis = redis_url.client(url, decode_responses=False, socket_timeout=2, socket_connect_timeout=2)
        self._node = node
        self._seal = seal
        self._wall = wall
        self._written: set[UserId] = set()
        self._sealed_with = ""
        self._prefix = f"{prefix}:{{presence}}"  # in a cluster the keys of a transaction live on one server
        self._nodes = f"{self._prefix}:nodes"

    @property
    def is_stale(self) -> bool:
        """Whether another key seals than that of what was written: it is to be written anew."""
        return self._seal.key != self._sealed_with

    async def close(self) -> None:
        with contextlib.suppress(*FAILURES):
            await self._redis.aclose()

    async def write(self, version: int, shown: Mapping[UserId, Entry], left: Collection[UserId]) -> None:
        """Renew the lease, with what changed since the last time."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            self._show(pipeline, shown)
            plain = [user for user, entry in shown.items() if entry == PLAIN]
            for part in _parts(list(left)):
                pipeline.srem(self._key(self._node, "users"), *part)
                pipeline.hdel(self._key(self._node, "sealed"), *part)
            for part in _parts([*left, *plain]):
                pipeline.hdel(self._key(self._node, "entries"), *part)
            self._written = (self._written | shown.keys()).difference(left)
            self._renew(pipeline, version)
            await pipeline.execute()

    async def rewrite(self, version: int, shown: Mapping[UserId, Entry]) -> None:
        """Write the lease and all users anew: Redis may have lost them."""
        self._sealed_with = self._seal.key
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.delete(*(self._key(self._node, part) for part in _PARTS))
            for at, part in enumerate(_parts(list(shown))):
                if at:
                    await asyncio.sleep(0)
                self._show(pipeline, {user: shown[user] for user in part})
            self._written = set(shown)
            self._renew(pipeline, version)
            await pipeline.execute()

    def _show(self, pipeline: Any, shown: Mapping[UserId, Entry]) -> None:
        for part in _parts(list(shown)):
            pipeline.sadd(self._key(self._node, "users"), *part)
            sealed = {user: self._seal.seal(self._name(self._node, user), pack_entry(shown[user])) for user in part}
            pipeline.hset(self._key(self._node, "sealed"), mapping=sealed)
        for part in _parts([user for user, entry in shown.items() if entry != PLAIN]):
            mapping = {user: _encode(shown[user]).decode() for user in part}
            pipeline.hset(self._key(self._node, "entries"), mapping=mapping)

    def _renew(self, pipeline: Any, version: int) -> None:
        pipeline.sadd(self._nodes, self._node)
        head = _encode(_Head(version, len(self._written), self._wall()))
        life_ms = int(LEASE_S * 1000)
        sealed = self._seal.seal(self._name(self._node, ""), head)
        pipeline.set(self._key(self._node, "head"), sealed, px=life_ms)
        pipeline.set(self._key(self._node, "last"), sealed, px=int(_REMAINS_S * 1000))
        pipeline.pexpire(self._key(self._node, "sealed"), int(_REMAINS_S * 1000))
        pipeline.set(self._key(self._node, "version"), version, px=life_ms)
        for key in ("users", "entries"):
            pipeline.pexpire(self._key(self._node, key), int(LEASE_S * 4000))

    async def remove(self) -> None:
        """Give the lease back."""
        async with self._redis.pipeline(transaction=True) as pipeline:
            pipeline.srem(self._nodes, self._node)
            pipeline.delete(*(self._key(self._node, part) for part in _PARTS))
            await pipeline.execute()

    async def others(self) -> list[str]:
        """List the other nodes that may be alive, as Redis has them: their leases tell whether they are."""
        try:
            found: Any = await self._redis.smembers(self._nodes)
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            await self._redis.delete(self._nodes)  # something foreign; each node adds itself again as it renews its lease
            return []
        names = {bytes(node).decode("ascii") for node in found if _NODE.fullmatch(node)}
        return sorted(names - {self._node})[:_NODES_AT_MOST]

    async def read(self, node: str) -> tuple[int, dict[UserId, Entry]] | None:
        """Return a node's version and users; None when it holds no lease.

        A node without one is taken off the list; should it be alive after all, it puts itself there with its next renewal.

        Raises:
            Forged: what is there was not written by that node, or not lately.
        """
        try:
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.get(self._key(node, "head"))
                pipeline.hgetall(self._key(node, "sealed"))
                pipeline.get(self._key(node, "version"))
                head, users, unsealed = await pipeline.execute()
        except ResponseError as error:
            if "WRONGTYPE" in str(error):
                raise Forged from error
            raise
        if head is None:
            if unsealed is None:
                await self._redis.srem(self._nodes, node)
            return None
        said = self._checked_head(node, head)
        if len(users) != said.users:
            raise Forged
        return said.version, await self._checked_users(node, users)

    async def remains(self, node: str) -> tuple[float, list[UserId]]:
        """Return when a node without a lease renewed it last (Unix seconds), and who was there; and delete that.

        Raises:
            Forged: what is there was not written by that node.
        """
        try:
            async with self._redis.pipeline(transaction=True) as pipeline:
                pipeline.get(self._key(node, "last"))
                pipeline.hgetall(self._key(node, "sealed"))
                pipeline.delete(self._key(node, "last"), self._key(node, "sealed"))
                last, users, _ = await pipeline.execute()
        except ResponseError as error:
            if "WRONGTYPE" in str(error):
                raise Forged from error
            raise
        if last is None:
            return 0.0, []
        return self._opened_head(node, last).at_s, list(await self._checked_users(node, users))

    def _opened_head(self, node: str, head: bytes) -> _Head:
        try:
            return _decode_head(self._seal.unseal(self._name(node, ""), head))
        except ValueError as error:
            raise Forged from error

    def _checked_head(self, node: str, head: bytes) -> _Head:
        found = self._opened_head(node, head)
        if abs(self._wall() - found.at_s) > _OLD_S:
            raise Forged
        return found

    async def _checked_users(self, node: str, users: Mapping[bytes, bytes]) -> dict[UserId, Entry]:
        checked = {}
        for at, (name, sealed) in enumerate(users.items(), 1):
            try:
                user = UserId(name.decode())
                data = self._seal.unseal(self._name(node, user), sealed)
            except ValueError as error:
                raise Forged from error
            checked[user] = unpack_entry(data)
            if at % _CHECKED_AT_ONCE == 0:
                await asyncio.sleep(0)
        return checked

    def _name(self, node: str, user: str) -> str:
        return f"{self._prefix}:{node} {user}"

    def _key(self, node: str, part: str) -> str:
        return f"{self._prefix}:{node}:{part}"


class _Entry(msgspec.Struct, array_like=True, frozen=True):
    """An `Entry` as it travels; nodes of a release to come may append fields."""

    choice: str = PLAIN.choice
    idle: bool = PLAIN.idle
    text: str = PLAIN.text
    text_until_s: float | None = PLAIN.text_until_s
    version: int = PLAIN.version


_decode = msgspec.json.Decoder(_Entry).decode


def pack_entry(entry: Entry) -> bytes:
    """Encode how a user is shown; nothing stands for most of them."""
    return b"" if entry == PLAIN else _encode(entry)


def unpack_entry(data: bytes | msgspec.Raw) -> Entry:
    """Decode it. Whom a release to come shows in a way that cannot be read is there, and no more is known."""
    if not data:
        return PLAIN
    try:
        found = _decode(data)
    except msgspec.MsgspecError:
        return PLAIN
    return Entry(found.choice, found.idle, found.text, found.text_until_s, found.version)


def _parts(users: list[UserId]) -> list[list[UserId]]:
    return [users[at : at + _USERS_AT_ONCE] for at in range(0, len(users), _USERS_AT_ONCE)]
