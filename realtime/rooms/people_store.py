"""Whom users block, and who may add them to rooms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime.model import Block, MayAdd, User, UserId, known
from realtime.rooms.store import NIL, direct_key
from realtime.store import queries

if TYPE_CHECKING:
    from collections.abc import Sequence

    import asyncpg

    from realtime.store.pool import Database

_SQL = queries.load("rooms", "people")
_ROOMS = queries.load("rooms", "rooms")


class PeopleStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def block(self, user: UserId, blocked: UserId) -> None:
        """Let a user block another one; who is blocked may not write in the direct room of the two any more."""
        await self._change(user, blocked, _SQL.block)

    async def unblock(self, user: UserId, blocked: UserId) -> bool:
        """Undo it; False: there was no block."""
        return await self._change(user, blocked, _SQL.unblock)

    async def _change(self, user: UserId, blocked: UserId, query: str) -> bool:
        key = direct_key([user, blocked])
        async with self._database.transaction() as connection:
            await connection.execute(_SQL.pair, key)
            changed = await connection.fetchval(query, user, blocked)
            room = await connection.fetchval(_ROOMS.find_direct, key)
            if room is not None:
                await connection.fetchval(_ROOMS.lock, room)
                await connection.execute(_ROOMS.silence, room)
            return changed is not None

    async def exists(self, user: UserId) -> bool:
        """Tell whether there is an account, open or disabled."""
        row = await self._database.fetchrow(_SQL.exists, user)
        return row is not None and bool(row["found"])

    async def blocks_so_many(self, user: UserId, count: int) -> bool:
        """Tell whether a user blocks that many others, or more."""
        row = await self._database.fetchrow(_SQL.has_blocks, user, count)
        return row is not None and bool(row["so_many"])

    async def blocks(self, user: UserId, after: UserId | None, limit: int) -> Sequence[Block]:
        """Return whom a user blocks by ascending user id, behind `after`."""
        return [_block(row) for row in await self._database.fetch(_SQL.list_blocks, user, after or NIL, limit)]

    async def get_block(self, user: UserId, blocked: UserId) -> Block | None:
        """Return one block."""
        row = await self._database.fetchrow(_SQL.get_block, user, blocked)
        return None if row is None else _block(row)

    async def may_add(self, user: UserId) -> str:
        """Return who may add a user to rooms."""
        row = await self._database.fetchrow(_SQL.may_add, user)
        return MayAdd.EVERYBODY if row is None else known(MayAdd, row["may_add"])

    async def set_may_add(self, user: UserId, may_add: MayAdd) -> None:
        """Set who may add a user to rooms."""
        await self._database.execute(_SQL.set_may_add, user, may_add.value)


def _block(row: asyncpg.Record) -> Block:
    return Block(User(UserId(str(row["id"])), row["username"], row["display_name"]), row["at"])
