"""Which browser pages elsewhere may call (the Fetch standard §3.2, CORS). Pure.

Credentials are never allowed: tokens travel in a header that only the page's own code can set, so there is no ambient
authority that a foreign page could borrow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
REQUEST_HEADERS = "Authorization, Content-Type"
EXPOSED_HEADERS = "Retry-After, Location, X-Request-Id"
MAX_AGE_S = 7200  # the longest that browsers keep the answer to a preflight


def answer_headers(origin: str | None, allowed: Collection[str]) -> dict[str, str]:
    """Make the headers of an answer.

    Args:
        origin: The request's Origin header.
        allowed: Origins as browsers write them; `*` stands for every one.
    """
    if not allowed:
        return {}
    headers = {"Vary": "Origin"}  # without an Origin too: caches must not give that answer to somebody who sends one
    if origin is not None and ("*" in allowed or origin in allowed):
        headers["Access-Control-Allow-Origin"] = "*" if "*" in allowed else origin
        headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
    return headers


def preflight_headers(origin: str | None, allowed: Collection[str]) -> dict[str, str]:
    """Make the headers of the answer to a preflight; for an origin that may not call they allow nothing."""
    headers = answer_headers(origin, allowed)
    if "Access-Control-Allow-Origin" in headers:
        headers["Access-Control-Allow-Methods"] = METHODS
        headers["Access-Control-Allow-Headers"] = REQUEST_HEADERS
        headers["Access-Control-Max-Age"] = str(MAX_AGE_S)
    return headers
