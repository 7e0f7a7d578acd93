"""What every answer tells browsers to do with it. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SECURITY: Mapping[str, str] = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Server": "roomwire",  # in place of the versions of Python and aiohttp
}
API: Mapping[str, str] = {"Cache-Control": "no-store", "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
"""For what is no page: nothing of it is kept, and nothing in it is shown or run."""
PAGE: Mapping[str, str] = {"Cache-Control": "no-cache"}
"""For pages and their parts; `page_policy` goes with them."""
_NOT_AT_ALL = re.compile(r"\s*q\s*=\s*0(?:\.0*)?\s*").fullmatch
_HOST = re.compile(r"(?:[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.?|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?").fullmatch


def page_policy(host: str) -> str:
    """Say what a page of ours may load, and that it may talk to its own server alone.

    Args:
        host: Of the request. Its sockets are named besides 'self', which Safari before 15.4 takes for HTTP only.
    """
    sockets = f" ws://{host} wss://{host}" if _HOST(host) else ""
    return (
        f"default-src 'self'; connect-src 'self'{sockets}; img-src 'self' data:; style-src 'self'; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def accepts(coding: str, accept_encoding: str) -> bool:
    """Tell whether an answer may come in a content coding (RFC 9110 §12.5.3).

    Args:
        coding: Such as `gzip`; not `identity`.
        accept_encoding: The request's header; empty: nothing but the answer as it is.
    """
    otherwise = False
    for part in accept_encoding.lower().split(","):
        name, _, weight = part.partition(";")
        welcome = not _NOT_AT_ALL(weight)
        if name.strip() == coding:
            return welcome
        if name.strip() == "*":
            otherwise = welcome
    return otherwise
