"""What users want of others: whom they block, and who may add them to rooms."""

from __future__ import annotations

from realtime import errors
from realtime.budgets import Budget
from realtime.model import Scope
from realtime.operations import Caller, Operation, Rest, Row
from realtime.rooms.people import People
from realtime.wire import rest
from realtime.wire.types import Block, Empty, UserRef

_TAG = "Users"


async def get_settings(people: People, caller: Caller, _: Empty) -> rest.Settings:
    return rest.Settings(may_add=await people.may_add(caller.user_id))


async def change_settings(people: People, caller: Caller, request: rest.ChangeSettings) -> rest.Settings:
    await people.set_may_add(caller.user_id, request.may_add)
    return rest.Settings(may_add=request.may_add)


async def list_blocks(people: People, caller: Caller, request: rest.ListBlocks) -> rest.Blocks:
    blocks, has_more = await people.blocks(caller.user_id, request.after, request.limit)
    return rest.Blocks(blocks=[Block.of(block) for block in blocks], has_more=has_more)


async def get_block(people: People, caller: Caller, request: UserRef) -> Block:
    return Block.of(await people.get_block(caller.user_id, request.user))


async def block(people: People, caller: Caller, request: UserRef) -> None:
    await people.block(caller.user_id, request.user)


async def unblock(people: People, caller: Caller, request: UserRef) -> None:
    await people.unblock(caller.user_id, request.user)


PEOPLE: tuple[Row, ...] = (
    Operation(
        name="settings",
        summary="Get what you want of others.",
        request=Empty,
        handler=get_settings,
        scope=Scope.ME_READ,
        rest=Rest(method="GET", path="/me/settings", tag=_TAG, answers={200: rest.Settings}),
    ),
    Operation(
        name="change_settings",
        summary="Choose who may add you to rooms.",
        request=rest.ChangeSettings,
        handler=change_settings,
        scope=Scope.ME_WRITE,
        budget=Budget.SETTINGS,
        rest=Rest(method="PATCH", path="/me/settings", tag=_TAG, answers={200: rest.Settings}),
    ),
    Operation(
        name="list_blocks",
        summary="List the users whom you block.",
        request=rest.ListBlocks,
        handler=list_blocks,
        scope=Scope.ME_READ,
        rest=Rest(method="GET", path="/me/blocks", tag=_TAG, answers={200: rest.Blocks}),
    ),
    Operation(
        name="get_block",
        summary="Get whether you block a user.",
        request=UserRef,
        handler=get_block,
        scope=Scope.ME_READ,
        errors=(errors.UserNotFound, errors.BlockNotFound),
        rest=Rest(method="GET", path="/me/blocks/{user}", tag=_TAG, answers={200: Block}),
    ),
    Operation(
        name="block",
        summary="Block a user: they cannot add you to a room, nor write in your direct room. They are not told.",
        request=UserRef,
        handler=block,
        scope=Scope.ME_WRITE,
        budget=Budget.SETTINGS,
        errors=(errors.UserNotFound, errors.QuotaExceeded),
        rest=Rest(method="PUT", path="/me/blocks/{user}", tag=_TAG, answers={204: None}),
    ),
    Operation(
        name="unblock",
        summary="Lift a block.",
        request=UserRef,
        handler=unblock,
        scope=Scope.ME_WRITE,
        budget=Budget.SETTINGS,
        errors=(errors.UserNotFound, errors.BlockNotFound),
        rest=Rest(method="DELETE", path="/me/blocks/{user}", tag=_TAG, answers={204: None}),
    ),
)
"""Served by `People`."""
