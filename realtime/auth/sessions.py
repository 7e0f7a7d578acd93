"""Sign-ins. Refresh tokens come here as SHA-256 hashes only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from realtime.model import Session, SessionId, User, UserId
from realtime.store import queries

if TYPE_CHECKING:
    from realtime.auth.users import Credentials
    from realtime.store.pool import Database

_SQL = queries.load("auth", "sessions")


@dataclass(frozen=True, slots=True)
class Rotation:
    """What is stored of an open session's refresh tokens, and whose it is.

    Args:
        previous_hash: Of the token before the current one.
        family: Key of the tags in its tokens; None: a node of the version before began it, and it was not refreshed since.
        successor: The current token, as `rotation.seal` hid it.
        age_s: How long ago the current token was made.
    """

    refresh_hash: bytes
    previous_hash: bytes | None
    family: bytes | None
    successor: bytes | None
    age_s: float
    user: User
    is_admin: bool


class SessionStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def insert(
        self, session: SessionId, account: Credentials, refresh_hash: bytes, family: bytes, ttl_s: float, agent: str, others: int
    ) -> list[SessionId] | None:
        """Begin a session that ends by itself `ttl_s` after its last refresh.

        Args:
            account: As its password was verified.
            family: Key of the tags in its refresh tokens.
            agent: What signed in.
            others: How many other sessions of the account stay; older ones end.

        Returns:
            The sessions that ended; None when the account was disabled or its password changed meanwhile.
        """
        rows = await self._database.fetch(
            _SQL.insert, session, account.user.id, account.password_version, refresh_hash, ttl_s, agent, others, family
        )
        if not rows:
            return None
        return [SessionId(str(row["id"])) for row in rows if not row["made"]]

    async def rotation(self, session: SessionId) -> Rotation | None:
        """Return what is stored of a session's refresh tokens; None when it is over or its account disabled."""
        row = await self._database.fetchrow(_SQL.rotation, session)
        if row is None:
            return None
        user = User(UserId(str(row["id"])), row["username"], row["display_name"])
        return Rotation(
            row["refresh_hash"], row["previous_hash"], row["family"], row["successor"], row["age_s"], user, row["is_admin"]
        )

    async def rotate(
        self,
        session: SessionId,
        seen: Rotation,
        presented: bytes,
        replacement: bytes,
        family: bytes,
        successor: bytes,
        ttl_s: float,
    ) -> bool:
        """Replace the refresh token; False when another refresh, a change of the password or the end came first."""
        row = await self._database.fetchrow(
            _SQL.rotate, session, seen.refresh_hash, presented, replacement, family, successor, ttl_s
        )
        return row is not None

    async def revoke_family(self, session: SessionId, family: bytes, reason: str) -> bool:
        """End a session, unless it is over or its family is another one by now."""
        return await self._database.fetchrow(_SQL.revoke_family, session, family, reason) is not None

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
