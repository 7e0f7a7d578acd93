"""A capability from a folder outside the package, on a node: a kind of events, an operation, and the documents of both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import asyncpg
import pytest

from realtime.log.kinds import Kinds
from realtime.node.kinds import KINDS
from realtime.node.operations import OPERATIONS, served
from realtime.operations import Served, serve
from tests import contract
from tests.client import Api, unique
from tests.conftest import started
from tests.toy import kinds, operations

if TYPE_CHECKING:
    import contextlib
    from collections.abc import Callable

    import aiohttp

    from realtime.store.provision import Urls
    from tests.client import Socket
    from tests.conftest import Engines

EVERY = Kinds((*KINDS, *kinds.KINDS))


def with_pins(services: Mapping[str, object]) -> tuple[Served, ...]:
    """Join the rows of the package and those of the toy to what serves them."""
    return (*served(services), *serve(operations.OPERATIONS, services["writer"]))


async def test_it_is_asked_for_on_both_surfaces_delivered_and_described(
    running_engines: Engines,
    own_database: Urls,
    http: aiohttp.ClientSession,
    exits: contextlib.AsyncExitStack,
    close_later: Callable[[Socket], Socket],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in contract.documents(EVERY, (*OPERATIONS, *operations.OPERATIONS)).items():
        monkeypatch.setattr(contract, name, value)
    owner = await asyncpg.connect(own_database.owner)
    await owner.execute(kinds.MIGRATION)
    await owner.close()
    prefix = unique()
    (_, url), (_, elsewhere) = [
        await exits.enter_async_context(
            started(own_database, running_engines.redis, kinds=EVERY, operations=with_pins, redis_prefix=prefix)
        )
        for _ in range(2)
    ]
    anna, bob = await Api(http, url).register(), await Api(http, url).register()
    room = await anna.room("private", members=[bob])
    far = close_later(await bob.at(elsewhere).connect())
    await far.subscribe(room)
    before = len(far.events(room))
    first, second = await anna.send(room, "pin me"), await anna.send(room, "and me")

    over_rest = await anna.request("POST", f"/rooms/{room}/messages/{first}/pin", {"client_id": "p1"}, expect=200)
    near = close_later(await anna.connect())
    over_socket = await near.call("message.pin", {"room": room, "seq": second, "client_id": "p2"})
    assert over_socket["seq"] == over_rest.json["seq"] + 1
    await far.wait_events(room, before + 4)
    assert [(one["kind"], one["target"]) for one in far.events(room)[-2:]] == [
        ("message.pinned", first), ("message.pinned", second),
    ]  # fmt: skip

    refused = await bob.request("POST", f"/rooms/{room}/messages/{first}/pin", {})
    assert (refused.status, refused.json["code"]) == (403, "forbidden")
    answer = await far.ask("message.pin", {"room": room, "seq": first})
    assert answer["error"]["code"] == "forbidden"
    described, live = [await (await http.get(f"{url}/api/{name}.json")).json() for name in ("openapi", "asyncapi")]
    assert "post" in described["paths"]["/api/v1/rooms/{room}/messages/{seq}/pin"]
    assert {"request_message_pin", "emitted_message_pinned"} <= live["operations"].keys()
    assert "message.pin" in await (await http.get(f"{url}/api/docs")).text()
    metrics = await (await http.get(f"{url}/metrics")).text()
    assert 'event="message.pin"' in metrics
