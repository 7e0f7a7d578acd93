"""From a line of the route table to a handler: token, query, body, call, answer, in that order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from realtime.address import client_address
from realtime.errors import RealtimeError
from realtime.surface.rest.input import bearer_token, body_decoder, query_decoder, read_body
from realtime.surface.rest.route import Auth, Call, acting_user

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.address import Network
    from realtime.model import Principal
    from realtime.surface.rest.edge import Handler
    from realtime.surface.rest.ports import Accounts, Services
    from realtime.surface.rest.route import Route

USER = web.RequestKey("user", str)
"""Whose a request is, for those around the handler."""
MAX_AGENT_CHARS = 200
_encode = msgspec.json.Encoder().encode


def operation(route: Route[Any, Any], services: Services, trusted: Sequence[Network], max_body_bytes: int) -> Handler:
    """Make the handler of a route.

    Args:
        route: What it takes and does.
        services: What it may call.
        trusted: The proxies whose X-Forwarded-For is believed.
        max_body_bytes: How long a body may be.
    """
    decode_query = query_decoder(route.query)
    decode_body = body_decoder(route.body, optional=route.body_optional)

    async def serve(request: web.Request) -> web.StreamResponse:
        principal, refusal = _who(route.auth, services.accounts, request)
        if principal is not None:
            user = acting_user(principal)
            request[USER] = user.id
            if route.auth is Auth.ADMIN:
                await services.administration.require(user.id)
            if route.budget is not None:
                services.budgets.charge(route.budget, user.id, request.match_info.get("room"))
        query = decode_query(request)
        # A body of GET has no meaning (RFC 9110 §9.3.1); the connection skips over it.
        raw = b"" if route.method == "GET" else await read_body(request, max_body_bytes)
        reply = await route.handler(
            Call(
                services=services,
                path=request.match_info,
                body=decode_body(raw),
                query=query,
                address=client_address(request.remote or "", _forwarded(request), trusted),
                agent=_agent(request),
                principal=principal,
                refusal=refusal,
            )
        )
        if reply.value is None:
            return web.Response(status=reply.status, headers=reply.headers)
        return web.Response(
            status=reply.status, body=_encode(reply.value), content_type="application/json", headers=reply.headers
        )

    return serve


def _who(auth: Auth, accounts: Accounts, request: web.Request) -> tuple[Principal | None, RealtimeError | None]:
    """Return who asks, and where nobody needs to, why a token that was given does not count."""
    if auth is Auth.NONE or (auth is Auth.OPTIONAL and "Authorization" not in request.headers):
        return None, None
    try:
        return accounts.authenticate(bearer_token(request)), None
    except RealtimeError as error:
        if auth is not Auth.OPTIONAL:
            raise
        return None, error


def _agent(request: web.Request) -> str:
    """Return what the client calls itself: cut, and harmless wherever it is shown."""
    text = request.headers.get("User-Agent", "")[:MAX_AGENT_CHARS]
    return "".join(one if one.isprintable() else "?" for one in text)


def _forwarded(request: web.Request) -> str | None:
    values = request.headers.getall("X-Forwarded-For", [])
    return ",".join(values) if values else None
