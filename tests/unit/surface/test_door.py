"""The door: who may ask for an operation, and what a request takes from a budget."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from realtime import errors
from realtime.budgets import Allowance, Budget, Budgets
from realtime.model import Choice, PrincipalKind, RoomKind, Scope, UserId
from realtime.node.operations import OPERATIONS
from realtime.operations import Auth, Row
from realtime.surface.door import Door
from realtime.wire import rest, socket
from realtime.wire.types import RoomRef
from tests.unit.gateway.fakes import ADA, principal

ROWS = {row.name: row for row in OPERATIONS}


async def admin(user: UserId) -> None:
    return None


async def nobody(user: UserId) -> None:
    raise errors.AdminOnly


def door(require_admin: Any = admin, **bursts: int) -> Door:
    allowances = {one: Allowance(bursts.get(one.value, 100), 0.001) for one in Budget}
    budgets = Budgets(allowances, Allowance(2, 0.001), 10_000, lambda: 1000.0)
    return Door(lambda token: principal(), require_admin, budgets)


def charged(door: Door, name: str, request: Any, times: int = 1) -> int:
    """Ask as often as it goes, and at most `times`; return how often it did."""
    charge = door.charges(ROWS[name])
    assert charge is not None
    for number in range(times):
        try:
            charge(ADA.id, request)
        except errors.RateLimited:
            return number
    return times


@pytest.mark.parametrize("row", OPERATIONS, ids=lambda row: row.name)
async def test_an_operation_is_closed_to_a_principal_without_its_scope(row: Row) -> None:
    if row.auth in (Auth.REQUIRED, Auth.ADMIN):
        if row.name == "refresh_token":
            return  # the token that it brings is judged, not the one before
        assert row.scope is not None, "what needs a token needs a scope"
        kept = frozenset(Scope) - {row.scope}
        with pytest.raises(errors.Forbidden):
            await door().admit(row, principal_with(kept))
        assert await door().admit(row, principal_with(frozenset({row.scope}))) == ADA.id


def test_every_scope_opens_an_operation() -> None:
    assert {row.scope for row in OPERATIONS} - {None} == set(Scope)


def principal_with(scopes: frozenset[Scope]) -> Any:
    return type(principal())(PrincipalKind.SESSION, "s", ADA, scopes, 1_000)


async def test_what_is_for_admins_asks_the_store_whether_the_caller_is_one() -> None:
    with pytest.raises(errors.AdminOnly):
        await door(nobody).admit(ROWS["status"], principal())
    assert await door(nobody).admit(ROWS["me"], principal()) == ADA.id


def test_a_room_with_founding_members_takes_an_addition_for_each_and_a_refused_one_takes_nothing() -> None:
    made = door(adds=7, rooms=2)
    many = rest.CreateRoom(kind=RoomKind.PUBLIC, members=[str(number) for number in range(5)])
    alone = rest.CreateRoom(kind=RoomKind.PUBLIC)
    direct = rest.CreateRoom(kind=RoomKind.DIRECT, members=["x"])
    assert charged(made, "create_room", many, 5) == 2, "the last members on credit"
    assert charged(made, "create_room", direct, 5) == 0, "both rooms are taken"
    again = door(adds=100, rooms=1)
    assert charged(again, "create_room", alone) == 1
    before = again._budgets._buckets[Budget.ADDS]._full_s.copy()
    assert charged(again, "create_room", many) == 0
    assert again._budgets._buckets[Budget.ADDS]._full_s.get(ADA.id, 1000.0) == pytest.approx(before.get(ADA.id, 1000.0))


def test_joins_are_counted_in_each_room() -> None:
    made = door()
    assert charged(made, "join_room", RoomRef(room="a"), 5) == 2
    assert charged(made, "leave_room", RoomRef(room="a"), 5) == 0
    assert charged(made, "join_room", RoomRef(room="b"), 5) == 2


def test_a_message_takes_a_send_and_its_bytes_and_a_deletion_no_bytes() -> None:
    made = door()
    charge = door().charges(ROWS["send_message"])
    assert charge is not None
    charge(ADA.id, socket.MessageSend(room="r", client_id="c", body="x" * 8_000))
    charge(ADA.id, socket.MessageSend(room="r", client_id="c", body="x" * 8_000))
    with pytest.raises(errors.QuotaExceeded):
        charge(ADA.id, socket.MessageSend(room="r", client_id="c", body="x"))
    assert charged(made, "delete_message", socket.MessageDelete(room="r", seq=1), 200) == 100


def test_choices_of_one_user_are_limited_over_both_surfaces_and_going_idle_is_free() -> None:
    made = door(presence=3)
    assert charged(made, "set_presence", socket.PresenceSet(idle=True), 20) == 20
    assert charged(made, "set_presence", socket.PresenceSet(status=Choice.AWAY, idle=True), 2) == 2
    assert charged(made, "choose_presence", rest.ChoosePresence(text="busy"), 5) == 1
    assert charged(made, "set_presence", socket.PresenceSet(text="busy")) == 0


def test_what_was_there_before_is_given_back() -> None:
    made = door(rooms=1)
    row = ROWS["create_room"]
    for _ in range(5):
        assert charged(made, "create_room", rest.CreateRoom(kind=RoomKind.PUBLIC)) == 1
        made.refund(row, ADA.id, Found(is_new=False))
    assert charged(made, "create_room", rest.CreateRoom(kind=RoomKind.PUBLIC)) == 1
    made.refund(row, ADA.id, Found(is_new=True))
    assert charged(made, "create_room", rest.CreateRoom(kind=RoomKind.PUBLIC)) == 0


@dataclasses.dataclass
class Found:
    is_new: bool
