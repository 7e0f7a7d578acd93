"""The upgrade to a WebSocket (RFC 6455 §4.2), and the one form of an opening handshake that needs no HTTP server. Pure.

Nearly every connection begins with the same few lines, in one read. They are matched as a whole against a strict form of
RFC 9112; whatever deviates from it (a repeated header, a body, a head in two pieces, another method) is left to the HTTP
server, which answers every case. So nothing is refused here, and nothing is understood here that means something else there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from realtime.gateway import engineio, websocket
from realtime.origins import Page

if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Protocol

    class Headers(Protocol):
        """Header fields by their names in small letters."""

        def get(self, name: str, default: str, /) -> str: ...


_FORM = re.compile(rb"GET [!-~]+ HTTP/1\.1\r\n(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*\r\n)+\r\n").fullmatch
_QUERY = re.compile(r"[A-Za-z0-9_.~=&-]*").fullmatch  # nothing that would have to be decoded
_ELSEWHERE = ("content-length", "transfer-encoding", "expect")  # a body follows, or an answer is awaited before it


class Opening(NamedTuple):
    """A client that opens a session over a WebSocket.

    Args:
        head: The answer that makes the connection a WebSocket, with its empty line.
        page: Where it says it comes from.
        forwarded: What proxies say whom they speak for, as they wrote it.
    """

    head: bytes
    page: Page
    forwarded: str | None


def opening(data: bytes, paths: Collection[str], max_bytes: int = 32768) -> Opening | None:
    """Read an opening handshake of Engine.IO over a WebSocket.

    Args:
        data: All that the connection has brought.
        paths: Of the gateway's URL.
        max_bytes: That a head may have; a longer one is refused by the HTTP server.

    Returns:
        None when it is anything else.
    """
    if len(data) > max_bytes or not _FORM(data):
        return None
    first, *lines = data[:-4].decode("ascii").split("\r\n")
    target, query_mark, query = first[4:-9].partition("?")
    if target not in paths or not query_mark or not _QUERY(query):
        return None
    pairs = [pair.partition("=") for pair in query.split("&")]
    fields = {name: value for name, _, value in pairs}
    if len(fields) != len(pairs) or "sid" in fields:
        return None
    if fields.get("EIO") != engineio.PROTOCOL or fields.get("transport") != "websocket":
        return None
    headers: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip(" \t")
    if len(headers) != len(lines) or any(name in headers for name in _ELSEWHERE):
        return None
    head = switching("GET", headers)
    if head is None or "host" not in headers:
        return None
    page = Page(headers.get("origin"), headers["host"], headers.get("sec-fetch-site"))
    return Opening(head, page, headers.get("x-forwarded-for"))


def switching(method: str, headers: Headers) -> bytes | None:
    """Check that a request asks for a WebSocket (RFC 6455 §4.2.1) and make the head of the answer; None: it does not."""
    if method != "GET" or headers.get("upgrade", "").lower() != "websocket" or headers.get("sec-websocket-version", "") != "13":
        return None
    if "upgrade" not in [token.strip().lower() for token in headers.get("connection", "").split(",")]:
        return None
    try:
        accept = websocket.accept_key(headers.get("sec-websocket-key", ""))
    except ValueError:
        return None
    return (
        f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    ).encode()
