"""The events of a room on the wire: one struct per kind, flat, the same bytes live, in catch-up and over REST."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from realtime import model
from realtime.model import EventKind
from realtime.wire.types import Id, Time, time

if TYPE_CHECKING:
    from collections.abc import Callable


class RoomEvent(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, tag_field="kind"):
    """What every event has: its room, its number there, when it was committed and who did it."""

    room: Id
    seq: int
    at: Time
    actor: Id


class MessageCreated(RoomEvent, tag=EventKind.MESSAGE_CREATED.value):
    """Somebody wrote a message. In catch-up it shows the message as it is now (`edited_at`, `deleted_at`)."""

    client_id: str
    body: str
    edited_at: Time | None = None
    deleted_at: Time | None = None


class MessageEdited(RoomEvent, tag=EventKind.MESSAGE_EDITED.value):
    """The message numbered `target` has a new text. The text is empty once the message was deleted."""

    target: int
    body: str
    client_id: str | None = None


class MessageDeleted(RoomEvent, tag=EventKind.MESSAGE_DELETED.value):
    """The message numbered `target` is gone; so is its text, everywhere."""

    target: int
    client_id: str | None = None


class MemberJoined(RoomEvent, tag=EventKind.MEMBER_JOINED.value):
    """`user` is a member from here on: by themselves, or added by `actor`."""

    user: Id
    role: model.Role


class MemberLeft(RoomEvent, tag=EventKind.MEMBER_LEFT.value):
    """`user` went."""

    user: Id


class MemberRemoved(RoomEvent, tag=EventKind.MEMBER_REMOVED.value):
    """`user` was taken out by `actor`; nothing after this event reaches them."""

    user: Id


class MemberRoleChanged(RoomEvent, tag=EventKind.MEMBER_ROLE_CHANGED.value):
    """`user` has another role from here on."""

    user: Id
    role: model.Role


class MemberBanned(RoomEvent, tag=EventKind.MEMBER_BANNED.value):
    """`user` may not become a member until `actor` or somebody else lifts the ban. If they were one, they are none from here
    on: nothing after this event reaches them.
    """

    user: Id


class MemberUnbanned(RoomEvent, tag=EventKind.MEMBER_UNBANNED.value):
    """`user` may become a member again."""

    user: Id


AnyEvent = (
    MessageCreated
    | MessageEdited
    | MessageDeleted
    | MemberJoined
    | MemberLeft
    | MemberRemoved
    | MemberRoleChanged
    | MemberBanned
    | MemberUnbanned
)
STRUCT_BY_KIND: dict[EventKind, type[RoomEvent]] = {
    EventKind(str(kind.__struct_config__.tag)): kind for kind in RoomEvent.__subclasses__()
}
_CREATED = EventKind.MESSAGE_CREATED
_encode = msgspec.json.Encoder().encode
_decode: Callable[[bytes], AnyEvent] = msgspec.json.Decoder(AnyEvent).decode


def encode_event(event: model.Event) -> bytes:
    """Encode an event as the JSON object that every surface shows."""
    if event.kind is _CREATED:  # what there is most of; spelled out, it costs a third
        return _encode(_created(event))
    build = _ON_THE_WIRE.get(event.kind)
    return _encode(_unknown(event) if build is None else build(event))


def _unknown(event: model.Event) -> dict[str, object]:
    """Build an event of a kind that only a newer node knows: all that it has, under the usual names."""
    fields = {name: getattr(event, name) for name in model.Event.__struct_fields__}
    times = {name: None if fields[name] is None else time(fields[name]) for name in ("at", "edited_at", "deleted_at")}
    return {name: value for name, value in (fields | times).items() if value is not None}


def _created(event: model.Event) -> MessageCreated:
    assert event.client_id is not None and event.body is not None  # every message has them
    return MessageCreated(
        room=event.room,
        seq=event.seq,
        at=time(event.at),
        actor=event.actor,
        client_id=event.client_id,
        body=event.body,
        edited_at=None if event.edited_at is None else time(event.edited_at),
        deleted_at=None if event.deleted_at is None else time(event.deleted_at),
    )


def _by_name(struct: type[RoomEvent]) -> Callable[[model.Event], RoomEvent]:
    """Make what builds a struct from the event's fields of the same names."""

    def build(event: model.Event) -> RoomEvent:
        fields = {name: getattr(event, name) for name in struct.__struct_fields__}
        return struct(**fields | {"at": time(event.at)})

    return build


_ON_THE_WIRE: dict[str, Callable[[model.Event], RoomEvent]] = {
    **{kind: _by_name(struct) for kind, struct in STRUCT_BY_KIND.items()},
    EventKind.MESSAGE_CREATED: _created,
}


def decode_event(json: bytes) -> AnyEvent:
    """Decode what `encode_event` made.

    Raises:
        msgspec.ValidationError: when it is something else.
    """
    return _decode(json)
