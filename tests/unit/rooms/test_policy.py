"""The policy alone: each rule, and that nothing is decided for strangers but what public rooms give."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from realtime import errors
from realtime.model import MayAdd, Role, RoomKind
from realtime.rooms import policy

OWNER, ADMIN, MEMBER = Role.OWNER, Role.ADMIN, Role.MEMBER
PUBLIC, PRIVATE, DIRECT = RoomKind.PUBLIC, RoomKind.PRIVATE, RoomKind.DIRECT


@pytest.mark.parametrize("kind", [None, PRIVATE, DIRECT])
@pytest.mark.parametrize(
    "ask",
    [
        lambda kind: policy.see(kind, None),
        lambda kind: policy.read(kind, None),
        lambda kind: policy.leave(kind, None, 1, True),
        lambda kind: policy.add(kind, None, MEMBER),
        lambda kind: policy.change_role(kind, None, MEMBER, ADMIN, 1),
        lambda kind: policy.remove(kind, None, MEMBER),
        lambda kind: policy.ban(kind, None, MEMBER, oneself=False),
        lambda kind: policy.see_bans(kind, None),
    ],
)
def test_a_room_that_one_may_not_see_is_answered_like_one_that_does_not_exist(
    kind: RoomKind | None, ask: Callable[[RoomKind | None], None]
) -> None:
    with pytest.raises(errors.RoomNotFound):
        ask(kind)


def test_a_stranger_sees_and_joins_a_public_room_and_reads_it_only_then() -> None:
    policy.see(PUBLIC, None)
    policy.join(PUBLIC, None, banned=False)
    with pytest.raises(errors.NotAMember):
        policy.read(PUBLIC, None)
    policy.read(PUBLIC, MEMBER)


def test_nobody_joins_a_private_room_by_themselves() -> None:
    with pytest.raises(errors.RoomNotFound):
        policy.join(PRIVATE, None, banned=False)
    policy.join(PRIVATE, MEMBER, banned=False)  # a member already: harmless


def test_a_direct_room_keeps_its_two() -> None:
    asks: list[Callable[[], None]] = [
        lambda: policy.join(DIRECT, MEMBER, banned=False),
        lambda: policy.leave(DIRECT, MEMBER, 0, True),
        lambda: policy.add(DIRECT, MEMBER, MEMBER),
        lambda: policy.remove(DIRECT, MEMBER, MEMBER),
        lambda: policy.ban(DIRECT, MEMBER, MEMBER, oneself=False),
    ]
    for ask in asks:
        with pytest.raises(errors.DirectRoomFixed):
            ask()


def test_who_joins_a_room_without_an_owner_owns_it() -> None:
    assert [policy.role_of_newcomer(owned=owned) for owned in (False, True)] == [OWNER, MEMBER]


def test_the_last_owner_stays_unless_alone() -> None:
    with pytest.raises(errors.LastOwner):
        policy.leave(PRIVATE, OWNER, 1, True)
    policy.leave(PRIVATE, OWNER, 2, True)
    policy.leave(PRIVATE, OWNER, 1, False)
    with pytest.raises(errors.LastOwner):
        policy.change_role(PRIVATE, OWNER, OWNER, MEMBER, 1)
    policy.change_role(PRIVATE, OWNER, OWNER, MEMBER, 2)


@pytest.mark.parametrize(
    ("actor", "new", "allowed"),
    [(MEMBER, MEMBER, False), (ADMIN, MEMBER, True), (ADMIN, ADMIN, True), (ADMIN, OWNER, False), (OWNER, OWNER, True)],
)
def test_roles_are_given_up_to_ones_own(actor: Role, new: Role, allowed: bool) -> None:
    if allowed:
        policy.add(PRIVATE, actor, new)
        policy.change_role(PRIVATE, actor, MEMBER, new, 2)
    else:
        with pytest.raises(errors.Forbidden):
            policy.add(PRIVATE, actor, new)
        with pytest.raises(errors.Forbidden):
            policy.change_role(PRIVATE, actor, MEMBER, new, 2)


@pytest.mark.parametrize(
    ("actor", "target", "allowed"),
    [(MEMBER, MEMBER, False), (ADMIN, MEMBER, True), (ADMIN, ADMIN, False), (ADMIN, OWNER, False), (OWNER, OWNER, True)],
)
def test_people_are_removed_by_those_above_them(actor: Role, target: Role, allowed: bool) -> None:
    if allowed:
        policy.remove(PRIVATE, actor, target)
    else:
        with pytest.raises(errors.Forbidden):
            policy.remove(PRIVATE, actor, target)


def test_an_admin_does_not_demote_an_owner() -> None:
    with pytest.raises(errors.Forbidden):
        policy.change_role(PRIVATE, ADMIN, OWNER, MEMBER, 2)


def test_whoever_is_not_a_member_cannot_be_changed_or_removed() -> None:
    with pytest.raises(errors.MemberNotFound):
        policy.change_role(PRIVATE, OWNER, None, MEMBER, 2)
    with pytest.raises(errors.MemberNotFound):
        policy.remove(PRIVATE, OWNER, None)


@pytest.mark.parametrize("current", [None, MEMBER, ADMIN, OWNER])
@pytest.mark.parametrize("actor", [MEMBER, ADMIN, OWNER])
def test_who_may_remove_somebody_may_ban_them_and_strangers_too(actor: Role, current: Role | None) -> None:
    allowed = actor is not MEMBER and (current is None or actor is OWNER or current is MEMBER)
    if allowed:
        policy.ban(PUBLIC, actor, current, oneself=False)
    else:
        with pytest.raises(errors.Forbidden):
            policy.ban(PUBLIC, actor, current, oneself=False)


def test_nobody_bans_themselves_and_who_is_banned_does_not_join() -> None:
    with pytest.raises(errors.Forbidden):
        policy.ban(PUBLIC, OWNER, OWNER, oneself=True)
    with pytest.raises(errors.Banned):
        policy.join(PUBLIC, None, banned=True)
    with pytest.raises(errors.RoomNotFound):
        policy.join(PRIVATE, None, banned=True)


def test_bans_are_seen_by_admins_and_owners() -> None:
    policy.see_bans(PUBLIC, ADMIN)
    policy.see_bans(PRIVATE, OWNER)
    with pytest.raises(errors.Forbidden):
        policy.see_bans(PUBLIC, MEMBER)
    with pytest.raises(errors.NotAMember):
        policy.see_bans(PUBLIC, None)


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("shares", [False, True])
@pytest.mark.parametrize("may_add", MayAdd)
def test_users_say_who_may_add_them(may_add: MayAdd, shares: bool, blocks: bool) -> None:
    lets = not blocks and (may_add is MayAdd.EVERYBODY or (may_add is MayAdd.SHARED_ROOMS and shares))
    with contextlib.nullcontext() if lets else pytest.raises(errors.NotAddable):
        policy.be_added(may_add, blocks=blocks, shares=shares)


def test_members_of_direct_rooms_close_them_and_nobody_closes_others() -> None:
    policy.close(RoomKind.DIRECT, Role.MEMBER)
    for kind, role, error in [
        (RoomKind.DIRECT, None, errors.RoomNotFound),
        (None, None, errors.RoomNotFound),
        (RoomKind.PUBLIC, None, errors.NotAMember),
        (RoomKind.PUBLIC, Role.OWNER, errors.InvalidRequest),
        (RoomKind.PRIVATE, Role.OWNER, errors.InvalidRequest),
    ]:
        with pytest.raises(error):
            policy.close(kind, role)


# -- what only newer nodes know ---------------------------------------------------------------------


NEWER = "x.future"


@pytest.mark.parametrize("kind", [PUBLIC, PRIVATE])
def test_a_role_of_a_newer_release_has_the_rights_of_a_member_and_no_more(kind: str) -> None:
    policy.see(kind, NEWER)
    policy.read(kind, NEWER)
    policy.join(kind, NEWER, banned=False)
    policy.leave(kind, NEWER, 0, True)
    asks: list[Callable[[], None]] = [
        lambda: policy.add(kind, NEWER, MEMBER),
        lambda: policy.change_role(kind, NEWER, MEMBER, MEMBER, 2),
        lambda: policy.remove(kind, NEWER, MEMBER),
        lambda: policy.ban(kind, NEWER, None, oneself=False),
        lambda: policy.see_bans(kind, NEWER),
    ]
    for ask in asks:
        with pytest.raises(errors.Forbidden):
            ask()


@pytest.mark.parametrize("actor", [MEMBER, ADMIN, OWNER, NEWER])
def test_only_owners_change_or_remove_a_member_whose_role_may_be_above_theirs(actor: str) -> None:
    asks: list[Callable[[], None]] = [
        lambda: policy.change_role(PRIVATE, actor, NEWER, MEMBER, 1),
        lambda: policy.remove(PRIVATE, actor, NEWER),
        lambda: policy.ban(PRIVATE, actor, NEWER, oneself=False),
    ]
    for ask in asks:
        with contextlib.nullcontext() if actor == OWNER else pytest.raises(errors.Forbidden):
            ask()


@pytest.mark.parametrize("role", [MEMBER, ADMIN, OWNER, NEWER])
def test_the_members_of_a_room_of_a_newer_kind_read_it_and_are_changed_by_newer_nodes_alone(role: str) -> None:
    policy.see(NEWER, role)
    policy.read(NEWER, role)
    asks: list[Callable[[], None]] = [
        lambda: policy.join(NEWER, role, banned=False),
        lambda: policy.leave(NEWER, role, 2, True),
        lambda: policy.add(NEWER, role, MEMBER),
        lambda: policy.change_role(NEWER, role, MEMBER, ADMIN, 2),
        lambda: policy.remove(NEWER, role, MEMBER),
        lambda: policy.ban(NEWER, role, MEMBER, oneself=False),
    ]
    for ask in asks:
        with pytest.raises(errors.Unavailable) as caught:
            ask()
        assert caught.value.retryable


def test_a_room_of_a_newer_kind_is_not_there_for_those_who_are_no_members() -> None:
    for ask in (policy.see, policy.read, policy.see_bans):
        with pytest.raises(errors.RoomNotFound):
            ask(NEWER, None)
    with pytest.raises(errors.RoomNotFound):
        policy.join(NEWER, None, banned=False)


def test_a_user_whose_choice_is_of_a_newer_release_is_added_by_nobody() -> None:
    with pytest.raises(errors.NotAddable):
        policy.be_added(NEWER, blocks=False, shares=True)
