"""Three real nodes, a real PostgreSQL and a real Redis, with a proxy on every link between them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import asyncpg

from realtime.auth import tokens
from realtime.model import SessionId, User, UserId
from realtime.node import engines
from realtime.runtime import new_id
from realtime.store import migrate
from realtime.store.provision import provision
from tests.cluster.lab.load import Person
from tests.cluster.lab.proxy import Proxy
from tests.cluster.lab.record import Stored
from tests.process import Server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

TOKEN_S = 900
_GENEROUS = {
    "send_rate": 100_000,
    "send_burst": 100_000,
    "send_bytes_per_day": 1 << 50,
    "rejoins_burst": 100_000,
    "changes_burst": 100_000,
    "connections_per_user": 1000,
    "connections_per_address": 100_000,
    "request_rate": 100_000,
    "request_burst": 100_000,
}
_USERS = "INSERT INTO users (id, username, username_key, display_name, password_hash) VALUES ($1, $2, $3, $4, 'none')"
_SESSIONS = "INSERT INTO sessions (id, user_id, refresh_hash, expires_at) VALUES ($1, $2, $3, now() + interval '1 day')"
_ROOMS = "INSERT INTO rooms (id, kind, name, member_count) VALUES ($1, 'private', 'A room', $2)"
_MEMBERS = "INSERT INTO members (room, user_id, role) VALUES ($1, $2, $3)"


class Unsupported(Exception):
    """This machine cannot do what a scenario needs; says why."""


class Cluster:
    """Args:
    folder: For the engines; PostgreSQL's user must be able to reach it.
    nodes: How many.
    settings: Fields of `Config`, for every node.
    """

    name = "roomwire"
    """Of the database; the names of its roles begin with it."""

    def __init__(self, folder: pathlib.Path, *, nodes: int = 3, **settings: object) -> None:
        self.folder = folder
        self.count = nodes
        self.servers: list[Server] = []
        self.postgres: engines.Postgres
        self.redis: engines.Redis
        self.to_postgres: list[Proxy] = []
        self.to_redis: list[Proxy] = []
        self.fronts: list[Proxy] = []
        self.http: aiohttp.ClientSession
        self._settings = _GENEROUS | settings
        self._ports: list[int] = []
        self._people = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[Cluster]:
        """Start everything; whatever happens, all of it is gone afterwards."""
        async with contextlib.AsyncExitStack() as stack:
            self.http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)))
            stack.callback(self._stop_engines)
            self.redis, self.postgres = engines.Redis(self.folder), engines.Postgres(self.folder)
            await asyncio.to_thread(engines.start_all, [self.postgres, self.redis])
            await self._prepare()
            stack.push_async_callback(self._stop_nodes)
            for index in range(self.count):
                self.to_postgres.append(await _proxy(stack, str(self._postgres_socket)))
                self.to_redis.append(await _proxy(stack, self.redis.url.removeprefix("unix://")))
                self._ports.append(_free_port())
                self.fronts.append(await _proxy(stack, ("127.0.0.1", self._ports[index])))
                self.servers.append(self._server(index))
            await asyncio.gather(*(server.start() for server in self.servers))
            yield self

    async def _prepare(self) -> None:
        """Make the database with its roles and tables."""
        await migrate.apply((await provision(self.postgres.dsn)).owner)

    @property
    def _postgres_socket(self) -> pathlib.Path:
        return pathlib.Path(self.postgres.dsn.partition("host=")[2]) / ".s.PGSQL.5432"

    def _server(self, index: int, module: str = "realtime") -> Server:
        owner, application = (
            f"postgresql://{self.name}_{role}@127.0.0.1:{self.to_postgres[index].port}/{self.name}?sslmode=disable"
            for role in ("owner", "app")
        )
        where: dict[str, object] = {
            "port": self._ports[index],
            "node_id": f"n{index}",
            "redis_prefix": "lab",
            "database_url": application,
            "migrate_database_url": owner,
            "redis_url": f"redis://127.0.0.1:{self.to_redis[index].port}/0",
        }
        server = self._program(index, where | self._settings)
        server.module = module
        return server

    def _program(self, index: int, settings: dict[str, object]) -> Server:
        """Make the server that runs as a node."""
        return Server(**settings)

    def _stop_engines(self) -> None:
        for name in ("redis", "postgres"):
            engine: engines.Engine | None = getattr(self, name, None)
            if engine is not None:
                engine.stop()

    async def _stop_nodes(self) -> None:
        for server in self.servers:
            await server.kill()

    # -- nodes ------------------------------------------------------------------------------------

    @property
    def urls(self) -> list[str]:
        """Where the nodes themselves listen."""
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    @property
    def ports(self) -> list[int]:
        """Those of the nodes."""
        return list(self._ports)

    @property
    def front_urls(self) -> list[str]:
        """The way to the nodes over proxies."""
        return [f"http://127.0.0.1:{front.port}" for front in self.fronts]

    async def kill(self, index: int) -> None:
        """kill -9."""
        await self.servers[index].end(signal.SIGKILL)

    async def start(self, index: int, module: str = "realtime") -> None:
        """Start a node again, where it was."""
        self.servers[index] = self._server(index, module)
        await self.servers[index].start()

    async def ready(self, within_s: float = 30) -> float:
        """Wait until every node says that it is ready; return how long that took, in seconds."""
        began_s, last = time.monotonic(), "nothing"
        try:
            async with asyncio.timeout(within_s):
                for url in self.urls:
                    while (last := await self._health(url)) != "ok":
                        await asyncio.sleep(0.05)
        except TimeoutError as error:
            outputs = "\n".join(line for server in self.servers for line in server.output[-10:])
            raise TimeoutError(f"not ready after {within_s:.0f} s: {last}\n{outputs}") from error
        return time.monotonic() - began_s

    async def _health(self, url: str) -> str:
        try:
            async with self.http.get(f"{url}/readyz") as answer:
                return "ok" if answer.status == 200 else f"{url}: {await answer.text()}"
        except (aiohttp.ClientError, TimeoutError) as error:
            return f"{url}: {error!r}"

    async def metric(self, pattern: str) -> float:
        """Add up the samples of all nodes whose name and labels match."""
        total = 0.0
        for url in self.urls:
            async with self.http.get(f"{url}/metrics") as answer:
                page = await answer.text()
            total += sum(float(value) for value in re.findall(rf"^{pattern} (\S+)$", page, re.MULTILINE))
        return total

    # -- engines ----------------------------------------------------------------------------------

    async def kill_engine(self, engine: engines.Engine) -> None:
        """kill -9, and leave it dead."""
        assert engine._process is not None
        engine._stopping.set()  # its watcher starts it no more
        engine._process.kill()
        await asyncio.to_thread(engine._watcher.join)

    async def start_redis(self) -> None:
        """Start Redis again, empty."""
        self.redis = engines.Redis(self.folder)
        await asyncio.to_thread(engines.start_all, [self.redis])

    async def start_postgres(self) -> None:
        """Start PostgreSQL again on its files."""
        self.postgres = engines.Postgres(self.folder)
        await asyncio.to_thread(engines.start_all, [self.postgres])

    def heal(self) -> None:
        """Let every link pass again."""
        for proxy in (*self.to_redis, *self.to_postgres, *self.fronts):
            proxy.latency_s = 0.0
            proxy.release()

    @contextlib.asynccontextmanager
    async def small_disk(self) -> AsyncIterator[pathlib.Path]:
        """Keep the log on a disk of its own, with little room beside it; yield a file's path on it.

        Raises:
            Unsupported: this account may not mount anything.
        """
        disk = self.folder / "small-disk"
        disk.mkdir(exist_ok=True)
        async with self.database() as connection:
            megabytes = await connection.fetchval("SELECT pg_total_relation_size('events')") // (1 << 20) + 24
        mounted = await asyncio.to_thread(
            subprocess.run, ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0777", "roomwire-lab", str(disk)],
            capture_output=True, check=False,
        )  # fmt: skip
        if mounted.returncode:
            raise Unsupported(f"a disk of its own cannot be mounted here: {mounted.stderr.decode().strip()}")
        try:
            (disk / "space").mkdir(mode=0o777)
            owner = self.postgres._user
            if owner is not None:
                os.chown(disk / "space", owner.pw_uid, owner.pw_gid)
            async with self.database() as connection:
                await connection.execute(f"CREATE TABLESPACE small LOCATION '{disk / 'space'}'")
                await _move(connection, "small")
            try:
                yield disk / "ballast"
            finally:
                (disk / "ballast").unlink(missing_ok=True)
                async with self.database() as connection:
                    await _move(connection, "pg_default")
                    await connection.execute("DROP TABLESPACE small")
        finally:
            await asyncio.to_thread(subprocess.run, ["umount", "-l", str(disk)], check=True)

    # -- people and rooms -------------------------------------------------------------------------

    async def populate(self, count: int, rooms_of: Sequence[Sequence[int]]) -> tuple[list[Person], list[str]]:
        """Make accounts that are signed in, and rooms.

        Rows are written past the server: a password costs 0.1 s, and nothing here is about passwords.

        Args:
            count: Accounts.
            rooms_of: For each room the numbers of its members; the first is its owner.
        """
        users, sessions, people = [], [], []
        async with self.database() as connection:
            row = await connection.fetchrow(
                "SELECT kid, secret FROM signing_keys WHERE active_from <= now() ORDER BY active_from DESC, kid LIMIT 1"
            )
            for _ in range(count):
                self._people += 1
                name = f"person{self._people}"
                user, session = User(UserId(new_id()), name, name), SessionId(new_id())
                refresh = tokens.RefreshToken(session, random.randbytes(tokens.SECRET_BYTES))
                claims = tokens.Claims("realtime", "realtime")
                access = tokens.issue(claims, row["kid"], row["secret"], user, session, int(time.time()), TOKEN_S)
                users.append((user.id, name, name, name))
                sessions.append((session, user.id, refresh.hash))
                people.append(Person(user.id, access, str(refresh), []))
            rooms, members = [], []
            for numbers in rooms_of:
                room = new_id()
                rooms.append((room, len(numbers)))
                for number in numbers:
                    members.append((room, people[number].user, "member" if number != numbers[0] else "owner"))
                    people[number].rooms.append(room)
            for query, rows in ((_USERS, users), (_SESSIONS, sessions), (_ROOMS, rooms), (_MEMBERS, members)):
                await connection.executemany(query, rows)
        return people, [room for room, _ in rooms]

    @property
    def _superuser(self) -> str:
        return self.postgres.dsn.replace("/postgres?", f"/{self.name}?")

    async def heads(self, rooms: Sequence[str]) -> dict[str, int]:
        async with self.database() as connection:
            rows = await connection.fetch("SELECT id, head_seq FROM rooms WHERE id = ANY ($1::uuid[])", rooms)
        return {str(row["id"]): row["head_seq"] for row in rows}

    async def stored(self, rooms: Sequence[str]) -> list[Stored]:
        """Read the log of these rooms, as PostgreSQL has it."""
        query = "SELECT room, seq, kind, actor, client_id, body FROM events WHERE room = ANY ($1::uuid[])"
        async with self.database() as connection:
            rows = await connection.fetch(query, rooms)
        return [
            Stored(str(row["room"]), row["seq"], row["client_id"] or row["kind"], str(row["actor"]), row["body"] or "")
            for row in rows
        ]

    @contextlib.asynccontextmanager
    async def database(self) -> AsyncIterator[Any]:
        """A connection of the superuser, past the proxies."""
        connection = await asyncpg.connect(self._superuser, timeout=10)
        try:
            yield connection
        finally:
            await connection.close()

    async def request(self, person: Person, method: str, path: str, index: int = 0) -> int:
        """Send a REST request to a node; return the status."""
        url = f"{self.urls[index]}/api/v1{path}"
        async with self.http.request(method, url, headers={"Authorization": f"Bearer {person.token}"}) as answer:
            return answer.status


async def _move(connection: Any, tablespace: str) -> None:
    """Move the log and its indexes."""
    names = await connection.fetch("SELECT indexrelid::regclass::text AS name FROM pg_index WHERE indrelid = 'events'::regclass")
    for kind, name in [("TABLE", "events"), *(("INDEX", row["name"]) for row in names)]:
        await connection.execute(f"ALTER {kind} {name} SET TABLESPACE {tablespace}")


async def _proxy(stack: contextlib.AsyncExitStack, target: tuple[str, int] | str) -> Proxy:
    proxy = Proxy(target)
    await proxy.open()
    stack.push_async_callback(proxy.close)
    return proxy


def _free_port() -> int:
    """Find a port below those that the kernel gives to outgoing connections: it must be free again after a kill."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
