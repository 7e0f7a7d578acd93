"""Which URLs of others are requested, before any name is looked up. Pure.

What is judged here is the parsed URL that the HTTP client is handed, so no second parser can see another host in it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from yarl import URL

from realtime.outbound.addresses import refusal
from realtime.outbound.refusals import Reason, Refused

if TYPE_CHECKING:
    from realtime.outbound.addresses import Address, Network

MAX_CHARS = 4096
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]").search  # yarl drops some of them in silence
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?").fullmatch
_NUMBER = re.compile(r"(?:0x[0-9a-f]*|[0-9]+)").fullmatch
_HOST_CHARS = 253


@dataclass(frozen=True, slots=True)
class Rules:
    """What URLs of others may lead to.

    Attributes:
        networks: The operator's own, which may be reached besides public addresses.
        ports: Which may be dialled.
    """

    networks: tuple[Network, ...] = ()
    ports: frozenset[int] = frozenset({80, 443})


def parse(text: str, rules: Rules, schemes: frozenset[str] = frozenset({"http", "https"})) -> URL:
    """Read a URL that somebody named.

    Raises:
        Refused: it may not be requested, as far as can be told without looking its name up.
    """
    return judged(_read(text), rules, schemes)


def redirected(now: URL, location: str, rules: Rules, schemes: frozenset[str]) -> URL:
    """Read where an answer redirects to (RFC 9110 §10.2.2), and judge it like a URL that somebody named.

    Raises:
        Refused: it may not be followed.
    """
    to = judged(now.join(_read(location)), rules, schemes)
    if now.scheme == "https" and to.scheme != "https":
        raise Refused(Reason.DOWNGRADE)
    return to


def literal(host: str) -> Address | None:
    """Return the address that a URL's host is; None: it is a name.

    Raises:
        Refused: it is neither. Among these are the short, octal and hexadecimal forms of IPv4 addresses, which every program
            reads in its own way (`127.1`, `0x7f.1`, `2130706433`, `0177.0.0.1`).
    """
    if ":" in host:
        try:
            return ipaddress.IPv6Address(host)
        except ValueError:
            raise Refused(Reason.URL) from None
    labels = host.removesuffix(".").split(".")
    if _NUMBER(labels[-1]):  # then a browser reads it as an IPv4 address (WHATWG URL §3.5)
        try:
            return ipaddress.IPv4Address(host)
        except ValueError:
            raise Refused(Reason.ADDRESS, "spelling") from None
    if len(host) > _HOST_CHARS or not all(map(_LABEL, labels)):
        raise Refused(Reason.URL)
    return None


def _read(text: str) -> URL:
    if len(text) > MAX_CHARS or _UNSAFE(text):
        raise Refused(Reason.URL)
    try:
        url = URL(text)
        _ = url.host  # decodes IDNA, which may fail
    except ValueError:
        raise Refused(Reason.URL) from None
    return url


def judged(url: URL, rules: Rules, schemes: frozenset[str]) -> URL:
    """Return the URL.

    Raises:
        Refused: it may not be requested.
    """
    if url.scheme not in schemes:
        raise Refused(Reason.SCHEME)
    host = url.raw_host
    if not host or len(str(url)) > MAX_CHARS or url.raw_user is not None or url.raw_password is not None:
        raise Refused(Reason.URL)
    if url.port not in rules.ports:
        raise Refused(Reason.PORT)
    address = literal(host)
    if address is not None and (kind := refusal(address, rules.networks)):
        raise Refused(Reason.ADDRESS, kind)
    return url
