"""Who may write, edit and delete messages."""

from __future__ import annotations

import pytest

from realtime import errors
from realtime.log.kinds import Case, Target
from realtime.messages import policy
from realtime.model import Role

OWN, OTHERS = Target(policy.CREATED, is_own=True), Target(policy.CREATED, is_own=False)


@pytest.mark.parametrize("role", list(Role))
def test_authors_alone_edit_and_moderators_delete_what_others_wrote(role: Role) -> None:
    policy.edit(Case(role, target=OWN))
    policy.delete(Case(role, target=OWN))
    with pytest.raises(errors.Forbidden):
        policy.edit(Case(role, target=OTHERS))
    if role is Role.MEMBER:
        with pytest.raises(errors.Forbidden):
            policy.delete(Case(role, target=OTHERS))
    else:
        policy.delete(Case(role, target=OTHERS))


def test_a_role_of_a_newer_node_gives_no_rights_over_what_others_wrote() -> None:
    with pytest.raises(errors.Forbidden):
        policy.delete(Case("moderator", target=OTHERS))


@pytest.mark.parametrize("target", [None, Target("member.joined", is_own=True), Target(policy.CREATED, True, is_deleted=True)])
def test_what_is_no_message_or_was_deleted_is_neither_edited_nor_deleted_nor_answered(target: Target | None) -> None:
    for rule in (policy.edit, policy.delete, policy.write):
        with pytest.raises(errors.MessageNotFound):
            rule(Case(Role.OWNER, target=target))


def test_threads_have_one_level() -> None:
    policy.write(Case(Role.MEMBER, target=OTHERS))
    with pytest.raises(errors.MessageNotFound):
        policy.write(Case(Role.MEMBER, target=Target(policy.CREATED, is_own=True, is_answer=True)))


def test_in_a_closed_room_messages_are_deleted_and_nothing_else() -> None:
    for rule in (policy.edit, policy.write):
        with pytest.raises(errors.RoomClosed):
            rule(Case(Role.MEMBER, is_silenced=True, target=OWN))
    policy.delete(Case(Role.MEMBER, is_silenced=True, target=OWN))


def test_a_message_takes_so_many_edits() -> None:
    policy.edit(Case(Role.MEMBER, target=Target(policy.CREATED, is_own=True, edits=policy.MAX_EDITS - 1)))
    with pytest.raises(errors.TooManyEdits):
        policy.edit(Case(Role.MEMBER, target=Target(policy.CREATED, is_own=True, edits=policy.MAX_EDITS)))
