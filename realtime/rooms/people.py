"""What users want of others: whom they block, and who may add them to rooms. The rules are in `policy`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime import errors
from realtime.model import UserId, is_uuid

if TYPE_CHECKING:
    from realtime.model import Block, MayAdd
    from realtime.rooms.people_store import PeopleStore

BLOCKS_AT_MOST = 10_000
"""Of one user."""


class People:
    """The service of what users want of others."""

    def __init__(self, store: PeopleStore) -> None:
        self._store = store

    async def block(self, user: UserId, blocked: str) -> None:
        """Block a user; again is harmless.

        Who is blocked opens no direct room with the blocker, adds them to no room, and does not write in the direct room of the
        two. They are not told.

        Raises:
            UserNotFound, QuotaExceeded.
            InvalidRequest: oneself.
        """
        whom = _user_id(blocked)
        if whom == user:
            raise errors.InvalidRequest("Nobody blocks themselves.", field="$.user")
        if not await self._store.exists(whom):
            raise errors.UserNotFound
        if await self._store.blocks_so_many(user, BLOCKS_AT_MOST):
            raise errors.QuotaExceeded(f"A user blocks {BLOCKS_AT_MOST} others at most.")
        await self._store.block(user, whom)

    async def unblock(self, user: UserId, blocked: str) -> None:
        """Lift a block. Raises BlockNotFound."""
        if not await self._store.unblock(user, _user_id(blocked)):
            raise errors.BlockNotFound

    async def get_block(self, user: UserId, blocked: str) -> Block:
        """Return one block. Raises BlockNotFound."""
        found = await self._store.get_block(user, _user_id(blocked))
        if found is None:
            raise errors.BlockNotFound
        return found

    async def blocks(self, user: UserId, after: str | None, limit: int) -> tuple[list[Block], bool]:
        """List blocks by ascending user id, behind `after`. Returns at most `limit`, and whether there are more."""
        if after is not None and not is_uuid(after):
            raise errors.InvalidRequest("`after` is the id of a user.", field="$.after")
        found = list(await self._store.blocks(user, UserId(after) if after else None, limit + 1))
        return found[:limit], len(found) > limit

    async def may_add(self, user: UserId) -> str:
        """Return who may add a user to rooms."""
        return await self._store.may_add(user)

    async def set_may_add(self, user: UserId, may_add: MayAdd) -> None:
        """Set it."""
        await self._store.set_may_add(user, may_add)


def _user_id(user: str) -> UserId:
    if not is_uuid(user):
        raise errors.UserNotFound
    return UserId(user)
