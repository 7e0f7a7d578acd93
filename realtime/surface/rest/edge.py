"""The ring around every handler: refusals become problems, headers are put on, and the time is taken."""

from __future__ import annotations

import logging
import os
import re
import time
from typing import TYPE_CHECKING

from aiohttp import web

from realtime import errors, origins
from realtime.address import within
from realtime.errors import RealtimeError
from realtime.headers import API, PAGE, SECURITY, accepts, page_policy
from realtime.surface.rest import problems
from realtime.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
    from typing import TypeAlias

    from realtime.address import Network

    Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]
    Observe: TypeAlias = Callable[[str, str, int, float], None]

logger = logging.getLogger(__name__)

UNMATCHED = "unmatched"
SLOW_S = 2.0
PACKED_BYTES = 2048
"""So long an answer is worth compressing: shorter ones fit into two segments as they are."""
_PACKED_METHODS = frozenset({"GET", "HEAD"})
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")
WENT_AWAY = 499  # nginx' number for a client that closed the connection before there was an answer
KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Edge:
    """Puts routes on an application, each inside the ring.

    Args:
        app: Where routes are added.
        cors_origins: Origins of pages elsewhere that may call `/api`, as `origins.parse` returns them.
        observe: Called after each request with (method, route, status, seconds). Methods that nobody defined are
            counted as OTHER and unknown paths as `UNMATCHED`: clients must not be able to make labels.
        trusted: The proxies whose X-Request-Id is believed.
        base_path: Everything is served below this path as well as at the root.
    """

    def __init__(
        self,
        app: web.Application,
        cors_origins: Sequence[str],
        observe: Observe,
        trusted: Sequence[Network] = (),
        base_path: str = "",
    ) -> None:
        self._app = app
        self._bases = dict.fromkeys(("", base_path))
        self._trusted = trusted
        self._cors_origins = tuple(cors_origins)
        self._observe = observe

    def add(self, path: str, handlers: Mapping[str, Handler], headers: Mapping[str, str] = API, *, template: str = "") -> None:
        """Route a path: the methods given, HEAD with GET, OPTIONS, and 405 for every other.

        Args:
            path: In aiohttp's form.
            handlers: By method.
            headers: Set on each answer of this path that does not set them itself.
            template: What `observe` is told; the path by default.
        """
        for base in self._bases:
            self._add(base + path, handlers, headers, template or path)

    def _add(self, path: str, handlers: Mapping[str, Handler], headers: Mapping[str, str], name: str) -> None:
        resource = self._app.router.add_resource(path)
        for method, handler in handlers.items():
            inside = self._ring(handler, name, headers)
            resource.add_route(method, inside, expect_handler=_expect_nothing_yet)
            if method == "GET":
                resource.add_route("HEAD", inside, expect_handler=_expect_nothing_yet)
        other = self._ring(self._other_methods(handlers), name, headers)
        resource.add_route("*", other, expect_handler=_expect_nothing_yet)

    def add_alias(self, base_path: str) -> None:
        """Send who asks for the base path without its slash to the page, whose addresses are relative."""

        async def moved(request: web.Request) -> web.StreamResponse:
            return web.Response(status=308, headers={"Location": base_path.rpartition("/")[2] + "/"})

        self._add(base_path, {"GET": moved}, API, base_path)

    def add_fallback(self) -> None:
        """Answer every path that nothing else takes. The router tries the most specific path first, this one last."""

        async def unknown(request: web.Request) -> web.StreamResponse:
            if _is_preflight(request):
                return self._preflight(request)  # so that the page gets to see the 404, and not an opaque failure
            raise errors.NotFound

        self._app.router.add_resource("/{path:.*}").add_route(
            "*", self._ring(unknown, UNMATCHED, API), expect_handler=_expect_nothing_yet
        )

    def _other_methods(self, taken: Iterable[str]) -> Handler:
        methods = [method for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE") if method in taken]
        if "GET" in methods:
            methods.insert(1, "HEAD")
        allow = ", ".join((*methods, "OPTIONS"))

        async def other(request: web.Request) -> web.StreamResponse:
            if _is_preflight(request):
                return self._preflight(request)
            if request.method == "OPTIONS":
                return web.Response(status=204, headers={"Allow": allow})
            response = problems.answer(errors.MethodNotAllowed())
            response.headers["Allow"] = allow
            return response

        return other

    def _preflight(self, request: web.Request) -> web.Response:
        origin, requested = request.headers.get("Origin"), request.headers.get("Access-Control-Request-Headers")
        return web.Response(status=204, headers=origins.preflight_headers(origin, self._cors_origins, requested))

    def _ring(self, handler: Handler, name: str, headers: Mapping[str, str]) -> Handler:
        async def ring(request: web.Request) -> web.StreamResponse:
            started_s = time.perf_counter()
            status = WENT_AWAY
            number = logs.request_id.set(self._request_id(request))
            method = request.method if request.method in KNOWN_METHODS else "OTHER"
            try:
                response = await _answer(handler, request, name)
                status = response.status
                response.headers["X-Request-Id"] = logs.request_id.get()
            finally:
                took_s = time.perf_counter() - started_s
                self._observe(method, name, status, took_s)
                _tell(method, name, status, took_s)
                logs.request_id.reset(number)
            kept = headers if response.status < 400 else API  # a refusal is no page: it is kept by nobody
            if request.method in _PACKED_METHODS and response.status == 200:
                _pack(request, response)
            for key, value in (*SECURITY.items(), *kept.items()):
                response.headers.setdefault(key, value)
            if kept is PAGE:
                response.headers.setdefault("Content-Security-Policy", page_policy(request.headers.get("Host", "")))
            if name.startswith("/api/") or name is UNMATCHED:
                for key, value in origins.answer_headers(request.headers.get("Origin"), self._cors_origins).items():
                    if key == "Vary" and key in response.headers and value not in response.headers[key]:
                        response.headers[key] += f", {value}"
                    response.headers.setdefault(key, value)  # a preflight has said more
            return response

        return ring

    def _request_id(self, request: web.Request) -> str:
        """Name a request, as a trusted proxy does or anew."""
        given = request.headers.get("X-Request-Id", "")
        if given and _REQUEST_ID.fullmatch(given) and within(request.remote or "", self._trusted):
            return given
        return os.urandom(8).hex()


def _pack(request: web.Request, response: web.StreamResponse) -> None:
    """Let a long answer go out as gzip where the client takes that: on a thread beyond 4 KiB (aiohttp's bound).

    Only what GET answers: it holds no token and no password, whose length beside text of somebody's choice would tell them
    (BREACH). They come from POST alone.
    """
    if not isinstance(response, web.Response) or "ETag" in response.headers:  # a file: that names one form of it
        return
    if isinstance(response.body, bytes) and len(response.body) >= PACKED_BYTES:
        response.headers["Vary"] = "Accept-Encoding"
        if "Content-Encoding" not in response.headers and accepts("gzip", request.headers.get("Accept-Encoding", "")):
            response.enable_compression(web.ContentCoding.gzip)


def _tell(method: str, route: str, status: int, took_s: float) -> None:
    """Log a request: the route, and neither path nor query, which hold ids and what people look for."""
    slow = took_s >= SLOW_S and status != WENT_AWAY
    level = logging.WARNING if slow else logging.DEBUG
    if logger.isEnabledFor(level):
        extra = {"method": method, "route": route, "status": status, "ms": round(took_s * 1000, 1)}
        logger.log(level, "a slow request" if slow else "request", extra=extra)


async def _answer(handler: Handler, request: web.Request, name: str) -> web.StreamResponse:
    try:
        if len(request.headers.getall("Origin", [])) > 1:
            raise errors.InvalidRequest("Origin is given once.")
        return await handler(request)
    except RealtimeError as error:
        if error.status == 500:
            logger.exception("request failed", extra={"method": request.method, "route": name})
        response = problems.answer(error)
        if isinstance(error, errors.PayloadTooLarge):
            response.force_close()  # what is left of the body is not worth reading
        return response
    except Exception:
        # Neither path nor body: they hold ids and what people wrote.
        logger.exception("request failed", extra={"method": request.method, "route": name})
        return problems.answer(errors.Internal())


def _is_preflight(request: web.Request) -> bool:
    return request.method == "OPTIONS" and "Origin" in request.headers and "Access-Control-Request-Method" in request.headers


async def _expect_nothing_yet(request: web.Request) -> None:
    """Leave `Expect: 100-continue` to `input.read_body`, so that a refused upload is never sent (RFC 9110 §10.1.1)."""
