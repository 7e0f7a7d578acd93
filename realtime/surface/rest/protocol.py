"""HTTP connections: aiohttp's, with our bounds of a request's head and our refusals.

What cannot be read as a request never reaches a handler; aiohttp answers it with a page that repeats the input, and logs it.
Both end here: a refusal is a problem like any other, and a log names the kind of fault alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING

from aiohttp import web, web_protocol
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from realtime import errors
from realtime.headers import API, SECURITY
from realtime.surface.rest import problems

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest

logger = logging.getLogger(__name__)

_FIXED = {**SECURITY, **API}
_MAX_FIELDS = 128
_LINGER_S = 2.0
_OURS = {404: errors.NotFound, 405: errors.MethodNotAllowed, 413: errors.PayloadTooLarge, 415: errors.UnsupportedMediaType}


class Protocol(web.RequestHandler):
    """One HTTP connection.

    Args:
        server: Of aiohttp's runner.
        max_head_bytes: Of a request: its first line and all its header fields together.
        keep_alive_s: How long it may be idle between two requests.
    """

    __slots__ = ("_body", "_ended", "_head_bytes", "_is_broken", "_max_head_bytes")

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop, max_head_bytes: int, keep_alive_s: float) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=keep_alive_s,
            max_line_size=max_head_bytes,
            max_field_size=max_head_bytes,
            max_headers=_MAX_FIELDS,
            access_log=None,  # type: ignore[arg-type]  # as the runner gives it
        )
        self._max_head_bytes = max_head_bytes
        self._head_bytes = 0  # of the request that has begun
        self._body: StreamReader = EMPTY_PAYLOAD  # of the last one
        self._is_broken = False  # what comes is no request any more
        self._ended: asyncio.Future[None] | None = None

    def data_received(self, data: bytes) -> None:
        """Parse, and refuse a head that is too long: aiohttp bounds each of its fields alone."""
        if self._is_broken:
            return
        seen, between = self._request_count, self._body.is_eof()  # before: what ends a body is no head
        super().data_received(data)
        new = self._request_count - seen
        if new:
            if self._head_bytes + len(data) > self._max_head_bytes:
                self._refuse_long_heads(new)
            self._head_bytes = 0
            self._body = self._messages[-1][1] if self._messages else EMPTY_PAYLOAD
        elif not self._upgraded and between:
            self._head_bytes += len(data)
            if self._head_bytes > self._max_head_bytes:
                self._messages.append((_too_long(), EMPTY_PAYLOAD))
                self._head_bytes = 0
                if self._waiter is not None and not self._waiter.done():
                    self._waiter.set_result(None)

    def _refuse_long_heads(self, new: int) -> None:
        for index in range(len(self._messages) - new, len(self._messages)):
            message, payload = self._messages[index]
            fields = getattr(message, "raw_headers", ())
            if (
                sum(len(name) + len(value) + 4 for name, value in fields) + len(getattr(message, "path", ""))
                > self._max_head_bytes
            ):
                self._messages[index] = (_too_long(), payload)

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer what cannot be read as a request, and what a handler failed at."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun")
        error: errors.RealtimeError = errors.Internal()
        if isinstance(exc, HttpProcessingError):
            self._is_broken = True
            # Its text holds what was sent, which may be a secret.
            logger.debug("what came is no request", extra={"fault": type(exc).__name__})
            too_large = isinstance(exc, LineTooLong) or message == "Too many headers received"
            error = errors.HeadersTooLarge() if too_large else errors.InvalidRequest("This is no request of HTTP/1.1 (RFC 9112).")
        else:
            logger.error("request failed", exc_info=exc)
        response = problems.answer(error)
        response.force_close()
        return response

    async def finish_response(
        self, request: BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; aiohttp's own ones are put in our form first."""
        if isinstance(resp, web.HTTPException):
            kind = _OURS.get(resp.status, errors.InvalidRequest if resp.status < 500 else errors.Internal)
            resp = problems.answer(kind())
            resp.force_close()
        if not resp.prepared:
            for name, value in _FIXED.items():
                resp.headers.setdefault(name, value)
        sent = await super().finish_response(request, resp, start_time)
        if self._is_broken:
            await self._linger()
        return sent

    async def _linger(self) -> None:
        """Wait until the client has ended too: a socket closed with unread bytes resets, and the answer is lost with it."""
        if self.transport is None or self.transport.is_closing():
            return
        self._ended = self._loop.create_future()
        self.transport.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                await self._ended

    def eof_received(self) -> None:
        self._end()
        super().eof_received()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._end()
        super().connection_lost(exc)

    def _end(self) -> None:
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)


def _too_long() -> web_protocol._ErrInfo:  # what the parser's own refusals are
    return web_protocol._ErrInfo(status=431, exc=LineTooLong("the head"), message="")
