"""The epoch of the database: which history clients hold. A restore from a back-up begins a new one."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realtime.store.connections import Connection

logger = logging.getLogger(__name__)

RENEW = "SELECT new_epoch()"
"""What an operator runs after a restore, as the owner role, before a node serves."""
_IS_ELSEWHERE = "SELECT EXISTS (SELECT FROM epoch WHERE place NOT IN (database_place(), '') AND database_place() <> '')"
_MAY_RENEW = "SELECT has_function_privilege('new_epoch()', 'EXECUTE')"


async def renew(connection: Connection) -> str:
    """Begin a new epoch: whoever comes with an older one is told to read again.

    Args:
        connection: Of the owner role.

    Returns:
        Its id.
    """
    return str(await connection.fetchval(RENEW))


async def is_elsewhere(connection: Connection) -> bool:
    """Tell whether the database is another one than where its epoch began: it was restored from a dump, or copied."""
    return bool(await connection.fetchval(_IS_ELSEWHERE))


async def follow(connection: Connection) -> None:
    """Begin a new epoch if the database is another one than where its epoch began. One process at a time."""
    if not await is_elsewhere(connection):
        return
    if not await connection.fetchval(_MAY_RENEW):
        logger.warning("this database was restored or copied, and its epoch is the old one: run `%s;` as its owner", RENEW)
        return
    await renew(connection)
    logger.warning("this database was restored or copied: its clients read everything again (a new epoch)")
