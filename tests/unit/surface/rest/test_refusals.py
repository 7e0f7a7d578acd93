"""Refusals: whatever comes in, the answer is a problem with a stable code, and never 500 for what a client did."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import msgspec
import pytest
from aiohttp import ClientResponse

from realtime import errors
from realtime.surface.rest import input as body_input
from realtime.surface.rest.edge import WENT_AWAY
from realtime.wire import rest

from .conftest import MAX_BODY_BYTES, ROOM, TOKEN, Client, Fake

V1 = "/api/v1"
MESSAGES = f"{V1}/rooms/{ROOM}/messages"
JSON = {**TOKEN, "Content-Type": "application/json"}


async def problem(answer: ClientResponse) -> rest.Problem:
    assert answer.content_type == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
    found = msgspec.json.decode(await answer.read(), type=rest.Problem)
    assert found.status == answer.status
    return found


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (b"", "invalid_json", None),
        (b"{", "invalid_json", None),
        (b'{"client_id": "c", "body": "x"} x', "invalid_json", None),
        (b'\xef\xbb\xbf{"client_id": "c", "body": "x"}', "invalid_json", None),
        (b'{"client_id": "c", "body": "\xff"}', "invalid_json", None),
        (b'{"client_id": "c", "body": "\xed\xa0\x80"}', "invalid_json", None),
        (b'{"client_id": "c", "body": "\\ud800"}', "invalid_json", None),
        (b'{"client_id": "c", "body": "\\ud800\\u0041"}', "invalid_json", None),
        (b'{"client_id": "c", "body": NaN}', "invalid_json", None),
        (b"[]", "invalid_request", None),
        (b"null", "invalid_request", None),
        (b'{"client_id": "c"}', "invalid_request", None),
        (b'{"client_id": "c", "body": "x", "extra": 1}', "invalid_request", None),
        (b'{"client_id": "c", "body": ""}', "invalid_request", "$.body"),
        (b'{"client_id": "c", "body": "a\\u0000b"}', "invalid_request", "$.body"),
        (b'{"client_id": "c", "body": 5}', "invalid_request", "$.body"),
        (b'{"client_id": "c", "body": 1e400}', "invalid_request", "$.body"),
        (b'{"client_id": "c", "body": ' + b"9" * 9000 + b"}", "invalid_request", "$.body"),
        (b'{"client_id": "c", "body": ' + b"[" * 8000 + b"]" * 8000 + b"}", "invalid_request", "$.body"),
        (b'{"client_id": "c", "body": "' + b"x" * 8001 + b'"}', "invalid_request", "$.body"),
        (b"[" * 16_000, "invalid_request", None),
        (b'{"a":' * 3_000, "invalid_request", None),
    ],
)
async def test_a_body_that_does_not_fit_is_400_and_reaches_nobody(
    client: Client, fake: Fake, body: bytes, code: str, field: str | None
) -> None:
    answer = await client.post(MESSAGES, data=body, headers=JSON)
    found = await problem(answer)
    assert (found.status, found.code, found.retryable, found.field) == (400, code, False, field)
    assert fake.calls == []


async def test_the_last_of_two_equal_keys_counts(client: Client, fake: Fake) -> None:
    await client.post(MESSAGES, data=b'{"client_id": "a", "client_id": "b", "body": "x"}', headers=JSON)
    assert fake.calls[-1][4:] == ("b", None, "x")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json", "Content-Encoding": "gzip"},
    ],
)
async def test_a_body_that_is_not_plain_json_is_415(client: Client, fake: Fake, headers: dict[str, str]) -> None:
    answer = await client.post(MESSAGES, data=b'{"client_id": "c", "body": "x"}', headers={**TOKEN, **headers})
    assert (await problem(answer)).code == "unsupported_media_type"
    assert fake.calls == []


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_413_and_the_connection_closes(client: Client, fake: Fake, chunked: bool) -> None:
    async def pieces() -> Any:
        for _ in range(3):
            yield b"x" * (MAX_BODY_BYTES // 2)

    answer = await client.post(MESSAGES, data=pieces() if chunked else b"x" * (MAX_BODY_BYTES + 1), headers=JSON)
    assert (await problem(answer)).code == "payload_too_large"
    assert answer.headers["Connection"] == "close"
    assert fake.calls == []


async def test_a_body_of_just_the_limit_is_read(client: Client, fake: Fake) -> None:
    body = b'{"client_id": "c", "body": "x"}'.ljust(MAX_BODY_BYTES)
    assert (await client.post(MESSAGES, data=body, headers=JSON)).status == 201


@pytest.mark.parametrize(("headers", "first_line"), [(TOKEN, b"HTTP/1.1 100 Continue"), ({}, b"HTTP/1.1 401 Unauthorized")])
async def test_who_asks_before_uploading_is_told_to_go_on_only_when_let_in(
    client: Client, headers: dict[str, str], first_line: bytes
) -> None:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    lines = [f"POST {MESSAGES} HTTP/1.1", "Host: x", "Expect: 100-continue", "Content-Length: 31"]
    lines += ["Content-Type: application/json", *(f"{name}: {value}" for name, value in headers.items())]
    writer.write("\r\n".join([*lines, "", ""]).encode())
    assert (await reader.readline()).strip() == first_line
    writer.write(b'{"client_id": "c", "body": "x"}')
    if headers:
        await reader.readline()
        assert (await reader.readline()).strip() == b"HTTP/1.1 201 Created"
    writer.close()


async def test_a_body_that_breaks_off_disturbs_nobody(client: Client, fake: Fake, caplog: pytest.LogCaptureFixture) -> None:
    _, writer = await asyncio.open_connection(client.host, client.port)
    head = f"POST {MESSAGES} HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Authorization: Bearer good\r\n\r\nhalf".encode())
    await writer.drain()
    writer.close()
    async with asyncio.timeout(5):
        while not fake.observed:
            await asyncio.sleep(0.01)
    [(_, route, status)] = fake.observed
    assert route == f"{V1}/rooms/{{room}}/messages"
    assert status in {400, WENT_AWAY}  # which of them is up to aiohttp: it may cancel the handler
    assert fake.calls == []
    assert [record for record in caplog.records if record.name.startswith("realtime")] == []


async def test_a_body_that_never_ends_is_given_up(client: Client, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drips() -> Any:
        yield b"{"
        await asyncio.sleep(1)

    monkeypatch.setattr(body_input, "BODY_TIMEOUT_S", 0.02)
    found = await problem(await client.post(MESSAGES, data=drips(), headers=JSON))
    assert (found.code, found.detail) == ("invalid_request", "The body did not arrive in time.")
    assert fake.calls == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "$.limit"),
        ("limit=201", "$.limit"),
        ("limit=ten", "$.limit"),
        ("limit=%2B5", "$.limit"),
        ("limit=1_0", "$.limit"),
        ("limit=%D9%A3", "$.limit"),
        ("limit=5.0", "$.limit"),
        ("limit=", "$.limit"),
        ("limit=" + "9" * 5000, "$.limit"),
        ("before=0", "$.before"),
        ("after=-1", "$.after"),
        ("around=9007199254740992", "$.around"),
        ("limit=5&limit=6", "$.limit"),
        ("nonsense=1", None),
        ("a%00%ff%ed%a0%80=1&a%00%ff%ed%a0%80=2", "$.a?????"),
    ],
)
async def test_a_query_that_does_not_fit_is_400(client: Client, fake: Fake, query: str, field: str | None) -> None:
    answer = await client.get(f"{MESSAGES}?{query}", headers=TOKEN)
    found = await problem(answer)
    assert (found.status, found.code, found.field) == (400, "invalid_request", field)
    assert fake.calls == []


@pytest.mark.parametrize("query", ["", "query=a&ids=b", "ids=", "ids=x", "query=", "query=%00", "ids=" + ",".join(["a"] * 101)])
async def test_users_are_found_by_one_of_name_and_ids(client: Client, fake: Fake, query: str) -> None:
    answer = await client.get(f"{V1}/users?{query}", headers=TOKEN)
    assert (await problem(answer)).code == "invalid_request"
    assert fake.calls == []


@pytest.mark.parametrize("seq", ["0", "-1", "x", "1.5", "٣", "9007199254740992", "9" * 5000, "%00", "1%20"])
async def test_a_seq_in_the_path_is_a_positive_number(client: Client, fake: Fake, seq: str) -> None:
    answer = await client.delete(f"{MESSAGES}/{seq}", headers=TOKEN)
    found = await problem(answer)
    assert (found.code, found.field) == ("invalid_request", "$.seq")
    assert fake.calls == []


@pytest.mark.parametrize(
    ("headers", "code", "challenge"),
    [
        ({}, "token_missing", 'Bearer realm="roomwire"'),
        ({"Authorization": "Basic YTpi"}, "token_missing", 'Bearer realm="roomwire"'),
        ({"Authorization": "Bearer "}, "token_missing", 'Bearer realm="roomwire"'),
        ({"Authorization": "Bearer no"}, "token_invalid", 'Bearer realm="roomwire", error="invalid_token"'),
    ],
)
async def test_who_is_not_known_gets_401_with_a_challenge(
    client: Client, headers: dict[str, str], code: str, challenge: str
) -> None:
    answer = await client.get(f"{V1}/me", headers=headers)
    assert ((await problem(answer)).code, answer.status) == (code, 401)
    assert answer.headers["WWW-Authenticate"] == challenge


@pytest.mark.parametrize("token", [b"\xff\xfe", "gööd".encode(), "gööd".encode("latin-1")])
async def test_a_token_that_is_not_ascii_never_reaches_the_service(client: Client, fake: Fake, token: bytes) -> None:
    fake.token_fails = errors.Forbidden()
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(b"GET /api/v1/me HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer " + token + b"\r\n\r\n")
    answer = await reader.read()
    writer.close()
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b'"token_invalid"' in answer


async def test_a_malformed_chunk_is_400(client: Client, fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    # aiohttp stops parsing but does not tell who reads the body, so the time limit is what ends it.
    monkeypatch.setattr(body_input, "BODY_TIMEOUT_S", 0.1)
    reader, writer = await asyncio.open_connection(client.host, client.port)
    head = f"POST {MESSAGES} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n"
    writer.write(f"{head}Authorization: Bearer good\r\nConnection: close\r\n\r\n".encode())
    await writer.drain()
    await asyncio.sleep(0.01)  # so that the head has been parsed before the chunk comes
    writer.write(b"zz\r\nhello\r\n")
    assert (await reader.readline()).split()[1] == b"400"
    writer.close()
    assert fake.calls == []


async def test_two_authorization_headers_are_refused(client: Client) -> None:
    two = [("Authorization", "Bearer good"), ("Authorization", "Bearer good")]
    assert (await problem(await client.get(f"{V1}/me", headers=two))).code == "invalid_request"


async def test_the_token_is_checked_before_the_body_is_read(client: Client) -> None:
    answer = await client.post(MESSAGES, data=b"x" * (MAX_BODY_BYTES + 1), headers={"Content-Type": "text/plain"})
    assert (await problem(answer)).code == "token_missing"


@pytest.mark.parametrize(
    "path", ["/api", "/api/", "/api/v1", "/api/v1/rooms/", "/api/v2/me", "/api/v1/a%00b", "/nothing/here", "/%ff"]
)
async def test_an_unknown_path_is_a_404_problem(client: Client, path: str) -> None:
    assert (await problem(await client.get(path, headers=TOKEN))).code == "not_found"


async def test_a_wrong_method_is_405_and_told_which_are_right(client: Client) -> None:
    answer = await client.put(f"{V1}/rooms/{ROOM}/messages", headers=TOKEN)
    assert (await problem(answer)).code == "method_not_allowed"
    assert answer.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
    options = await client.options(f"{V1}/rooms/{ROOM}/members/x")
    assert (options.status, options.headers["Allow"]) == (204, "PATCH, DELETE, OPTIONS")
    assert (await client.post("/healthz")).headers["Allow"] == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize("kind", [kind for kind in errors.all_errors() if kind is not errors.Internal])
async def test_every_refusal_of_a_service_keeps_its_code_and_status(
    client: Client, fake: Fake, kind: type[errors.RealtimeError]
) -> None:
    fake.fails = kind()
    answer = await client.get(f"{V1}/rooms/{ROOM}", headers=TOKEN)
    found = await problem(answer)
    assert (found.code, found.status, found.retryable) == (kind.code, kind.status, kind.retryable)
    assert ("Retry-After" in answer.headers) == kind.retryable


async def test_what_nobody_foresaw_is_logged_once_and_says_nothing_of_the_request(
    client: Client, fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    fake.fails = ZeroDivisionError("inside")
    with caplog.at_level(logging.INFO):
        answer = await client.post(MESSAGES, json={"client_id": "c", "body": "a secret"}, headers=TOKEN)
    found = await problem(answer)
    assert (found.code, found.status, found.detail) == ("internal", 500, errors.Internal.default)
    [record] = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError
    logged = caplog.handler.format(record) + str(vars(record))
    assert ("a secret" in logged, "Bearer" in logged, ROOM in logged) == (False, False, False)
    assert fake.observed == [("POST", f"{V1}/rooms/{{room}}/messages", 500)]
