"""The official JavaScript client against a real node: over WebSocket, over polling, and moving from the one to the other."""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
import time
from typing import TYPE_CHECKING, Any

import pytest

from realtime import config
from realtime.auth import tokens
from realtime.model import SessionId, User, UserId
from realtime.node.app import Node
from realtime.node.serve import doors_open
from tests.client import Api, Refused, unique
from tests.conformance.official import Driver, Official, driving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

    from realtime.store.provision import Urls
    from tests.client import Person
    from tests.conftest import Engines, Nodes

Transports = list[str] | None


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    async with driving() as running:
        yield running


@pytest.fixture(params=[["websocket"], ["polling"], None], ids=["websocket", "polling", "upgrade"])
def transports(request: pytest.FixtureRequest) -> Transports:
    """What the client is told to use; None: its default, polling first."""
    found: Transports = request.param
    return found


async def connected(driver: Driver, person: Person, transports: Transports, **options: Any) -> Official:
    """Connect and wait until it went where this way of connecting leads to."""
    client = driver.open(person.api.url, person.token, transports, **options)
    await client.ready()
    if transports is None:
        assert client.said("open")[0]["transport"] == "polling"
        assert (await client.until("upgrade"))["transport"] == "websocket"
    else:
        assert client.said("open")[0]["transport"] == transports[0]
    return client


async def test_it_is_greeted_and_gets_everybodys_messages_in_order(api: Api, driver: Driver, transports: Transports) -> None:
    anna, ben = await api.register(), await api.register()
    room = await anna.room(members=[ben])
    first, second = await connected(driver, anna, transports), await connected(driver, ben, transports)
    [greeting] = first.payloads("ready")
    assert greeting["user"]["id"] == anna.id
    for client in (first, second):
        answer = await client.subscribe(room, since=0)
        assert [event["seq"] for event in answer["events"]] == list(range(1, answer["head_seq"] + 1))
    head = answer["head_seq"]
    texts = [f"{number} ä🎈" for number in range(20)]
    acked = await asyncio.gather(*(client.send(room, text) for text in texts for client in (first, second)))
    assert sorted(acked) == list(range(head + 1, head + 41))
    for client in (first, second):
        await client.wait(lambda client=client: len(client.seqs(room)) == 40)  # type: ignore[misc]
        assert client.seqs(room) == list(range(head + 1, head + 41))
        for person in (anna, ben):
            assert [event["body"] for event in client.events(room) if event["actor"] == person.id] == texts
    assert first.events(room) == second.events(room)


async def test_a_retry_is_answered_with_the_first_seq(api: Api, driver: Driver, transports: Transports) -> None:
    anna = await api.register()
    room = await anna.room()
    client = await connected(driver, anna, transports)
    message = {"room": room, "client_id": unique("c"), "body": "once"}
    first = await client.call("message.send", message)
    again = await client.call("message.send", message)
    assert "duplicate" not in first
    assert again == {**first, "duplicate": True}
    page = await anna.get(f"/rooms/{room}/messages")
    assert [one["seq"] for one in page["messages"]] == [first["seq"]]


async def test_edits_and_deletions_are_events_of_their_own(api: Api, driver: Driver, transports: Transports) -> None:
    anna = await api.register()
    room = await anna.room()
    client = await connected(driver, anna, transports)
    await client.subscribe(room)
    sent = await client.send(room, "first")
    edited = await client.call("message.edit", {"room": room, "seq": sent, "body": "second"})
    deleted = await client.call("message.delete", {"room": room, "seq": sent})
    assert (edited["seq"], deleted["seq"]) == (sent + 1, sent + 2)
    await client.wait(lambda: len(client.seqs(room)) == 3)
    assert [(event["kind"], event.get("target"), event.get("body")) for event in client.events(room)] == [
        ("message.created", None, "first"), ("message.edited", sent, "second"), ("message.deleted", sent, None),
    ]  # fmt: skip
    with pytest.raises(Refused, match="message_not_found"):
        await client.call("message.edit", {"room": room, "seq": sent, "body": "third"})


async def test_a_signal_reaches_the_others_and_leaves_no_trace(api: Api, driver: Driver, transports: Transports) -> None:
    anna, ben = await api.register(), await api.register()
    room = await anna.room(members=[ben])
    first, second = await connected(driver, anna, transports), await connected(driver, ben, transports)
    head = (await first.subscribe(room))["head_seq"]
    await second.subscribe(room)
    await first.call("signal", {"room": room, "kind": "typing", "data": {"on": True}})
    await second.wait(lambda: "signal" in second.names)
    assert second.payloads("signal") == [{"room": room, "user": anna.id, "kind": "typing", "data": {"on": True}}]
    assert (await anna.get(f"/rooms/{room}"))["head_seq"] == head
    assert first.payloads("signal") == []


async def test_who_is_watched_comes_and_goes(api: Api, driver: Driver, transports: Transports) -> None:
    anna, ben = await api.register(), await api.register()
    first = await connected(driver, anna, transports)
    await first.call("presence.watch", {"users": [ben.id]})
    await first.wait(lambda: "presence" in first.names)
    second = await connected(driver, ben, transports)
    await first.wait(lambda: len(first.payloads("presence")) == 2, 10)
    await second.disconnect()
    await first.wait(lambda: len(first.payloads("presence")) == 3, 40)
    told = first.payloads("presence")
    assert told[-1]["users"][0].pop("last_seen_at")
    assert told == [
        {"users": [{"user": ben.id, "status": "offline"}], "snapshot": True},
        {"users": [{"user": ben.id, "status": "online"}]},
        {"users": [{"user": ben.id, "status": "offline"}]},
    ]


async def test_what_the_server_does_not_take_is_refused_and_the_connection_goes_on(
    api: Api, driver: Driver, transports: Transports
) -> None:
    anna = await api.register()
    client = await connected(driver, anna, transports)
    wrong: list[tuple[str, Any, str]] = [
        ("message.sned", {}, "unknown_event"),
        ("message.send", None, "invalid_request"),
        ("message.send", [1, 2], "invalid_request"),
    ]
    for event, payload, code in wrong:
        answer = await client.ask(event, payload)
        assert (answer["ok"], answer["error"]["code"], answer["error"]["retryable"]) == (False, code, False)
    assert (await client.ask_with_bytes("message.send"))["error"]["code"] == "invalid_request"
    await client.call("presence.watch", {"users": []})
    assert client.said("disconnect") == []


@pytest.mark.parametrize(("token", "code"), [("wrong", "token_invalid"), (None, "token_missing"), ("", "token_missing")])
async def test_a_wrong_token_is_told_with_its_code_and_not_tried_again(
    api: Api, driver: Driver, transports: Transports, token: str | None, code: str
) -> None:
    client = driver.open(api.url, token, transports)
    refused = await client.until("connect_error")
    assert (refused["data"]["code"], refused["data"]["retryable"], refused["active"]) == (code, False, False)
    assert refused["message"] == refused["data"]["message"]
    assert client.said("connect") == []


def token_of(node: Node, person: Person, session: str, ttl_s: int) -> str:
    """Sign a token that expires (or has expired) that many seconds from now."""
    claims = tokens.Claims(node.config.token_issuer, node.config.token_audience)
    user = User(UserId(person.id), person.username, person.username)
    return tokens.issue(claims, *node.keys.signing, user, SessionId(session), int(time.time()), ttl_s)


async def test_an_expired_token_is_told_and_a_new_one_lets_the_same_client_in(
    api: Api, nodes: Nodes, driver: Driver, transports: Transports
) -> None:
    anna = await api.register()
    session = (await _session(driver, anna, transports))["session"]
    client = driver.open(api.url, token_of(nodes.running[0], anna, session, -5), transports)
    refused = await client.until("connect_error")
    assert (refused["data"]["code"], refused["data"]["retryable"]) == ("token_expired", False)
    client.renew(anna.token)
    client.reopen()
    await client.ready()


async def _session(driver: Driver, person: Person, transports: Transports) -> dict[str, Any]:
    client = await connected(driver, person, transports)
    greeting: dict[str, Any] = client.payloads("ready")[0]
    return greeting


async def test_a_token_that_runs_out_ends_the_connection_unless_it_is_renewed(
    nodes: Nodes, driver: Driver, transports: Transports
) -> None:
    api = await nodes.start(token_grace_s=0)
    anna = await api.register()
    session = (await _session(driver, anna, transports))["session"]
    short = token_of(nodes.running[0], anna, session, 2)
    left, renewed = (driver.open(api.url, short, transports) for _ in range(2))
    await left.ready()
    await renewed.ready()
    assert (await renewed.call("auth.refresh", {"token": anna.token}))["expires_in"] > 600
    ended = await left.until("disconnect")
    assert left.payloads("closing") == [{"code": "token_expired", "retryable": False}]
    assert (ended["reason"], ended["active"]) == ("io server disconnect", False)
    await renewed.call("presence.watch", {"users": []})
    assert renewed.said("disconnect") == []


async def test_after_a_logout_it_is_told_why_and_does_not_come_back(api: Api, driver: Driver, transports: Transports) -> None:
    anna = await api.register()
    client = await connected(driver, anna, transports)
    await anna.request("POST", "/auth/logout", expect=204)
    ended = await client.until("disconnect", timeout_s=1)
    assert client.payloads("closing") == [{"code": "session_ended", "retryable": False}]
    assert (ended["reason"], ended["active"]) == ("io server disconnect", False)
    client.reopen()
    refused = await client.until("connect_error")
    assert (refused["data"]["code"], refused["active"]) == ("session_ended", False)


async def test_it_leaves_and_comes_back_on_the_same_connection(api: Api, driver: Driver, transports: Transports) -> None:
    anna = await api.register()
    client = await connected(driver, anna, transports)
    await client.disconnect()
    assert (await client.until("disconnect"))["reason"] == "io client disconnect"
    client.reopen()
    await client.ready(2)
    first, second = client.said("connect")
    assert first["id"] != second["id"]


@contextlib.asynccontextmanager
async def node_at(port: int, urls: Urls, redis: str, prefix: str) -> AsyncIterator[None]:
    """Run a node on a port that was chosen before."""
    node = Node(config.load({}, {"redis_prefix": prefix}), urls.application, redis)
    async with node.open(), doors_open(node, "127.0.0.1", port, shutdown_s=1):
        try:
            yield
        finally:
            await node.drain(0.1)


async def test_it_comes_back_to_a_restarted_server_by_itself_and_misses_nothing(
    running_engines: Engines, shared_database: Urls, http: aiohttp.ClientSession, api: Api, driver: Driver, transports: Transports
) -> None:
    with sockets.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    prefix = unique("restart")
    anna, ben = await api.register(), await api.register()
    room = await anna.room(members=[ben])
    async with node_at(port, shared_database, running_engines.redis, prefix):
        client = await connected(driver, ben.at(f"http://127.0.0.1:{port}"), transports)
        held = (await client.subscribe(room, since=0))["events"]
        live = await client.send(room, "before")
        await client.wait(lambda: live in client.seqs(room))
    await client.wait_for("server.drain")
    assert (await client.until("disconnect"))["active"] is True
    held += client.events(room)
    missed = [await anna.send(room, f"missed {number}") for number in range(10)]
    async with node_at(port, shared_database, running_engines.redis, prefix):
        await client.until("reconnect")
        await client.ready(2)
        answer = await client.subscribe(room, since=held[-1]["seq"])
        held += answer["events"]
        after = await client.send(room, "after")
        await client.wait(lambda: after in client.seqs(room))
        held.append(client.events(room)[-1])
    assert [event["seq"] for event in held] == list(range(1, after + 1))
    assert [event["seq"] for event in answer["events"]] == missed
