"""The Socket.IO surface: requests with their acks, and what the server emits. `operations` binds requests to events."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from realtime.wire.events import RoomEvent
from realtime.wire.types import (
    MAX_WATCHED_ROOMS,
    MAX_WATCHED_USERS,
    Answer,
    Body,
    ClientId,
    Epoch,
    Error,
    Id,
    OwnPresence,
    PresenceChoice,
    Request,
    Role,
    Room,
    RoomId,
    RoomRef,
    Seq,
    SignalKind,
    Since,
    Status,
    Time,
    Token,
    User,
    UserId,
    Written,
)


class ConnectAuth(msgspec.Struct, frozen=True, kw_only=True):
    """The payload of the Socket.IO CONNECT packet. Other fields are passed over: clients add some (`pid`, `offset`)."""

    token: Annotated[str, Meta(min_length=1, max_length=4096, description="The access token.")]


class RoomSince(Request):
    """A room, and how far the client holds it. Without `since` the subscription starts at the head, with no events.

    `epoch`: in which it was received, where that is another one than that of the whole request.
    """

    room: RoomId
    since: Since | None = None
    epoch: Epoch | None = None


class RoomSubscribe(Request):
    """Receive the live events of rooms, and what was missed since `since`.

    `epoch`: in which what is held was received. Where it is an older one, rooms are reset.
    """

    rooms: Annotated[list[RoomSince], Meta(min_length=1, max_length=1000)]
    epoch: Epoch | None = None


class RoomUnsubscribe(Request):
    """Stop receiving rooms. A room that was not subscribed is passed over."""

    rooms: Annotated[list[RoomId | RoomRef], Meta(min_length=1, max_length=1000)]


class MessageSend(Written):
    """Write a message. The answer comes after PostgreSQL committed it."""

    room: RoomId
    client_id: ClientId
    body: Body


class MessageEdit(Written):
    """Change the text of one's own message, at most 1,000 times."""

    room: RoomId
    seq: Seq
    body: Body
    client_id: ClientId | None = None


class MessageDelete(Written):
    """Delete one's own message (admins: any). Its text is erased from the store."""

    room: RoomId
    seq: Seq
    client_id: ClientId | None = None


class Signal(Request):
    """Tell those who are looking at a room something that needs no memory. Delivered at most once."""

    room: RoomId
    kind: SignalKind
    data: Any = None


class PresenceSet(PresenceChoice):
    """Choose what others see of you, on all devices (`status`, `text`), or say that this one is idle. What is left out stays.

    `status`: `invisible` is for everybody else the same as not being there. `idle` is of this connection; whoever is online is
    shown as away when all their connections are idle.
    """

    idle: bool | None = None


class PresenceWatch(Request):
    """Watch these users and rooms (this replaces what was watched before): a snapshot follows, then changes.

    `rooms`: subscribed ones. Of a small room every member is watched, of a large one their number. When somebody joins, watch
    again.
    """

    users: Annotated[list[UserId], Meta(max_length=MAX_WATCHED_USERS)]
    rooms: Annotated[list[RoomId], Meta(max_length=MAX_WATCHED_ROOMS)] = msgspec.field(default_factory=list)


class AuthRefresh(Request):
    """Put a new access token of the same session on the open connection."""

    token: Token


# -- acks -----------------------------------------------------------------------------------------


class Ok(Answer, kw_only=True):
    ok: Literal[True] = msgspec.field(default_factory=lambda: True)


class Refused(Answer, kw_only=True):
    """The ack of every refused request."""

    error: Error
    ok: Literal[False] = msgspec.field(default_factory=lambda: False)


class Appended(Ok, kw_only=True):
    """The event is committed with this `seq`. `duplicate`: it was there before, and this is the first answer again."""

    seq: int
    at: Time
    duplicate: bool = False


class SubscribedRoom(Answer):
    """One room of a subscribe ack: `events` (all of (`since`, `head_seq`]), or `reset`, or `error`."""

    room: Id
    head_seq: Annotated[int, Meta(description="The seq after which events follow on this connection.")] | None = None
    role: Role | None = None
    events: list[RoomEvent] | None = None
    behind: Annotated[
        int, Meta(description="How many events are there already behind `head_seq`: they follow as fast as they are read.")
    ] = 0
    reset: bool = False
    error: Error | None = None


class Subscribed(Ok, kw_only=True):
    rooms: list[SubscribedRoom]
    epoch: Epoch


class PresenceChosen(Ok, kw_only=True):
    """What is chosen now; left out where only `idle` was said."""

    presence: OwnPresence | None = None


class Refreshed(Ok, kw_only=True):
    expires_in: Annotated[int, Meta(description="Seconds until the new token expires.")]


# -- what the server emits ------------------------------------------------------------------------


class Limits(Answer):
    """What this connection may do, so that clients need not guess."""

    body_chars: int
    packet_bytes: int
    subscriptions: int
    sends_per_s: int
    sends_burst: int
    signals_per_s: int
    resume_events: int


class Ready(Answer):
    """The connection is authenticated and open for requests."""

    user: User
    session: Id
    node: str
    limits: Limits
    epoch: Epoch


class SignalEmitted(Answer):
    """Somebody who receives the room tells the others something that needs no memory."""

    room: Id
    user: Id
    kind: str
    data: Any = None


class Presence(Answer):
    """How the watched users are. `snapshot` marks the first one after `presence.watch`: it takes the place of all before.

    `rooms`: how many members of the watched large rooms are there. `own`: what you chose, on whatever device.
    """

    users: list[PresenceOf]
    rooms: list[RoomCount] = msgspec.field(default_factory=list)
    own: OwnPresence | None = None
    snapshot: bool = False


class PresenceOf(Answer):
    """One user as others see them. `text`: in their own words. `last_seen_at`: of who is not there, where it is known."""

    user: Id
    status: Status
    text: str | None = None
    text_expires_at: Time | None = None
    last_seen_at: Time | None = None


class RoomCount(Answer):
    """How many members of a room are there."""

    room: Id
    online: int


class RoomReset(Answer):
    """Drop what you hold of this room and read it again over REST, from `head_seq` backwards."""

    room: Id
    head_seq: int


class RoomRemoved(Answer):
    """You are no longer entitled to this room; nothing of it follows. May come twice."""

    room: Id
    reason: Literal["left", "removed", "banned"]


class RoomAdded(Answer):
    """You have become a member of this room, on whatever device: show it, and subscribe if you like."""

    room: Room


class ServerDrain(Answer):
    """This node is going; come back after this pause (spread over clients)."""

    reconnect_after_ms: int


class Closing(Answer):
    """Why the server closes the connection right after this."""

    code: str
    retryable: bool


EMITTED: dict[str, type[msgspec.Struct]] = {
    "ready": Ready,
    "signal": SignalEmitted,
    "presence": Presence,
    "room.reset": RoomReset,
    "room.removed": RoomRemoved,
    "room.added": RoomAdded,
    "server.drain": ServerDrain,
    "closing": Closing,
}
"""Every event name the server emits beside the kinds of events of rooms, with its payload."""
