"""Sign-ins. Refresh tokens come here as SHA-256 hashes only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime.model import SessionId, User, UserId
from realtime.store import queries

if TYPE_CHECKING:
    from realtime.store.pool import Database

_SQL = queries.load("sessions")


class SessionStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(self, session: SessionId, user: UserId, refresh_hash: bytes, ttl_s: float) -> None:
        """Begin a session that ends by itself `ttl_s` after its last refresh."""
        await self._database.execute(_SQL.insert, session, user, refresh_hash, ttl_s)

    async def rotate(self, session: SessionId, presented: bytes, replacement: bytes, ttl_s: float) -> User | None:
        """Replace the refresh token, in one statement.

        Returns:
            Whose session it is; None when the session is over or `presented` is neither the current token nor the one
            before a current token that was never used.
        """
        row = await self._database.fetchrow(_SQL.rotate, session, presented, replacement, ttl_s)
        return None if row is None else User(UserId(str(row["id"])), row["username"], row["display_name"])

    async def revoke(self, session: SessionId, reason: str) -> bool:
        """End a session; False when it was over or never was."""
        return await self._database.fetchrow(_SQL.revoke, session, reason) is not None

    async def revoke_by_token(self, session: SessionId, presented: bytes, reason: str) -> bool:
        """End a session for somebody who shows its refresh token."""
        return await self._database.fetchrow(_SQL.revoke_by_token, session, presented, reason) is not None

    async def revoked_since(self, seconds: float) -> list[SessionId]:
        """Return the sessions that were ended during the last `seconds`."""
        return [SessionId(str(row["id"])) for row in await self._database.fetch(_SQL.revoked_since, seconds)]
