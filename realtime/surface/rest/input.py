"""Reads bodies, query strings and tokens of requests, strictly. Everything that does not fit has a stable code."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import HttpProcessingError

from realtime.errors import InvalidRequest, PayloadTooLarge, TokenInvalid, TokenMissing, UnsupportedMediaType
from realtime.wire.decode import decode, invalid
from realtime.wire.types import Empty

if TYPE_CHECKING:
    from collections.abc import Callable

BODY_TIMEOUT_S = 20.0
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]{0,18})\Z")


async def read_body(request: web.Request, limit_bytes: int) -> bytes:
    """Read the whole body.

    Args:
        request: Whose body has not been read.
        limit_bytes: How much is taken.

    Raises:
        PayloadTooLarge: there is more.
        UnsupportedMediaType: it is not plain application/json.
        InvalidRequest: it broke off, is malformed, or took longer than `BODY_TIMEOUT_S`.
    """
    if not request.can_read_body:
        return b""
    if (request.content_length or 0) > limit_bytes:
        raise PayloadTooLarge
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Send the body without a Content-Encoding.")
    raw = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            if request.headers.get("Expect", "").lower() == "100-continue" and request.version == HttpVersion11:
                await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                request.writer.output_size = 0  # aiohttp counts the answer's own bytes from here
            async for piece in request.content.iter_any():
                raw += piece
                if len(raw) > limit_bytes:
                    raise PayloadTooLarge
    except TimeoutError as error:
        raise InvalidRequest("The body did not arrive in time.") from error
    except (HttpProcessingError, web.RequestPayloadError, ConnectionError) as error:
        raise InvalidRequest("The body broke off or is malformed.") from error
    if raw and request.content_type != "application/json":
        raise UnsupportedMediaType
    if raw and (request.charset or "utf-8").lower() not in {"utf-8", "utf8"}:
        raise UnsupportedMediaType("JSON is UTF-8 (RFC 8259 §8.1).")
    return bytes(raw)


def body_decoder(struct: type[Any] | None, *, optional: bool) -> Callable[[bytes], Any]:
    """Make the function that decodes a route's body.

    Args:
        struct: The struct of the body; None for a route without one.
        optional: An absent body counts as `{}`.
    """
    decoder = msgspec.json.Decoder(struct or Empty).decode
    may_be_absent = optional or struct is None

    def read(raw: bytes) -> Any:
        return decode(decoder, raw or b"{}" if may_be_absent else raw)

    return read


def query_decoder(struct: type[Any] | None) -> Callable[[web.Request], Any]:
    """Make the function that decodes a route's query string.

    Args:
        struct: The struct of the parameters; None for a route without any.
    """
    info = msgspec.inspect.type_info(struct or Empty)
    assert isinstance(info, msgspec.inspect.StructType)
    integers = {one.encode_name for one in info.fields if _is_integer(one.type)}

    def read(request: web.Request) -> Any:
        found: dict[str, str | int] = {}
        for name, text in request.query.items():
            if name in found:
                raise InvalidRequest("A parameter is given once.", field=_place(name))
            if name in integers:
                if not _INTEGER.match(text):
                    raise InvalidRequest("Expected a whole number.", field=_place(name))
                found[name] = int(text)
            else:
                found[name] = text
        try:
            return msgspec.convert(found, struct or Empty)
        except msgspec.ValidationError as error:
            raise invalid(error) from error

    return read


def bearer_token(request: web.Request) -> str:
    """Take the access token out of the Authorization header (RFC 6750 §2.1).

    Raises:
        TokenMissing: there is none of the Bearer scheme.
        TokenInvalid: it cannot be one (RFC 6750 §2.1: ASCII).
        InvalidRequest: there is more than one.
    """
    values = request.headers.getall("Authorization", [])
    if len(values) > 1:
        raise InvalidRequest("Authorization is given once.")
    scheme, _, token = values[0].partition(" ") if values else ("", "", "")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise TokenMissing
    if not token.isascii():
        raise TokenInvalid  # bytes that are not UTF-8 come from aiohttp as lone surrogates, which nobody can encode
    return token


def _place(name: str) -> str:
    """The path of a parameter, in the form that msgspec gives to fields; a foreign name is cut and made harmless."""
    return "$." + (re.sub(r"[^\w.-]", "?", name[:64], flags=re.ASCII))


def _is_integer(kind: msgspec.inspect.Type) -> bool:
    if isinstance(kind, msgspec.inspect.Metadata):
        return _is_integer(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        return any(_is_integer(one) for one in kind.types)
    return isinstance(kind, msgspec.inspect.IntType)
