"""Apply the numbered SQL files in `migrations/`, once each, in order, under an advisory lock.

What was applied is remembered with its checksum, so that a file changed afterwards is noticed. Any number of nodes may start
at once: one migrates, the rest wait for the lock and find nothing to do.

A file is one transaction, or several that lines beginning with `-- step` divide; a step that builds an index CONCURRENTLY is
none. A file of several steps that failed begins anew, so its steps must bear to be repeated (IF NOT EXISTS).

A statement that waits for a strong lock holds up everybody who asks for the table behind it. So it waits half a second, and
the step is rolled back and tried again: a dump that runs for an hour holds up the migration, and nobody else.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import re
from importlib import resources
from typing import TYPE_CHECKING

import asyncpg

from realtime.errors import Unavailable
from realtime.store import epoch, indexes, names
from realtime.store.connecting import Connector, check
from realtime.store.sqlstate import Meaning, meaning
from realtime.store.starting import CannotStart, reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from realtime.store.connections import Connection

logger = logging.getLogger(__name__)

LOCK_S = 0.5
"""How long a statement waits for a lock."""
PATIENCE_S = 600.0
"""How long a step is tried again for the sake of a lock."""
_PAUSE_S = (0.5, 5.0)
_SAY_S = 10.0
_CONNECT_S = 10.0
_CLOSE_S = 2.0
_LOCK = 0x7265616C74696D65 >> 1  # "realtime" as a 63-bit key
_LEDGER = """
CREATE TABLE IF NOT EXISTS schema_migrations (
    name       text        PRIMARY KEY,
    checksum   text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)
"""
_SETTINGS = {
    "application_name": "roomwire migrate",
    "client_min_messages": "warning",
    "statement_timeout": "0",
    "lock_timeout": str(int(LOCK_S * 1000)),
    "idle_in_transaction_session_timeout": "0",
}
_HOLDERS = """
SELECT DISTINCT a.pid, a.application_name AS name, extract(epoch FROM clock_timestamp() - a.xact_start)::integer AS age_s
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE l.granted AND a.pid <> pg_backend_pid() AND a.datname = current_database()
  AND (l.locktype = 'relation' AND l.relation IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace)
       OR l.locktype = 'advisory' AND l.classid = ($1::bigint >> 32)::oid AND l.objid = ($1::bigint & 4294967295)::oid)
ORDER BY age_s DESC NULLS LAST, a.pid
LIMIT 5
"""
_ELSEWHERE = """
SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relname = 'schema_migrations' AND c.relkind = 'r' AND a.attname = 'checksum' AND pg_has_role(c.relowner, 'USAGE')
"""
_STEP = re.compile(r"^-- step\b.*$", re.MULTILINE)
_ALONE = re.compile(r"\b(CREATE|DROP|REINDEX)\b.*\bCONCURRENTLY\b")


class MigrationError(Exception):
    """The schema is not one that these files can bring forward; the text says why."""


def files() -> list[tuple[str, str]]:
    """Return every migration as (file name, SQL), in the order in which they apply."""
    folder = resources.files("realtime.store") / "migrations"
    found = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql"))
    return [(name, (folder / name).read_text("utf-8")) for name in found]


async def apply(dsn: str, migrations: Sequence[tuple[str, str]] | None = None) -> list[str]:
    """Bring the schema up to date.

    Args:
        dsn: Of the owner role. A role that owns nothing does as long as there is nothing to do.
        migrations: As `files` returns them; None: those.

    Returns:
        The names of the files that were applied now.

    Raises:
        CannotStart: PostgreSQL cannot be reached or used, or somebody holds a lock for too long.
        MigrationError: an applied file has changed since, or PostgreSQL refuses one; what failed is rolled back.
    """
    connector = Connector(dsn, _SETTINGS)
    try:
        connection = await connector.connect(_CONNECT_S)
        try:
            await check(connection, connector, _CONNECT_S)
            return await _apply(connection, files() if migrations is None else migrations)
        finally:
            with contextlib.suppress(OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await connection.close(timeout=_CLOSE_S)
    except asyncpg.PostgresError as error:
        if error.sqlstate == "42501":
            raise MigrationError(
                f"{error}; migrate as the owner first (`roomwire migrate`), then serve as {names.NAMES.application}"
            ) from error
        if meaning(error.sqlstate) in (Meaning.OURS, Meaning.VALUE):
            raise MigrationError(f"PostgreSQL refused: {error}") from error
        raise reason(error, dsn) from None
    except (OSError, TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError, ValueError, Unavailable) as error:
        raise reason(error, dsn) from None  # values of settings may stand in its cause


async def _apply(connection: Connection, migrations: Sequence[tuple[str, str]]) -> list[str]:
    if await _left(connection, migrations) == [] and not await _is_elsewhere(connection):
        return []  # nodes start although somebody holds the lock
    await _lock(connection)
    if not await connection.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL"):
        await connection.execute(_LEDGER)
    applied, role = [], await names.application_role(connection)
    for name, sql in await _left(connection, migrations) or []:
        steps = [step for step in _STEP.split(names.granted_to(sql, role)) if step.strip()]
        for number, step in enumerate(steps, 1):
            await _run(connection, name, step, _checksum(sql) if number == len(steps) else None)
        applied.append(name)
    if await _is_elsewhere(connection):
        await epoch.follow(connection)
    return applied


async def _is_elsewhere(connection: Connection) -> bool:
    if not await connection.fetchval("SELECT to_regproc('database_place') IS NOT NULL"):
        return False  # older than that, or not ours
    return await epoch.is_elsewhere(connection)


async def _left(connection: Connection, migrations: Sequence[tuple[str, str]]) -> list[tuple[str, str]] | None:
    """Return the migrations that were not applied; None: there is no ledger yet."""
    if not await connection.fetchval("SELECT to_regclass('schema_migrations') IS NOT NULL"):
        if (schema := await connection.fetchval(_ELSEWHERE)) is not None:
            raise MigrationError(
                f"its tables are in the schema {schema}, and the server keeps its own in public: move them there"
            )
        return None
    rows = await connection.fetch("SELECT name, checksum FROM schema_migrations")
    done: dict[str, str] = {row["name"]: row["checksum"] for row in rows}
    for name, sql in migrations:
        if done.get(name, _checksum(sql)) != _checksum(sql):
            raise MigrationError(f"{name} was applied with other contents: write a new migration instead of changing it")
    return [(name, sql) for name, sql in migrations if name not in done]


def _checksum(sql: str) -> str:
    return hashlib.sha256(sql.encode()).hexdigest()


async def _lock(connection: Connection) -> None:
    """Wait until no other process migrates."""
    say_s = _now_s() + 1.0
    while not await connection.fetchval("SELECT pg_try_advisory_lock($1)", _LOCK):
        if _now_s() >= say_s:
            say_s = _now_s() + _SAY_S
            logger.warning("waiting for another process that migrates this database: %s", await _holders(connection))
        await asyncio.sleep(0.1)


async def _run(connection: Connection, name: str, sql: str, checksum: str | None) -> None:
    """Run one step, again and again while a lock is not free.

    Args:
        checksum: Of the file, after its last step.
    """
    pause_s, say_s, until_s = _PAUSE_S[0], _now_s(), _now_s() + PATIENCE_S
    while True:
        try:
            if _ALONE.search(sql):
                await connection.execute("SET lock_timeout = 0")  # it waits for everybody, and nobody for it
                if (index := indexes.parse(sql)) is None:
                    await connection.execute(sql)
                    sql = ""
                else:
                    sql = await indexes.build(connection, index)
                await connection.execute(f"SET lock_timeout = {int(LOCK_S * 1000)}")
            async with connection.transaction():
                if sql:
                    await connection.execute(sql)
                if checksum is not None:
                    await connection.execute("INSERT INTO schema_migrations (name, checksum) VALUES ($1, $2)", name, checksum)
        except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError):
            holders = await _holders(connection)
            if _now_s() >= until_s:
                raise CannotStart(
                    f"The migration {name} got no lock within {PATIENCE_S:.0f} s; nothing of this step was done. Who holds "
                    f"locks: {holders}. Wait for them, or end them (pg_terminate_backend), and migrate again.",
                    passing=True,
                ) from None
            if _now_s() >= say_s:
                say_s = _now_s() + _SAY_S
                logger.warning("migration %s waits for a lock and is tried again; who holds locks: %s", name, holders)
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _PAUSE_S[1])
        else:
            return


async def _holders(connection: Connection) -> str:
    """Say who holds locks on our tables: their processes, names and the age of their transactions; no statements."""
    rows = await connection.fetch(_HOLDERS, _LOCK)
    return (
        ", ".join(f"process {row['pid']} ({row['name'] or 'no name'}{_age(row['age_s'])})" for row in rows) or "nobody any more"
    )


def _age(seconds: int | None) -> str:
    return "" if seconds is None else f", in a transaction for {seconds} s"


def _now_s() -> float:
    return asyncio.get_running_loop().time()
