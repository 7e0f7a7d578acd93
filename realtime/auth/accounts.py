"""Changes to accounts that are one transaction: an account's row is locked first, then its sessions are ended.

A sign-in locks the row too (`sessions.insert`). So no session begins with a password, or for an account, that a change
committed meanwhile has done away with.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, NamedTuple

from realtime.model import SessionId, UserId
from realtime.store import queries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Set

    from realtime.auth.users import Credentials
    from realtime.store.pool import Database

_SQL = queries.load("auth", "accounts")


class LockedAccount:
    """An account whose row is locked by an open transaction, with those of all administrators.

    Args:
        admins: Who administrates at this moment: the disabled are not among them.
    """

    def __init__(self, connection: Any, user: UserId, admins: Set[UserId]) -> None:
        self._connection = connection
        self._user = user
        self.admins = admins

    async def set_admin(self, is_admin: bool) -> None:
        await self._connection.execute(_SQL.set_admin, self._user, is_admin)

    async def disable(self) -> None:
        await self._connection.execute(_SQL.disable, self._user)

    async def enable(self) -> None:
        await self._connection.execute(_SQL.enable, self._user)

    async def set_one_time_password(self, password_hash: str, valid_s: float) -> bool:
        """Set a password that works once, for `valid_s`. False: the account is disabled."""
        row = await self._connection.fetchrow(_SQL.set_password, self._user, password_hash, None, valid_s)
        return row is not None

    async def end_sessions(self, reason: str) -> list[SessionId]:
        """End every session; return those that were open."""
        rows = await self._connection.fetch(_SQL.end_sessions, self._user, None, reason)
        return [SessionId(str(row["id"])) for row in rows]


class PasswordChange(NamedTuple):
    """What became of a change of password.

    Args:
        version: The new password's; None: nothing changed, since the account or its password was another by then.
        kept: Whether the session that was to stay is still open.
        ended: The others.
    """

    version: int | None
    kept: bool
    ended: list[SessionId]


class AccountStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    @contextlib.asynccontextmanager
    async def locked(self, user: UserId) -> AsyncIterator[LockedAccount | None]:
        """Lock an account and all administrators; None when there is no such account. An exception rolls back."""
        async with self._database.transaction() as connection:
            rows = await connection.fetch(_SQL.lock, user)
            found = {UserId(str(row["id"])): row["administrates"] for row in rows}
            admins = {one for one, administrates in found.items() if administrates}
            yield LockedAccount(connection, user, admins) if user in found else None

    async def change_password(
        self, account: Credentials, password_hash: str, keep: tuple[SessionId, bytes, bytes, float] | None
    ) -> PasswordChange:
        """Set a password and end the account's sessions but one.

        Args:
            account: As the password before was verified.
            keep: The session that stays, the hash of its new refresh token, its new family, and how long it works, in seconds.
        """
        user = account.user.id
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(_SQL.set_password, user, password_hash, account.password_version, None)
            if row is None:
                return PasswordChange(None, False, [])
            ended = await connection.fetch(_SQL.end_sessions, user, keep and keep[0], "password changed")
            kept = keep is not None and await connection.fetchrow(_SQL.rekey, user, *keep) is not None
            return PasswordChange(row["password_version"], kept, [SessionId(str(one["id"])) for one in ended])
