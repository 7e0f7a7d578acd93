"""Routing: every operation reaches its service with the right arguments and answers in the shape of the contract."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from aiohttp import web

from realtime import errors
from realtime.model import Choice, MayAdd, Role, RoomKind
from realtime.node.kinds import KINDS
from realtime.node.operations import OPERATIONS
from realtime.operations import Auth
from realtime.surface.rest.app import Settings, mount
from realtime.surface.rest.probes import Readers
from realtime.wire import rest

from .conftest import ADA, BOB, MAX_BODY_BYTES, ROOM, SESSION, TOKEN, Client, Fake

V1 = "/api/v1"
AT = "2026-01-02T03:04:05.678Z"
ADA_JSON = {"id": ADA.id, "username": "ada", "display_name": "Ada"}
ADDRESS = "127.0.0.1"

CALLS: list[tuple[str, str, Any, int, list[tuple[Any, ...]]]] = [
    ("GET", "rooms?scope=mine&limit=7", None, 200, [("list_rooms", ADA.id, "mine", None, 7)]),
    ("GET", "rooms", None, 200, [("list_rooms", ADA.id, "all", None, 200)]),
    ("GET", f"rooms/{ROOM}", None, 200, [("get", ADA.id, ROOM)]),
    ("POST", f"rooms/{ROOM}/join", None, 200, [("join", ADA.id, ROOM)]),
    ("POST", f"rooms/{ROOM}/join", {}, 200, [("join", ADA.id, ROOM)]),
    ("POST", f"rooms/{ROOM}/leave", None, 204, [("leave", ADA.id, ROOM)]),
    ("GET", f"rooms/{ROOM}/members?after=x", None, 200, [("members", ADA.id, ROOM, "x", 200)]),
    ("POST", f"rooms/{ROOM}/members", {"user": BOB.id}, 201, [("add_member", ADA.id, ROOM, BOB.id, Role.MEMBER)]),
    ("PATCH", f"rooms/{ROOM}/members/{BOB.id}", {"role": "admin"}, 200, [("change_role", ADA.id, ROOM, BOB.id, Role.ADMIN)]),
    ("DELETE", f"rooms/{ROOM}/members/{BOB.id}", None, 204, [("remove_member", ADA.id, ROOM, BOB.id)]),
    ("GET", f"rooms/{ROOM}/bans?limit=3", None, 200, [("bans", ADA.id, ROOM, None, 3)]),
    ("GET", f"rooms/{ROOM}/bans/{BOB.id}", None, 200, [("get_ban", ADA.id, ROOM, BOB.id)]),
    ("PUT", f"rooms/{ROOM}/bans/{BOB.id}", None, 201, [("ban", ADA.id, ROOM, BOB.id)]),
    ("DELETE", f"rooms/{ROOM}/bans/{BOB.id}", None, 204, [("unban", ADA.id, ROOM, BOB.id)]),
    (
        "POST",
        f"rooms/{ROOM}/messages",
        {"client_id": "c", "body": "hi"},
        201,
        [("admit_send", ADA.id), ("submit", "message.created", ADA.id, ROOM, "c", None, "hi")],
    ),
    (
        "PATCH",
        f"rooms/{ROOM}/messages/5",
        {"body": "new"},
        200,
        [("admit_send", ADA.id), ("submit", "message.edited", ADA.id, ROOM, None, 5, "new")],
    ),
    (
        "DELETE",
        f"rooms/{ROOM}/messages/5?client_id=d",
        None,
        200,
        [("admit_send", ADA.id), ("submit", "message.deleted", ADA.id, ROOM, "d", 5, None)],
    ),
    ("GET", f"rooms/{ROOM}/messages?before=9", None, 200, [("messages", ADA.id, ROOM, 9, None, None, 50)]),
    ("GET", f"rooms/{ROOM}/messages?after=0&limit=200", None, 200, [("messages", ADA.id, ROOM, None, 0, None, 200)]),
    ("GET", f"rooms/{ROOM}/events?since=6", None, 200, [("events", ADA.id, ROOM, 6, 50)]),
    ("PUT", f"rooms/{ROOM}/closed", None, 204, [("close", ADA.id, ROOM, True)]),
    ("DELETE", f"rooms/{ROOM}/closed", None, 204, [("close", ADA.id, ROOM, False)]),
    ("GET", "me/settings", None, 200, [("may_add", ADA.id)]),
    ("PATCH", "me/settings", {"may_add": "nobody"}, 200, [("set_may_add", ADA.id, MayAdd.NOBODY)]),
    ("GET", "me/blocks?limit=3", None, 200, [("blocks", ADA.id, None, 3)]),
    ("GET", f"me/blocks/{BOB.id}", None, 200, [("get_block", ADA.id, BOB.id)]),
    ("PUT", f"me/blocks/{BOB.id}", None, 204, [("block", ADA.id, BOB.id)]),
    ("DELETE", f"me/blocks/{BOB.id}", None, 204, [("unblock", ADA.id, BOB.id)]),
    ("GET", "users?query=a", None, 200, [("search", "a", 100)]),
    ("GET", "me/presence", None, 200, [("setting", ADA.id)]),
    ("PATCH", "me/presence", {"status": "invisible"}, 200, [("choose", ADA.id, Choice.INVISIBLE, None, None)]),
    ("PATCH", "me/presence", {"text": "x", "text_expires_in_s": 60}, 200, [("choose", ADA.id, None, "x", 60)]),
    ("GET", "me/sessions", None, 200, [("sessions", ADA.id)]),
    ("DELETE", f"me/sessions/{SESSION}", None, 204, [("end_session", ADA.id, SESSION)]),
    ("GET", f"users?ids={BOB.id},{ADA.id}", None, 200, [("find", [BOB.id, ADA.id])]),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "calls"), CALLS)
async def test_an_operation_calls_its_service_once(
    client: Client, fake: Fake, method: str, path: str, body: Any, status: int, calls: list[tuple[Any, ...]]
) -> None:
    answer = await client.request(method, f"{V1}/{path}", json=body, headers=TOKEN)
    assert answer.status == status
    assert fake.calls == calls
    assert answer.headers["Cache-Control"] == "no-store"
    if status == 204:
        assert await answer.read() == b""
    else:
        assert answer.content_type == "application/json"


async def test_registration_passes_the_address_and_answers_a_pair_of_tokens(client: Client, fake: Fake) -> None:
    me = {"username": "ada", "password": "correct horse", "display_name": "Ada"}
    answer = await client.post(f"{V1}/auth/register", json=me)
    assert answer.status == 201
    assert await answer.json() == {
        "user": ADA_JSON,
        "access_token": "access",
        "refresh_token": "refresh",
        "expires_in": 900,
        "token_type": "Bearer",
    }
    assert fake.calls == [("register", "ada", "correct horse", "Ada", ADDRESS)]


async def test_sign_in_and_refresh_need_no_access_token_and_do_not_look_at_one(client: Client, fake: Fake) -> None:
    bad = {"Authorization": "Bearer rubbish"}
    signed_in = await client.post(f"{V1}/auth/login", json={"username": "ada", "password": "x"}, headers=bad)
    refreshed = await client.post(f"{V1}/auth/refresh", json={"refresh_token": "r"}, headers=bad)
    assert (signed_in.status, refreshed.status) == (200, 200)
    assert fake.calls == [("login", "ada", "x", ADDRESS), ("refresh", "r", ADDRESS)]


async def test_log_out_takes_either_token_and_passes_over_one_that_ran_out(client: Client, fake: Fake) -> None:
    assert (await client.post(f"{V1}/auth/logout", headers=TOKEN)).status == 204
    assert (await client.post(f"{V1}/auth/logout", json={"refresh_token": "r"})).status == 204
    fake.token_fails = errors.TokenExpired()
    assert (await client.post(f"{V1}/auth/logout", json={"refresh_token": "q"}, headers=TOKEN)).status == 204
    assert fake.calls == [("logout", SESSION), ("logout_by_refresh_token", "r"), ("logout_by_refresh_token", "q")]
    expired = await client.post(f"{V1}/auth/logout", headers=TOKEN)
    assert (expired.status, (await expired.json())["code"]) == (401, "token_expired")


async def test_a_caller_that_is_no_user_is_refused_before_its_request_is_looked_at(client: Client, fake: Fake) -> None:
    fake.caller, fake.admin = None, True
    for path in ("me", "rooms", "admin/users", "rooms?limit=rubbish"):
        answer = await client.get(f"{V1}/{path}", headers=TOKEN)
        assert (answer.status, (await answer.json())["code"]) == (403, "forbidden")
    assert fake.calls == []


async def test_me_is_who_the_token_says(client: Client) -> None:
    answer = await client.get(f"{V1}/me", headers=TOKEN)
    assert await answer.json() == ADA_JSON


async def test_me_tells_who_administrates_the_server(client: Client, fake: Fake) -> None:
    fake.admin = True
    answer = await client.get(f"{V1}/me", headers=TOKEN)
    assert await answer.json() == {**ADA_JSON, "admin": True}


async def test_a_changed_password_answers_new_tokens(client: Client, fake: Fake) -> None:
    body = {"current_password": "old", "new_password": "new password"}
    answer = await client.post(f"{V1}/me/password", json=body, headers=TOKEN)
    assert (answer.status, (await answer.json())["access_token"]) == (200, "access")
    assert fake.calls == [("change_password", SESSION, "old", "new password", ADDRESS)]


async def test_sessions_show_which_one_asks(client: Client) -> None:
    answer = await client.get(f"{V1}/me/sessions", headers=TOKEN)
    here = {"id": SESSION, "created_at": AT, "last_used_at": AT, "agent": "Browser", "current": True}
    assert await answer.json() == {"sessions": [here, {"id": ROOM, "created_at": AT, "last_used_at": AT, "agent": ""}]}


@pytest.mark.parametrize(("sent", "kept"), [("curl/8", "curl/8"), ("x" * 300, "x" * 200), ("a\tb\xff\xed\xa0\x80", "a?b????")])
async def test_what_a_client_calls_itself_is_cut_and_made_harmless(client: Client, fake: Fake, sent: str, kept: str) -> None:
    me = b'{"username": "ada", "password": "x"}'
    raw = sent.encode("latin-1")
    assert client.port is not None
    reader, writer = await asyncio.open_connection("127.0.0.1", client.port)
    head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
    writer.write(head + b"User-Agent: %b\r\nContent-Length: %d\r\n\r\n%b" % (raw, len(me), me))
    assert (await reader.readline()).split()[1] == b"200"
    await reader.read()
    writer.close()
    assert fake.agent == kept


ADMIN_CALLS: list[tuple[str, str, Any, int, tuple[Any, ...]]] = [
    ("GET", "admin/users", None, 200, ("list_accounts", "all", "", "", 50)),
    ("GET", "admin/users?scope=admins&query=a&after=ab&limit=2", None, 200, ("list_accounts", "admins", "a", "ab", 2)),
    ("GET", f"admin/users/{BOB.id}", None, 200, ("account", BOB.id)),
    ("PATCH", f"admin/users/{BOB.id}", {"disabled": True}, 200, ("change", ADA.id, BOB.id, None, True)),
    ("PATCH", f"admin/users/{BOB.id}", {"admin": True}, 200, ("change", ADA.id, BOB.id, True, None)),
    ("DELETE", f"admin/users/{BOB.id}/sessions", None, 204, ("end_sessions", ADA.id, BOB.id)),
    ("POST", f"admin/users/{BOB.id}/password", None, 200, ("reset_password", ADA.id, BOB.id)),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "call"), ADMIN_CALLS)
async def test_administration_is_for_administrators(
    client: Client, fake: Fake, method: str, path: str, body: Any, status: int, call: tuple[Any, ...]
) -> None:
    refused = await client.request(method, f"{V1}/{path}", json=body, headers=TOKEN)
    assert (refused.status, (await refused.json())["code"]) == (403, "admin_only")
    unknown = await client.request(method, f"{V1}/{path}", json=body)
    assert (unknown.status, (await unknown.json())["code"]) == (401, "token_missing")
    assert fake.calls == []
    fake.admin = True
    answer = await client.request(method, f"{V1}/{path}", json=body, headers=TOKEN)
    assert answer.status == status
    assert fake.calls == [call]


async def test_every_route_under_admin_is_for_administrators() -> None:
    assert {row.rest.path.startswith("/admin/") == (row.auth is Auth.ADMIN) for row in OPERATIONS if row.rest} == {True}


async def test_a_new_room_is_201_with_its_address_and_one_found_again_is_200(client: Client, fake: Fake) -> None:
    made = await client.post(f"{V1}/rooms", json={"kind": "public", "name": "Lobby"}, headers=TOKEN)
    assert made.status == 201
    assert made.headers["Location"] == f"rooms/{ROOM}", "relative, so that it holds below any path"
    assert await made.json() == {
        "id": ROOM,
        "kind": "public",
        "name": "Lobby",
        "head_seq": 9,
        "last_event_at": AT,
        "created_at": AT,
        "member_count": 2,
        "role": "owner",
    }
    fake.made = False
    found = await client.post(f"{V1}/rooms", json={"kind": "direct", "members": [BOB.id]}, headers=TOKEN)
    assert found.status == 200
    assert fake.calls[1] == ("create", ADA, RoomKind.DIRECT, None, [BOB.id])


async def test_a_repeated_send_is_200_and_says_duplicate(client: Client, fake: Fake) -> None:
    fake.duplicate = True
    answer = await client.post(f"{V1}/rooms/{ROOM}/messages", json={"client_id": "c", "body": "hi"}, headers=TOKEN)
    assert answer.status == 200
    assert await answer.json() == {"room": ROOM, "seq": 10, "at": AT, "client_id": "c", "duplicate": True}


async def test_history_answers_messages_as_they_are_now(client: Client) -> None:
    answer = await client.get(f"{V1}/rooms/{ROOM}/messages", headers=TOKEN)
    page = msgspec.json.decode(await answer.read(), type=rest.Messages)
    assert (page.head_seq, page.has_before, page.has_after) == (9, True, False)
    assert [(one.seq, one.author, one.body, one.edited_at) for one in page.messages] == [
        (8, ADA.id, "text 8", None),
        (9, ADA.id, "text 9", AT),
    ]


async def test_events_of_every_kind_keep_the_bytes_that_they_were_encoded_to(client: Client) -> None:
    answer = await client.get(f"{V1}/rooms/{ROOM}/events", headers=TOKEN)
    sent = msgspec.json.decode(await answer.read(), type=dict[str, msgspec.Raw])
    found = msgspec.json.decode(sent["events"], type=list[msgspec.Raw])
    log = [KINDS.decode(name, bytes(json)) for name, json in zip(("member.joined", "message.created"), found, strict=True)]
    assert [(type(one).__name__, one and one.seq) for one in log] == [("MemberJoined", 7), ("MessageCreated", 8)]


async def test_a_send_over_budget_is_refused_before_it_is_written(client: Client, fake: Fake) -> None:
    fake.fails = errors.RateLimited(retry_after_ms=1200)
    answer = await client.post(f"{V1}/rooms/{ROOM}/messages", json={"client_id": "c", "body": "hi"}, headers=TOKEN)
    assert (answer.status, answer.headers["Retry-After"]) == (429, "2")
    assert (await answer.json())["retry_after_ms"] == 1200
    assert fake.calls == [("admit_send", ADA.id)]


async def test_head_answers_like_get_without_the_body(client: Client, fake: Fake) -> None:
    full = await client.get(f"{V1}/rooms/{ROOM}", headers=TOKEN)
    head = await client.head(f"{V1}/rooms/{ROOM}", headers=TOKEN)
    assert head.status == 200
    assert head.headers["Content-Length"] == full.headers["Content-Length"]
    assert await head.read() == b""
    assert fake.observed[-1] == ("HEAD", f"{V1}/rooms/{{room}}", 200)


async def test_each_request_is_observed_with_its_template_and_an_unknown_path_or_method_makes_no_label(
    client: Client, fake: Fake
) -> None:
    await client.get(f"{V1}/rooms/{ROOM}", headers=TOKEN)
    await client.get(f"{V1}/rooms/{ROOM}")
    await client.get(f"{V1}/no/such/path")
    await client.request("PROPFIND", f"{V1}/me")
    await client.get("/healthz")
    assert fake.observed == [
        ("GET", f"{V1}/rooms/{{room}}", 200),
        ("GET", f"{V1}/rooms/{{room}}", 401),
        ("GET", "unmatched", 404),
        ("OTHER", f"{V1}/me", 405),
        ("GET", "/healthz", 200),
    ]


async def test_the_socket_path_stays_with_whoever_routed_it(aiohttp_client: Any, fake: Fake) -> None:
    async def socket(request: web.Request) -> web.Response:
        return web.Response(text="socket")

    app = web.Application()
    nobody = Readers((), "", ())
    settings = Settings(cors_origins=(), trusted=(), readers=nobody, max_body_bytes=MAX_BODY_BYTES, static=None)
    mount(app, fake.served(), KINDS, fake.door(), fake.watch(), settings)
    app.router.add_get("/socket.io/", socket)
    client: Client = await aiohttp_client(app)
    answer = await client.get("/socket.io/?EIO=4&transport=polling")
    assert (await answer.text(), "Content-Security-Policy" in answer.headers) == ("socket", False)


async def test_limits_count_against_the_address_that_a_trusted_proxy_names(start: Any, fake: Fake) -> None:
    client = await start(trusted=["127.0.0.0/8"])
    headers = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "203.0.113.9")]
    await client.post(f"{V1}/auth/login", json={"username": "ada", "password": "x"}, headers=headers)
    assert fake.calls == [("login", "ada", "x", "203.0.113.9")]


def test_the_table_has_each_operation_once() -> None:
    routes = [(row.rest.method, row.rest.path) for row in OPERATIONS if row.rest]
    assert len(set(routes)) == len(routes)
    assert len({row.name for row in OPERATIONS}) == len(OPERATIONS)
