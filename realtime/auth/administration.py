"""What administrators of the server do with accounts. Being one is read from the store each time, never from a token."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from realtime import errors
from realtime.auth import policy
from realtime.model import UserId, is_uuid

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from realtime.auth.accounts import AccountStore, LockedAccount
    from realtime.auth.passwords import Passwords
    from realtime.auth.users import UserStore
    from realtime.model import Account, SessionId

ONE_TIME_S = 86_400
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"  # without what people confuse
_GROUPS, _IN_GROUP = 4, 5  # 20 characters of 31: 99 bits


@dataclass(frozen=True, slots=True)
class OneTimePassword:
    """Works for one sign-in, which sets another. `expires_in`: seconds."""

    password: str
    expires_in: int

    def __repr__(self) -> str:
        return "OneTimePassword()"  # never the password


class Administration:
    """The service of accounts for those who look after the server.

    `actor` is who asks; None stands for the operator on the machine, who may do everything.

    Args:
        users, accounts: The stores.
        passwords: Hashes.
        end: Makes known that sessions were ended.
    """

    def __init__(
        self, users: UserStore, accounts: AccountStore, passwords: Passwords, end: Callable[[Sequence[SessionId]], None]
    ) -> None:
        self._users = users
        self._accounts = accounts
        self._passwords = passwords
        self._end = end

    async def require(self, user: UserId) -> None:
        """Return if they administrate the server. Raises AdminOnly, Unavailable."""
        policy.administrate(await self._users.is_admin(user))

    async def list_accounts(
        self, scope: Literal["all", "admins"], prefix: str, after: str, limit: int
    ) -> tuple[list[Account], bool]:
        """List accounts by username, behind `after`. Returns at most `limit`, and whether there are more."""
        if scope == "admins":
            found = [one for one in await self._users.admins() if one.user.username.lower() > after.lower()]
            found = [one for one in found if one.user.username.lower().startswith(prefix.lower())]
        else:
            found = await self._users.accounts(prefix, after, limit + 1)
        return found[:limit], len(found) > limit

    async def account(self, user: str) -> Account:
        """Return one account. Raises UserNotFound."""
        found = await self._users.account(_user_id(user))
        if found is None:
            raise errors.UserNotFound
        return found

    async def find(self, username: str) -> UserId:
        """Return whose username this is. Raises UserNotFound."""
        found = await self._users.find_id(username)
        if found is None:
            raise errors.UserNotFound
        return found

    async def change(
        self, actor: UserId | None, user: str, *, admin: bool | None = None, disabled: bool | None = None
    ) -> Account:
        """Let somebody administrate or not, disable or enable them. Disabling ends all their sessions, everywhere.

        Raises:
            AdminOnly, UserNotFound.
            LastAdmin: nobody would be left who administrates.
        """
        whom = _user_id(user)
        ended: list[SessionId] = []
        async with self._accounts.locked(whom) as found:
            locked = self._permitted(actor, found)
            if (admin is False or disabled is True) and actor is not None:
                policy.step_down(locked.admins, whom)
            if admin is not None:
                await locked.set_admin(admin)
            if disabled is True:
                await locked.disable()
                ended = await locked.end_sessions("disabled")
            elif disabled is False:
                await locked.enable()
        self._end(ended)
        return await self.account(whom)

    async def end_sessions(self, actor: UserId | None, user: str) -> None:
        """Sign somebody out, everywhere. Raises AdminOnly, UserNotFound."""
        async with self._accounts.locked(_user_id(user)) as found:
            ended = await self._permitted(actor, found).end_sessions("ended by an administrator")
        self._end(ended)

    async def reset_password(self, actor: UserId | None, user: str) -> OneTimePassword:
        """Give somebody a password that works once, and sign them out everywhere.

        Raises:
            AdminOnly, UserNotFound, Overloaded.
            AccountDisabled: a password would not help.
        """
        whom = _user_id(user)
        password = "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_IN_GROUP)) for _ in range(_GROUPS))
        password_hash = await self._passwords.hash(password, actor or "operator")
        async with self._accounts.locked(whom) as found:
            locked = self._permitted(actor, found)
            if not await locked.set_one_time_password(password_hash, ONE_TIME_S):
                raise errors.AccountDisabled
            ended = await locked.end_sessions("password reset")
        self._end(ended)
        return OneTimePassword(password, ONE_TIME_S)

    @staticmethod
    def _permitted(actor: UserId | None, found: LockedAccount | None) -> LockedAccount:
        """Judge by what is locked: a demotion that committed meanwhile counts."""
        if found is None:
            raise errors.UserNotFound
        if actor is not None:
            policy.administrate(actor in found.admins)
        return found


def _user_id(user: str) -> UserId:
    if not is_uuid(user):
        raise errors.UserNotFound
    return UserId(user)
