"""Refusals as `application/problem+json` (RFC 9457), and which of them an operation may answer."""

from __future__ import annotations

import http
from typing import TYPE_CHECKING

import msgspec
from aiohttp import web

from realtime import errors
from realtime.budgets import Budget
from realtime.operations import Auth
from realtime.wire import rest

if TYPE_CHECKING:
    from realtime.errors import RealtimeError
    from realtime.operations import Row

CONTENT_TYPE = "application/problem+json"
REALM = 'Bearer realm="roomwire"'
_TOKEN_ERRORS = (errors.TokenInvalid, errors.TokenExpired, errors.SessionEnded)
_encode = msgspec.json.Encoder().encode


def of(error: RealtimeError) -> rest.Problem:
    """Describe a refusal. The type is `about:blank`, so the title is the status' own (RFC 9457 §4.2.1)."""
    return rest.Problem(
        title=http.HTTPStatus(error.status).phrase,
        status=error.status,
        detail=error.message,
        code=error.code,
        retryable=error.retryable,
        retry_after_ms=error.retry_after_ms,
        field=error.field,
    )


def answer(error: RealtimeError) -> web.Response:
    """Make the response to a refusal, with `Retry-After` in whole seconds and, for 401, `WWW-Authenticate`."""
    response = web.Response(status=error.status, body=_encode(of(error)), content_type=CONTENT_TYPE)
    if error.retry_after_ms is not None or error.retryable:
        seconds = -(-(error.retry_after_ms or 0) // 1000)
        response.headers["Retry-After"] = str(max(1, seconds))
    if error.status == 401:
        challenge = REALM
        if isinstance(error, _TOKEN_ERRORS):  # RFC 6750 §3.1: only when a token was given
            challenge += ', error="invalid_token"'
        response.headers["WWW-Authenticate"] = challenge
    return response


def errors_of(row: Row) -> list[type[RealtimeError]]:
    """List every refusal that an operation may answer over REST, in the order of the error tree."""
    assert row.rest is not None
    kinds: set[type[RealtimeError]] = {errors.Internal, errors.InvalidRequest, *row.errors}
    kinds |= {errors.Overloaded, errors.Unavailable, errors.NotStorable, errors.Draining}
    if row.rest.method != "GET":
        kinds |= {errors.InvalidJson, errors.PayloadTooLarge, errors.UnsupportedMediaType}
    if row.auth is not Auth.NONE:
        kinds |= {errors.TokenMissing, errors.TokenInvalid, errors.TokenExpired, errors.SessionEnded}
    if row.budget is not None:
        kinds.add(errors.RateLimited)
    if row.budget in (Budget.MESSAGES, Budget.ROOMS, Budget.ADDS, Budget.JOINS):
        kinds.add(errors.QuotaExceeded)
    if row.auth is Auth.ADMIN:
        kinds.add(errors.AdminOnly)
    return [kind for kind in errors.all_errors() if kind in kinds]
