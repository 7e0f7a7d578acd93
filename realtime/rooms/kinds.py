"""The kinds of events of membership. They are numbered by the transaction that changes the membership (`rooms.store`). Pure."""

from __future__ import annotations

from realtime.log.kinds import Kind
from realtime.wire.events import RoomEvent
from realtime.wire.types import Id, Role


class MemberJoined(RoomEvent, tag="member.joined"):
    """`user` is a member from here on: by themselves, or added by `actor`."""

    user: Id
    role: Role


class MemberLeft(RoomEvent, tag="member.left"):
    """`user` went."""

    user: Id


class MemberRemoved(RoomEvent, tag="member.removed"):
    """`user` was taken out by `actor`; nothing after this event reaches them."""

    user: Id


class MemberRoleChanged(RoomEvent, tag="member.role_changed"):
    """`user` has another role from here on."""

    user: Id
    role: Role


class MemberBanned(RoomEvent, tag="member.banned"):
    """`user` may not become a member until `actor` or somebody else lifts the ban. If they were one, they are none from here
    on: nothing after this event reaches them.
    """

    user: Id


class MemberUnbanned(RoomEvent, tag="member.unbanned"):
    """`user` may become a member again."""

    user: Id


JOINED = Kind(event=MemberJoined)
LEFT = Kind(event=MemberLeft, departs="left")
REMOVED = Kind(event=MemberRemoved, departs="removed")
ROLE_CHANGED = Kind(event=MemberRoleChanged)
BANNED = Kind(event=MemberBanned, departs="banned")
UNBANNED = Kind(event=MemberUnbanned)
KINDS = (JOINED, LEFT, REMOVED, ROLE_CHANGED, BANNED, UNBANNED)
