"""Puts the REST surface, the documents, the probes and the browser client on an aiohttp application."""

from __future__ import annotations

import functools
import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from realtime.headers import PAGE, accepts
from realtime.surface.rest import asyncapi, docs, openapi, probes
from realtime.surface.rest.edge import Edge
from realtime.surface.rest.operations import operation
from realtime.surface.rest.shape import PREFIX
from realtime.surface.rest.site import add_site

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Awaitable, Callable, Sequence

    from realtime.address import Network
    from realtime.log.kinds import Kinds
    from realtime.operations import Row, Served
    from realtime.surface.door import Door
    from realtime.surface.rest.edge import Handler, Observe
    from realtime.wire import rest

_READ_AGAIN = {"Cache-Control": "no-cache"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What operators chose.

    Args:
        cors_origins: Origins of browser pages elsewhere that may call `/api`, as `origins.parse` returns them.
        trusted: The proxies whose X-Forwarded-For and X-Request-Id are believed.
        readers: Who may read the metrics.
        max_body_bytes: How long the body of a request may be.
        static: The folder of the built browser client.
        base_path: Everything is served below this path too, for proxies that leave it in; such as `/chat`.
    """

    cors_origins: Sequence[str]
    trusted: Sequence[Network]
    readers: probes.Readers
    max_body_bytes: int
    static: pathlib.Path | None
    base_path: str = ""


@dataclass(frozen=True, slots=True)
class Watch:
    """What looks after a node.

    Args:
        health: Tells whether this node can serve; bounded by the caller to `READY_TIMEOUT_S`.
        metrics: Returns the page for Prometheus and its content type.
        observe: Called after each request with (method, route, status, seconds).
    """

    health: Callable[[], Awaitable[rest.Health]]
    metrics: Callable[[], Awaitable[tuple[bytes, str]]]
    observe: Observe


def mount(app: web.Application, operations: Sequence[Served], kinds: Kinds, door: Door, watch: Watch, settings: Settings) -> None:
    """Route everything but the socket.

    A path that the application routes elsewhere (`/socket.io/`), before or after, stays there: the router tries the most
    specific path first. Everything else is answered here, so call it once.

    Args:
        app: The application, not yet started.
        operations: All of them, and what serves them.
        kinds: Of events, for the documents.
        door: Judges who asks.
    """
    edge = Edge(app, settings.cors_origins, watch.observe, settings.trusted, settings.base_path)
    by_path: dict[str, dict[str, Handler]] = {}
    for one in operations:
        if one.row.rest is not None:
            handler = operation(one, door, settings.trusted, settings.max_body_bytes)
            by_path.setdefault(PREFIX + one.row.rest.path, {})[one.row.rest.method] = handler
    for path, handlers in by_path.items():
        edge.add(path, handlers)
    edge.add("/healthz", {"GET": probes.healthz})
    edge.add("/readyz", {"GET": probes.readyz(watch.health)})
    edge.add("/metrics", {"GET": probes.metrics(watch.metrics, settings.readers)})
    _add_documents(edge, tuple(one.row for one in operations), kinds)
    add_site(edge, settings.static)
    if settings.base_path:
        edge.add_alias(settings.base_path)
    edge.add_fallback()


def _add_documents(edge: Edge, rows: tuple[Row, ...], kinds: Kinds) -> None:
    openapi_json, asyncapi_json, page = _documents(rows, kinds)
    edge.add("/api/openapi.json", {"GET": _fixed(openapi_json, "application/json", _READ_AGAIN)})
    edge.add("/api/asyncapi.json", {"GET": _fixed(asyncapi_json, "application/json", _READ_AGAIN)})
    edge.add("/api/docs", {"GET": _fixed(page, "text/html", {})}, PAGE)
    edge.add("/api/docs.css", {"GET": _fixed(docs.style(), "text/css", {})}, PAGE)


@functools.cache  # the same rows, the same documents; tests mount the surface hundreds of times
def _documents(rows: tuple[Row, ...], kinds: Kinds) -> tuple[bytes, bytes, bytes]:
    described, live = openapi.document(rows, kinds), asyncapi.document(rows, kinds)
    return msgspec.json.encode(described), msgspec.json.encode(live), docs.page(described, live).encode()


@functools.cache  # of the few documents above
def _packed(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


def _fixed(body: bytes, content_type: str, headers: dict[str, str]) -> Handler:
    fixed = {**headers, "Vary": "Accept-Encoding"}

    async def serve(request: web.Request) -> web.StreamResponse:
        charset = "utf-8" if content_type.startswith("text/") else None
        if accepts("gzip", request.headers.get("Accept-Encoding", "")):
            packed = {**fixed, "Content-Encoding": "gzip"}
            return web.Response(body=_packed(body), content_type=content_type, charset=charset, headers=packed)
        return web.Response(body=body, content_type=content_type, charset=charset, headers=fixed)

    return serve
