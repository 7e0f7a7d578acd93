"""Sign-ins. Refresh tokens come here as SHA-256 hashes only."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from realtime.model import Session, SessionId, User, UserId
from realtime.store import queries

if TYPE_CHECKING:
    from realtime.store.pool import Database
    from realtime.store.users import Credentials

_SQL = queries.load("sessions")


class Owner(NamedTuple):
    """Whose session it is."""

    user: User
    is_admin: bool


class SessionStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(
        self, session: SessionId, account: Credentials, refresh_hash: bytes, ttl_s: float, agent: str, others: int
    ) -> list[SessionId] | None:
        """Begin a session that ends by itself `ttl_s` after its last refresh.

        Args:
            account: As its password was verified.
            agent: What signed in.
            others: How many other sessions of the account stay; older ones end.

        Returns:
            The sessions that ended; None when the account was disabled or its password changed meanwhile.
        """
        rows = await self._database.fetch(
            _SQL.insert, session, account.user.id, account.password_version, refresh_hash, ttl_s, agent, others
        )
        if not rows:
            return None
        return [SessionId(str(row["id"])) for row in rows if not row["made"]]

    async def rotate(self, session: SessionId, presented: bytes, replacement: bytes, ttl_s: float) -> Owner | None:
        """Replace the refresh token, in one statement.

        Returns:
            Whose session it is; None when the session is over or `presented` is neither the current token nor the one
            before a current token that was never used.
        """
        row = await self._database.fetchrow(_SQL.rotate, session, presented, replacement, ttl_s)
        if row is None:
            return None
        return Owner(User(UserId(str(row["id"])), row["username"], row["display_name"]), row["is_admin"])

    async def revoke(self, session: SessionId, reason: str) -> bool:
        """End a session; False when it was over or never was."""
        return await self._database.fetchrow(_SQL.revoke, session, reason) is not None

    async def revoke_of(self, user: UserId, session: SessionId, reason: str) -> bool:
        """End a session if it is this user's; False when it is not, was over, or never was."""
        return await self._database.fetchrow(_SQL.revoke_of, session, user, reason) is not None

    async def open_of(self, user: UserId, limit: int) -> list[Session]:
        """Return a user's open sessions, the one used last first."""
        return [
            Session(SessionId(str(row["id"])), row["created_at"], row["refreshed_at"], row["agent"])
            for row in await self._database.fetch(_SQL.open_of, user, limit)
        ]

    async def revoke_by_token(self, session: SessionId, presented: bytes, reason: str) -> bool:
        """End a session for somebody who shows its refresh token."""
        return await self._database.fetchrow(_SQL.revoke_by_token, session, presented, reason) is not None

    async def revoked_since(self, seconds: float) -> list[SessionId]:
        """Return the sessions that were ended during the last `seconds`."""
        return [SessionId(str(row["id"])) for row in await self._database.fetch(_SQL.revoked_since, seconds)]
