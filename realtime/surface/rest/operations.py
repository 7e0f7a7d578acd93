"""From a row of the table to a handler of aiohttp: token, query, body, budget, service, answer, in that order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from realtime.address import client_address
from realtime.errors import RealtimeError
from realtime.operations import Auth, Caller, Made
from realtime.surface.door import asks
from realtime.surface.rest.input import bearer_token, body_decoder, query_decoder, read_body
from realtime.surface.rest.shape import shape

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from realtime.address import Network
    from realtime.model import Principal
    from realtime.operations import Row, Served
    from realtime.surface.door import Door
    from realtime.surface.rest.edge import Handler

USER = web.RequestKey("user", str)
"""Whose a request is, for those around the handler."""
MAX_AGENT_CHARS = 200
_encode = msgspec.json.Encoder().encode


def operation(served: Served, door: Door, trusted: Sequence[Network], max_body_bytes: int) -> Handler:
    """Make the handler of an operation.

    Args:
        served: The operation and its service.
        door: Judges who asks.
        trusted: The proxies whose X-Forwarded-For is believed.
        max_body_bytes: How long a body may be.
    """
    row, parts = served.row, shape(served.row)
    assert row.rest is not None
    has_body = row.rest.method != "GET"  # a body of GET has no meaning (RFC 9110 §9.3.1): the connection skips over it
    decode_query = query_decoder(parts.query)
    decode_body = body_decoder(parts.body, optional=row.rest.body_optional)
    put_together, call = parts.reader(), asks(served)
    charge, answer = door.charges(row), _answers(row)

    async def serve(request: web.Request) -> web.StreamResponse:
        principal, refusal = _who(row.auth, door.authenticate, request)
        user = None
        if principal is not None:
            request[USER] = user = await door.admit(row, principal)
        query = decode_query(request)
        body = decode_body(await read_body(request, max_body_bytes) if has_body else b"")
        asked = put_together(request.match_info, query, body)
        if charge is not None and user is not None:
            charge(user, asked)
        address = client_address(request.remote or "", _forwarded(request), trusted)
        result = await call(Caller(principal, address, _agent(request), refusal), asked)
        if user is not None:
            door.refund(row, user, result)
        return answer(asked, result)

    return serve


def _answers(row: Row) -> Callable[[Any, Any], web.Response]:
    """Return what makes the response from a request and the handler's answer."""
    assert row.rest is not None
    write, statuses = row.rest.write, list(row.rest.answers)
    status = statuses[0]

    def answer(asked: Any, result: Any) -> web.Response:
        value = result if write is None else write(asked, result)
        if value is None:
            return web.Response(status=status)
        if not isinstance(value, Made):
            return _response(status, value, {})
        headers = {"Location": value.location} if value.location else {}
        return _response(201 if value.is_new else 200, value.value, headers)

    return answer


def _response(status: int, value: msgspec.Struct, headers: Mapping[str, str]) -> web.Response:
    return web.Response(status=status, body=_encode(value), content_type="application/json", headers=headers)


def _who(
    auth: Auth, authenticate: Callable[[str], Principal], request: web.Request
) -> tuple[Principal | None, RealtimeError | None]:
    """Return who asks, and where nobody needs to, why a token that was given does not count."""
    if auth is Auth.NONE or (auth is Auth.OPTIONAL and "Authorization" not in request.headers):
        return None, None
    try:
        return authenticate(bearer_token(request)), None
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
