"""What is no request, and what is more than a request may be: answered in our form, without a word of what was sent."""

from __future__ import annotations

import asyncio
import json
import logging
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest
from aiohttp import web

from realtime.node.kinds import KINDS
from realtime.surface.rest.app import Settings, mount
from realtime.surface.rest.probes import Readers
from realtime.surface.rest.protocol import Protocol
from tests.unit.surface.rest.conftest import MAX_BODY_BYTES, Fake

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LIMIT = 8192
SECRET = "s3cr3t"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Server:
    """A surface on a port of its own."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def send(self, *pieces: bytes) -> Answer:
        """Send bytes as they are; return the first answer."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            async with asyncio.timeout(5):
                first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.split(": ", 1) for line in lines if line)
                body = await reader.readexactly(int(headers["Content-Length"]))
            return Answer(int(first.split()[1]), headers, body)
        finally:
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    app = web.Application()
    readers = Readers([], "", [])
    settings = Settings(cors_origins=(), trusted=(), readers=readers, max_body_bytes=MAX_BODY_BYTES, static=None)
    fake = Fake()
    mount(app, fake.served(), KINDS, fake.door(), fake.watch(), settings)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(partial(Protocol, runner.server, loop, LIMIT, 75.0), "127.0.0.1", 0)
    try:
        yield Server(listening.sockets[0].getsockname()[1])
    finally:
        listening.close()
        await runner.cleanup()


def request(*lines: str, first: str = "GET /healthz HTTP/1.1") -> bytes:
    return "\r\n".join([first, "Host: chat.example", *lines, "", ""]).encode("latin-1")


NO_REQUESTS = {
    "markup": f"<script>{SECRET}</script>\r\n\r\n".encode(),
    "bad method": request(first=f"F@O /{SECRET} HTTP/1.1"),
    "unknown method": request(first=f"BREW /{SECRET} HTTP/1.1"),
    "bad version": request(first=f"GET /{SECRET} HTTP/9.9"),
    "bad header": request(f"Bad {SECRET}"),
    "NUL in a header": request(f"X: {SECRET}\0"),
    "two hosts": request(f"Host: {SECRET}"),
    "no host": b"GET /s3cr3t HTTP/1.1\r\n\r\n",
    "negative length": request(f"X: {SECRET}", "Content-Length: -3"),
    "two framings": request("Transfer-Encoding: chunked", "Content-Length: 3") + b"0\r\n\r\n",
    "bad chunk": request("Transfer-Encoding: chunked", first="GET /nothing HTTP/1.1") + b"ZZs3cr3t\r\n",
    "bad target": request(first=f"GET http://[{SECRET} HTTP/1.1"),
    "bad port": request(first=f"GET http://{SECRET}:99999/ HTTP/1.1"),
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00s3cr3t\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("raw", NO_REQUESTS.values(), ids=NO_REQUESTS)
async def test_what_is_no_request_is_a_problem_that_repeats_nothing(
    server: Server, raw: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answer = await server.send(raw)
    problem = json.loads(answer.body)
    assert (answer.status, problem["code"]) in ((400, "invalid_request"), (404, "not_found"))
    check(answer)
    assert SECRET not in answer.body.decode()
    assert SECRET not in caplog.text


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (request(first="OPTIONS * HTTP/1.1"), 404),
        (request(first="CONNECT a:443 HTTP/1.1"), 404),
        (request(f"Expect: {SECRET}"), 200),
        (request(first=f"GET //{SECRET} HTTP/1.1"), 404),
        (request(first="TRACE / HTTP/1.1"), 405),
    ],
)
async def test_odd_requests_are_answered_in_our_form(server: Server, raw: bytes, status: int) -> None:
    answer = await server.send(raw)
    assert answer.status == status
    check(answer, "application/problem+json" if status != 200 else "application/json")
    assert SECRET not in answer.body.decode()


@pytest.mark.parametrize("size", [LIMIT + 1, 100_000])
@pytest.mark.parametrize("where", ["one field", "many fields", "the address", "a name", "pieces", "no end"])
async def test_a_head_that_is_too_large_is_431_and_repeats_nothing(server: Server, where: str, size: int) -> None:
    cookie = f"Cookie: {SECRET}=" + "x" * 990
    fields = [f"X-{number}: {SECRET}" + "x" * (size // 64) for number in range(64)]
    raw = {
        "one field": [request(f"Cookie: {SECRET}" + "x" * size)],
        "many fields": [request(*fields)],
        "the address": [request(first=f"GET /{SECRET}" + "x" * size + " HTTP/1.1")],
        "a name": [request(SECRET + "x" * size + ": a")],
        "pieces": [request()[:-2], *([f"{cookie}\r\n".encode()] * (size // 1000 + 1)), b"\r\n"],
        "no end": [request()[:-2], *([f"{cookie}\r\n".encode()] * (size // 1000 + 1))],
    }[where]
    answer = await server.send(*raw)
    assert (answer.status, json.loads(answer.body)["code"]) == (431, "headers_too_large")
    check(answer)
    assert SECRET not in answer.body.decode()


async def test_cookies_up_to_the_limit_are_taken_and_bodies_do_not_count(server: Server) -> None:
    cookies = [f"Cookie: a{number}=" + "x" * 990 for number in range(8)]
    assert (await server.send(request(*cookies))).status == 200
    body = b" " * (MAX_BODY_BYTES - 1)
    head = request(f"Content-Length: {len(body)}", "Content-Type: application/json", first="POST /nothing HTTP/1.1")
    for pieces in ([head + body], [head, body[:5000], body[5000:10_000], body[10_000:]]):
        assert (await server.send(*pieces)).status == 404


async def test_more_fields_than_anybody_sends_are_431(server: Server) -> None:
    assert (await server.send(request(*(f"X-{number}: a" for number in range(200))))).status == 431


def check(answer: Answer, content_type: str = "application/problem+json") -> None:
    assert answer.headers["Content-Type"].split(";")[0] == content_type
    assert answer.headers["Server"] == "roomwire"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Content-Security-Policy"] == "default-src 'none'; frame-ancestors 'none'"


async def test_the_end_of_a_long_body_is_no_part_of_the_next_head(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server._port)
    try:
        body = b'{"username":"' + b"x" * (2 * LIMIT - 40) + b'"}'
        head = request(f"Content-Length: {len(body)}", "Content-Type: application/json", first="POST /api/v1/auth/login HTTP/1.1")
        for piece in (head + body[:10], body[10:], request()):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.05)  # a read of its own
        statuses = []
        async with asyncio.timeout(5):
            for _ in range(2):
                first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                statuses.append(int(first.split()[1]))
                headers = dict(line.split(": ", 1) for line in lines if line)
                await reader.readexactly(int(headers["Content-Length"]))
        assert statuses == [400, 200]
    finally:
        writer.close()
