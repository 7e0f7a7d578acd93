"""Real engines for every test that needs them: one PostgreSQL and one Redis a run, a database cloned for who wants its own."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import itertools
import pathlib
import tempfile
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import argon2
import asyncpg
import pytest
import uvloop
from hypothesis import HealthCheck, settings

from realtime import config
from realtime.auth import passwords
from realtime.log.kinds import Kinds
from realtime.node import engines
from realtime.node.app import Node
from realtime.node.kinds import KINDS
from realtime.node.operations import served
from realtime.node.serve import doors_open
from realtime.store import migrate
from realtime.store.provision import Urls, provision
from tests.client import Api, Socket, open_sockets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from typing import TypeAlias

    from realtime.operations import Served

    Operations: TypeAlias = Callable[[Mapping[str, object]], tuple[Served, ...]]

_numbers = itertools.count()

# How long an example takes is about the machine and what else it does.
settings.register_profile("anywhere", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("anywhere")


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run on the loop that the server runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash with the least that argon2 takes; what real parameters cost is measured where it matters."""
    cheap = functools.partial(argon2.PasswordHasher, time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "PasswordHasher", cheap)


@pytest.fixture(autouse=True)
def sockets_closed() -> Iterator[None]:
    """Fail where a socket is left open."""
    yield
    left = len(open_sockets)
    open_sockets.clear()
    assert not left, f"the test left {left} sockets open: close them, or hand them to close_later"


class Engines(NamedTuple):
    """Superuser's and the roles' URLs of PostgreSQL, and Redis'."""

    superuser: str
    template: Urls
    redis: str


@pytest.fixture(scope="session")
def running_engines() -> Iterator[Engines]:
    """One PostgreSQL (without fsync: the machine does not crash here) and one Redis, with a migrated database."""
    with tempfile.TemporaryDirectory(prefix="roomwire-test-") as folder:
        path = pathlib.Path(folder)
        path.chmod(0o711)
        postgres, redis = engines.Postgres(path, durable=False), engines.Redis(path)
        engines.start_all([postgres, redis])
        try:
            urls = asyncio.run(_prepare(postgres.dsn))
            yield Engines(postgres.dsn, urls, redis.url)
        finally:
            engines.stop_all([postgres, redis])


async def _prepare(superuser: str) -> Urls:
    urls = await provision(superuser)
    await migrate.apply(urls.owner)
    return urls


async def clone(engines: Engines) -> Urls:
    """Make a fresh database out of the migrated one."""
    name = f"clone{next(_numbers)}"
    connection = await asyncpg.connect(engines.superuser)
    try:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE roomwire OWNER roomwire_owner")
    finally:
        await connection.close()
    urls = Urls(*(urlunsplit(urlsplit(url)._replace(path=f"/{name}")) for url in engines.template))
    await migrate.apply(urls.owner)  # a copy begins an epoch of its own
    return urls


@pytest.fixture
async def own_database(running_engines: Engines) -> Urls:
    """A database for one test."""
    return await clone(running_engines)


@pytest.fixture(scope="session")
def shared_database(running_engines: Engines) -> Urls:
    """A database that tests share: they use their own users and rooms, whose ids are unique."""
    return asyncio.run(clone(running_engines))


@contextlib.asynccontextmanager
async def started(
    urls: Urls, redis: str, *, kinds: Kinds = KINDS, operations: Operations = served, **settings: object
) -> AsyncIterator[tuple[Node, str]]:
    """Run a node in this process, on any free port. `settings` are fields of `Config`."""
    flags = {
        "register_rate_per_min": "100000",
        "address_login_rate_per_min": "100000",
        "connections_per_address": "10000",
        "rejoins_burst": "1000",
        "metrics_networks": "127.0.0.0/8",
    }
    flags |= {name: str(value) for name, value in settings.items()}
    node = Node(config.load({}, {**flags}), urls.application, redis, kinds=kinds, operations=operations)
    async with node.open(), doors_open(node, "127.0.0.1", 0, shutdown_s=1) as port:
        try:
            yield node, f"http://127.0.0.1:{port}"
        finally:
            await node.drain(0.1)


class Nodes:
    """Starts nodes, in this process, that share a database and a Redis; all end with the test."""

    def __init__(self, urls: Urls, redis: str, stack: contextlib.AsyncExitStack, http: aiohttp.ClientSession) -> None:
        self.urls = urls
        self.redis = redis
        self.running: list[Node] = []
        self.apis: list[Api] = []
        self._stack = stack
        self._stacks: list[contextlib.AsyncExitStack] = []
        self._http = http
        self._prefix = f"t{next(_numbers)}"

    async def start(self, **settings: object) -> Api:
        """Start one more node."""
        settings.setdefault("redis_prefix", self._prefix)
        stack = await self._stack.enter_async_context(contextlib.AsyncExitStack())
        node, url = await stack.enter_async_context(started(self.urls, self.redis, kinds=KINDS, operations=served, **settings))
        self.running.append(node)
        self._stacks.append(stack)
        self.apis.append(Api(self._http, url))
        return self.apis[-1]

    async def stop(self, index: int) -> None:
        """Stop a node, as SIGTERM does."""
        await self._stacks[index].aclose()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


@pytest.fixture
async def nodes(running_engines: Engines, shared_database: Urls, http: aiohttp.ClientSession) -> AsyncIterator[Nodes]:
    async with contextlib.AsyncExitStack() as stack:
        yield Nodes(shared_database, running_engines.redis, stack, http)


@pytest.fixture
async def exits() -> AsyncIterator[contextlib.AsyncExitStack]:
    """Closes what a test enters."""
    async with contextlib.AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def api(nodes: Nodes) -> Api:
    """REST on a node with the default settings."""
    return await nodes.start()


@pytest.fixture
async def close_later() -> AsyncIterator[Callable[[Socket], Socket]]:
    """Close sockets when the test is over, and fail for what they got that the contract does not know."""
    sockets: list[Socket] = []

    def remember(socket: Socket) -> Socket:
        sockets.append(socket)
        return socket

    yield remember
    for socket in sockets:
        await socket.close()
