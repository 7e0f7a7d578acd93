"""Two hosts in the URL: one hangs, the other is promoted."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import pytest

from realtime.store.connecting import STAGGER_S, Connector
from realtime.store.pool import Database
from realtime.store.provision import Urls
from realtime.store.starting import CannotStart
from tests.client import unique
from tests.cluster.lab.proxy import Proxy
from tests.conftest import Nodes

if TYPE_CHECKING:
    import contextlib
    from collections.abc import AsyncIterator, Awaitable, Callable

    import aiohttp

    from tests.client import Person
    from tests.conftest import Engines


@pytest.fixture
async def host(own_database: Urls) -> AsyncIterator[Callable[[], Awaitable[Proxy]]]:
    """Makes machines in front of the one PostgreSQL; each passes everything on until it is told otherwise."""
    made: list[Proxy] = []
    [folder] = parse_qs(urlsplit(own_database.owner).query)["host"]

    async def make() -> Proxy:
        made.append(Proxy(f"{folder}/.s.PGSQL.5432"))
        await made[-1].open()
        return made[-1]

    yield make
    for proxy in made:
        await proxy.close()


def url(own_database: Urls, *hosts: Proxy) -> str:
    listed = ",".join(f"127.0.0.1:{host.port}" for host in hosts)
    return f"postgresql://roomwire_app@{listed}{urlsplit(own_database.owner).path}?sslmode=disable"


async def late_read(person: Person) -> int:
    """Ask something of the store when the host hangs already, and is not known to."""
    await asyncio.sleep(1.5)
    return (await person.request("GET", "/rooms")).status


async def test_acks_are_back_soon_after_a_promotion_while_the_first_host_hangs(
    running_engines: Engines,
    own_database: Urls,
    http: aiohttp.ClientSession,
    exits: contextlib.AsyncExitStack,
    host: Callable[[], Awaitable[Proxy]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    first, second = await host(), await host()
    second.refuse()
    urls = Urls(own_database.owner, url(own_database, first, second))
    api = await Nodes(urls, running_engines.redis, exits, http).start(statement_timeout_ms=1500)
    anna = await api.register()
    room = await anna.room("private")
    await anna.send(room)
    first.hold()
    client_id = unique()

    async def send() -> int:
        answer = await anna.request("POST", f"/rooms/{room}/messages", {"client_id": client_id, "body": "x"})
        assert answer.status in (200, 201) or answer.json["retryable"], answer.json
        return answer.status

    late = asyncio.create_task(late_read(anna))
    assert await send() == 503
    await second.accept()
    async with asyncio.timeout(10):
        while await send() == 503:
            await asyncio.sleep(0.1)
    assert (await anna.get(f"/rooms/{room}"))["head_seq"] in (2, 3)
    assert await late in (503, 200), "200 where a busy machine asked it only after the promotion"
    away = [record for record in caplog.records if "PostgreSQL is away" in record.getMessage()]
    assert len(away) == 1, "what was asked of the host that hangs says nothing about the one that took its place"
    first.cut()


async def test_a_start_is_not_held_up_by_a_host_that_hangs_and_the_host_that_took_writes_is_tried_first(
    own_database: Urls, host: Callable[[], Awaitable[Proxy]]
) -> None:
    hanging, refusing, primary = await host(), await host(), await host()
    hanging.hold()
    refusing.refuse()
    connector = Connector(url(own_database, hanging, refusing, primary), {})
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    connection = await connector.connect(5)
    assert loop.time() - began_s < 2 * STAGGER_S + 1
    connection.terminate()
    (await connector.connect(5)).terminate()
    assert (hanging.accepted, primary.accepted) == (1, 2)


async def test_when_no_host_takes_writes_the_start_says_so_and_that_it_may_pass(
    own_database: Urls, host: Callable[[], Awaitable[Proxy]]
) -> None:
    one, other = await host(), await host()
    one.refuse()
    other.refuse()
    with pytest.raises(CannotStart) as stopped:
        await Database(url(own_database, one, other)).open()
    assert stopped.value.passing
