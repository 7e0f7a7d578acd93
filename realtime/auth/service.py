"""Accounts and sign-ins, for REST and the socket alike."""

from __future__ import annotations

import contextlib
import logging
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from realtime import errors
from realtime.address import address_key
from realtime.auth import rotation
from realtime.auth.attempts import Budget, Charge
from realtime.auth.rotation import Meaning
from realtime.auth.tokens import RefreshToken
from realtime.auth.users import Credentials
from realtime.limits import Buckets, retry_ms
from realtime.model import Principal, Session, SessionId, User, UserId, is_uuid

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from realtime.auth.accounts import AccountStore
    from realtime.auth.ended import EndedSessions
    from realtime.auth.passwords import Passwords, Verified
    from realtime.auth.sessions import SessionStore
    from realtime.auth.throttle import Throttle
    from realtime.auth.tokens import AccessTokens
    from realtime.auth.users import UserStore
    from realtime.runtime import Runtime

logger = logging.getLogger(__name__)

MAX_SESSIONS = 100
"""Sign-ins of one account that are open at once; the one not used for longest ends."""
_RACES = 4
"""Times that a refresh looks again when another came first: after the first one it finds its successor."""
_HOUR_S = 3600.0
_MINUTES_AN_HOUR = 10
"""Who goes on failing has ten minutes' worth of an address's budget an hour."""
_REFRESHES_PER_S, _REFRESHES = 1.0, 60
"""Of a session from one address, and at once: a client needs one each quarter of an hour. As many wrong ones of an address.
On each node by itself: a secret of 160 random bits is not guessed, and this bounds the work alone."""


class Clock(Protocol):
    """Unix seconds."""

    def __call__(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """Lives in seconds, rates per minute."""

    refresh_ttl_s: float = 30 * 86400
    login_rate_per_min: int = 10
    address_login_rate_per_min: int = 30
    register_rate_per_min: int = 30


@dataclass(frozen=True, slots=True)
class SignedIn:
    """A new pair of tokens. `expires_in` is the access token's life in seconds."""

    user: User
    is_admin: bool
    access_token: str
    refresh_token: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class Stores:
    """Where accounts are."""

    users: UserStore
    accounts: AccountStore
    sessions: SessionStore


class Accounts:
    """The service of accounts.

    Args:
        stores: Of users, accounts and sessions.
        passwords: Checks them.
        tokens: Issue access tokens.
        ended: Knows, and makes known, which sessions are over.
        throttle: Counts attempts, over all nodes.
        settings: Bounds.
        runtime: Makes ids, and tells the time.
    """

    def __init__(
        self,
        stores: Stores,
        passwords: Passwords,
        tokens: AccessTokens,
        ended: EndedSessions,
        throttle: Throttle,
        settings: Settings,
        runtime: Runtime,
    ) -> None:
        self._users = stores.users
        self._accounts = stores.accounts
        self._sessions = stores.sessions
        self._passwords = passwords
        self._tokens = tokens
        self._ended = ended
        self._settings = settings
        self._new_id = runtime.new_id
        self._clock = runtime.wall
        self._throttle = throttle
        each, address = settings.login_rate_per_min, settings.address_login_rate_per_min
        self._guesses = Budget("sign-in", each, _HOUR_S, 60 / each)
        self._changes = Budget("password", each, _HOUR_S, 60 / each)
        self._of_address = (
            Budget("address", address, 60.0, strangers=True),
            Budget("address.hour", address * _MINUTES_AN_HOUR, _HOUR_S, strangers=True),
        )
        self._registrations = Budget("register", settings.register_rate_per_min, 60.0)
        self._refreshes = Buckets(_REFRESHES_PER_S, _REFRESHES)
        self._wrong_refreshes = Buckets(_REFRESHES_PER_S, _REFRESHES)

    # -- life -------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Read the ended sessions, and keep reading. Raises Unavailable."""
        await self._ended.open()

    async def close(self) -> None:
        await self._ended.close()
        await self._throttle.close()
        self._passwords.close()

    # -- sign-in ----------------------------------------------------------------------------------

    async def register(self, username: str, password: str, display_name: str | None, address: str, agent: str = "") -> SignedIn:
        """Make an account and sign in.

        Raises:
            UsernameTaken, PasswordTooWeak, RateLimited, Overloaded, Unavailable.
        """
        who = address_key(address)
        user = User(UserId(self._new_id()), username, display_name or username)
        async with self._attempt([Charge(self._registrations, who)]):
            # The name is looked for after the hash, so that the time does not tell more than the answer does.
            password_hash = await self._passwords.choose(password, who, about=(username, user.display_name))
            if not await self._users.insert(user, password_hash):
                raise errors.UsernameTaken
        return await self._sign_in(Credentials(user, password_hash), agent)

    async def login(
        self, username: str, password: str, address: str, agent: str = "", new_password: str | None = None
    ) -> SignedIn:
        """Sign in; every sign-in is a session of its own.

        Attempts count by address and account together, so that nobody can lock somebody else out, and besides by address over
        all accounts that are not known there. A disabled account is answered like a wrong password, after the same time:
        strangers learn nothing.

        Args:
            new_password: Set in place of the one shown; all other sessions end.

        Raises:
            InvalidCredentials, PasswordTooWeak, RateLimited, Overloaded, Unavailable.
            PasswordChangeRequired: the password works once, and there is no new one.
        """
        who = address_key(address)
        pair = f"{who} {username.lower()}"
        own, shared = [Charge(self._guesses, pair)], [Charge(budget, who) for budget in self._of_address]
        async with self._attempt([*own, *shared], known=pair):
            account = await self._users.credentials(username)
            verified = await self._passwords.verify(account.password_hash if account else None, password, who)
            assert account is not None  # verify() refuses everybody else
        await self._throttle.succeeded(own, shared, pair)
        if new_password is not None:
            new_hash = await self._passwords.choose(
                new_password, who, about=_names(account.user), one_time=password if account.is_one_time else None
            )
            changed = await self._accounts.change_password(account, new_hash, None)
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
        """Exchange a refresh token for a new pair.

        Of two at the same moment both get the same one. A token that was replaced before that ends the session; one that never
        was valid ends nothing.

        Raises:
            RefreshTokenInvalid, RateLimited, Overloaded, Unavailable.
        """
        presented = RefreshToken.parse(refresh_token)
        session, who = presented.session, address_key(address)
        wait_s = self._refreshes.take((session, who), self._clock())
        if wait_s > 0:
            raise _limited(wait_s)
        for _ in range(_RACES):
            stored = await self._sessions.rotation(session)
            judged = rotation.judge(stored, presented)
            if stored is None or judged.meaning is Meaning.UNKNOWN:
                break
            if judged.meaning is Meaning.REUSED:
                assert stored.family is not None  # judge() knows a reused token by it
                if not await self._sessions.revoke_family(session, stored.family, "refresh token reused"):
                    continue
                logger.warning("a refresh token was used again; its session is ended", extra={"session": session})
                self._ended.end([session])
                break
            if judged.successor is not None:
                return self._issue(stored.user, stored.is_admin, judged.successor)
            family = stored.family or os.urandom(rotation.FAMILY_BYTES)
            token = rotation.make(session, family, os.urandom(rotation.RANDOM_BYTES))
            sealed = rotation.seal(token, presented)
            ttl_s = self._settings.refresh_ttl_s
            if await self._sessions.rotate(session, stored, presented.hash, token.hash, family, sealed, ttl_s):
                return self._issue(stored.user, stored.is_admin, token)
        else:
            raise errors.Overloaded
        wait_s = self._wrong_refreshes.take(who, self._clock())
        if wait_s > 0:  # wrong ones alone: nobody behind the same address is kept from refreshing
            raise _limited(wait_s)
        raise errors.RefreshTokenInvalid

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
            WrongPassword, PasswordTooWeak, SessionEnded, RateLimited, Overloaded, Unavailable.
        """
        user, who = principal.user, address_key(address)
        assert user is not None  # a sign-in has one
        # By session, wherever it asks from: a stranger has no session of this account to use its attempts up with.
        own, shared = [Charge(self._changes, principal.session)], [Charge(budget, who) for budget in self._of_address]
        async with self._attempt([*own, *shared], known=f"{who} {user.username.lower()}"):
            account = await self._users.credentials_of(user.id)
            try:
                await self._passwords.verify(account.password_hash if account else None, current, who)
            except errors.InvalidCredentials as error:
                raise errors.WrongPassword from error
            assert account is not None  # verify() refuses everybody else
        await self._throttle.succeeded(own, shared)
        new_hash = await self._passwords.choose(
            new, who, about=_names(account.user), one_time=current if account.is_one_time else None
        )
        token, family = _first_token(principal.session)
        keep = (token.session, token.hash, family, self._settings.refresh_ttl_s)
        changed = await self._accounts.change_password(account, new_hash, keep)
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

    # -- inside -----------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _attempt(self, charges: Sequence[Charge], known: str = "") -> AsyncIterator[None]:
        """Count an attempt, unless the server could not judge it. Raises RateLimited."""
        wait_s = await self._throttle.take(charges, known)
        if wait_s > 0:
            raise _limited(wait_s)
        try:
            yield
        except (errors.Overloaded, errors.Unavailable):
            await self._throttle.give_back(charges)
            raise

    async def _rehash(self, account: Credentials, verified: Verified) -> None:
        if verified.new_hash is not None:
            await self._users.set_password_hash(account.user.id, account.password_hash, verified.new_hash)

    async def _sign_in(self, account: Credentials, agent: str) -> SignedIn:
        token, family = _first_token(SessionId(self._new_id()))
        ended = await self._sessions.insert(
            token.session, account, token.hash, family, self._settings.refresh_ttl_s, agent, MAX_SESSIONS - 1
        )
        if ended is None:
            raise errors.InvalidCredentials  # disabled, or the password changed, while this one was checked
        self._ended.end(ended)
        return self._issue(account.user, account.is_admin, token)

    def _issue(self, user: User, is_admin: bool, token: RefreshToken) -> SignedIn:
        access = self._tokens.issue(user, token.session, self._clock())
        return SignedIn(user, is_admin, access, str(token), self._tokens.ttl_s)


def _first_token(session: SessionId) -> tuple[RefreshToken, bytes]:
    """Make the first refresh token of a family, and the family."""
    family = os.urandom(rotation.FAMILY_BYTES)
    return rotation.make(session, family, os.urandom(rotation.RANDOM_BYTES)), family


def _names(user: User) -> tuple[str, str]:
    return user.username, user.display_name


def _limited(wait_s: float) -> errors.RateLimited:
    return errors.RateLimited("Too many attempts; wait before the next one.", retry_after_ms=retry_ms(wait_s))
