"""Accounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from realtime.model import Account, User, UserId
from realtime.store import queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from realtime.store.pool import Database

_SQL = queries.load("auth", "users")
_WILDCARDS = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})


@dataclass(frozen=True, slots=True)
class Credentials:
    """An open account with its password.

    Args:
        password_hash: PHC string.
        password_version: Counts changes of the password, not of its hash.
        is_one_time: The password works once: with it comes another.
    """

    user: User
    password_hash: str
    password_version: int = 1
    is_one_time: bool = False
    is_admin: bool = False


class UserStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, user: User, password_hash: str) -> bool:
        """Make an account; False when the username is taken (without regard to case)."""
        row = await self._database.fetchrow(
            _SQL.insert, user.id, user.username, username_key(user.username), user.display_name, password_hash
        )
        return row is not None

    async def is_taken(self, username: str) -> bool:
        """Tell whether somebody has this username."""
        row = await self._database.fetchrow(_SQL.is_taken, username_key(username))
        return row is not None and bool(row["taken"])

    async def credentials(self, username: str) -> Credentials | None:
        """Return the open account with this username, unless its password is a one-time one that is over."""
        return _credentials(await self._database.fetchrow(_SQL.credentials, username_key(username)))

    async def credentials_of(self, user: UserId) -> Credentials | None:
        """Return the same of a user."""
        return _credentials(await self._database.fetchrow(_SQL.credentials_of, user))

    async def set_password_hash(self, user: UserId, old: str, new: str) -> None:
        """Replace a password hash, unless it has changed since it was read."""
        await self._database.execute(_SQL.set_password_hash, user, old, new)

    async def find(self, ids: Sequence[UserId]) -> list[User]:
        """Return those of these users that exist."""
        return [_user(row) for row in await self._database.fetch(_SQL.find, ids)]

    async def search(self, prefix: str, limit: int) -> list[User]:
        """Return the first users whose username begins so, without regard to case."""
        pattern = username_key(prefix).translate(_WILDCARDS) + "%"
        return [_user(row) for row in await self._database.fetch(_SQL.search, pattern, limit)]

    async def is_admin(self, user: UserId) -> bool:
        """Tell whether this is an open account that administrates the server."""
        row = await self._database.fetchrow(_SQL.is_admin, user)
        return row is not None and bool(row["is_admin"])

    async def account(self, user: UserId) -> Account | None:
        """Return an account as administrators see it, open or disabled."""
        row = await self._database.fetchrow(_SQL.account, user)
        return None if row is None else _account(row)

    async def find_id(self, username: str) -> UserId | None:
        """Return whose username this is."""
        row = await self._database.fetchrow(_SQL.find_id, username_key(username))
        return None if row is None else UserId(str(row["id"]))

    async def accounts(self, prefix: str, after: str, limit: int) -> list[Account]:
        """Return accounts whose username begins so, behind the username `after`, both without regard to case."""
        pattern = username_key(prefix).translate(_WILDCARDS) + "%"
        return [_account(row) for row in await self._database.fetch(_SQL.accounts, pattern, username_key(after), limit)]

    async def admins(self) -> list[Account]:
        """Return everybody who administrates the server, and those who would if they were not disabled."""
        return [_account(row) for row in await self._database.fetch(_SQL.admins)]


def username_key(username: str) -> str:
    """Return what two spellings of one username have in common."""
    return username.lower()


def _user(row: asyncpg.Record) -> User:
    return User(UserId(str(row["id"])), row["username"], row["display_name"])


def _credentials(row: asyncpg.Record | None) -> Credentials | None:
    if row is None:
        return None
    return Credentials(_user(row), row["password_hash"], row["password_version"], row["is_one_time"], row["is_admin"])


def _account(row: asyncpg.Record) -> Account:
    return Account(_user(row), row["is_admin"], row["created_at"], row["disabled_at"], row["sessions"])
