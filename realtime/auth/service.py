"""Accounts and sign-ins, for REST and the socket alike."""

from __future__ import annotations

import asyncio
import logging
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from realtime import errors, tasks
from realtime.auth import tokens
from realtime.auth.keys import RELOAD_S, KeyRing
from realtime.auth.tokens import Claims, RefreshToken
from realtime.limits import Buckets
from realtime.model import Principal, Session, SessionId, User, UserId, is_uuid
from realtime.store.users import Credentials

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.auth.ended import EndedSessions
    from realtime.auth.passwords import Passwords, Verified
    from realtime.store.accounts import AccountStore
    from realtime.store.sessions import SessionStore
    from realtime.store.users import UserStore

logger = logging.getLogger(__name__)

MAX_SESSIONS = 100
"""Sign-ins of one account that are open at once; the one not used for longest ends."""


class Clock(Protocol):
    """Unix seconds."""

    def __call__(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """Lives in seconds, rates per minute."""

    issuer: str = "realtime"
    audience: str = "realtime"
    access_ttl_s: int = 900
    refresh_ttl_s: float = 30 * 86400
    login_rate_per_min: int = 10
    register_rate_per_min: int = 30


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new pair of tokens. `expires_in` is the access token's life in seconds."""

    user: User
    is_admin: bool
    access_token: str
    refresh_token: str
    expires_in: int


class Accounts:
    """The service of accounts.

    Args:
        users, accounts, sessions: The stores.
        passwords: Checks them.
        keys: Sign access tokens.
        ended: Knows, and makes known, which sessions are over.
        settings: Bounds.
        new_id: Makes ids.
        clock: Unix seconds.
    """

    def __init__(
        self,
        users: UserStore,
        accounts: AccountStore,
        sessions: SessionStore,
        passwords: Passwords,
        keys: KeyRing,
        ended: EndedSessions,
        settings: Settings,
        new_id: Callable[[], str],
        clock: Clock,
    ) -> None:
        self._users = users
        self._accounts = accounts
        self._sessions = sessions
        self._passwords = passwords
        self._keys = keys
        self._ended = ended
        self._settings = settings
        self._claims = Claims(settings.issuer, settings.audience)
        self._new_id = new_id
        self._clock = clock
        self._logins = Buckets(settings.login_rate_per_min / 60, settings.login_rate_per_min)
        self._registrations = Buckets(settings.register_rate_per_min / 60, settings.register_rate_per_min)
        self._tasks: list[asyncio.Task[None]] = []

    # -- life -------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Read the keys and the ended sessions, and keep reading. Raises Unavailable."""
        await self._keys.open()
        await self._ended.open()
        self._tasks = [asyncio.create_task(self._keep_reading_keys())]

    async def close(self) -> None:
        await tasks.end(self._tasks)
        await self._ended.close()
        self._passwords.close()

    # -- sign-in ----------------------------------------------------------------------------------

    async def register(self, username: str, password: str, display_name: str | None, address: str, agent: str = "") -> SignedIn:
        """Make an account and sign in.

        Raises:
            UsernameTaken, RateLimited, Overloaded, Unavailable.
        """
        self._admit(self._registrations, address)
        if await self._users.is_taken(username):
            raise errors.UsernameTaken
        user = User(UserId(self._new_id()), username, display_name or username)
        password_hash = await self._passwords.hash(password)
        if not await self._users.insert(user, password_hash):
            raise errors.UsernameTaken
        return await self._sign_in(Credentials(user, password_hash), agent)

    async def login(
        self, username: str, password: str, address: str, agent: str = "", new_password: str | None = None
    ) -> SignedIn:
        """Sign in; every sign-in is a session of its own.

        Attempts count by address and account together, so that nobody can lock somebody else out. A disabled account is
        answered like a wrong password, after the same time: strangers learn nothing.

        Args:
            new_password: Set in place of the one shown; all other sessions end.

        Raises:
            InvalidCredentials, RateLimited, Overloaded, Unavailable.
            PasswordChangeRequired: the password works once, and there is no new one.
        """
        key = (address, username.lower())
        self._admit(self._logins, key)
        account = await self._users.credentials(username)
        verified = await self._passwords.verify(account.password_hash if account else None, password)
        assert account is not None  # verify() refuses everybody else
        self._logins.forget(key)
        if new_password is not None:
            changed = await self._accounts.change_password(account, await self._passwords.hash(new_password), None)
            if changed.version is None:
                raise errors.InvalidCredentials
            self._ended.end(changed.ended)
            account = replace(account, password_version=changed.version)
        elif account.is_one_time:
            raise errors.PasswordChangeRequired
        else:
            await self._rehash(account, verified)
        return await self._sign_in(account, agent)

    async def refresh(self, refresh_token: str, address: str) -> SignedIn:
        """Exchange a refresh token for a new pair. A token that was replaced before ends the session.

        Raises:
            RefreshTokenInvalid, Unavailable.
        """
        presented = RefreshToken.parse(refresh_token)
        replacement = RefreshToken(presented.session, os.urandom(tokens.SECRET_BYTES))
        owner = await self._sessions.rotate(presented.session, presented.hash, replacement.hash, self._settings.refresh_ttl_s)
        if owner is None:
            if await self._sessions.revoke(presented.session, "refresh token reused"):
                logger.warning("a refresh token was used again; its session is ended", extra={"session": presented.session})
                self._ended.end([presented.session])
            raise errors.RefreshTokenInvalid
        return self._issue(owner.user, owner.is_admin, replacement)

    async def logout(self, session: SessionId) -> None:
        """End a session: its tokens are worth nothing, its connections close on every node. Again is harmless."""
        await self._sessions.revoke(session, "logout")
        self._ended.end([session])

    async def logout_by_refresh_token(self, refresh_token: str) -> None:
        """End the session of a refresh token; one that is unknown is passed over."""
        try:
            presented = RefreshToken.parse(refresh_token)
        except errors.RefreshTokenInvalid:
            return
        if await self._sessions.revoke_by_token(presented.session, presented.hash, "logout"):
            self._ended.end([presented.session])

    # -- one's own account ------------------------------------------------------------------------

    async def is_admin(self, user: UserId) -> bool:
        """Tell whether somebody administrates the server, as the store has it now. Raises Unavailable."""
        return await self._users.is_admin(user)

    async def change_password(self, principal: Principal, current: str, new: str, address: str) -> SignedIn:
        """Set another password: this session goes on with new tokens, every other one ends.

        Raises:
            WrongPassword, SessionEnded, RateLimited, Overloaded, Unavailable.
        """
        user = principal.user
        key = (address, user.username.lower())  # guesses count as guesses at a sign-in
        self._admit(self._logins, key)
        account = await self._users.credentials_of(user.id)
        try:
            await self._passwords.verify(account.password_hash if account else None, current)
        except errors.InvalidCredentials as error:
            raise errors.WrongPassword from error
        assert account is not None  # verify() refuses everybody else
        self._logins.forget(key)
        token = RefreshToken(principal.session, os.urandom(tokens.SECRET_BYTES))
        keep = (token.session, token.hash, self._settings.refresh_ttl_s)
        changed = await self._accounts.change_password(account, await self._passwords.hash(new), keep)
        if changed.version is None:
            raise errors.WrongPassword
        self._ended.end(changed.ended)
        if not changed.kept:
            raise errors.SessionEnded
        return self._issue(account.user, account.is_admin, token)

    async def sessions(self, user: UserId) -> list[Session]:
        """Return a user's open sessions, the one used last first."""
        return await self._sessions.open_of(user, MAX_SESSIONS)

    async def end_session(self, user: UserId, session: str) -> None:
        """End one of one's own sessions.

        Raises:
            SessionNotFound: it is nobody's, somebody else's, or over.
        """
        found = SessionId(session)
        if not is_uuid(session) or not await self._sessions.revoke_of(user, found, "ended by its user"):
            raise errors.SessionNotFound
        self._ended.end([found])

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

    # -- inside -----------------------------------------------------------------------------------

    def _admit(self, buckets: Buckets, key: object) -> None:
        wait_s = buckets.take(key, self._clock())
        if wait_s > 0:
            raise errors.RateLimited("Too many attempts; wait before the next one.", retry_after_ms=int(wait_s * 1000) + 1)

    async def _rehash(self, account: Credentials, verified: Verified) -> None:
        if verified.new_hash is not None:
            await self._users.set_password_hash(account.user.id, account.password_hash, verified.new_hash)

    async def _sign_in(self, account: Credentials, agent: str) -> SignedIn:
        token = RefreshToken(SessionId(self._new_id()), os.urandom(tokens.SECRET_BYTES))
        ended = await self._sessions.insert(
            token.session, account, token.hash, self._settings.refresh_ttl_s, agent, MAX_SESSIONS - 1
        )
        if ended is None:
            raise errors.InvalidCredentials  # disabled, or the password changed, while this one was checked
        self._ended.end(ended)
        return self._issue(account.user, account.is_admin, token)

    def _issue(self, user: User, is_admin: bool, token: RefreshToken) -> SignedIn:
        kid, secret = self._keys.signing
        ttl_s = self._settings.access_ttl_s
        access = tokens.issue(self._claims, kid, secret, user, token.session, int(self._clock()), ttl_s)
        return SignedIn(user, is_admin, access, str(token), ttl_s)

    async def _keep_reading_keys(self) -> None:
        while True:
            await asyncio.sleep(RELOAD_S)
            try:
                await self._keys.reload()
                await self._keys.rotate()
            except errors.Unavailable:
                logger.warning("the store does not answer; the signing keys are read again in %.0f s", RELOAD_S)
