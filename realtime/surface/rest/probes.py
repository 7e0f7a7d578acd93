"""What load balancers and Prometheus ask."""

from __future__ import annotations

import asyncio
import hmac
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from realtime import errors
from realtime.address import client_address, was_forwarded, within
from realtime.wire import rest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from realtime.address import Network
    from realtime.surface.rest.edge import Handler

logger = logging.getLogger(__name__)

READY_TIMEOUT_S = 2.0
_encode = msgspec.json.Encoder().encode


async def healthz(request: web.Request) -> web.StreamResponse:
    """The process lives and its loop turns. Nothing else: a restart does not mend what is outside."""
    return _health(rest.Health(status="ok"))


def readyz(health: Callable[[], Awaitable[rest.Health]]) -> Handler:
    """Make the handler that tells whether this node can serve: 200, or 503 with what is wrong.

    `health` is bounded to `READY_TIMEOUT_S`.

    `?exclude=bus` leaves a check out, for balancers that would otherwise take out all nodes at once.
    """

    async def serve(request: web.Request) -> web.StreamResponse:
        try:
            async with asyncio.timeout(READY_TIMEOUT_S):
                found = await health()
        except TimeoutError:
            found = rest.Health(status="unready", checks={"node": f"no answer within {READY_TIMEOUT_S:g} s"})
        except Exception:
            logger.exception("the health check failed")
            found = rest.Health(status="unready", checks={"node": "the check failed; it has been logged"})
        excluded = request.query.getall("exclude", [])
        checks = {name: state for name, state in found.checks.items() if name not in excluded}
        if len(checks) < len(found.checks):
            found = rest.Health(status="ok" if all(state == "ok" for state in checks.values()) else "unready", checks=checks)
        return _health(found)

    return serve


@dataclass(frozen=True, slots=True)
class Readers:
    """Who may read the metrics: they name no user and no room, but how much goes on and what runs here.

    Args:
        networks: From where it needs no token.
        token: Reads from anywhere; empty: there is none.
        trusted: The proxies whose X-Forwarded-For is believed.
    """

    networks: Sequence[Network]
    token: str
    trusted: Sequence[Network]

    def admit(self, request: web.Request) -> None:
        """Return if the request may read. Raises Forbidden.

        A request that came through a proxy which is not trusted may come from anywhere, whatever its peer is.
        """
        if self.token:
            given = request.headers.get("Authorization", "").removeprefix("Bearer ")
            if hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self.token.encode()):
                return
        peer = request.remote or ""
        if not was_forwarded(request.headers) or within(peer, self.trusted):
            forwarded = ",".join(request.headers.getall("X-Forwarded-For", []))
            address = client_address(peer, forwarded, self.trusted)
            # A trusted proxy that does not say for whom it asks must not be taken for the one who asks.
            unsaid = was_forwarded(request.headers) and within(address, self.trusted) and address == peer
            if not unsaid and within(address, self.networks):
                return
        raise errors.Forbidden("Metrics need ROOMWIRE_METRICS_TOKEN as bearer token, or an address in ROOMWIRE_METRICS_NETWORKS.")


def metrics(read: Callable[[], Awaitable[tuple[bytes, str]]], readers: Readers) -> Handler:
    """Make the handler of Prometheus' page. `read` returns it and its content type."""

    async def serve(request: web.Request) -> web.StreamResponse:
        readers.admit(request)
        page, content_type = await read()
        return web.Response(body=page, headers={"Content-Type": content_type})

    return serve


def _health(health: rest.Health) -> web.Response:
    status = 200 if health.status == "ok" else 503
    return web.Response(status=status, body=_encode(health), content_type="application/json")
