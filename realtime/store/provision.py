"""The database and the two roles on an embedded PostgreSQL: an owner that migrates, an application role that serves."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from realtime.store.starting import reason

DATABASE = "realtime"
OWNER = "realtime_owner"
APPLICATION = "realtime_app"


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
    try:
        connection = await asyncpg.connect(superuser_url, timeout=10)
    except (asyncpg.PostgresError, OSError, TimeoutError) as error:
        raise reason(error, superuser_url) from error
    try:
        there = {row["rolname"] for row in await connection.fetch("SELECT rolname FROM pg_roles")}
        for role in (OWNER, APPLICATION):
            if role not in there:
                await connection.execute(f"CREATE ROLE {role} LOGIN")
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", DATABASE):
            await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {OWNER}")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise reason(error, superuser_url) from error
    finally:
        await connection.close()
    return roles(superuser_url)


def roles(superuser_url: str) -> Urls:
    """Return where the two roles connect, of a PostgreSQL that was provisioned."""
    return Urls(_as(superuser_url, OWNER), _as(superuser_url, APPLICATION))


def _as(url: str, role: str) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{role}@{host}", path=f"/{DATABASE}"))
