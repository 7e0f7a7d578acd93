"""The headers of every answer: what browsers may do with it, and who may read it from elsewhere."""

from __future__ import annotations

import pytest

from realtime import origins
from realtime.model import Room

from .conftest import TOKEN, Client, Fake, Start, room

ORIGIN = "https://app.example"
WANTED = "authorization,content-type,traceparent,x-app"
PREFLIGHT = {"Origin": ORIGIN, "Access-Control-Request-Method": "PATCH", "Access-Control-Request-Headers": WANTED}
VARY = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
ALLOW = "Access-Control-Allow-Origin"


@pytest.mark.parametrize(
    "path",
    ["/", "/api/v1/me", "/api/docs", "/api/docs.css", "/api/openapi.json", "/healthz", "/readyz", "/metrics", "/nothing"],
)
async def test_every_answer_has_the_security_headers(client: Client, path: str) -> None:
    answer = await client.get(path)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    assert answer.headers["Server"] == "roomwire"
    assert answer.headers["Cache-Control"] in {"no-store", "no-cache"}


async def test_pages_load_only_what_is_ours_and_talk_to_sockets(client: Client) -> None:
    answer = await client.get("/api/docs")
    policy = {part.split()[0]: part.split()[1:] for part in answer.headers["Content-Security-Policy"].split(";")}
    assert policy["default-src"] == ["'self'"]
    host = f"{client.host}:{client.port}"
    assert policy["connect-src"] == ["'self'", f"ws://{host}", f"wss://{host}"], "its own sockets, and nobody else's"
    assert policy["img-src"] == ["'self'", "data:"]
    assert policy["style-src"] == ["'self'"]
    assert "script-src" not in policy


async def test_without_configured_origins_no_page_elsewhere_may_read_answers(client: Client) -> None:
    plain = await client.get("/api/v1/me", headers={**TOKEN, "Origin": ORIGIN})
    preflight = await client.options("/api/v1/me", headers=PREFLIGHT)
    assert plain.status == 200
    assert [name for answer in (plain, preflight) for name in answer.headers if name.startswith("Access-Control")] == []


async def test_a_configured_origin_may_call_and_see_errors_too(start: Start) -> None:
    client = await start(cors_origins=["https://other.example", ORIGIN])
    for path, status in (("/api/v1/me", 200), ("/api/v1/rooms?limit=0", 400), ("/api/nothing", 404)):
        answer = await client.get(path, headers={**TOKEN, "Origin": ORIGIN})
        assert (answer.status, answer.headers[ALLOW], answer.headers["Vary"]) == (status, ORIGIN, "Origin")
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert answer.headers["Access-Control-Expose-Headers"] == "Retry-After, Location, X-Request-Id"


@pytest.mark.parametrize("path", ["/api/v1/rooms/r/members/u", "/api/v1/rooms", "/api/nothing"])
async def test_a_preflight_is_answered_on_every_path(start: Start, path: str) -> None:
    client = await start(cors_origins=[ORIGIN])
    answer = await client.options(path, headers=PREFLIGHT)
    assert (answer.status, answer.headers[ALLOW], answer.headers["Vary"]) == (204, ORIGIN, VARY)
    assert {"PATCH", "DELETE", "POST"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))
    assert answer.headers["Access-Control-Allow-Headers"] == WANTED
    assert answer.headers["Access-Control-Allow-Credentials"] == "true"


@pytest.mark.parametrize("origin", ["https://app.example.evil", "http://app.example", "https://app.example:8443", "null", ""])
async def test_an_origin_that_only_looks_alike_gets_nothing(start: Start, origin: str) -> None:
    client = await start(cors_origins=[ORIGIN])
    answer = await client.get("/api/v1/me", headers={**TOKEN, "Origin": origin})
    preflight = await client.options("/api/v1/me", headers={**PREFLIGHT, "Origin": origin})
    assert (ALLOW in answer.headers, ALLOW in preflight.headers) == (False, False)
    assert (answer.headers["Vary"], preflight.headers["Vary"]) == ("Origin", VARY)


async def test_a_request_without_origin_varies_too_so_that_caches_keep_the_answers_apart(start: Start) -> None:
    client = await start(cors_origins=[ORIGIN])
    answer = await client.get("/api/v1/me", headers=TOKEN)
    assert (ALLOW in answer.headers, answer.headers["Vary"]) == (False, "Origin")


def test_a_star_stands_for_every_origin() -> None:
    assert origins.answer_headers(ORIGIN, {"*"})[ALLOW] == "*"
    assert origins.preflight_headers("null", {"*"})[ALLOW] == "*"
    assert ALLOW not in origins.answer_headers(None, {"*"})
    assert "Access-Control-Allow-Credentials" not in origins.answer_headers(ORIGIN, {"*"})


async def test_a_request_names_one_origin(client: Client) -> None:
    headers = [*TOKEN.items(), ("Origin", f"http://{client.host}:{client.port}"), ("Origin", "https://evil.example")]
    answer = await client.get("/api/v1/me", headers=headers)
    assert (answer.status, (await answer.json())["code"]) == (400, "invalid_request")


async def test_what_lies_outside_the_api_is_not_shared(start: Start) -> None:
    client = await start(cors_origins=["*"])
    answers = [await client.get(path, headers={"Origin": ORIGIN}) for path in ("/metrics", "/", "/healthz")]
    assert [ALLOW in answer.headers for answer in answers] == [False, False, False]


@pytest.mark.parametrize("path", ["/api/docs", "/api/openapi.json", "/api/docs.css"])
async def test_long_documents_are_compressed_where_that_is_asked_for(client: Client, path: str) -> None:
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    packed = await client.get(path, headers={"Accept-Encoding": "gzip"})
    assert [one.headers.get("Content-Encoding") for one in (plain, packed)] == [None, "gzip"]
    assert [one.headers["Vary"] for one in (plain, packed)] == ["Accept-Encoding"] * 2
    assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 2
    assert await plain.read() == await packed.read()


async def test_a_long_list_is_compressed_and_short_answers_are_not(
    start: Start, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def many(*_: object) -> tuple[list[Room], bool]:
        return [room() for _ in range(200)], True

    monkeypatch.setattr(fake, "list_rooms", many)
    client = await start(cors_origins=[ORIGIN])
    plain = await client.get("/api/v1/rooms", headers={**TOKEN, "Accept-Encoding": "gzip;q=0"})
    packed = await client.get("/api/v1/rooms", headers={**TOKEN, "Accept-Encoding": "gzip"})
    assert [one.headers.get("Content-Encoding") for one in (plain, packed)] == [None, "gzip"]
    assert [one.headers["Vary"] for one in (plain, packed)] == ["Accept-Encoding, Origin"] * 2
    assert int(packed.headers["Content-Length"]) < int(plain.headers["Content-Length"]) / 5
    assert await plain.json() == await packed.json()
    short = await client.get("/api/v1/me", headers={**TOKEN, "Accept-Encoding": "gzip"})
    assert ("Content-Encoding" in short.headers, short.headers["Vary"]) == (False, "Origin")


async def test_what_holds_a_token_is_never_compressed(client: Client) -> None:
    """Its length beside text of somebody's choice would tell it (BREACH)."""
    answer = await client.post(
        "/api/v1/auth/register",
        json={"username": "ada", "password": "a good password", "display_name": "x" * 60},
        headers={"Accept-Encoding": "gzip"},
    )
    assert answer.status == 201
    assert "Content-Encoding" not in answer.headers
