"""Accounts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from realtime.model import User, UserId
from realtime.store import queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from realtime.store.pool import Database

_SQL = queries.load("users")
_WILDCARDS = str.maketrans({"\\": "\\\\", "%": "\\%", "_": "\\_"})


@dataclass(frozen=True, slots=True)
class Credentials:
    """An account with its password hash (PHC string)."""

    user: User
    password_hash: str


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
        """Return the open account with this username."""
        row = await self._database.fetchrow(_SQL.credentials, username_key(username))
        return None if row is None else Credentials(_user(row), row["password_hash"])

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


def username_key(username: str) -> str:
    """Return what two spellings of one username have in common."""
    return username.lower()


def _user(row: asyncpg.Record) -> User:
    return User(UserId(str(row["id"])), row["username"], row["display_name"])
