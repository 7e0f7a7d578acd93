"""Puts the REST surface, the documents, the probes and the browser client on an aiohttp application."""

from __future__ import annotations

import functools
import gzip
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from realtime.headers import PAGE, accepts
from realtime.surface.rest import asyncapi, docs, openapi, probes
from realtime.surface.rest.edge import Edge
from realtime.surface.rest.operations import operation
from realtime.surface.rest.routes import ROUTES
from realtime.surface.rest.site import add_site

if TYPE_CHECKING:
    import pathlib
    from collections.abc import Sequence

    from realtime.address import Network
    from realtime.surface.rest.edge import Handler
    from realtime.surface.rest.ports import Services

_READ_AGAIN = {"Cache-Control": "no-cache"}


def mount(
    app: web.Application,
    services: Services,
    *,
    cors_origins: Sequence[str],
    trusted: Sequence[Network],
    readers: probes.Readers,
    max_body_bytes: int,
    static: pathlib.Path | None,
    base_path: str = "",
) -> None:
    """Route everything but the socket.

    A path that the application routes elsewhere (`/socket.io/`), before or after, stays there: the router tries the most
    specific path first. Everything else is answered here, so call it once.

    Args:
        app: The application, not yet started.
        services: What the routes call.
        cors_origins: Origins of browser pages elsewhere that may call `/api`, as `origins.parse` returns them.
        trusted: The proxies whose X-Forwarded-For and X-Request-Id are believed.
        readers: Who may read the metrics.
        max_body_bytes: How long the body of a request may be.
        static: The folder of the built browser client.
        base_path: Everything is served below this path too, for proxies that leave it in; such as `/chat`.
    """
    edge = Edge(app, cors_origins, services.observe, trusted, base_path)
    by_path: dict[str, dict[str, Handler]] = {}
    for route in ROUTES:
        by_path.setdefault(route.path, {})[route.method] = operation(route, services, trusted, max_body_bytes)
    for path, handlers in by_path.items():
        edge.add(path, handlers)
    edge.add("/healthz", {"GET": probes.healthz})
    edge.add("/readyz", {"GET": probes.readyz(services)})
    edge.add("/metrics", {"GET": probes.metrics(services, readers)})
    _add_documents(edge)
    add_site(edge, static)
    if base_path:
        edge.add_alias(base_path)
    edge.add_fallback()


def _add_documents(edge: Edge) -> None:
    rest, live, page = _documents()
    edge.add("/api/openapi.json", {"GET": _fixed(rest, "application/json", _READ_AGAIN)})
    edge.add("/api/asyncapi.json", {"GET": _fixed(live, "application/json", _READ_AGAIN)})
    edge.add("/api/docs", {"GET": _fixed(page, "text/html", {})}, PAGE)
    edge.add("/api/docs.css", {"GET": _fixed(docs.style(), "text/css", {})}, PAGE)


@functools.cache  # nothing goes in, so the same comes out; tests mount the surface hundreds of times
def _documents() -> tuple[bytes, bytes, bytes]:
    rest, live = openapi.document(), asyncapi.document()
    return msgspec.json.encode(rest), msgspec.json.encode(live), docs.page(rest, live).encode()


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
