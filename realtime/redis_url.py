"""How Redis is reached: one server, or a cluster by some of its servers. The URL says which."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import re
import urllib.parse
from typing import TYPE_CHECKING, Any, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.connection import AbstractConnection, ConnectionPool, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, InvalidResponse, RedisError

if TYPE_CHECKING:
    from collections.abc import Callable

_CLUSTER = "+cluster"
_SCHEMES = ("redis", "rediss", "unix")
_CLUSTER_FORM = re.compile(r"([^/?]*)([^?]*)(.*)", re.DOTALL)


class Servers(NamedTuple):
    """Redis as the URL names it.

    `urls` are those of single servers: the one there is, or those that a cluster is found by.
    """

    cluster: bool
    urls: tuple[str, ...]

    def at(self, host: str, port: int) -> str:
        """Return the URL of another server of the cluster: same user, password and TLS."""
        parts = urllib.parse.urlsplit(self.urls[0])
        user, at, _ = parts.netloc.rpartition("@")
        return urllib.parse.urlunsplit(parts._replace(netloc=f"{user}{at}{_joined(host, port)}"))


def parse(url: str) -> Servers:
    """Read a URL: `redis://`, `rediss://` (TLS), `unix://`, or `redis+cluster://` and `rediss+cluster://` with one or more
    `host:port`, joined by commas.

    Raises:
        ValueError: it is none of these; the text says why and does not hold the URL.
    """
    scheme, separator, rest = url.partition("://")
    cluster = scheme.endswith(_CLUSTER)
    scheme = scheme.removesuffix(_CLUSTER)
    if not separator or scheme not in _SCHEMES or (cluster and scheme == "unix"):
        raise ValueError("the scheme is redis, rediss, unix, redis+cluster or rediss+cluster")
    if not cluster:
        _check(url)
        return Servers(False, (url,))
    # Taken apart before it is read as a URL: several hosts are none, and newer Pythons refuse some of them.
    location, path, query = _CLUSTER_FORM.fullmatch(rest).groups()  # type: ignore[union-attr]  # it matches any text
    if path.strip("/") not in ("", "0"):
        raise ValueError("a cluster has one database, number 0")
    user, at, hosts = location.rpartition("@")
    urls = tuple(f"{scheme}://{user}{at}{host}/0{query}" for host in hosts.split(",") if host)
    if not urls:
        raise ValueError("a cluster is named by at least one host:port")
    for one in urls:
        _check(one)
    return Servers(True, urls)


def connection(url: str) -> AbstractConnection:
    """Make one connection to one server, not yet connected, that never retries by itself.

    RESP 2: hiredis leaked on RESP 3 pub/sub messages up to 3.4.1. Without the driver's time-outs: those are
    `asyncio.wait_for`, which may swallow a cancellation before Python 3.12, and then a task never ends. Callers bound
    what they wait for with `asyncio.timeout`.
    """
    pool = ConnectionPool.from_url(
        url, protocol=2, retry=_no_retry(), health_check_interval=0, socket_timeout=None, socket_connect_timeout=None
    )
    made: AbstractConnection = pool.make_connection()  # type: ignore[no-untyped-call]
    return made


async def connect(connection: AbstractConnection, within_s: float) -> None:
    """Connect and sign in. Raises what the driver raises, or TimeoutError."""
    async with asyncio.timeout(within_s):
        await connection.connect()  # type: ignore[no-untyped-call]


async def refusal(url: str, within_s: float) -> str:
    """Ask a server whether it takes who the URL says; return its words when it does not, and nothing when it cannot be asked.

    A server that is away may come back; a password, a database or a port that is wrong does not become right.
    """
    one = connection(parse(url).urls[0])
    try:
        await connect(one, within_s)
        async with asyncio.timeout(within_s):
            await one.send_command("PING")
            await one.read_response()
    except (RedisError, OSError, TimeoutError, RuntimeError) as error:
        return _words(error)
    finally:
        with contextlib.suppress(RedisError, OSError, RuntimeError):
            await one.disconnect(nowait=True)
    return ""


def _words(error: BaseException) -> str:
    """Return what a refusal says that no waiting mends; nothing for any other failure."""
    text = str(error)
    if isinstance(error, InvalidResponse):
        return "what answers there is no Redis"
    if "Invalid Database" in text or "DB index" in text:
        return "it has no database of that number"
    if isinstance(error, AuthenticationError) or "username-password" in text:
        return f"it says: {text.rstrip('.')}"
    return "" if error.__cause__ is None else _words(error.__cause__)


def client(url: str, **settings: Any) -> Redis | RedisCluster:
    """Make a client for keys, that retries nothing but where a cluster says that a key lives elsewhere now."""
    servers = parse(url)
    if not servers.cluster:
        return Redis.from_url(url, protocol=2, retry=_no_retry(), **settings)
    nodes = []
    for one in servers.urls:
        found = parse_url(one)
        nodes.append(ClusterNode(found["host"], found.get("port", 6379)))
    cluster = RedisCluster.from_url(
        servers.urls[0], startup_nodes=nodes, protocol=2, retry=Retry(NoBackoff(), 1), require_full_coverage=False, **settings
    )
    # Inside a transaction redis-py 8.1 hands callbacks the command's keys too, which its own do not take.
    for name, callback in list(cluster.response_callbacks.items()):
        cluster.set_response_callback(name, functools.partial(_call, callback))
    return cluster


def _call(callback: Callable[..., Any], response: Any, keys: object = None, **options: Any) -> Any:
    return callback(response, **options)


def _no_retry() -> Retry:
    return Retry(NoBackoff(), 0)


def _check(url: str) -> None:
    try:
        found = parse_url(url)
        found.get("host", "")
    except ValueError as error:
        raise ValueError("a port is a number, and so is the database behind it") from error


def _joined(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
