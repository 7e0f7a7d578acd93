"""What a back-up and a restore must know of a database, and the statements around a restored one."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, NamedTuple

import asyncpg

from realtime.store import names
from realtime.store.connecting import Connector
from realtime.store.epoch import RENEW
from realtime.store.starting import reason

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from realtime.store.connections import Connection

_CONNECT_S = 10.0
_LOOK = """
SELECT current_setting('server_version_num')::integer / 10000 AS major,
       (SELECT count(*) FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')) AS relations,
       (SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name IN ('roomwire', 'realtime')) AS nodes,
       pg_database_size(current_database()) AS size_bytes
"""
EMPTIED = """
DROP SCHEMA IF EXISTS public CASCADE;
CREATE SCHEMA public AUTHORIZATION pg_database_owner;
GRANT USAGE ON SCHEMA public TO PUBLIC;
"""
"""Removes everything that is ours, as the owner of the database."""
RESTORED = """
SET search_path = public, pg_temp;
DO $$ BEGIN IF to_regprocedure('public.new_epoch()') IS NOT NULL THEN PERFORM public.new_epoch(); END IF; END $$;
"""
"""Begins a new epoch in what was restored: clients learn that some of what they hold may never have happened."""


class Found(NamedTuple):
    """A database as it is.

    Args:
        nodes: Connections of nodes that serve from it.
        application: Its application role; None: there is none.
    """

    major: int
    relations: int
    nodes: int
    size_bytes: int
    application: str | None


async def look(url: str) -> Found:
    """Look at a database. Raises CannotStart."""
    async with _connected(url) as connection:
        row = await connection.fetchrow(_LOOK)
        assert row is not None  # a SELECT without FROM
        return Found(**dict(row), application=await names.application_role(connection))


async def begin_epoch(url: str) -> None:
    """Begin a new epoch, as the owner. Raises CannotStart."""
    async with _connected(url) as connection:
        await connection.execute(RENEW)


@contextlib.asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Connection]:
    try:
        connection: Connection = await Connector(url, {"application_name": "roomwire restore"}).connect(_CONNECT_S)
        try:
            yield connection
        finally:
            await connection.close(timeout=_CONNECT_S)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError, ValueError) as error:
        raise reason(error, url) from None  # values of settings may stand in its cause
