"""Who may write, edit and delete messages. Pure.

A function returns None or raises the refusal. PostgreSQL repeats these rules inside the write, under the room's lock, in
`judge_message_created`, `judge_message_edited` and `judge_message_deleted`; a test holds them together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime.errors import Forbidden, MessageNotFound, RoomClosed, TooManyEdits
from realtime.model import Role

if TYPE_CHECKING:
    from realtime.log.kinds import Case, Target

CREATED = "message.created"
MAX_EDITS = 1_000
"""Of one message. Each edit is an event that stays in the log, and a text to erase when the message is deleted."""


def write(case: Case) -> None:
    """May they write a message? Members may; in a thread below a message of the main line, which is there."""
    if case.is_silenced:
        raise RoomClosed
    if case.has_target and _there(case.target).is_answer:
        raise MessageNotFound


def edit(case: Case) -> None:
    """May they edit a message? Authors only: nobody puts words into somebody else's mouth."""
    if case.is_silenced:
        raise RoomClosed
    message = _there(case.target)
    if not message.is_own:
        raise Forbidden("Only the author edits a message.")
    if message.edits >= MAX_EDITS:
        raise TooManyEdits


def delete(case: Case) -> None:
    """May they delete a message? Their own, in a closed room too; admins and owners any."""
    if not _there(case.target).is_own and case.role not in (Role.ADMIN, Role.OWNER):
        raise Forbidden


def _there(target: Target | None) -> Target:
    if target is None or target.kind != CREATED or target.is_deleted:
        raise MessageNotFound
    return target
