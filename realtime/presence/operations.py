"""What users choose to show of themselves."""

from __future__ import annotations

from realtime.budgets import Budget
from realtime.model import Scope
from realtime.operations import Caller, Operation, Rest, Row
from realtime.presence.service import Presence
from realtime.wire import rest
from realtime.wire.types import Empty, OwnPresence, PresenceChoice


async def my_presence(presence: Presence, caller: Caller, _: Empty) -> OwnPresence:
    return OwnPresence.of(await presence.setting(caller.user_id))


async def choose_presence(presence: Presence, caller: Caller, request: PresenceChoice) -> OwnPresence:
    chosen = await presence.choose(caller.user_id, request.status, request.text, request.text_expires_in_s)
    return OwnPresence.of(chosen)


OPERATIONS: tuple[Row, ...] = (
    Operation(
        name="my_presence",
        summary="Get what you chose to show of yourself.",
        request=Empty,
        handler=my_presence,
        scope=Scope.PRESENCE_READ,
        rest=Rest(method="GET", path="/me/presence", tag="Users", answers={200: OwnPresence}),
    ),
    Operation(
        name="choose_presence",
        summary="Choose what others see of you, on all devices.",
        request=rest.ChoosePresence,
        handler=choose_presence,
        scope=Scope.PRESENCE_WRITE,
        budget=Budget.PRESENCE,
        rest=Rest(method="PATCH", path="/me/presence", tag="Users", answers={200: OwnPresence}),
    ),
)
"""Served by `Presence`."""
