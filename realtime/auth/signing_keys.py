"""The keys that sign access tokens: shared by all nodes, replaced without a moment in which a token is not understood.

In the database they are wrapped (`store.wrapping`), where there is a master key. Nodes of the version before know the plain form
alone: as long as a key in plain is there, each new key is stored in both forms; once `forget_plain` was called, in the wrapped
form only, and a key in plain counts no more.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realtime.store import queries
from realtime.store.rewrapping import WrappedColumn
from realtime.store.wrapping import unknown, wrapped_under

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.store.connections import Connection
    from realtime.store.pool import Database
    from realtime.store.wrapping import MasterKeys

logger = logging.getLogger(__name__)

_SQL = queries.load("auth", "signing_keys")
WRAPPED = WrappedColumn("signing_keys", "wrapped", _SQL.wrapped, _SQL.rewrap)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A symmetric key. `active`: it may sign. `age_s`: seconds since it may (negative: until then)."""

    kid: str
    secret: bytes
    active: bool
    age_s: float

    def __repr__(self) -> str:
        return f"SigningKey({self.kid})"  # never the secret


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A signing key as the operator sees it.

    Args:
        master_key: The id of the master key that it is wrapped under; empty: none.
        is_plain: Whether it is stored in plain, too or alone.
        retires_in_s: When it counts no more; None: that is not decided.
    """

    kid: str
    age_s: float
    retires_in_s: float | None
    master_key: str
    is_plain: bool


class SigningKeyStore:
    """The store of signing keys.

    Args:
        master_keys: What they are wrapped under; None: they stay in plain.
        alone: No node of another release can use this database: nothing is kept in plain for one.
    """

    def __init__(self, database: Database, master_keys: MasterKeys | None = None, *, alone: bool = False) -> None:
        self._database = database
        self._master_keys = master_keys
        self._alone = alone
        self._warned = False

    async def usable(self) -> list[SigningKey]:
        """Return every key that tokens may be signed with, oldest first.

        Raises:
            Unreadable: one of them cannot be unwrapped.
            Unavailable.
        """
        return self._read(await self._database.fetch(_SQL.usable))

    async def stored(self) -> list[StoredKey]:
        """Return how the usable keys are stored, oldest first; none of them is unwrapped."""
        return [
            StoredKey(
                row["kid"], row["age_s"], row["retires_in_s"], wrapped_under(row["wrapped"] or ""), row["secret"] is not None
            )
            for row in await self._database.fetch(_SQL.usable)
        ]

    async def ensure(self, kid: str, secret: bytes) -> None:
        """Add this key, to be used at once, if there is none at all; wrap those that are not. Any number of nodes may try."""
        async with self._database.transaction() as connection:
            if not (rows := await self._locked(connection)):
                await self._insert(connection, rows, kid, secret, 0.0)

    async def rotate(self, kid: str, secret: bytes, *, older_than_s: float, announce_s: float, token_ttl_s: float) -> bool:
        """Add this key if the newest one is old, and let the others go; wrap those that are not.

        Args:
            older_than_s: How long the newest key must have been in use.
            announce_s: After which time the new one signs; every node must have read it by then.
            token_ttl_s: How long a token lives.

        Returns:
            Whether the key was added; of many nodes that try, one adds.
        """
        async with self._database.transaction() as connection:
            rows = await self._locked(connection)
            if rows and rows[-1]["age_s"] < older_than_s:
                return False
            await self._insert(connection, rows, kid, secret, announce_s)
            await connection.execute(_SQL.retire, kid, announce_s + token_ttl_s)
            return True

    async def reset(self, kid: str, secret: bytes) -> None:
        """Let all keys go at once, readable or not, and add this one, to be used at once. Clients refresh their tokens."""
        async with self._database.transaction() as connection:
            await connection.execute(_SQL.lock)
            rows = await connection.fetch(_SQL.usable)
            await connection.execute(_SQL.retire_all)
            await self._insert(connection, rows, kid, secret, 0.0)

    async def forget_plain(self) -> int:
        """Remove the secrets in plain of all keys, which are wrapped, unless nodes of the version before need them.

        Returns:
            How many connections such nodes have; 0: it is done.

        Raises:
            Unreadable: a key cannot be unwrapped; its plain form stays.
        """
        async with self._database.transaction() as connection:
            rows = await self._locked(connection)
            older: int = await connection.fetchval(_SQL.older_nodes)
            if not older:
                await self._forget(connection, rows)
            return older

    # -- inside -----------------------------------------------------------------------------------

    async def _locked(self, connection: Connection) -> list[Any]:
        """Be the only node that changes keys, until the transaction ends, and return the usable ones, all wrapped."""
        await connection.execute(_SQL.lock)
        rows = await connection.fetch(_SQL.usable)
        if self._master_keys is None or all(row["secret"] is None for row in rows):
            return rows
        if _are_hidden(rows):
            self._warn("a signing key in plain is ignored: no node of this database made it")
            return rows
        for row in rows:
            if row["wrapped"] is None:
                wrapped = self._master_keys.wrap(bytes(row["secret"]), WRAPPED.place(row["kid"]))
                await connection.execute(_SQL.wrap, row["kid"], wrapped)
        rows = await connection.fetch(_SQL.usable)
        if self._alone:
            await self._forget(connection, rows)
        else:
            self._warn(
                "signing keys are kept in plain too, for nodes of the version before: when none is left, `roomwire keys rotate` "
                "removes that"
            )
        return rows

    def _warn(self, said: str) -> None:
        if not self._warned:
            self._warned = True
            logger.warning("%s", said)

    async def _forget(self, connection: Connection, rows: Sequence[Any]) -> None:
        self._read(rows)  # raises before anything is lost
        await connection.execute(_SQL.forget_plain)

    async def _insert(self, connection: Connection, rows: Sequence[Any], kid: str, secret: bytes, announce_s: float) -> None:
        plain: bytes | None = secret
        wrapped = None
        if self._master_keys is not None:
            wrapped = self._master_keys.wrap(secret, WRAPPED.place(kid))
            if self._alone or not rows or _are_hidden(rows):
                plain = None
        await connection.execute(_SQL.insert, kid, plain, wrapped, announce_s)

    def _read(self, rows: Sequence[Any]) -> list[SigningKey]:
        hidden = _are_hidden(rows)
        return [self._key(row) for row in rows if not hidden or row["wrapped"] is not None]

    def _key(self, row: Any) -> SigningKey:
        place = WRAPPED.place(row["kid"])
        if self._master_keys is not None and row["wrapped"] is not None:
            secret = self._master_keys.unwrap(row["wrapped"], place)
        elif row["secret"] is not None:
            secret = bytes(row["secret"])
        else:
            raise unknown(wrapped_under(row["wrapped"]), place)
        return SigningKey(row["kid"], secret, row["active"], row["age_s"])


def _are_hidden(rows: Sequence[Any]) -> bool:
    """Whether secrets are kept in the wrapped form alone: what is in plain beside them was put there by no node."""
    return any(row["secret"] is None for row in rows)
