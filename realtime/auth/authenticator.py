"""Who an access token speaks for, whoever issued it: one signature, and no I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from realtime.errors import SessionEnded

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from realtime.model import Principal


class Verifier(Protocol):
    """Checks access tokens of one issuer."""

    def verify(self, token: str, now_s: float, /) -> Principal:
        """Return who it speaks for.

        Args:
            now_s: Unix seconds.

        Raises:
            TokenExpired: it was one of this issuer's, and has expired.
            TokenInvalid: anything else is wrong with it.
        """
        ...


class Authenticator:
    """Checks access tokens for both surfaces.

    Args:
        verifier: Of the tokens.
        revoked: Holds the credentials that are good no more, although their tokens have not expired.
        clock: Unix seconds.
    """

    def __init__(self, verifier: Verifier, revoked: Container[str], clock: Callable[[], float]) -> None:
        self._verify = verifier.verify
        self._revoked = revoked
        self._clock = clock

    def authenticate(self, token: str) -> Principal:
        """Return who a token speaks for.

        Raises:
            TokenInvalid, TokenExpired, SessionEnded.
        """
        principal = self._verify(token, self._clock())
        if principal.credential in self._revoked:
            raise SessionEnded
        return principal
