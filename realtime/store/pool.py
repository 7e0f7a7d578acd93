"""Connections to PostgreSQL: bounded, with timeouts, and every failure told as one of our errors."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import asyncpg

from realtime.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

# What means "storage does not answer, or not in time": connection trouble, shutdown, resources, lock and statement
# timeouts. Constraint violations and programming errors are not among them.
_UNAVAILABLE = (
    OSError,
    asyncio.TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.ReadOnlySQLTransactionError,
)


class Database:
    """A pool of connections of the application role.

    Args:
        dsn: Where, and as whom.
        size: Connections at most.
        statement_timeout_ms: What one statement may take in the server.
        lock_timeout_ms: What it may wait for a lock.
    """

    def __init__(self, dsn: str, *, size: int = 10, statement_timeout_ms: int = 4_000, lock_timeout_ms: int = 2_000) -> None:
        self._dsn = dsn
        self._size = size
        self._timeout_s = statement_timeout_ms / 1000 + 0.5
        self._settings = {
            "application_name": "realtime",
            "statement_timeout": str(statement_timeout_ms),
            "lock_timeout": str(lock_timeout_ms),
            "idle_in_transaction_session_timeout": "10000",
            "jit": "off",
            # Every query of ours is an index look-up. On a new database plans are made over empty tables, where a scan looks
            # cheap, and prepared statements keep them until statistics come: up to a minute later.
            "enable_seqscan": "off",
        }
        self._pool: asyncpg.Pool[asyncpg.Record] | None = None

    async def open(self) -> None:
        """Connect.

        Raises:
            Unavailable: when PostgreSQL cannot be reached.
        """
        with _translated():
            self._pool = await asyncpg.create_pool(
                self._dsn,
                min_size=min(2, self._size),
                max_size=self._size,
                timeout=5,
                command_timeout=self._timeout_s,
                max_inactive_connection_lifetime=300,
                server_settings=self._settings,
            )

    async def close(self) -> None:
        """Give running statements a moment, then close every connection."""
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        try:
            await asyncio.wait_for(pool.close(), 5)
        except TimeoutError:
            pool.terminate()

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        if self._pool is None:
            raise Unavailable("The store is closed.")
        with _translated():
            async with self._pool.acquire(timeout=self._timeout_s) as connection:
                yield connection

    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        """Run one statement and return its rows.

        Raises:
            Unavailable: when PostgreSQL did not answer in time; whether it was carried out is then not known.
        """
        async with self._connection() as connection:
            rows: list[asyncpg.Record] = await connection.fetch(query, *args)
            return rows

    async def fetchrow(self, query: str, *args: object) -> asyncpg.Record | None:
        """Run one statement and return its first row, or None. Raises as `fetch`."""
        async with self._connection() as connection:
            row: asyncpg.Record | None = await connection.fetchrow(query, *args)
            return row

    async def execute(self, query: str, *args: object) -> None:
        """Run one statement for its effect. Raises as `fetch`."""
        async with self._connection() as connection:
            await connection.execute(query, *args)

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
        """Run a block in one transaction; any exception rolls it back. Raises as `fetch`."""
        async with self._connection() as connection, connection.transaction():
            yield connection


@contextlib.contextmanager
def _translated() -> Any:
    try:
        yield
    except _UNAVAILABLE as error:
        raise Unavailable from error
