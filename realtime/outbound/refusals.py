"""Why a request to a URL that somebody else named was not made, or brought nothing. Pure."""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """Values of a metric's label, and what callers decide by."""

    URL = "url"
    SCHEME = "scheme"
    PORT = "port"
    ADDRESS = "address"
    NAME = "name"
    DOWNGRADE = "downgrade"
    REDIRECTS = "redirects"
    CONNECT = "connect"
    TLS = "tls"
    TIME = "time"
    SIZE = "size"
    ENCODING = "encoding"
    PROTOCOL = "protocol"
    OVERLOADED = "overloaded"


_SENTENCES = {
    Reason.URL: "The URL is not an absolute http or https URL without user, password, blanks and control characters.",
    Reason.SCHEME: "The scheme of the URL is not allowed here.",
    Reason.PORT: "The port of the URL is not allowed.",
    Reason.ADDRESS: "The URL leads to an address that may not be reached from here.",
    Reason.NAME: "The host of the URL has no address.",
    Reason.DOWNGRADE: "The server redirects from https to http.",
    Reason.REDIRECTS: "The server redirects too often, or nowhere.",
    Reason.CONNECT: "The server of the URL cannot be reached.",
    Reason.TLS: "The server of the URL has no valid certificate.",
    Reason.TIME: "The server of the URL did not answer in time.",
    Reason.SIZE: "The answer is larger than allowed.",
    Reason.ENCODING: "The answer is encoded in a way that was not asked for, or is not what it says it is.",
    Reason.PROTOCOL: "The server of the URL does not speak HTTP as it must.",
    Reason.OVERLOADED: "This server is too busy to make the request, or cannot make it now.",
}
LATER = frozenset({Reason.NAME, Reason.CONNECT, Reason.TLS, Reason.TIME, Reason.PROTOCOL, Reason.OVERLOADED})
"""What may be otherwise at the next try."""
OURS = frozenset({Reason.OVERLOADED})
"""What says nothing about the server that was named: it must not count against it."""


class Refused(Exception):
    """No answer. The text is a fixed sentence: it holds nothing of the URL, the headers or the answer, which may be secrets.

    Args:
        reason: Why.
        kind: For `Reason.ADDRESS`, the kind of address. For the operator: who named the URL must not learn from it what our
            names stand for.
    """

    def __init__(self, reason: Reason, kind: str = "") -> None:
        super().__init__(_SENTENCES[reason])
        self.reason = reason
        self.kind = kind

    @property
    def retryable(self) -> bool:
        return self.reason in LATER
