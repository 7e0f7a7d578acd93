"""What operators see of two real nodes: the board, the metrics, and what breaks them."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from typing import TYPE_CHECKING, Any

import pytest

from realtime.telemetry import logs
from tests.client import PASSWORD, Api, Person, unique
from tests.integration.test_administration import grant

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client import Socket
    from tests.conftest import Nodes

    Keep = Callable[[Socket], Socket]


async def metrics(api: Api) -> dict[str, float]:
    """Read the page; samples by name and labels."""
    async with api.http.get(f"{api.url}/metrics") as answer:
        assert answer.status == 200
        page = await answer.text()
    found = re.findall(r"^(\w+(?:\{[^}]*\})?) (\S+)$", page, re.MULTILINE)
    return {name: float(value) for name, value in found}


@pytest.fixture
async def pair(nodes: Nodes) -> tuple[Api, Api]:
    return await nodes.start(node_id="left"), await nodes.start(node_id="right")


@pytest.fixture
async def boss(pair: tuple[Api, Api], nodes: Nodes) -> Person:
    return await grant(nodes.running[0], await pair[0].register(unique("boss")))


async def board(boss: Person, nodes: Nodes, true: Callable[[Any], bool]) -> Any:
    """Return the board as soon as it shows something; the nodes look at themselves now, and not when their time comes."""
    async with asyncio.timeout(5):
        while True:
            for node in nodes.running:
                node.sample()
            found = await boss.get("/admin/status")
            if true(found):
                return found
            await asyncio.sleep(0.02)


async def test_the_board_shows_both_nodes_and_who_was_closed_why(
    pair: tuple[Api, Api], boss: Person, nodes: Nodes, close_later: Keep
) -> None:
    anna = await pair[1].register()
    socket = close_later(await anna.connect(["websocket"]))
    polling = close_later(await anna.connect(["polling"]))
    room = await anna.room()
    await socket.subscribe(room)
    await socket.send(room)
    found = await board(boss, nodes, lambda view: len(view["nodes"]) == 2 and view["nodes"][1].get("polling") == 1)
    left, right = found["nodes"]
    assert (found["node"], left["node"], right["node"]) == ("left", "left", "right")
    assert (right["state"], right["websocket"], right["users"], right["subscriptions"]) == ("ok", 1, 1, 1)
    assert right["checks"] == {"node": "ok", "bus": "ok", "postgresql": "ok", "tasks": "ok"}
    assert sum(one["committed_per_s"] for one in right["samples"]) > 0
    await anna.request("POST", "/auth/logout", expect=204)
    await socket.wait(lambda: "closing" in socket.names)
    await polling.wait(lambda: "closing" in polling.names)
    found = await board(boss, nodes, lambda view: len([one for one in view["closes"] if one["reason"] == "session_ended"]) == 2)
    ended = [one for one in found["closes"] if one["reason"] == "session_ended"]
    assert {(one["node"], one["user"], one["transport"]) for one in ended} == {
        ("right", anna.id, "websocket"), ("right", anna.id, "polling"),
    }  # fmt: skip
    assert all(one["connection"] for one in ended)


async def test_nobody_else_sees_the_board(pair: tuple[Api, Api]) -> None:
    anna = await pair[0].register()
    answer = await anna.request("GET", "/admin/status")
    assert (answer.status, answer.code) == (403, "admin_only")
    assert (await pair[0].request("GET", "/admin/status")).status == 401


async def test_a_node_that_stops_is_shown_as_gone(pair: tuple[Api, Api], boss: Person, nodes: Nodes) -> None:
    await board(boss, nodes, lambda view: len(view["nodes"]) == 2)
    await nodes.stop(1)
    nodes.running.pop()
    found = await board(boss, nodes, lambda view: [one["state"] for one in view["nodes"]] == ["ok", "gone"])
    assert found["nodes"][1]["node"] == "right"


async def test_metrics_follow_what_happens(pair: tuple[Api, Api], close_later: Keep) -> None:
    anna = await pair[0].register()
    room = await anna.room()
    socket, polling = close_later(await anna.connect(["websocket"])), close_later(await anna.connect(["polling"]))
    upgraded = close_later(await anna.connect())
    for one in (socket, polling, upgraded):
        await one.subscribe(room)
    await socket.send(room)
    async with asyncio.timeout(5):
        while (now := await metrics(pair[0]))['roomwire_sessions{transport="polling"}'] != 1:
            await asyncio.sleep(0.02)
    assert now['roomwire_sessions{transport="websocket"}'] == 2
    assert (now["roomwire_connections"], now["roomwire_users"], now["roomwire_subscriptions"]) == (3, 1, 3)
    assert now['roomwire_requests_total{event="message.send",outcome="ok"}'] == 1
    assert now["roomwire_database_healthy"] == now["roomwire_bus_healthy"] == 1
    assert now['roomwire_database_connections{state="idle"}'] >= 1
    assert any(name.startswith("roomwire_build_info{") and 'version="' in name for name in now)
    for one in (socket, polling, upgraded):
        await one.close()
    async with asyncio.timeout(5):
        while (now := await metrics(pair[0]))["roomwire_connections"]:
            await asyncio.sleep(0.02)
    assert now['roomwire_sessions{transport="polling"}'] == now['roomwire_sessions{transport="websocket"}'] == 0


async def test_a_bug_is_logged_with_who_hit_it_and_without_what_they_wrote(
    pair: tuple[Api, Api], nodes: Nodes, close_later: Keep, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    anna = await pair[0].register()
    socket = close_later(await anna.connect(["websocket"]))
    secret = "what-anna-wrote"

    async def broken(*_: object, **__: object) -> None:
        raise ValueError(f"{secret} does not fit")

    monkeypatch.setattr(nodes.running[0].feeds, "subscribe", broken)
    monkeypatch.setattr(nodes.running[0].rooms, "get", broken)
    room = await anna.room()
    with caplog.at_level(logging.DEBUG):
        assert (await socket.ask("room.subscribe", {"rooms": [{"room": room}]}))["error"]["code"] == "internal"
        answer = await anna.request("GET", f"/rooms/{room}")
        assert answer.code == "internal"
    lines = [json.loads(logs.JsonFormatter("left").format(record)) for record in caplog.records]
    over_socket, over_rest = [line for line in lines if line["level"] == "error"]
    assert (over_socket["event"], over_socket["user"], over_socket["node"]) == ("room.subscribe", anna.id, "left")
    assert over_socket["connection"] and "ValueError" in over_socket["exception"]
    assert (over_rest["route"], over_rest["method"]) == ("/api/v1/rooms/{room}", "GET")
    told = json.dumps(lines)
    assert [one for one in (secret, PASSWORD, anna.token, anna.refresh_token) if one in told] == []
