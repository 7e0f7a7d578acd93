"""Why PostgreSQL cannot be used, for the person who starts the server: what it said, and what to do."""

from __future__ import annotations

import re
import socket
import ssl

import asyncpg

from realtime.errors import Unavailable
from realtime.store import hosts
from realtime.store.sqlstate import Meaning, meaning

_POOLER = re.compile(r"unsupported startup|no such|authentication|not allowed|pooling|SSL|TLS|password", re.IGNORECASE)
_HINTS = {
    "28P01": "Check the user and the password of the URL",
    "28000": "Check the user of the URL, and pg_hba.conf",
    "3D000": "Check the database of the URL, or make it: CREATE DATABASE … OWNER … ENCODING 'UTF8' TEMPLATE template0",
    "42501": "Grant what is missing, or run `roomwire migrate` as the owner, when the role roomwire_app is there",
    "42P01": "Run `roomwire migrate` as the owner",
    "42883": "Run `roomwire migrate` as the owner",
    "26000": "A pooler must be in session mode",
    "42P05": "A pooler must be in session mode",
    "08P01": "A pooler must be in session mode, and must know the role and the database",
}
_WRONG = {"26", "28", "3D", "3F", "42"}


class CannotStart(Unavailable):
    """PostgreSQL cannot be used as things are.

    Args:
        sentence: What it said and what to do; holds no secret.
        passing: The server is away, starts, or is full: it may be there a moment later. If not, a setting is wrong, or
            something that the operator must put right.
    """

    def __init__(self, sentence: str, *, passing: bool) -> None:
        super().__init__(sentence)
        self.passing = passing


def reason(error: BaseException, url: str) -> CannotStart:
    """Say why PostgreSQL at `url` cannot be used."""
    if isinstance(error, CannotStart):
        return error
    said, hint, passing = _told(error)
    if isinstance(error, (FileNotFoundError, PermissionError)) and hosts.by_network(url):
        said = f"a file that the URL names cannot be read: {error.strerror}"
        hint, passing = "Check sslrootcert, sslcert and sslkey of the URL", False
    hint = hint or ("This may pass; if it does not, check the URL" if passing else "Check the URL")
    return CannotStart(f"PostgreSQL at {hosts.shown(url)} cannot be used: {said.rstrip('.')}. {hint}.", passing=passing)


def _told(error: BaseException) -> tuple[str, str, bool]:
    """Return what was said, what to do, and whether it may pass."""
    if isinstance(error, asyncpg.PostgresError):
        state = error.sqlstate or ""
        said = str(error).strip()
        passing = state[:2] not in _WRONG and meaning(state) is not Meaning.OURS
        if state == "08P01":
            passing = _POOLER.search(said) is None
        hint = "" if passing else _HINTS.get(state, "Check the URL and the rights of its role")
        return f"{said} (SQLSTATE {state})", hint, passing
    if isinstance(error, asyncpg.TargetServerAttributeNotMatched):
        return "it takes no writes: a standby, or read-only (default_transaction_read_only)", "", True
    if isinstance(error, ssl.SSLError):
        said = getattr(error, "verify_message", "") or getattr(error, "reason", "") or type(error).__name__
        return f"TLS failed: {said}", "Check the host's name, sslmode and sslrootcert of the URL", False
    if isinstance(error, (asyncpg.ClientConfigurationError, ValueError)):
        # Its text may hold parts of the password.
        hint = "Check its parameters, and write special characters of the password as %40 for @, %2F for /, %3A for :"
        return "the URL cannot be read", hint, False
    if isinstance(error, (asyncpg.InterfaceError, asyncpg.InternalClientError)):
        return str(error).rstrip("."), "Check the user and the password of the URL", False
    if isinstance(error, socket.gaierror):
        passing = error.errno == socket.EAI_AGAIN
        return f"its host is not found: {error.strerror}", "" if passing else "Check the host of the URL", passing
    if isinstance(error, TimeoutError):
        return "it does not answer in time", "", True
    if isinstance(error, ConnectionError) and "SSL" in str(error):
        return "it does not speak TLS", "Check sslmode of the URL", False
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__, "", True
    return type(error).__name__, "", False
