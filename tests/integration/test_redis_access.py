"""Redis behind a door: the documented rights are enough and the least, and TLS is checked."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import shutil
import ssl
import subprocess
from typing import TYPE_CHECKING

import pytest
from redis.asyncio import Redis

from realtime import redis_url
from realtime.node import engines
from tests.conftest import Nodes
from tests.process import readable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    import aiohttp

    from realtime.store.provision import Urls
    from tests.client import Socket

    Keep = Callable[[Socket], Socket]

OPERATIONS = pathlib.Path(__file__).parents[2] / "docs" / "operations.md"


def documented(marker: str) -> list[str]:
    """Return the documented ACL command that has `marker` in it."""
    [line] = [line for line in OPERATIONS.read_text().splitlines() if line.startswith("ACL SETUSER") and marker in line]
    return line.split()


@pytest.fixture
def redis(tmp_path: pathlib.Path) -> Iterator[engines.Redis]:
    engine = engines.Redis(readable(tmp_path))
    engines.start_all([engine])
    yield engine
    engines.stop_all([engine])


@pytest.fixture
async def admin(redis: engines.Redis) -> AsyncIterator[Redis]:
    client = Redis.from_url(redis.url, protocol=2)
    yield client
    await client.aclose()


async def state(nodes: Nodes, expected: str, within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while {node.bus.state for node in nodes.running} != {expected}:
            await asyncio.sleep(0.01)


async def test_the_documented_rights_are_enough_and_without_them_the_bus_is_away_until_they_are_back(
    redis: engines.Redis,
    admin: Redis,
    shared_database: Urls,
    http: aiohttp.ClientSession,
    exits: contextlib.AsyncExitStack,
    close_later: Keep,
) -> None:
    rights = documented("+publish")
    await admin.execute_command(*rights)  # type: ignore[no-untyped-call]
    nodes = Nodes(shared_database, redis.url.replace("unix://", "unix://roomwire:secret@"), exits, http)
    here, there = await nodes.start(redis_prefix="rt"), await nodes.start(redis_prefix="rt")
    await state(nodes, "ok")
    anna, bert = await here.register(), await here.register()
    room = await anna.room("private", members=[bert])
    a, b = close_later(await anna.connect()), close_later(await bert.at(there.url).connect())
    await a.subscribe(room)
    await b.subscribe(room)
    await a.call("presence.watch", {"users": [bert.id]})
    await a.wait(lambda: any(one["users"][0]["status"] == "online" for one in a.payloads("presence")))
    await a.send(room)
    await b.wait_events(room, 1, timeout_s=0.9)
    late = await nodes.start(redis_prefix="rt")  # reads the leases of the others
    c = close_later(await anna.at(late.url).connect())
    await c.call("presence.watch", {"users": [bert.id]})
    await c.wait(lambda: any(one["users"][0]["status"] == "online" for one in c.payloads("presence")))

    await admin.execute_command("ACL", "SETUSER", "roomwire", "resetchannels", "&other:*")  # type: ignore[no-untyped-call]
    await state(nodes, "away", within_s=3)
    await a.send(room)
    await b.wait_events(room, 2, timeout_s=2.5)
    await admin.execute_command(*rights)  # type: ignore[no-untyped-call]
    await state(nodes, "ok")
    await a.send(room)
    await b.wait_events(room, 3, timeout_s=0.9)
    assert b.seqs(room) == [1, 2, 3]
    assert await admin.acl_log() is not None


async def test_a_user_without_the_right_to_the_rooms_alone_is_told_and_missed_by_nobody(
    redis: engines.Redis,
    admin: Redis,
    shared_database: Urls,
    http: aiohttp.ClientSession,
    exits: contextlib.AsyncExitStack,
    close_later: Keep,
) -> None:
    """The probe goes through, the rooms do not: what is not confirmed counts as not heard."""
    rights = [right.replace("&rt:*", "&rt:node:*") for right in documented("+publish")]
    await admin.execute_command(*rights, "&rt:control")  # type: ignore[no-untyped-call]
    nodes = Nodes(shared_database, redis.url.replace("unix://", "unix://roomwire:secret@"), exits, http)
    here, there = await nodes.start(redis_prefix="rt"), await nodes.start(redis_prefix="rt")
    await state(nodes, "ok")
    anna = await here.register()
    room = await anna.room("private")
    a, b = close_later(await anna.connect()), close_later(await anna.at(there.url).connect())
    await a.subscribe(room)
    await b.subscribe(room)
    for number in range(1, 4):
        await a.send(room)
        await b.wait_events(room, number, timeout_s=2.5)
    assert "ok" not in {node.bus.state for node in nodes.running}
    assert b.seqs(room) == [1, 2, 3]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """An authority, a certificate of it for 127.0.0.1, and an authority that has nothing to do with it."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("no openssl here to make certificates with")
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1\n")
    new = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    for arguments in (
        [*new, "-subj", "/CN=test authority", "-keyout", "ca.key", "-out", "ca.pem"],
        [*new, "-subj", "/CN=another authority", "-keyout", "other.key", "-out", "other.pem"],
        ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=redis",
         "-keyout", "redis.key", "-out", "redis.csr"],
        ["x509", "-req", "-in", "redis.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
         "-extfile", "san", "-out", "redis.pem"],
    ):  # fmt: skip
        subprocess.run([program, *arguments], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture
async def tls_port(redis: engines.Redis, certificates: pathlib.Path) -> AsyncIterator[int]:
    """A TLS endpoint in front of Redis, as a proxy or a managed Redis has it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "redis.pem", certificates / "redis.key")
    piping: set[asyncio.Task[None]] = set()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back_reader, back_writer = await asyncio.open_unix_connection(redis.url.removeprefix("unix://"))
        for task in (asyncio.create_task(pipe(reader, back_writer)), asyncio.create_task(pipe(back_reader, writer))):
            piping.add(task)
            task.add_done_callback(piping.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    yield server.sockets[0].getsockname()[1]
    server.close()
    for task in list(piping):
        task.cancel()
    await asyncio.gather(*piping, return_exceptions=True)


async def test_over_tls_nodes_talk_when_the_authority_is_known_and_not_otherwise(
    tls_port: int,
    certificates: pathlib.Path,
    shared_database: Urls,
    http: aiohttp.ClientSession,
    exits: contextlib.AsyncExitStack,
    close_later: Keep,
) -> None:
    url = f"rediss://127.0.0.1:{tls_port}/0?ssl_ca_certs={certificates / 'ca.pem'}"
    nodes = Nodes(shared_database, url, exits, http)
    here, there = await nodes.start(), await nodes.start()
    await state(nodes, "ok")
    anna = await here.register()
    room = await anna.room("private")
    a, b = close_later(await anna.connect()), close_later(await anna.at(there.url).connect())
    await a.subscribe(room)
    await b.subscribe(room)
    await a.send(room)
    await b.wait_events(room, 1, timeout_s=0.9)
    for wrong in (url.replace("/ca.pem", "/other.pem"), url.replace("127.0.0.1", "localhost")):
        strangers = Nodes(shared_database, wrong, exits, http)
        await strangers.start()
        assert strangers.running[0].bus.state == "away"


async def test_a_redis_that_refuses_the_url_is_told_by_its_words_and_one_that_is_away_is_not(
    redis: engines.Redis, unused_tcp_port: int
) -> None:
    admin = Redis.from_url(redis.url)
    try:
        await admin.acl_setuser("node", enabled=True, passwords=["+right"], keys=["*"], channels=["*"], commands=["+@all"])
        path = redis.url.removeprefix("unix://").partition("?")[0]
        assert await redis_url.refusal(f"unix://node:right@{path}", 2) == ""
        said = await redis_url.refusal(f"unix://node:wr0ng-secret@{path}", 2)
        assert "password" in said
        assert "wr0ng-secret" not in said
        assert "database" in await redis_url.refusal(f"unix://{path}?db=99999", 2)
    finally:
        await admin.aclose()
    assert await redis_url.refusal(f"redis://127.0.0.1:{unused_tcp_port}", 2) == "", "it may come back"

    async def no_redis(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(no_redis, "127.0.0.1", unused_tcp_port):
        assert "no Redis" in await redis_url.refusal(f"redis://127.0.0.1:{unused_tcp_port}", 2)
