"""The database and the two roles on an embedded PostgreSQL: an owner that migrates, an application role that serves."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from realtime.store import names
from realtime.store.starting import reason


class Urls(NamedTuple):
    """Where the two roles connect."""

    owner: str
    application: str


async def provision(superuser_url: str) -> Urls:
    """Make what is missing; again is harmless.

    Args:
        superuser_url: Of a PostgreSQL that is ours alone, over its Unix socket.

    Raises:
        CannotStart: PostgreSQL refuses, or cannot be reached.
    """
    return await _find(superuser_url, make=True)


async def roles(superuser_url: str) -> Urls:
    """Return where the two roles connect, of a PostgreSQL that was provisioned. Raises CannotStart."""
    return await _find(superuser_url, make=False)


async def _find(superuser_url: str, *, make: bool) -> Urls:
    try:
        connection = await asyncpg.connect(superuser_url, timeout=10)
    except (asyncpg.PostgresError, OSError, TimeoutError) as error:
        raise reason(error, superuser_url) from error
    try:
        databases = {row["datname"] for row in await connection.fetch("SELECT datname FROM pg_database")}
        found = names.of(databases)
        if make:
            there = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
            for role in (found.owner, found.application):
                if role not in there:
                    await connection.execute(f"CREATE ROLE {role} LOGIN")
            if found.database not in databases:
                await connection.execute(f"CREATE DATABASE {found.database} OWNER {found.owner}")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise reason(error, superuser_url) from error
    finally:
        await connection.close()
    return Urls(*(_as(superuser_url, role, found.database) for role in (found.owner, found.application)))


def _as(url: str, role: str, database: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}@{host}", path=f"/{database}"))
