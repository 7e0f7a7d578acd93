"""A capability that lies outside the package: one folder and one line, and it is there on every surface."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import jsonschema
import pytest
from aiohttp import web

from realtime.budgets import Budget
from realtime.log.kinds import Kinds
from realtime.model import Scope
from realtime.node.kinds import KINDS
from realtime.node.operations import OPERATIONS
from realtime.operations import serve
from realtime.surface.rest import asyncapi, docs, openapi
from realtime.surface.rest.app import Settings, mount
from realtime.surface.rest.probes import Readers
from tests.toy import kinds, pins
from tests.unit.surface.rest.conftest import ADA, TOKEN, Client, Fake
from tests.unit.surface.socket.test_dispatch import ROOM, Services, settle

PIN = f"/api/v1/rooms/{ROOM}/pins"


@pytest.fixture
def board() -> pins.Board:
    return pins.Board()


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
async def client(aiohttp_client: Any, fake: Fake, board: pins.Board) -> Client:
    app = web.Application()
    settings = Settings(cors_origins=(), trusted=(), readers=Readers((), "", ()), max_body_bytes=1_000, static=None)
    mount(app, (*fake.served(), *serve(pins.OPERATIONS, board)), KINDS, fake.door(), fake.watch(), settings)
    client: Client = await aiohttp_client(app)
    return client


async def test_it_works_over_rest_with_the_path_the_body_and_the_query(client: Client, fake: Fake) -> None:
    made = await client.put(f"{PIN}/7", json={"note": "read this"}, headers=TOKEN)
    assert (made.status, await made.json()) == (201, {"seq": 7, "by": ADA.id, "note": "read this"})
    assert (await client.put(f"{PIN}/7", json={}, headers=TOKEN)).status == 200
    assert (await client.put(f"{PIN}/3", json={}, headers=TOKEN)).status == 201
    listed = await client.get(f"{PIN}?limit=1", headers=TOKEN)
    assert await listed.json() == {"pins": [{"seq": 3, "by": ADA.id}]}
    assert (await client.delete(f"{PIN}/7", headers=TOKEN)).status == 204
    assert fake.charged == [(Budget.MODERATION, ADA.id, None, 1)] * 4, "a listing costs nothing"
    assert fake.observed[0] == ("PUT", "/api/v1/rooms/{room}/pins/{seq}", 201)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("PUT", f"{PIN}/7", {"note": ""}, 400, "invalid_request"),
        ("PUT", f"{PIN}/7", {"room": "x"}, 400, "invalid_request"),
        ("PUT", f"{PIN}/x", {}, 400, "invalid_request"),
        ("GET", f"{PIN}?limit=11", None, 400, "invalid_request"),
        ("DELETE", f"{PIN}/9", None, 404, "message_not_found"),
        ("POST", f"{PIN}/7", {}, 405, "method_not_allowed"),
    ],
)
async def test_what_does_not_fit_is_refused_over_rest(
    client: Client, method: str, path: str, body: Any, status: int, code: str
) -> None:
    answer = await client.request(method, path, json=body, headers=TOKEN)
    assert (answer.status, (await answer.json())["code"]) == (status, code)


async def test_it_works_over_the_socket_in_the_order_asked(board: pins.Board) -> None:
    services = Services(serve(pins.OPERATIONS, board))
    line = services.connect()
    services.send(line, "pin.add", {"room": ROOM, "seq": 7}, 1)
    await settle()
    services.send(line, "pin.remove", {"room": ROOM, "seq": 7}, 2)
    services.send(line, "pin.remove", {"room": ROOM, "seq": 7}, 3)
    services.send(line, "pin.add", {"room": ROOM, "seq": 0}, 4)
    assert line.acks[:2] == [(1, {"ok": True, "seq": 7, "by": ADA.id}), (2, {"ok": True})]
    assert line.codes == ["message_not_found", "invalid_request"]
    assert services.counted == [
        ("pin.add", "ok"), ("pin.remove", "ok"), ("pin.remove", "message_not_found"), ("pin.add", "invalid_request"),
    ]  # fmt: skip


async def test_its_scope_is_judged_on_both_surfaces(client: Client, fake: Fake, board: pins.Board) -> None:
    fake.scopes = frozenset({Scope.MESSAGES_READ})
    assert (await client.put(f"{PIN}/7", json={}, headers=TOKEN)).status == 403
    assert (await client.get(PIN, headers=TOKEN)).status == 200
    services = Services(serve(pins.OPERATIONS, board))
    line = services.connect()
    line.app.scopes = fake.scopes
    services.send(line, "pin.add", {"room": ROOM, "seq": 7})
    await asyncio.sleep(0)
    assert (line.codes, board.pins) == (["forbidden"], {})


def test_it_is_in_the_documents() -> None:
    rows = (*OPERATIONS, *pins.OPERATIONS)
    every_kind = Kinds((*KINDS, *kinds.KINDS))
    rest, live = openapi.document(rows, every_kind), asyncapi.document(rows, every_kind)
    for document in (rest, live):
        event = document["components"]["schemas"]["RoomEvent"]
        assert {"$ref": "#/components/schemas/MessagePinned"} in event["anyOf"]
    assert live["operations"]["emitted_message_pinned"]["action"] == "send"
    put = rest["paths"]["/api/v1/rooms/{room}/pins/{seq}"]["put"]
    assert put["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/PinMessage"}
    assert rest["components"]["schemas"]["PinMessage"]["properties"].keys() == {"note"}
    assert {"201", "200", "404", "429"} <= put["responses"].keys()
    assert "Pins" in {one["name"] for one in rest["tags"]}
    assert live["operations"]["request_pin_add"]["summary"] == "Pin a message to its room."
    assert live["components"]["schemas"]["PinnedAck"]["properties"].keys() == {"seq", "by", "ok"}
    for schema in (*rest["components"]["schemas"].values(), *live["components"]["schemas"].values()):
        jsonschema.Draft202012Validator.check_schema(schema)
    page = docs.page(rest, live)
    for name in ("rest-pin-message", "rest-list-pins", "socket-requests-pin-add", "object-pinned"):
        assert f'id="{name}"' in page


def test_a_row_is_served_by_one_handler_on_one_surface_at_least() -> None:
    for row in (*OPERATIONS, *pins.OPERATIONS):
        given = [one for one in (row.handler, row.submit, row.attend) if one is not None]
        assert len(given) == 1, row.name
        assert row.rest or row.socket, row.name
        assert row.attend is None or row.rest is None, row.name
        assert dataclasses.is_dataclass(row)
