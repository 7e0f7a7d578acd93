"""The kinds of events of messages. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime.log.kinds import Kind
from realtime.messages import policy
from realtime.wire.events import RoomEvent
from realtime.wire.types import Time, time

if TYPE_CHECKING:
    from realtime import model
    from realtime.log.store import Entry


class MessageCreated(RoomEvent, tag=policy.CREATED):
    """Somebody wrote a message. In catch-up it shows the message as it is now (`edited_at`, `deleted_at`)."""

    client_id: str
    body: str
    edited_at: Time | None = None
    deleted_at: Time | None = None


class MessageEdited(RoomEvent, tag="message.edited"):
    """The message numbered `target` has a new text. The text is empty once the message was deleted."""

    target: int
    body: str
    client_id: str | None = None


class MessageDeleted(RoomEvent, tag="message.deleted"):
    """The message numbered `target` is gone; so is its text, everywhere."""

    target: int
    client_id: str | None = None


def _created(event: model.Event) -> MessageCreated:
    """Build what there is most of; spelled out, it costs a third."""
    return MessageCreated(
        room=event.room,
        seq=event.seq,
        at=time(event.at),
        actor=event.actor,
        client_id=event.client_id or "",  # a message of a newer release may do without either
        body=event.body or "",
        edited_at=None if event.edited_at is None else time(event.edited_at),
        deleted_at=None if event.deleted_at is None else time(event.deleted_at),
    )


def _message(entry: Entry) -> tuple[str, int | None]:
    return entry.room, entry.target


CREATED = Kind(event=MessageCreated, judge=policy.write, is_plain=True, build=_created)
EDITED = Kind(event=MessageEdited, judge=policy.edit, changes=_message)
DELETED = Kind(event=MessageDeleted, judge=policy.delete, changes=_message, erases=True)
KINDS = (CREATED, EDITED, DELETED)
