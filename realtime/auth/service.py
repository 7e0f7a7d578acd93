"""Accounts and sign-ins, for REST and the socket alike."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from realtime import errors
from realtime.auth import tokens
from realtime.auth.keys import RELOAD_S, KeyRing
from realtime.auth.tokens import Claims, RefreshToken
from realtime.limits import Buckets
from realtime.model import Principal, SessionId, User, UserId

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from realtime.auth.passwords import Passwords
    from realtime.store.sessions import SessionStore
    from realtime.store.users import UserStore

logger = logging.getLogger(__name__)

POLL_S = 10.0
"""How often ended sessions are read from the store, for those whose notice the bus lost."""


class Clock(Protocol):
    """Unix seconds."""

    def __call__(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """Lives in seconds, rates per minute."""

    issuer: str = "realtime"
    audience: str = "realtime"
    access_ttl_s: int = 900
    grace_s: int = 30
    refresh_ttl_s: float = 30 * 86400
    login_rate_per_min: int = 10
    register_rate_per_min: int = 30


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new pair of tokens. `expires_in` is the access token's life in seconds."""

    user: User
    access_token: str
    refresh_token: str
    expires_in: int


class Accounts:
    """The service of accounts.

    Args:
        users, sessions: The stores.
        passwords: Checks them.
        keys: Sign access tokens.
        settings: Bounds.
        new_id: Makes ids.
        clock: Unix seconds.
        tell_ended: Called with a session that was ended through this node: its connections close, everywhere.
        close_session: Called with a session that was ended anywhere: its connections on this node close.
    """

    def __init__(
        self,
        users: UserStore,
        sessions: SessionStore,
        passwords: Passwords,
        keys: KeyRing,
        settings: Settings,
        new_id: Callable[[], str],
        clock: Clock,
        tell_ended: Callable[[SessionId], None],
        close_session: Callable[[SessionId], None],
    ) -> None:
        self._users = users
        self._sessions = sessions
        self._passwords = passwords
        self._keys = keys
        self._settings = settings
        self._claims = Claims(settings.issuer, settings.audience)
        self._new_id = new_id
        self._clock = clock
        self._tell_ended = tell_ended
        self._close_session = close_session
        self._logins = Buckets(settings.login_rate_per_min / 60, settings.login_rate_per_min)
        self._registrations = Buckets(settings.register_rate_per_min / 60, settings.register_rate_per_min)
        self._ended: dict[SessionId, float] = {}
        self._tasks: list[asyncio.Task[None]] = []

    # -- life -------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Read the keys and the ended sessions, and keep reading. Raises Unavailable."""
        await self._keys.open()
        await self._read_ended()
        self._tasks = [
            asyncio.create_task(self._repeat(POLL_S, self._read_ended)),
            asyncio.create_task(self._repeat(RELOAD_S, self._read_keys)),
        ]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._passwords.close()

    # -- sign-in ----------------------------------------------------------------------------------

    async def register(self, username: str, password: str, display_name: str | None, address: str) -> SignedIn:
        """Make an account and sign in.

        Raises:
            UsernameTaken, RateLimited, Overloaded, Unavailable.
        """
        self._admit(self._registrations, address)
        if await self._users.is_taken(username):
            raise errors.UsernameTaken
        user = User(UserId(self._new_id()), username, display_name or username)
        if not await self._users.insert(user, await self._passwords.hash(password)):
            raise errors.UsernameTaken
        return await self._sign_in(user)

    async def login(self, username: str, password: str, address: str) -> SignedIn:
        """Sign in; every sign-in is a session of its own.

        Attempts count by address and account together, so that nobody can lock somebody else out.

        Raises:
            InvalidCredentials, RateLimited, Overloaded, Unavailable.
        """
        key = (address, username.lower())
        self._admit(self._logins, key)
        found = await self._users.credentials(username)
        verified = await self._passwords.verify(found.password_hash if found else None, password)
        assert found is not None  # verify() refuses everybody else
        self._logins.forget(key)
        if verified.new_hash is not None:
            await self._users.set_password_hash(found.user.id, found.password_hash, verified.new_hash)
        return await self._sign_in(found.user)

    async def refresh(self, refresh_token: str, address: str) -> SignedIn:
        """Exchange a refresh token for a new pair. A token that was replaced before ends the session.

        Raises:
            RefreshTokenInvalid, Unavailable.
        """
        presented = RefreshToken.parse(refresh_token)
        replacement = RefreshToken(presented.session, os.urandom(tokens.SECRET_BYTES))
        user = await self._sessions.rotate(presented.session, presented.hash, replacement.hash, self._settings.refresh_ttl_s)
        if user is None:
            if await self._sessions.revoke(presented.session, "refresh token reused"):
                logger.warning("a refresh token was used again; its session is ended", extra={"session": presented.session})
                self._end(presented.session)
            raise errors.RefreshTokenInvalid
        return self._issue(user, replacement)

    async def logout(self, session: SessionId) -> None:
        """End a session: its tokens are worth nothing, its connections close on every node. Again is harmless."""
        await self._sessions.revoke(session, "logout")
        self._end(session)

    async def logout_by_refresh_token(self, refresh_token: str) -> None:
        """End the session of a refresh token; one that is unknown is passed over."""
        try:
            presented = RefreshToken.parse(refresh_token)
        except errors.RefreshTokenInvalid:
            return
        if await self._sessions.revoke_by_token(presented.session, presented.hash, "logout"):
            self._end(presented.session)

    # -- access tokens ----------------------------------------------------------------------------

    def authenticate(self, token: str) -> Principal:
        """Check an access token: one signature, no I/O.

        Raises:
            TokenInvalid, TokenExpired, SessionEnded.
        """
        principal = tokens.verify(self._claims, self._keys.secrets, token, self._clock())
        if principal.session in self._ended:
            raise errors.SessionEnded
        return principal

    def note_ended(self, session: SessionId) -> None:
        """Take note that a session was ended on another node."""
        if session not in self._ended:
            self._ended[session] = self._clock()
            self._close_session(session)

    # -- inside -----------------------------------------------------------------------------------

    def _admit(self, buckets: Buckets, key: object) -> None:
        wait_s = buckets.take(key, self._clock())
        if wait_s > 0:
            raise errors.RateLimited("Too many attempts; wait before the next one.", retry_after_ms=int(wait_s * 1000) + 1)

    async def _sign_in(self, user: User) -> SignedIn:
        token = RefreshToken(SessionId(self._new_id()), os.urandom(tokens.SECRET_BYTES))
        await self._sessions.insert(token.session, user.id, token.hash, self._settings.refresh_ttl_s)
        return self._issue(user, token)

    def _issue(self, user: User, token: RefreshToken) -> SignedIn:
        kid, secret = self._keys.signing
        ttl_s = self._settings.access_ttl_s
        access = tokens.issue(self._claims, kid, secret, user, token.session, int(self._clock()), ttl_s)
        return SignedIn(user, access, str(token), ttl_s)

    def _end(self, session: SessionId) -> None:
        self.note_ended(session)
        self._tell_ended(session)

    async def _read_ended(self) -> None:
        # For as long as an access token of such a session may be alive, here or on an open connection.
        alive_s = self._settings.access_ttl_s + self._settings.grace_s + POLL_S
        for session in await self._sessions.revoked_since(alive_s):
            self.note_ended(session)
        horizon_s = self._clock() - alive_s
        self._ended = {session: at_s for session, at_s in self._ended.items() if at_s > horizon_s}

    async def _read_keys(self) -> None:
        await self._keys.reload()
        await self._keys.rotate()

    @staticmethod
    async def _repeat(pause_s: float, step: Callable[[], Coroutine[None, None, None]]) -> None:
        while True:
            await asyncio.sleep(pause_s)
            try:
                await step()
            except errors.Unavailable:
                logger.warning("the store does not answer; %s is tried again in %.0f s", step.__name__, pause_s)
