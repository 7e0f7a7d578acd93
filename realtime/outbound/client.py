"""Requests to URLs that somebody else named: every one of them goes through here.

aiohttp calls `socket_factory` with the very address that it is about to dial: for names, for literals (which no resolver sees),
for each redirect. So a name that changes its address between two look-ups meets the same check (decision 043).
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp

from realtime import __version__
from realtime.outbound import urls
from realtime.outbound.body import ACCEPT_ENCODING, Body
from realtime.outbound.refusals import Reason, Refused
from realtime.outbound.resolver import Resolver, refusal_of, system_look_up
from realtime.outbound.slots import Slots
from realtime.outbound.urls import Rules

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from aiohappyeyeballs import AddrInfoType
    from yarl import URL

    from realtime.outbound.resolver import LookUp

MAX_REDIRECTS = 3
PER_HOST = 4
_WAITING_PER_SLOT = 10
_KEEP_ALIVE_S = 5.0
_EVERYWHERE = (ipaddress.IPv4Network("0.0.0.0/0"), ipaddress.IPv6Network("::/0"))
_FOLLOWED = frozenset({301, 302, 303, 307, 308})
_SAFE_METHODS = frozenset({"GET", "HEAD"})
_OURS = frozenset(
    {"accept-encoding", "connection", "content-length", "cookie", "host", "proxy-authorization", "te", "transfer-encoding",
     "upgrade", "user-agent"}
)  # fmt: skip
_FOR_ANY_ORIGIN = frozenset({"accept", "accept-language"})
"""Of the caller's headers, what another origin that the first one redirects to may see. Any other may be a secret."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What requests for one purpose may cost.

    Attributes:
        purpose: Label of the metrics: `webhook`, `jwks`, …
        total_s: For everything: the wait for a slot, names, redirects, the body.
        body_bytes: Of the decoded body.
        connect_s: For TCP to one address.
        redirects: How many are followed, for GET and HEAD; 0: a redirect is the answer.
        schemes: Of which URLs may be.
        cut: Whether a larger body is cut at the bound instead of refused.
        keep_alive: Whether the connection may serve the next request to the same origin: where many follow each other.
    """

    purpose: str
    total_s: float
    body_bytes: int
    connect_s: float = 5.0
    redirects: int = 0
    schemes: frozenset[str] = frozenset({"http", "https"})
    cut: bool = False
    keep_alive: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.redirects <= MAX_REDIRECTS or self.total_s <= 0 or not self.schemes <= {"http", "https"}:
            raise ValueError("These terms are not those of an outbound request.")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered, whatever its status.

    Attributes:
        url: Where the answer came from, after redirects.
        complete: False: the body was cut.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    complete: bool


class AddressRefused(OSError):
    """The address that was about to be dialled is forbidden."""


class Outbound:
    """The door for all requests to URLs that somebody else named. It opens nothing before the first one.

    Args:
        rules: What URLs may lead to.
        in_all: Requests at once.
        proxy: Every request goes through this proxy, which then decides about the addresses of names; empty: none, whatever the
            environment says.
        observed: Called for each request with its purpose, `ok` or the reason of the refusal, and its seconds.
        look_up: How names are looked up.
        trust: What certificates are checked with; None: the system's.
    """

    def __init__(
        self,
        rules: Rules,
        in_all: int = 64,
        *,
        proxy: str = "",
        observed: Callable[[str, str, float], None] = lambda _purpose, _outcome, _seconds: None,
        look_up: LookUp = system_look_up,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self._rules = rules
        # With a proxy it alone is dialled, and the operator named it.
        self._reach = Rules(networks=_EVERYWHERE) if proxy else rules
        self._in_all = in_all
        self._proxy = proxy or None
        self._observed = observed
        self._look_up = look_up
        self._trust = trust
        self._slots: Slots[asyncio.Future[None]] = Slots(in_all, PER_HOST, in_all * _WAITING_PER_SLOT)
        self._sessions: dict[bool, aiohttp.ClientSession] = {}  # by whether connections are kept
        self._closed = False

    @property
    def busy(self) -> int:
        """Requests that are being made."""
        return self._slots.busy

    def check(self, url: str, schemes: frozenset[str] = frozenset({"http", "https"})) -> None:
        """Judge a URL when somebody names it. Where its name leads is judged at each request.

        Raises:
            Refused: it can never be requested.
        """
        urls.parse(url, self._rules, schemes)

    async def request(
        self, terms: Terms, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:  # fmt: skip
        """Make one request.

        Args:
            headers: The caller's own; of these another origin that is redirected to sees Accept and Accept-Language only.

        Raises:
            Refused: there is no answer.
            ValueError: a header cannot be sent, or is not the caller's to set.
        """
        if not _OURS.isdisjoint(name.lower() for name in headers or {}):
            raise ValueError("These headers are set by the client itself.")
        began_s, outcome = time.monotonic(), "cancelled"
        try:
            answer = await self._follow(terms, url, method, dict(headers or {}), body)
            outcome = "ok"
        except Refused as refused:
            outcome = refused.reason.value
            raise
        finally:
            self._observed(terms.purpose, outcome, time.monotonic() - began_s)
        return answer

    async def close(self) -> None:
        """Close all connections; requests after that are refused."""
        self._closed = True
        while self._sessions:
            await self._sessions.popitem()[1].close()

    async def _follow(self, terms: Terms, url: str, method: str, headers: dict[str, str], body: bytes | None) -> Answer:
        deadline_s = asyncio.get_running_loop().time() + terms.total_s
        now = urls.parse(url, self._rules, terms.schemes)
        redirects = terms.redirects if method in _SAFE_METHODS else 0
        for left in range(redirects, -1, -1):
            answer = await self._hop(terms, now, method, headers, body, deadline_s)
            if not redirects or answer.status not in _FOLLOWED:
                return answer
            if not left or not (location := answer.headers.get("Location")):
                break
            to = urls.redirected(now, location, self._rules, terms.schemes)
            if to.origin() != now.origin():
                headers = {name: value for name, value in headers.items() if name.lower() in _FOR_ANY_ORIGIN}
            now = to
        raise Refused(Reason.REDIRECTS)

    async def _hop(
        self, terms: Terms, url: URL, method: str, headers: dict[str, str], body: bytes | None, deadline_s: float
    ) -> Answer:
        """Request one URL that has been judged."""
        host = url.raw_host or ""
        try:
            async with asyncio.timeout_at(deadline_s):
                await self._take(host)
        except TimeoutError:
            raise Refused(Reason.OVERLOADED) from None  # the server was not even asked
        try:
            async with asyncio.timeout_at(deadline_s):
                return await self._exchange(terms, url, method, headers, body)
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Refused(Reason.OVERLOADED) if self._closed else _refused(error) from None  # their texts hold the URL
        finally:
            self._give(host)

    async def _exchange(self, terms: Terms, url: URL, method: str, headers: dict[str, str], body: bytes | None) -> Answer:
        async with self._session(kept=terms.keep_alive).request(
            method,
            url,
            headers=headers,
            data=body,
            allow_redirects=False,
            proxy=self._proxy,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=terms.connect_s),
        ) as response:
            if response.status < 200:
                raise Refused(Reason.PROTOCOL)
            if terms.redirects and response.status in _FOLLOWED:
                response.close()  # its body is for nobody
                return Answer(response.status, response.headers, b"", str(url), complete=False)
            collected = Body(terms.body_bytes, response.headers.get("Content-Encoding", ""), cut=terms.cut)
            try:
                if method != "HEAD":
                    collected.announced(response.content_length or 0)
                while not collected.done and (part := await response.content.readany()):
                    collected.feed(part)
            finally:
                if not response.content.at_eof():
                    response.close()  # instead of reading on
            return Answer(response.status, response.headers, collected.end(), str(url), collected.complete)

    def _session(self, *, kept: bool) -> aiohttp.ClientSession:
        if self._closed:
            raise Refused(Reason.OVERLOADED)
        session = self._sessions.get(kept)
        if session is None:
            connector = aiohttp.TCPConnector(
                limit=self._in_all,
                force_close=not kept,
                keepalive_timeout=_KEEP_ALIVE_S if kept else None,
                use_dns_cache=False,
                resolver=Resolver(self._reach, self._look_up),
                socket_factory=self._socket,
                ssl=self._trust or True,
            )
            session = self._sessions[kept] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
                auto_decompress=False,  # within bounds in `body`
                headers={"User-Agent": f"Roomwire/{__version__}", "Accept-Encoding": ACCEPT_ENCODING},
            )
        return session

    def _socket(self, address: AddrInfoType) -> socket.socket:
        """Make the socket for an address that is about to be dialled, if it may be."""
        family, kind, proto, _, sockaddr = address
        if refused := refusal_of(sockaddr, self._reach):
            raise AddressRefused(errno.EACCES, refused)
        return socket.socket(family, kind, proto)

    async def _take(self, host: str) -> None:
        if self._slots.take(host):
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not self._slots.wait(host, waiter):
            raise Refused(Reason.OVERLOADED)
        try:
            await waiter
        except asyncio.CancelledError:
            if not self._slots.leave(waiter):
                self._give(host)  # it was given at the same moment
            raise

    def _give(self, host: str) -> None:
        waiter = self._slots.give(host)
        if waiter is not None and not waiter.done():  # one that is cancelled gives it back itself
            waiter.set_result(None)


def _refused(error: Exception) -> Refused:
    """Say what went wrong, with nothing of what the server or the URL holds."""
    match error:
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientConnectorSSLError():
            return Refused(Reason.TLS)
        case aiohttp.ClientProxyConnectionError():
            return Refused(Reason.OVERLOADED)  # the proxy is the operator's
        case aiohttp.ClientConnectorDNSError():
            return Refused(Reason.NAME)
        case aiohttp.ClientConnectorError(os_error=AddressRefused(strerror=str(kind))):
            return Refused(Reason.ADDRESS, kind)
        case TimeoutError():
            return Refused(Reason.TIME)
        case aiohttp.ClientOSError() | aiohttp.ServerDisconnectedError():
            return Refused(Reason.CONNECT)
        case aiohttp.InvalidURL():
            return Refused(Reason.URL)
        case _:
            return Refused(Reason.PROTOCOL)
