"""Which browser pages may call, and what browsers are told about it (RFC 6454, and CORS in the Fetch standard §3.2). Pure.

A page of the server's own origin always may. Pages elsewhere may if the operator named their origin.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ANY = "*"
METHODS = "GET, HEAD, POST, PUT, PATCH, DELETE"
EXPOSED_HEADERS = "Retry-After, Location, X-Request-Id"
MAX_AGE_S = 7200  # the longest that browsers keep the answer to a preflight
_DEFAULT_PORTS = {"http": "80", "https": "443"}
_NEVER = {"ws": "http", "wss": "https"}
_FORM = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#@\\\s]*)(.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(\[[0-9a-f:.]+\]|[^\[\]:]*)(?::([0-9]*))?")
_NAME = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)(?:\.(?!-)[a-z0-9_-]{1,63}(?<!-))*\.?")
_REQUESTED = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+(?:[ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*").fullmatch
_MAX_REQUESTED_CHARS = 4096


def parse(texts: Iterable[str]) -> tuple[str, ...]:
    """Read the origins that an operator named, into the form in which browsers send them.

    Args:
        texts: Origins; `*` alone stands for every one.

    Raises:
        ValueError: one can never match; the text says why, as the end of a sentence.
    """
    given = list(texts)
    if ANY in given and len(given) > 1:
        raise ValueError("`*` stands for every origin already: give it alone, or name the origins without it")
    return tuple(dict.fromkeys(ANY if text == ANY else _named(text) for text in given))


def _named(text: str) -> str:
    lower = text.lower()
    if lower == "null":
        raise ValueError("`null` is the origin of every sandboxed page and every local file, so it cannot be named")
    found = _FORM.fullmatch(lower)
    if found is None:
        raise ValueError(f"{text!r} is no origin: write scheme and host, as in https://app.example.org")
    scheme, authority, rest = found.groups()
    if scheme in _NEVER:
        raise ValueError(f"{text!r} is no page's origin: write {_NEVER[scheme]}:// in place of {scheme}://")
    if scheme == "file":
        raise ValueError(f"{text!r} is no page's origin: browsers send `null` for files, which cannot be named")
    if rest not in ("", "/"):
        raise ValueError(f"{text!r} is more than an origin: browsers send scheme, host and port, without a path")
    if "*" in authority:
        raise ValueError(f"{text!r} has a wildcard: name each origin, or give `*` alone for every one")
    place = _place(scheme, authority)
    if place is None:
        raise ValueError(f"{text!r} has no host and port that a browser sends, as in https://app.example.org:8443")
    return f"{scheme}://{place}"


def _place(scheme: str, authority: str) -> str | None:
    """Write host and port as browsers do: ASCII, in small letters, without the scheme's own port; None: they never do."""
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        return None
    host, port = _host(found[1]), (found[2] or "").lstrip("0")
    if host is None or (found[2] and not port) or len(port) > 5 or (port and int(port) > 65535):
        return None
    return host if port in ("", _DEFAULT_PORTS.get(scheme)) else f"{host}:{port}"


def _host(text: str) -> str | None:
    try:
        if text.startswith("["):
            return f"[{ipaddress.IPv6Address(text[1:-1]).compressed}]"
        if text.rstrip(".").rpartition(".")[2].isdigit():  # an address to browsers, whatever stands before (URL standard §3.5)
            return str(ipaddress.IPv4Address(text))
        ascii_text = text.encode("idna").decode()
        if ascii_text.encode().decode("idna") != text:
            return None  # browsers write this name otherwise (UTS 46)
    except (ValueError, UnicodeError):
        return None
    return ascii_text if _NAME.fullmatch(ascii_text) else None


@dataclass(frozen=True, slots=True)
class Page:
    """What a request says about where it comes from.

    Args:
        origin: Its Origin; None: none was sent, so it comes from no page of another origin.
        host: Whom it thinks it talks to.
        site: Its Sec-Fetch-Site, which only browsers can set; None: an older browser, or none.
    """

    origin: str | None
    host: str
    site: str | None = None


def is_welcome(page: Page, named: Iterable[str]) -> bool:
    """Tell whether a page may connect: one of our own origin, or one that the operator named (`parse`)."""
    return page.origin is None or is_named(page.origin, named) or is_own(page)


def is_named(origin: str | None, named: Iterable[str]) -> bool:
    return origin is not None and (origin in named or ANY in named)


def is_own(page: Page) -> bool:
    """Tell whether a page comes from this server.

    A browser says so itself in Sec-Fetch-Site, also where a proxy has put another Host in place of the one that the page
    knows. Without it the origin is compared with the Host, of which nobody knows the scheme: TLS may end before us.
    """
    if page.origin is None or page.origin == "null":
        return False
    if page.site is not None:
        return page.site.lower() == "same-origin"
    scheme, separator, authority = page.origin.lower().partition("://")
    if not separator or scheme not in _DEFAULT_PORTS:
        return False
    place = _place(scheme, authority)
    return place is not None and place == _place(scheme, page.host.lower())


def answer_headers(origin: str | None, named: Iterable[str]) -> dict[str, str]:
    """Make the headers with which pages elsewhere may read an answer.

    Named origins may send credentials: ours is a token that the page's own code puts in, so there is no ambient authority to
    borrow, and pages send cookies of a proxy along. Every origin (`*`) may not, which is what browsers hold to as well.

    Args:
        origin: The request's Origin header.
        named: By the operator.
    """
    named = tuple(named)
    if not named:
        return {}
    headers = {"Vary": "Origin"}  # without an Origin too: caches must not give that answer to somebody who sends one
    if is_named(origin, named):
        assert origin is not None  # None is not named
        headers["Access-Control-Allow-Origin"] = ANY if ANY in named else origin
        headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
        if ANY not in named:
            headers["Access-Control-Allow-Credentials"] = "true"
    return headers


def preflight_headers(
    origin: str | None, named: Iterable[str], requested: str | None = None, methods: str = METHODS
) -> dict[str, str]:
    """Make the headers of the answer to a preflight; for an origin that may not call they allow nothing.

    Whatever header a page wants to send may be sent (tracing adds its own): what we do not know we do not read.

    Args:
        requested: The preflight's Access-Control-Request-Headers.
        methods: That may be asked for.
    """
    headers = answer_headers(origin, named)
    if headers:
        headers["Vary"] = "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
    if "Access-Control-Allow-Origin" in headers:
        headers["Access-Control-Allow-Methods"] = methods
        headers["Access-Control-Allow-Headers"] = _allowed(requested)
        headers["Access-Control-Max-Age"] = str(MAX_AGE_S)
    return headers


def _allowed(requested: str | None) -> str:
    if requested and len(requested) <= _MAX_REQUESTED_CHARS and _REQUESTED(requested.strip(" \t")):
        return requested.strip(" \t")
    return "Authorization, Content-Type"


def shown(text: str) -> str:
    """Write what a page sent so that it may stand in a log: cut, and without what is no origin and no host."""
    return text[:200] if re.fullmatch(r"[\w.:/\[\]-]*", text[:200], re.ASCII) else "(not shown)"
