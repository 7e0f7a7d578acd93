"""Apply the numbered SQL files in `migrations/`, once each, in order, under an advisory lock.

A file is one transaction. What was applied is remembered with its checksum, so that a file changed afterwards is
noticed. Any number of nodes may start at once: one migrates, the rest wait for the lock and find nothing to do.
"""

from __future__ import annotations

import hashlib
from importlib import resources

import asyncpg

_LOCK = 0x7265616C74696D65 >> 1  # "realtime" as a 63-bit key
_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    name       text        PRIMARY KEY,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""


class MigrationError(Exception):
    """The schema is not one that these files can bring forward; the text says why."""


def files() -> list[tuple[str, str]]:
    """Return every migration as (file name, SQL), in the order in which they apply."""
    folder = resources.files("realtime.store") / "migrations"
    found = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(name, (folder / name).read_text("utf-8")) for name in found]


async def apply(dsn: str) -> list[str]:
    """Bring the schema up to date.

    Args:
        dsn: Of the owner role.

    Returns:
        The names of the files that were applied now.

    Raises:
        MigrationError: when an applied file has changed since, or PostgreSQL refuses or cannot be reached; the failing
            file is rolled back.
    """
    try:
        connection = await asyncpg.connect(dsn, timeout=10)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        raise MigrationError(f"PostgreSQL cannot be reached: {error or type(error).__name__}") from error
    try:
        return await _apply(connection)
    except (asyncpg.PostgresError, OSError) as error:
        raise MigrationError(f"PostgreSQL refused: {error}") from error
    finally:
        await connection.close()


async def _apply(connection: asyncpg.Connection[asyncpg.Record]) -> list[str]:
    await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        await connection.execute(_LEDGER)
    rows = await connection.fetch("SELECT name, checksum FROM schema_migrations")
    done: dict[str, str] = {row["name"]: row["checksum"] for row in rows}
    applied = []
    for name, sql in files():
        checksum = hashlib.sha256(sql.encode()).hexdigest()
        if name in done:
            if done[name] != checksum:
                raise MigrationError(f"{name} was applied with other contents: write a new migration instead of changing it")
            continue
        async with connection.transaction():
            await connection.execute(sql)
            await connection.execute("INSERT INTO schema_migrations (name, checksum) VALUES ($1, $2)", name, checksum)
        applied.append(name)
    return applied
