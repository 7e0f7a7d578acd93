"""The keys that sign access tokens: shared by all nodes, replaced without a moment in which a token is not understood."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realtime.store import queries

if TYPE_CHECKING:
    from realtime.store.pool import Database

_SQL = queries.load("auth", "signing_keys")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A symmetric key. `active`: it may sign. `age_s`: seconds since it may (negative: until then)."""

    kid: str
    secret: bytes
    active: bool
    age_s: float

    def __repr__(self) -> str:
        return f"SigningKey({self.kid})"  # never the secret


class SigningKeyStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def usable(self) -> list[SigningKey]:
        """Return every key that tokens may be signed with, oldest first."""
        return [_key(row) for row in await self._database.fetch(_SQL.usable)]

    async def ensure(self, kid: str, secret: bytes) -> None:
        """Add this key, to be used at once, if there is none at all. Any number of nodes may try."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL.lock)
            if not await connection.fetch(_SQL.usable):
                await connection.execute(_SQL.insert, kid, secret, 0.0)

    async def rotate(self, kid: str, secret: bytes, *, older_than_s: float, announce_s: float, token_ttl_s: float) -> bool:
        """Add this key if the newest one is old, and let the others go.

        Args:
            older_than_s: How long the newest key must have been in use.
            announce_s: After which time the new one signs; every node must have read it by then.
            token_ttl_s: How long a token lives.

        Returns:
            Whether the key was added; of many nodes that try, one adds.
        """
        async with self._database.transaction() as connection:
            await connection.execute(_SQL.lock)
            keys = [_key(row) for row in await connection.fetch(_SQL.usable)]
            if keys and keys[-1].age_s < older_than_s:
                return False
            await connection.execute(_SQL.insert, kid, secret, announce_s)
            await connection.execute(_SQL.retire, kid, announce_s + token_ttl_s)
            return True


def _key(row: Any) -> SigningKey:
    return SigningKey(row["kid"], bytes(row["secret"]), row["active"], row["age_s"])
