"""The configurations in `deploy/`, with the real nginx and HAProxy in front of two real nodes, over TLS."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import pathlib
import signal
import ssl
import subprocess
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
import pytest
from yarl import URL

from tests.client import Api
from tests.conformance.official import Driver, Official, driving
from tests.process import Server, serving
from tools.cluster import ROOT, find, nginx_config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from realtime.store.provision import Urls
    from tests.conftest import Engines

KINDS = [
    pytest.param(kind, marks=pytest.mark.skipif(find(kind) is None, reason=f"{kind} is not here: install its Debian package"))
    for kind in ("nginx", "haproxy")
]
SLOW_S = 1  # in place of the 10 s that a head may take


class Certificate(NamedTuple):
    certificate: pathlib.Path
    key: pathlib.Path
    both: pathlib.Path


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    folder = tmp_path_factory.mktemp("tls")
    found = Certificate(folder / "tls.crt", folder / "tls.key", folder / "roomwire.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
         "-keyout", str(found.key), "-out", str(found.certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    found.both.write_bytes(found.certificate.read_bytes() + found.key.read_bytes())
    return found


def haproxy_config(nodes: list[str], listen: str, certificate: Certificate) -> str:
    """Return `deploy/haproxy.cfg` for this machine: other addresses, the log on standard output, and the rest as it stands."""
    text = (ROOT / "deploy" / "haproxy.cfg").read_text("utf-8")
    for old, new in {
        "    user haproxy\n    group haproxy\n": "",
        "maxconn 100000": "maxconn 1000",  # as many descriptors as anybody may open
        "/dev/log local0 notice": "stdout format raw local0 info",
        "    bind :80\n": "",
        "bind :443 ": f"bind {listen} ",
        "/etc/haproxy/tls/roomwire.pem": str(certificate.both),
        "timeout http-request 10s": f"timeout http-request {SLOW_S}s",
        "    server c node-c:8000 check\n": "",
        "    use-server c if { url_param(sid) -m reg ^c(-[0-9]+)?[.] }\n": "",
        "node-a:8000": nodes[0],
        "node-b:8000": nodes[1],
    }.items():
        assert old in text, old
        text = text.replace(old, new)
    return text


class Front:
    """A running balancer: its URL, and all that it wrote."""

    def __init__(self, url: str, folder: pathlib.Path) -> None:
        self.url = url
        self._folder = folder

    def logged(self) -> str:
        return "".join(path.read_text("utf-8", "replace") for path in self._folder.glob("*.log"))


@contextlib.asynccontextmanager
async def balancing(
    kind: str, nodes: list[str], port: int, folder: pathlib.Path, certificate: Certificate
) -> AsyncIterator[Front]:
    listen = f"127.0.0.1:{port}"
    config = folder / "balancer.conf"
    program = find(kind)
    assert program is not None
    if kind == "nginx":
        text = nginx_config(nodes, listen, folder, (certificate.certificate, certificate.key))
        config.write_text(text.replace("client_header_timeout 10s", f"client_header_timeout {SLOW_S}s"))
        test = [program, "-e", "stderr", "-t", "-c", str(config)]
        command = [program, "-e", "stderr", "-c", str(config), "-g", "daemon off;"]
    else:
        config.write_text(haproxy_config(nodes, listen, certificate))
        test = [program, "-c", "-f", str(config)]
        command = [program, "-db", "-f", str(config)]
    checked = await asyncio.to_thread(subprocess.run, test, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr.lower(), checked.stderr
    with (folder / "output.log").open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=output)
        try:
            await answers(f"https://{listen}/healthz")
            yield Front(f"https://{listen}", folder)
        finally:
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), 20)


def trust_nobody() -> ssl.SSLContext:
    """Return what takes the certificate that was made a moment ago."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def answers(url: str, within_s: float = 20) -> None:
    """Wait until a URL answers with 200."""
    async with asyncio.timeout(within_s), aiohttp.ClientSession() as http:
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with http.get(url, ssl=trust_nobody()) as response:
                    if response.status == 200:
                        return
            await asyncio.sleep(0.05)


@pytest.fixture
async def nodes(running_engines: Engines, own_database: Urls) -> AsyncIterator[list[Server]]:
    settings: dict[str, object] = {
        "database_url": own_database.application, "redis_url": running_engines.redis, "redis_prefix": f"b{os.getpid()}",
        "trusted_proxies": "127.0.0.1/32", "send_rate": 10_000, "send_burst": 10_000,
    }  # fmt: skip
    async with serving(**settings, node_id="a") as first, serving(**settings, node_id="b") as second:
        yield [first, second]


@pytest.fixture(params=KINDS)
async def front(
    request: pytest.FixtureRequest, nodes: list[Server], tmp_path: pathlib.Path, certificate: Certificate, unused_tcp_port: int
) -> AsyncIterator[Front]:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(folder.stat().st_mode | 0o011)  # nginx' workers run as somebody else than root
    addresses = [node.url.removeprefix("http://") for node in nodes]
    async with balancing(request.param, addresses, unused_tcp_port, tmp_path, certificate) as running:
        yield running


@pytest.fixture
async def https() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust_nobody())) as session:
        yield session


@pytest.fixture
async def driver() -> AsyncIterator[Driver]:
    async with driving() as running:
        yield running


async def test_official_clients_are_served_and_move_when_a_node_drains(
    front: Front, nodes: list[Server], https: aiohttp.ClientSession, driver: Driver
) -> None:
    anna = await Api(https, front.url).register()
    room = await anna.room("private")
    kinds: list[list[str] | None] = [["polling"], ["websocket"], None]
    clients = [driver.open(front.url, anna.token, kind, rejectUnauthorized=False) for kind in kinds for _ in range(2)]
    await asyncio.gather(*(one.ready() for one in clients))
    for one in clients[4:]:
        await one.until("upgrade")
    await asyncio.gather(*(one.subscribe(room, since=0) for one in clients))
    await asyncio.gather(*(one.send(room, str(number)) for number in range(5) for one in clients))
    for one in clients:
        await one.wait_events(room, 30, 20)
        assert one.seqs(room) == list(range(1, 31))
        assert not [*one.said("connect_error"), *one.said("disconnect")]
    # The last ones' requests go to one node, by their address; the other may have none of them.
    homes = [payload["node"] for one in clients for payload in one.payloads("ready")]
    async with https.get(f"{nodes[0].url}/metrics") as response:
        first_has_some = "roomwire_connections 0.0" not in await response.text()
    leaving = nodes[0] if first_has_some else nodes[1]
    assert await leaving.end(signal.SIGTERM) == 0
    moved = [one for one in clients if "server.drain" in one.names]
    assert moved
    await asyncio.gather(*(one.ready(2) for one in moved))
    assert len({one.payloads("ready")[-1]["node"] for one in clients}) == 1 <= len(set(homes))
    assert [await one.send(room) for one in clients] == list(range(31, 37))
    _nothing_secret(front.logged(), anna.token, clients)


def _nothing_secret(logged: str, token: str, clients: list[Official]) -> None:
    assert "/socket.io/" in logged
    for secret in (
        "sid=",
        "transport=",
        "?",
        token,
        token.rpartition(".")[2],
        *(str(one.said("connect")[0]["id"]) for one in clients),
    ):
        assert secret not in logged


async def test_a_client_cannot_choose_its_address(front: Front, https: aiohttp.ClientSession) -> None:
    """The address chooses the node, and what limits count: a header that a client wrote changes neither."""
    url = f"{front.url}/socket.io/?EIO=4&transport=polling"
    async with https.get(url, headers={"X-Forwarded-For": "203.0.113.7"}) as response:
        sid = (await response.text()).split('"sid":"')[1].split('"')[0]
    async with https.post(f"{url}&sid={sid}", data="40{}", headers={"X-Forwarded-For": "203.0.113.8"}) as response:
        assert response.status == 200
    async with https.get(f"{url}&sid={sid}") as response:
        assert (response.status, (await response.text())[:3]) == (200, "44{"), "the refusal of a CONNECT without a token"
    assert sid not in front.logged()


async def test_a_polling_client_may_change_its_address_with_every_request(front: Front) -> None:
    """Two egresses, carrier NAT, IPv4 and IPv6: the name in the session id leads to the node, whatever address asks."""
    async with contextlib.AsyncExitStack() as leaving:
        egresses = [
            await leaving.enter_async_context(
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust_nobody(), local_addr=(f"127.0.0.{number}", 0)))
            )
            for number in range(1, 9)
        ]
        for first in egresses:
            url = f"{front.url}/socket.io/?EIO=4&transport=polling"
            async with first.get(url) as response:
                sid = (await response.text()).split('"sid":"')[1].split('"')[0]
            for other in egresses:
                async with other.post(f"{url}&sid={sid}", data="3") as response:
                    assert response.status == 200


async def announced(front: Front, size: int) -> int:
    """Announce a body of this size, send none of it, and return the status of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(front.url.rpartition(":")[2]), ssl=trust_nobody())
    try:
        writer.write(b"POST /api/v1/auth/login HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % size)
        async with asyncio.timeout(10):
            return int((await reader.readline()).split()[1])
    finally:
        writer.transport.abort()


async def test_what_is_inside_stays_inside_and_what_is_too_long_outside(front: Front, https: aiohttp.ClientSession) -> None:
    async with https.get(f"{front.url}/metrics") as response:
        assert response.status == 404
        assert "roomwire_" not in await response.text()
    assert await announced(front, 1_048_577) == 413, "told by the length alone: nothing of the body was sent"
    async with https.get(f"{front.url}/") as response:
        assert response.headers["Strict-Transport-Security"] == "max-age=31536000"


async def test_another_spelling_of_a_path_passes_no_limit(front: Front, https: aiohttp.ClientSession) -> None:
    async with https.get(URL(f"{front.url}/%6detrics", encoded=True)) as response:
        assert response.status == 404
    login = URL(f"{front.url}/api/v1/%61uth/login", encoded=True)
    answered = collections.Counter[int]()
    for _ in range(150):
        async with https.post(login, data=b"{}", headers={"Content-Type": "application/json"}) as response:
            answered[response.status] += 1
    assert set(answered) == {400, 429}, "the node reads the path decoded, and so does the balancer"


async def test_a_head_that_drips_is_cut_off(front: Front) -> None:
    port = int(front.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust_nobody())
    writer.write(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: a\r\n")

    async def drip() -> None:
        while True:
            writer.write(b"X-A: b\r\n")
            await asyncio.sleep(0.2)

    dripping = asyncio.create_task(drip())
    answer = b""
    try:
        async with asyncio.timeout(5 * SLOW_S + 5):
            with contextlib.suppress(ConnectionError):  # the balancer may reset it
                answer = await reader.read()
    finally:
        dripping.cancel()
        writer.transport.abort()
    assert b"200 OK" not in answer


@pytest.mark.parametrize("kind", KINDS)
def test_the_configuration_names_the_nodes_in_every_place(kind: str) -> None:
    """What an operator must adapt is what the heads of the files say."""
    text = (ROOT / "deploy" / {"nginx": "nginx.conf", "haproxy": "haproxy.cfg"}[kind]).read_text("utf-8")
    counts: dict[str, Any] = {name: text.count(f"node-{name}:8000") for name in "abc"}
    assert set(counts.values()) == {3}


async def test_who_takes_compressed_answers_gets_them_through_the_balancer(front: Front, https: aiohttp.ClientSession) -> None:
    for accepted, coding in (("gzip", "gzip"), ("identity", None)):
        async with https.get(f"{front.url}/api/openapi.json", headers={"Accept-Encoding": accepted}) as answer:
            assert (answer.status, answer.headers.get("Content-Encoding")) == (200, coding)
            assert "Accept-Encoding" in answer.headers["Vary"]
            assert (await answer.json())["openapi"]
