"""Requests to URLs of others, against servers that redirect, rebind, drip, hang, send too much and lie."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import ipaddress
import logging
import pathlib
import socket
import ssl
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

from realtime import __version__, tasks
from realtime.outbound import resolver
from realtime.outbound.client import PER_HOST, Outbound, Terms
from realtime.outbound.refusals import OURS, Reason, Refused
from realtime.outbound.urls import Rules

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

ALLOWED, FORBIDDEN = "127.0.0.1", "127.0.0.2"
TERMS = Terms("test", total_s=10, body_bytes=1000, redirects=3)
PATIENT_S = 10.0
GOOD_TEST = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg26sCiPjLLHAy99rA
qEmIn9gL6z/3ze9n1yV73e9YY/uhRANCAASZ4WekVYdnCAe0ZZ4MN90p3/+Jsz2E
tXmVEH32DQXMM92nlUpzBKlFl7mfGP4g9GNXl/iS1Phg9xOr7Q7/PQEz
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIUO9yzwSHrRDffkRp9ZvPQG5d8tW8wCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJZ29vZC50ZXN0MCAXDTI2MTEyOTE3MDkyMloYDzIxMjYxMTA1
MTcwOTIyWjAUMRIwEAYDVQQDDAlnb29kLnRlc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASZ4WekVYdnCAe0ZZ4MN90p3/+Jsz2EtXmVEH32DQXMM92nlUpzBKlF
l7mfGP4g9GNXl/iS1Phg9xOr7Q7/PQEzo2kwZzAdBgNVHQ4EFgQUQyhnZ3NqpauM
3Dkdz7wp3Zwh3KwwHwYDVR0jBBgwFoAUQyhnZ3NqpauM3Dkdz7wp3Zwh3KwwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglnb29kLnRlc3QwCgYIKoZIzj0EAwID
SAAwRQIgYqi8xuJ1ASNscXxIYwqz2VWYOyeENqJ7yrlERq0OOE4CIQDC+Gndadqm
f/gczlS2Sasp7Ip1k48CDFOV/WwzIMnoTQ==
-----END CERTIFICATE-----
"""
"""A certificate for good.test that nobody has signed but itself, and its key."""


class Heard(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Site:
    """A server that answers by path, on the allowed and on the forbidden address."""

    def __init__(self) -> None:
        self.port = 0
        self.heard: list[Heard] = []
        self.dialled: Counter[str] = Counter()
        self.answers: dict[str, bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]] = {}
        self.gone = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            await self.talk(reader, writer)
        finally:
            self.gone.set()
            writer.transport.abort()
            self.tasks.discard(task)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.dialled[writer.get_extra_info("sockname")[0]] += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                method, path, _ = head[0].split(" ")
                headers = dict(line.split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(headers.get("Content-Length", "0")))
                self.heard.append(Heard(method, path, headers, body))
                answer = self.answers.get(path.partition("?")[0], reply(b"hello"))
                if isinstance(answer, bytes):
                    writer.write(answer)
                else:
                    await answer(writer)
                await writer.drain()


def reply(body: bytes, status: str = "200 OK", length: int | None = None, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def to(location: str, status: int = 302) -> bytes:
    return reply(b"moved", f"{status} Moved", Location=location, Set_Cookie="a=b")


class Names:
    """A resolver that is asked on threads; each name has answers that are given one after the other, the last for ever."""

    def __init__(self) -> None:
        self.answers: dict[str, list[list[str]]] = {}
        self.asked: list[str] = []

    def __call__(self, host: bytes, port: int) -> resolver.Found:
        name = host.decode()
        self.asked.append(name)
        known = self.answers.get(name)
        if known is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        addresses = known.pop(0) if len(known) > 1 else known[0]
        return [
            (family, socket.SOCK_STREAM, 6, "", (one, port) if family == socket.AF_INET else (one, port, 0, 0))
            for one in addresses
            for family in [socket.AF_INET6 if ":" in one else socket.AF_INET]
        ]


def bound() -> list[socket.socket]:
    """Bind both addresses to a port that is free on both."""
    while True:
        sockets = [socket.socket(), socket.socket()]
        sockets[0].bind((ALLOWED, 0))
        with contextlib.suppress(OSError):
            sockets[1].bind((FORBIDDEN, sockets[0].getsockname()[1]))
            return sockets
        for one in sockets:
            one.close()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    site = Site()
    sockets = bound()
    site.port = sockets[0].getsockname()[1]
    servers = [await asyncio.start_server(site.serve, sock=one) for one in sockets]
    yield site
    for server in servers:
        server.close()
    await tasks.end(site.tasks)


@pytest.fixture
def names() -> Names:
    names = Names()
    names.answers = {"good.test": [[ALLOWED]], "other.test": [[ALLOWED]], "inside.test": [[FORBIDDEN]]}
    return names


class Door(NamedTuple):
    outbound: Outbound
    site: Site
    outcomes: list[tuple[str, str]]

    def url(self, path: str = "/", host: str = "good.test") -> str:
        return f"http://{host}:{self.site.port}{path}"

    async def reason(self, url: str, terms: Terms = TERMS, **more: str) -> Reason:
        with pytest.raises(Refused) as refused:
            await self.outbound.request(terms, url, **more)  # type: ignore[arg-type]
        return refused.value.reason


@pytest.fixture
async def door(site: Site, names: Names) -> AsyncIterator[Door]:
    outcomes: list[tuple[str, str]] = []
    outbound = Outbound(
        Rules((ipaddress.ip_network(f"{ALLOWED}/32"),), frozenset({site.port})),
        in_all=8,
        observed=lambda purpose, outcome, _seconds: outcomes.append((purpose, outcome)),
        look_up=names,
    )
    yield Door(outbound, site, outcomes)
    await outbound.close()


async def test_an_answer_is_handed_back_with_its_status_headers_and_body(door: Door) -> None:
    door.site.answers["/lost"] = reply(b"no", "404 Not Found", Content_Type="text/plain")
    answer = await door.outbound.request(TERMS, door.url("/lost?a=b"), method="POST", headers={"X-A": "1"}, body=b"question")
    assert (answer.status, answer.headers["content-type"], answer.body, answer.complete) == (404, "text/plain", b"no", True)
    [heard] = door.site.heard
    assert (heard.method, heard.path, heard.body) == ("POST", "/lost?a=b", b"question")
    assert (heard.headers["User-Agent"], heard.headers["X-A"]) == (f"Roomwire/{__version__}", "1")
    assert heard.headers["Host"] == f"good.test:{door.site.port}"
    assert door.outcomes == [("test", "ok")]


# -- addresses ------------------------------------------------------------------------------------


async def test_a_name_that_leads_inside_is_not_dialled(door: Door) -> None:
    assert await door.reason(door.url(host="inside.test")) is Reason.ADDRESS
    assert not door.site.dialled
    assert door.outcomes == [("test", "address")]


@pytest.mark.parametrize("host", [FORBIDDEN, f"[::ffff:{FORBIDDEN}]", "127.2", "0x7f000002", "[::1]", "2130706434"])
async def test_no_spelling_of_a_literal_is_dialled(door: Door, host: str) -> None:
    assert await door.reason(door.url(host=host)) is Reason.ADDRESS
    assert not door.site.dialled


@pytest.mark.parametrize("host", [ALLOWED, f"[::ffff:{ALLOWED}]"])
async def test_a_literal_of_a_listed_network_is_dialled(door: Door, host: str) -> None:
    assert (await door.outbound.request(TERMS, door.url(host=host))).body == b"hello"


@pytest.mark.parametrize("literal", [FORBIDDEN, f"::ffff:{FORBIDDEN}"])
async def test_the_socket_is_judged_even_if_everything_before_it_let_a_literal_pass(
    door: Door, monkeypatch: pytest.MonkeyPatch, literal: str
) -> None:
    monkeypatch.setattr("realtime.outbound.urls.refusal", lambda _address, _networks: "")
    host = f"[{literal}]" if ":" in literal else literal
    assert await door.reason(door.url(host=host)) is Reason.ADDRESS
    assert not door.site.dialled


async def test_the_socket_is_judged_even_if_the_resolver_let_a_name_pass(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realtime.outbound.resolver.refusal_of", lambda _sockaddr, _rules: "")
    assert await door.reason(door.url(host="inside.test")) is Reason.ADDRESS
    assert not door.site.dialled


async def test_a_name_that_changes_its_address_after_it_was_judged_is_not_dialled(door: Door, names: Names) -> None:
    names.answers["rebinds.test"] = [[ALLOWED], [FORBIDDEN]]
    url = door.url(host="rebinds.test")
    door.outbound.check(url)
    assert (await door.outbound.request(TERMS, url)).status == 200
    assert await door.reason(url) is Reason.ADDRESS
    assert door.site.dialled == {ALLOWED: 1}


async def test_a_connection_that_is_kept_leads_to_the_address_that_was_judged(door: Door, names: Names) -> None:
    names.answers["rebinds.test"] = [[ALLOWED], [FORBIDDEN]]
    kept, url = Terms("test", 10, 1000, keep_alive=True), door.url(host="rebinds.test")
    for _ in range(3):
        assert (await door.outbound.request(kept, url)).status == 200
    assert door.site.dialled == {ALLOWED: 1}
    door.site.answers["/last"] = reply(b"", Connection="close")
    await door.outbound.request(kept, url + "last")
    assert await door.reason(url, kept) is Reason.ADDRESS, "the next connection is judged anew"
    assert door.site.dialled == {ALLOWED: 1}


@pytest.mark.parametrize("addresses", [[FORBIDDEN, ALLOWED], ["::1", FORBIDDEN, "fd00::1", ALLOWED], [ALLOWED, "10.0.0.1"]])
async def test_of_several_addresses_only_allowed_ones_are_dialled(door: Door, names: Names, addresses: list[str]) -> None:
    names.answers["both.test"] = [addresses]
    assert (await door.outbound.request(TERMS, door.url(host="both.test"))).status == 200
    assert door.site.dialled == {ALLOWED: 1}


async def test_when_addresses_race_a_forbidden_one_is_never_dialled(
    door: Door, names: Names, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realtime.outbound.resolver.refusal_of", lambda _sockaddr, _rules: "")
    names.answers["both.test"] = [["::1", FORBIDDEN, ALLOWED]]
    assert (await door.outbound.request(TERMS, door.url(host="both.test"))).status == 200
    assert door.site.dialled == {ALLOWED: 1}


async def test_a_name_with_a_thousand_addresses_is_no_scan(door: Door, names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    dialled: list[str] = []
    real = door.outbound._socket

    def counted(address: object) -> socket.socket:
        dialled.append(address[4][0])  # type: ignore[index]
        return real(address)  # type: ignore[arg-type]

    monkeypatch.setattr(door.outbound, "_socket", counted)
    outbound = door.outbound
    outbound._rules = outbound._reach = Rules((ipaddress.ip_network("127.0.0.0/8"),), frozenset({door.site.port}))
    names.answers["many.test"] = [[f"127.0.{high}.{low}" for high in range(1, 5) for low in range(250)]]
    assert await door.reason(door.url(host="many.test")) is Reason.CONNECT
    assert len(set(dialled)) == resolver.MAX_ADDRESSES


async def test_of_many_addresses_a_few_of_each_family_are_tried(names: Names) -> None:
    names.answers["both.test"] = [[*(f"2606:4700::{number}" for number in range(9)), *(f"8.8.8.{number}" for number in range(9))]]
    names.answers["one.test"] = [[f"8.8.8.{number}" for number in range(9)]]
    bounded = resolver.Resolver(Rules(), names)
    assert [one["host"] for one in await bounded.resolve("both.test")] == ["2606:4700::0", "2606:4700::1", "8.8.8.0", "8.8.8.1"]
    assert [one["host"] for one in await bounded.resolve("one.test")] == ["8.8.8.0", "8.8.8.1", "8.8.8.2", "8.8.8.3"]


async def test_a_name_without_an_address_is_refused(door: Door, names: Names) -> None:
    assert await door.reason(door.url(host="nobody.test")) is Reason.NAME
    names.answers["empty.test"] = [[]]
    assert await door.reason(door.url(host="empty.test")) is Reason.NAME


async def test_names_that_are_never_answered_hold_up_neither_the_loop_nor_other_names(door: Door, names: Names) -> None:
    stuck = threading.Event()

    def look_up(host: bytes, port: int) -> resolver.Found:
        if host.startswith(b"slow"):
            stuck.wait(PATIENT_S)
        return names(host, port)

    door.outbound._look_up = look_up
    try:
        impatient = Terms("test", total_s=0.05, body_bytes=10)
        slow = [door.reason(door.url(host=f"slow{number}.test"), impatient) for number in range(8)]
        assert set(await asyncio.gather(*slow)) == {Reason.TIME}
        assert (await door.outbound.request(TERMS, door.url())).status == 200
        # The loop's own resolver, which PostgreSQL and Redis need, is free.
        await asyncio.wait_for(asyncio.get_running_loop().getaddrinfo("127.0.0.1", 80), PATIENT_S)
    finally:
        stuck.set()


async def test_look_ups_that_are_going_on_are_bounded() -> None:
    stuck = threading.Event()

    def look_up(_host: bytes, _port: int) -> resolver.Found:
        stuck.wait(PATIENT_S)
        return []

    bounded = resolver.Resolver(Rules(), look_up, threads=2)
    going = [asyncio.ensure_future(bounded.resolve(f"slow{number}.test")) for number in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(Refused) as refused:
        await bounded.resolve("more.test")
    assert refused.value.reason is Reason.OVERLOADED
    stuck.set()
    assert [type(one) for one in await asyncio.gather(*going, return_exceptions=True)] == [OSError, OSError]
    assert bounded._free == 2


# -- redirects ------------------------------------------------------------------------------------


async def test_three_redirects_are_followed_and_no_fourth(door: Door) -> None:
    door.site.answers |= {
        "/1": to("/2"),
        "/2": to("?x=3", 307),
        "/3": to(f"//other.test:{door.site.port}/", 301),
    }
    door.site.answers["/2"] = to("3", 307)
    answer = await door.outbound.request(TERMS, door.url("/1"))
    assert (answer.url, answer.body) == (door.url("/", "other.test"), b"hello")
    door.site.answers["/0"] = to("/1", 308)
    door.site.heard.clear()
    assert await door.reason(door.url("/0")) is Reason.REDIRECTS
    assert [heard.path for heard in door.site.heard] == ["/0", "/1", "/2", "/3"]


async def test_a_redirect_in_a_circle_ends(door: Door) -> None:
    door.site.answers |= {"/a": to("/b"), "/b": to("/a")}
    assert await door.reason(door.url("/a")) is Reason.REDIRECTS
    assert len(door.site.heard) == 4


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("http://{forbidden}:{port}/", Reason.ADDRESS),
        ("http://inside.test:{port}/", Reason.ADDRESS),
        ("//[::ffff:{forbidden}]:{port}/", Reason.ADDRESS),
        ("//2130706434:{port}/", Reason.ADDRESS),
        ("http://good.test:22/", Reason.PORT),
        ("http://good.test/", Reason.PORT),
        ("file:///etc/passwd", Reason.SCHEME),
        ("http://me:pw@good.test:{port}/", Reason.URL),
        ("", Reason.REDIRECTS),
    ],
)
async def test_each_redirect_is_judged_like_the_first_url(door: Door, location: str, expected: Reason) -> None:
    door.site.answers["/"] = to(location.format(forbidden=FORBIDDEN, port=door.site.port))
    assert await door.reason(door.url()) is expected
    assert door.site.dialled == {ALLOWED: 1}
    assert len(door.site.heard) == 1


async def test_a_redirect_is_the_answer_where_none_is_followed(door: Door) -> None:
    door.site.answers["/"] = to("/elsewhere")
    answer = await door.outbound.request(Terms("test", 10, 1000), door.url())
    assert (answer.status, answer.headers["Location"], answer.body) == (302, "/elsewhere", b"moved")
    assert (await door.outbound.request(TERMS, door.url(), method="POST", body=b"x")).status == 302, "a POST is never repeated"
    assert len(door.site.heard) == 2


async def test_another_origin_sees_no_header_that_may_be_a_secret(door: Door) -> None:
    door.site.answers |= {"/1": to("/2"), "/2": to(door.url("/3", "other.test")), "/3": to(door.url("/4"))}
    sent = {"Authorization": "Bearer s3cret", "X-Api-Key": "s3cret", "Accept": "text/html"}
    await door.outbound.request(TERMS, door.url("/1"), headers=sent)
    seen = [[name for name in sent if name in heard.headers] for heard in door.site.heard]
    assert seen == [list(sent), list(sent), ["Accept"], ["Accept"]], "and nobody gets them back"


# -- nothing but what was asked for ---------------------------------------------------------------


async def test_no_cookie_is_kept(door: Door) -> None:
    door.site.answers["/"] = reply(b"", Set_Cookie="sid=1; Path=/")
    kept = Terms("test", 10, 1000, keep_alive=True)
    for _ in range(2):
        await door.outbound.request(kept, door.url())
    assert all("Cookie" not in heard.headers for heard in door.site.heard)


async def test_a_proxy_and_netrc_of_the_environment_are_not_used(
    door: Door, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://{FORBIDDEN}:{door.site.port}")
    (tmp_path / "netrc").write_text("default login me password s3cret")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    await door.outbound.request(TERMS, door.url())
    assert door.site.dialled == {ALLOWED: 1}
    assert "Authorization" not in door.site.heard[0].headers


async def test_a_proxy_that_the_operator_names_is_used_for_everything(site: Site, names: Names) -> None:
    outbound = Outbound(Rules(), proxy=f"http://{FORBIDDEN}:{site.port}", look_up=names)
    try:
        answer = await outbound.request(TERMS, "http://unknown.test/path")
        assert (answer.status, site.heard[0].path) == (200, "http://unknown.test/path")
        for url in ("http://127.0.0.1/", "http://[::1]/", "http://example.com:22/", "ftp://example.com/"):
            with pytest.raises(Refused):
                await outbound.request(TERMS, url)
        assert (len(site.heard), names.asked) == (1, [])
    finally:
        await outbound.close()


async def test_neither_a_proxy_that_is_away_nor_our_own_end_counts_against_the_server(door: Door) -> None:
    with socket.socket() as free:
        free.bind((ALLOWED, 0))
        outbound = Outbound(Rules(), proxy=f"http://{ALLOWED}:{free.getsockname()[1]}")
        with pytest.raises(Refused) as refused:
            await outbound.request(TERMS, "http://unknown.test/")
        await outbound.close()
    assert refused.value.reason in OURS

    async def never(_writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(PATIENT_S)

    door.site.answers["/"] = never
    asking = asyncio.ensure_future(door.reason(door.url()))
    async with asyncio.timeout(PATIENT_S):
        while not door.site.heard:
            await asyncio.sleep(0.001)
    await door.outbound.close()
    assert await asking in OURS


@pytest.mark.parametrize("name", ["Host", "cookie", "Content-Length", "Transfer-Encoding", "Connection", "User-Agent"])
async def test_a_caller_cannot_set_the_headers_of_the_client(door: Door, name: str) -> None:
    with pytest.raises(ValueError, match="set by the client"):
        await door.outbound.request(TERMS, door.url(), headers={name: "x"})


async def test_a_header_with_a_line_break_is_not_sent(door: Door) -> None:
    with pytest.raises(ValueError, match="header"):
        await door.outbound.request(TERMS, door.url(), headers={"X-A": "1\r\nX-B: 2"})
    assert not door.site.heard


# -- sizes ----------------------------------------------------------------------------------------


async def test_a_body_is_refused_by_its_announced_length_before_it_is_read(door: Door) -> None:
    door.site.answers["/"] = reply(b"", length=1001)
    assert await door.reason(door.url()) is Reason.SIZE
    await asyncio.wait_for(door.site.gone.wait(), PATIENT_S)


async def test_an_endless_body_is_refused_at_the_bound(door: Door) -> None:
    sent = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"400\r\n" + bytes(1024) + b"\r\n")
            sent += 1024
            await writer.drain()

    door.site.answers["/"] = endless
    assert await door.reason(door.url()) is Reason.SIZE
    await asyncio.wait_for(door.site.gone.wait(), PATIENT_S)


async def test_a_gzip_bomb_is_refused_by_what_it_decodes_to(door: Door) -> None:
    door.site.answers["/"] = reply(gzip.compress(bytes(64 << 20)), Content_Encoding="gzip")
    roomy = Terms("test", 10, 1 << 20)
    assert await door.reason(door.url(), roomy) is Reason.SIZE
    door.site.answers["/small"] = reply(gzip.compress(b"a" * 900), Content_Encoding="gzip")
    assert (await door.outbound.request(TERMS, door.url("/small"))).body == b"a" * 900
    assert door.site.heard[0].headers["Accept-Encoding"] == "gzip"


async def test_the_beginning_of_a_large_body_is_enough_where_the_caller_says_so(door: Door) -> None:
    door.site.answers["/"] = reply(b"a" * 100_000)
    answer = await door.outbound.request(Terms("test", 10, 1000, cut=True), door.url())
    assert (answer.body, answer.complete) == (b"a" * 1000, False)


async def test_an_endless_head_is_refused(door: Door) -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n")
        while True:
            writer.write(b"X-A: " + b"a" * 1000 + b"\r\n")
            await writer.drain()

    door.site.answers["/"] = endless
    assert await door.reason(door.url()) is Reason.PROTOCOL


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"SSH-2.0-OpenSSH_9.6\r\n", Reason.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nContent-Length: 2\r\n\r\nhi", Reason.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nhi", Reason.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Reason.PROTOCOL),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", Reason.PROTOCOL),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx", Reason.ENCODING),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello", Reason.ENCODING),
    ],
)
async def test_a_server_that_does_not_speak_http_is_refused(door: Door, answer: bytes, expected: Reason) -> None:
    async def once(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    door.site.answers["/"] = once
    assert await door.reason(door.url()) is expected


async def test_a_body_that_breaks_off_is_no_answer(door: Door) -> None:
    async def breaks(writer: asyncio.StreamWriter) -> None:
        writer.write(reply(b"half", length=8))
        await writer.drain()
        writer.close()

    door.site.answers["/"] = breaks
    assert await door.reason(door.url()) is Reason.PROTOCOL


# -- time -----------------------------------------------------------------------------------------


async def test_a_server_that_drips_is_refused_when_the_time_is_over(door: Door) -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            writer.write(b"a")
            await writer.drain()
            await asyncio.sleep(0.01)

    door.site.answers["/"] = drip
    assert await door.reason(door.url(), Terms("test", total_s=0.2, body_bytes=1000)) is Reason.TIME
    await asyncio.wait_for(door.site.gone.wait(), PATIENT_S)
    assert door.outcomes == [("test", "time")]


async def test_redirects_share_the_time_of_one_request(door: Door) -> None:
    async def slowly(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.15)
        writer.write(to("/"))

    door.site.answers["/"] = slowly
    began_s = time.monotonic()
    assert await door.reason(door.url(), Terms("test", total_s=0.2, body_bytes=10, redirects=3)) is Reason.TIME
    assert time.monotonic() - began_s < PATIENT_S / 2


async def test_a_server_that_never_answers_is_refused(door: Door) -> None:
    async def never(_writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(PATIENT_S)

    door.site.answers["/"] = never
    assert await door.reason(door.url(), Terms("test", total_s=0.1, body_bytes=10)) is Reason.TIME


async def test_a_port_where_nobody_listens_is_refused(door: Door) -> None:
    with socket.socket() as free:
        free.bind((ALLOWED, 0))
        port = free.getsockname()[1]
    outbound = Outbound(Rules((ipaddress.ip_network(f"{ALLOWED}/32"),), frozenset({port})))
    with pytest.raises(Refused) as refused:
        await outbound.request(TERMS, f"http://{ALLOWED}:{port}/")
    assert (refused.value.reason, refused.value.retryable) == (Reason.CONNECT, True)
    await outbound.close()


@pytest.fixture
async def secure(names: Names, tmp_path: pathlib.Path) -> AsyncIterator[tuple[Site, Outbound, Outbound]]:
    """A server with a certificate for good.test, a client that trusts it, and one that does not."""
    (tmp_path / "pem").write_text(GOOD_TEST)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "pem")
    site = Site()
    server = await asyncio.start_server(site.serve, ALLOWED, 0, ssl=context)
    site.port = server.sockets[0].getsockname()[1]
    rules = Rules((ipaddress.ip_network(f"{ALLOWED}/32"),), frozenset({site.port}))
    trusting = Outbound(rules, look_up=names, trust=ssl.create_default_context(cafile=str(tmp_path / "pem")))
    strict = Outbound(rules, look_up=names)
    yield site, trusting, strict
    await trusting.close()
    await strict.close()
    server.close()
    await tasks.end(site.tasks)


async def test_a_certificate_is_checked_for_the_name_in_the_url(secure: tuple[Site, Outbound, Outbound]) -> None:
    site, trusting, strict = secure
    assert (await trusting.request(TERMS, f"https://good.test:{site.port}/")).body == b"hello"
    for outbound, host in ((strict, "good.test"), (trusting, "other.test"), (trusting, ALLOWED)):
        with pytest.raises(Refused) as refused:
            await outbound.request(TERMS, f"https://{host}:{site.port}/")
        assert refused.value.reason is Reason.TLS
    assert len(site.heard) == 1


async def test_no_redirect_leads_from_https_to_http(secure: tuple[Site, Outbound, Outbound]) -> None:
    site, trusting, _ = secure
    site.answers["/"] = to(f"http://good.test:{site.port}/")
    with pytest.raises(Refused) as refused:
        await trusting.request(TERMS, f"https://good.test:{site.port}/")
    assert refused.value.reason is Reason.DOWNGRADE


# -- how many at once -----------------------------------------------------------------------------


async def test_one_host_is_asked_by_few_at_once_and_holds_up_no_other(door: Door) -> None:
    release, most, now = asyncio.Event(), 0, 0

    async def held(writer: asyncio.StreamWriter) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await release.wait()
        now -= 1
        writer.write(reply(b"late"))

    door.site.answers["/held"] = held
    slow = [asyncio.ensure_future(door.outbound.request(TERMS, door.url("/held"))) for _ in range(2 * PER_HOST)]
    assert (await door.outbound.request(TERMS, door.url("/", "other.test"))).body == b"hello"
    async with asyncio.timeout(PATIENT_S):
        while now < PER_HOST:
            await asyncio.sleep(0.001)
    release.set()
    assert [one.body for one in await asyncio.gather(*slow)] == [b"late"] * 2 * PER_HOST
    assert most == PER_HOST
    assert door.outbound.busy == 0


async def test_a_request_that_gets_no_turn_is_refused_without_blaming_the_server(door: Door) -> None:
    release = asyncio.Event()

    async def held(writer: asyncio.StreamWriter) -> None:
        await release.wait()
        writer.write(reply(b"late"))

    door.site.answers["/held"] = held
    slow = [asyncio.ensure_future(door.outbound.request(TERMS, door.url("/held"))) for _ in range(PER_HOST)]
    await asyncio.sleep(0)
    assert await door.reason(door.url(), Terms("test", total_s=0.05, body_bytes=10)) is Reason.OVERLOADED
    waiting = [asyncio.ensure_future(door.outbound.request(TERMS, door.url("/held"))) for _ in range(8)]
    await asyncio.sleep(0)
    assert await door.reason(door.url()) is Reason.OVERLOADED, "the queue of a host is bounded"
    for one in waiting:
        one.cancel()
    release.set()
    await asyncio.gather(*slow)
    await asyncio.gather(*waiting, return_exceptions=True)
    assert (door.outbound.busy, door.outbound._slots.waiting) == (0, 0)


async def test_a_caller_that_is_cancelled_frees_its_slot_and_its_connection(door: Door) -> None:
    async def never(_writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(PATIENT_S)

    door.site.answers["/"] = never
    asking = asyncio.ensure_future(door.outbound.request(TERMS, door.url()))
    while not door.site.heard:
        await asyncio.sleep(0.001)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert door.outbound.busy == 0
    assert door.outcomes == [("test", "cancelled")]


# -- secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["good.test", "nobody.test", "inside.test"])
async def test_neither_refusals_nor_logs_hold_what_may_be_secret(door: Door, caplog: pytest.LogCaptureFixture, host: str) -> None:
    caplog.set_level(logging.DEBUG)
    door.site.answers["/s3cret"] = b"HTTP/1.1 s3cret\r\n\r\n"
    with pytest.raises(Refused) as refused:
        await door.outbound.request(TERMS, door.url("/s3cret?token=s3cret", host), headers={"Authorization": "s3cret"})
    error: BaseException | None = refused.value
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    assert "s3cret" not in str(error) + repr(error) + caplog.text


async def test_nothing_is_opened_before_the_first_request_and_nothing_after_the_end(door: Door) -> None:
    assert not door.outbound._sessions
    await door.outbound.request(TERMS, door.url())
    await door.outbound.close()
    assert await door.reason(door.url()) is Reason.OVERLOADED
