"""An Engine.IO server on aiohttp: handshake, polls, posts, upgrades, and what all its sessions share."""

from __future__ import annotations

import asyncio
import http
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from realtime import errors, headers, tasks
from realtime.gateway import engineio, sids, websocket
from realtime.gateway.admission import Admission, AdmissionLimits
from realtime.gateway.deadlines import Deadlines
from realtime.gateway.engineio import Refusal
from realtime.gateway.handshake import switching
from realtime.gateway.session import CloseReason, DuplicatePoll, Session, Upgrade
from realtime.gateway.transport import (
    BURST_S,
    NOBODY,
    OVERDRAWN_S,
    READ_TIMES,
    SLICE_UNITS,
    WebSocket,
    listening,
    take_over,
)
from realtime.gateway.turns import Turns
from realtime.origins import Page, answer_headers, is_welcome, preflight_headers, shown
from realtime.wire.types import Error

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realtime.gateway.handshake import Opening

logger = logging.getLogger(__name__)

_TEXT = "text/plain; charset=UTF-8"
_MAX_PACKETS = 1000  # in one POST; its bytes are bounded too
_CLOSE_LINGER_S = 5.0
_POST_TIMEOUT_S = 20.0
_METHODS = "GET, POST"
_FIXED = {**headers.SECURITY, **headers.API}
_SECRET_HEADERS = {"authorization", "proxy-authorization"}


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Bounds: times in seconds, sizes in bytes.

    Args:
        path: Of the URL.
        base_path: Below which the path is served too.
        units_per_s: What a connection may bring in the long run (`transport.Bounds`).
        origins: Of browser pages elsewhere that may connect, as `origins.parse` returns them. Our own pages always may.
        client_address: Tells whom a request counts for, by the address of its TCP connection and what its X-Forwarded-For
            headers say, joined by commas.
        sid_tag: What session ids begin with: the name of the node, and of the worker where several share a port.
        keep_environ: Whether sessions keep what their handshake said, for extensions.
    """

    path: str = "/socket.io/"
    base_path: str = ""
    ping_interval_s: float = 25.0
    ping_timeout_s: float = 20.0
    upgrade_timeout_s: float = 10.0
    stall_s: float = 10.0
    max_packet_bytes: int = 1 << 16
    max_head_bytes: int = 1 << 15
    unsent_limit_bytes: int = 1 << 20
    units_per_s: float = 4000.0
    admission: AdmissionLimits = field(default_factory=AdmissionLimits)
    origins: tuple[str, ...] = ()
    client_address: Callable[[str, str | None], str] = field(default=lambda peer, _forwarded: peer)
    sid_tag: str = ""
    keep_environ: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.path, self.base_path + self.path)))


class EngineServer:
    """Serves Engine.IO.

    Args:
        config: Bounds.
        accept: Called with each new session; must give it a sink.
        closed: Called with every session that ends, and why.
    """

    def __init__(
        self,
        config: EngineConfig,
        accept: Callable[[Session], None],
        closed: Callable[[Session, CloseReason], None] = lambda _session, _reason: None,
    ) -> None:
        loop = asyncio.get_running_loop()
        self.config = config
        self.max_message_bytes = config.max_packet_bytes
        self.unsent_limit_bytes = config.unsent_limit_bytes
        self.units_per_s = config.units_per_s
        self.pings = Deadlines[Session](config.ping_interval_s, lambda session, _: session.ping_is_due(), loop)
        self.pongs = Deadlines[Session](config.ping_timeout_s, lambda session, at_s: session.pong_is_due(at_s), loop)
        self.upgrades = Deadlines[Upgrade](config.upgrade_timeout_s, lambda upgrade, _: upgrade.is_due(), loop)
        self.stalls = Deadlines[WebSocket](config.stall_s, lambda one, at_s: one.stall_is_due(at_s), loop)
        self.closings = Deadlines[WebSocket](_CLOSE_LINGER_S, lambda one, _: one.closing_is_due(), loop)
        self.leavings = Deadlines[Session](_CLOSE_LINGER_S, lambda session, _: self._gone(session), loop)
        self.turns = Turns(loop)
        self._loop = loop
        self._accept = accept
        self._closed = closed
        self._admission = Admission(config.admission)
        self._sessions: dict[str, Session] = {}
        self._polling = 0
        self._leaving: dict[str, Session] = {}  # closed, and the last packets wait for a poll
        self._draining = False
        self._next_complaint_s = 0.0

    def __len__(self) -> int:
        """How many sessions live."""
        return len(self._sessions)

    @property
    def polling(self) -> int:
        """How many sessions live over long polling."""
        return self._polling

    def routes(self) -> Sequence[web.RouteDef]:
        """Return what to add to the application's router."""
        return [web.route("*", path, self.handle) for path in self.config.paths]

    def refuse_new(self) -> None:
        """Take no new sessions from now on."""
        self._draining = True

    def oldest(self, at_most: int) -> list[Session]:
        """Return that many sessions, the oldest first."""
        return list(self._sessions.values())[:at_most]

    def close(self) -> None:
        """Close what is left, and every timer."""
        for session in self.oldest(len(self)):
            session.close(CloseReason.DRAINING, websocket.CloseCode.GOING_AWAY)
        self.closings.expire()
        for one in (self.pings, self.pongs, self.upgrades, self.stalls, self.leavings):
            one.close()

    # -- shared by sessions -----------------------------------------------------------------------

    def upgraded(self) -> None:
        self._polling -= 1

    def entered(self, session: Session) -> None:
        self._admission.entered(session.address)

    def ended(self, session: Session, reason: CloseReason) -> None:
        if self._sessions.pop(session.sid, None) is not None:
            self._polling -= session.websocket is None
            self._admission.closed(session.address, session.entered)
            self._closed(session, reason)
            if session.has_unsent:
                self._leaving[session.sid] = session
                self.leavings.add(session)

    def _gone(self, session: Session) -> None:
        self._leaving.pop(session.sid, None)

    # -- HTTP -------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request of Engine.IO: a handshake, a poll, a post, or the upgrade to a WebSocket."""
        given = request.headers.getall("Origin", [])
        if len(given) > 1:
            return self._finish(request, _refused(Refusal.BAD_REQUEST))
        page = Page(given[0] if given else None, request.headers.get("Host", ""), request.headers.get("Sec-Fetch-Site"))
        if not is_welcome(page, self.config.origins):
            self._tell_operator(page)
            return self._finish(request, problem(errors.OriginNotAllowed()))
        if request.method == "OPTIONS":
            return self._finish(request, web.Response(status=204))
        return self._finish(request, await self._answer(request))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        transport = query.get("transport")
        if transport not in ("polling", "websocket"):
            return _refused(Refusal.UNKNOWN_TRANSPORT)
        if query.get("EIO") != engineio.PROTOCOL:
            return _refused(Refusal.UNSUPPORTED_VERSION)
        sid = query.get("sid")
        if sid is None:
            if request.method != "GET":
                return _refused(Refusal.BAD_METHOD)
            return self._open(request, transport)
        # Its id of 160 random bits lets a request in, from whatever address: people's addresses change between two requests.
        # What was said in the session stays with its sign-in (`connection.py`), and before that there is nothing to take.
        session = self._sessions.get(sid)
        if transport == "websocket" and session is not None:
            return self._upgrade(request, session)
        session = session or self._leaving.get(sid)
        if transport == "websocket" or session is None:
            return _refused(Refusal.UNKNOWN_SID)
        if session.websocket is not None:
            return _refused(Refusal.BAD_REQUEST)
        if request.method == "GET":
            return await self._poll(request, session)
        if request.method == "POST":
            return await self._post(request, session)
        return _refused(Refusal.BAD_REQUEST)

    def _open(self, request: web.Request, transport: str) -> web.StreamResponse:
        head = switching(request.method, request.headers) if transport == "websocket" else b""
        if head is None:
            return _refused(Refusal.BAD_REQUEST)
        address = self.config.client_address(request.remote or "", ",".join(request.headers.getall("X-Forwarded-For", [])))
        try:
            self._admit(address)
        except errors.RealtimeError as error:
            return problem(error)
        session = self._new_session(address)
        if self.config.keep_environ:
            session.environ = environ_of(request, address)
        opened = self._open_packet(session, ["websocket"] if transport == "polling" else [])
        response: web.StreamResponse = web.Response(body=opened, headers={"Content-Type": _TEXT})
        if transport == "websocket":
            session.websocket = WebSocket(session, self)
        self._begin(session)
        if session.websocket is not None and not take_over(request, session.websocket, head + websocket.frame(opened)):
            session.lost(None)
        return response

    def enter(self, transport: asyncio.Transport, asked: Opening) -> bool:
        """Open a session on a connection that asked for nothing else, as `handle` does.

        Returns:
            False when the request has to be answered by `handle`: then nothing has happened.
        """
        if self.config.keep_environ or (not is_welcome(asked.page, self.config.origins)):
            return False
        peer = transport.get_extra_info("peername")
        address = self.config.client_address(peer[0] if isinstance(peer, tuple) else "", asked.forwarded)
        try:
            self._admit(address)
        except errors.RealtimeError:
            return False
        session = self._new_session(address)
        session.websocket = WebSocket(session, self)
        session.websocket.attach(transport)
        transport.write(asked.head + websocket.frame(self._open_packet(session, [])))
        self._begin(session)
        return True

    def _admit(self, address: str) -> None:
        if self._draining:
            raise errors.Draining(retry_after_ms=1000)
        self._admission.open(address, self._loop.time())

    def _new_session(self, address: str) -> Session:
        return Session(self, self.config.sid_tag + sids.new_sid(), address)

    def _open_packet(self, session: Session, upgrades: list[str]) -> bytes:
        handshake = engineio.Handshake(
            sid=session.sid,
            upgrades=upgrades,
            ping_interval=round(self.config.ping_interval_s * 1000),
            ping_timeout=round(self.config.ping_timeout_s * 1000),
            max_payload=self.config.max_packet_bytes,
        )
        return engineio.open_packet(handshake)

    def _begin(self, session: Session) -> None:
        self._sessions[session.sid] = session
        self._polling += session.websocket is None
        self._accept(session)
        session.begin()

    def _upgrade(self, request: web.Request, session: Session) -> web.StreamResponse:
        head = switching(request.method, request.headers)
        if head is None:
            return _refused(Refusal.BAD_REQUEST)
        if session.websocket is not None or session.upgrade is not None:
            # One at a time: the reference server answers a second one and hangs up, and the first goes on.
            second = WebSocket(NOBODY, self)
            take_over(request, second, head)
            second.close(websocket.CloseCode.NO_STATUS)
            return web.Response()
        upgrade = Upgrade(session, self)
        if not take_over(request, upgrade.socket, head):
            upgrade.lost(None)
        return web.Response()  # goes nowhere: the connection is not aiohttp's any more

    async def _poll(self, request: web.Request, session: Session) -> web.StreamResponse:
        try:
            # A client that breaks off its poll has gone: what is sent next would go nowhere.
            with listening(request, session.poll_lost):
                payload = await session.poll()
        except DuplicatePoll:
            return _refused(Refusal.BAD_REQUEST)
        if session.closed and not session.has_unsent:
            self._gone(session)
        if payload is None:
            return _refused(Refusal.UNKNOWN_SID)
        response = self._finish(request, web.Response(body=payload, headers={"Content-Type": _TEXT}))
        try:
            await response.prepare(request)
            await response.write_eof()
        except ConnectionError:
            session.poll_lost()
        return response

    async def _post(self, request: web.Request, session: Session) -> web.StreamResponse:
        if session.posting:
            session.close(CloseReason.PROTOCOL)
            return _refused(Refusal.BAD_REQUEST)
        session.posting = True
        try:
            async with asyncio.timeout(_POST_TIMEOUT_S):
                body, is_cut = await self._read(request)
            body, beginning = engineio.cut(body) if is_cut else (body, b"")
            packets = engineio.packets(body, _MAX_PACKETS) if body or not is_cut else []
        except errors.PayloadTooLarge as error:
            session.close(CloseReason.PROTOCOL)
            response = problem(error)
            response.force_close()  # what is left of the body is not worth reading
            return response
        except (engineio.InvalidPacket, TimeoutError, ConnectionError, web.RequestPayloadError):
            session.close(CloseReason.PROTOCOL)
            return _refused(Refusal.BAD_REQUEST)
        finally:
            session.posting = False
        return await self._take(session, packets, beginning)

    async def _take(self, session: Session, packets: list[tuple[int, bytes]], beginning: bytes) -> web.StreamResponse:
        """Hand over the packets of a POST, a slice in each turn of the loop, and answer when their cost is paid."""
        session.posting = True
        try:
            for at, (opcode, data) in enumerate(packets):
                if at and at % SLICE_UNITS == 0:
                    await asyncio.sleep(0)
                session.received(opcode, data)
                if session.closed:
                    return self._posted() if data == engineio.CLOSE else _refused(Refusal.BAD_REQUEST)
            if beginning:
                session.too_large(websocket.BINARY if beginning[:1] == engineio.BINARY else websocket.TEXT, beginning)
                session.charge(READ_TIMES * self.max_message_bytes >> 12)  # as if it had been as large as may be
                if session.closed:
                    return problem(errors.PayloadTooLarge())
            session.read_all()
            owed_s = self._settle(session, len(packets))
            if owed_s > OVERDRAWN_S:
                session.overloaded()
            elif owed_s > 0:
                await asyncio.sleep(owed_s)
        finally:
            session.posting = False
        return self._posted()

    def _settle(self, session: Session, packets: int) -> float:
        """Take a POST from the budget that a WebSocket has too; return the seconds that the sender waits for it."""
        now_s = self._loop.time()
        session.full_s = max(session.full_s, now_s) + (packets + session.units) / self.units_per_s
        session.units = 0
        return session.full_s - now_s - BURST_S

    @staticmethod
    def _posted() -> web.Response:
        return web.Response(body=b"ok", headers={"Content-Type": _TEXT})

    async def _read(self, request: web.Request) -> tuple[bytes, bool]:
        """Read a body. One that is larger than it may be is read to its end, and cut.

        Raises:
            PayloadTooLarge: it is very much larger, or packets stand behind the one that is too large.
        """
        limit_bytes, most_bytes = self.max_message_bytes, READ_TIMES * self.max_message_bytes
        if (request.content_length or 0) > most_bytes:
            raise errors.PayloadTooLarge
        body, size = bytearray(), 0
        async for piece in request.content.iter_any():
            size += len(piece)
            left = limit_bytes - len(body)
            body += piece[:left]
            if size > most_bytes or engineio.SEPARATOR in piece[left:]:
                raise errors.PayloadTooLarge
        return bytes(body), size > limit_bytes

    def _tell_operator(self, page: Page) -> None:
        """Log that a page was refused: behind a proxy that hides the Host it is our own, and nobody else would say so."""
        now_s = self._loop.time()
        if now_s < self._next_complaint_s:
            return
        self._next_complaint_s = now_s + tasks.COMPLAIN_S
        logger.warning(
            "a page of %s was refused at %s; said once a minute. If it is your own, let your proxy pass on the Host header "
            "(docs/operations.md), else name its origin in ROOMWIRE_CORS_ORIGINS",
            shown(page.origin or ""),
            shown(page.host),
        )

    def _finish(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        if response.prepared:
            return response
        origin = request.headers.get("Origin")
        response.headers.update(_FIXED)
        if request.method == "OPTIONS":
            requested = request.headers.get("Access-Control-Request-Headers")
            response.headers.update(preflight_headers(origin, self.config.origins, requested, _METHODS))
        else:
            response.headers.update(answer_headers(origin, self.config.origins))
        return response


def environ_of(request: web.Request, address: str) -> dict[str, object]:
    """Keep what a handshake said, named as in WSGI (PEP 3333), without what lets somebody in."""
    environ: dict[str, object] = {
        "REQUEST_METHOD": request.method,
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query_string,
        "REMOTE_ADDR": address,
    }
    for name, value in request.headers.items():
        if name.lower() in _SECRET_HEADERS:
            continue
        environ["HTTP_" + name.upper().replace("-", "_")] = value
    return environ


def _refused(refusal: Refusal, status: int = http.HTTPStatus.BAD_REQUEST) -> web.Response:
    return web.Response(status=status, body=refusal.body, content_type="application/json")


def problem(error: errors.RealtimeError) -> web.Response:
    """Refuse a request for a reason that the protocol has no number for."""
    response = web.Response(status=error.status, body=msgspec.json.encode(Error.of(error)), content_type="application/json")
    if error.retryable:
        response.headers["Retry-After"] = str(-(-(error.retry_after_ms or 1000) // 1000))
    return response
