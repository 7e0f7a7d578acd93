"""Who may do what in a room. Pure: every decision of the project about rooms is a function here.

A function returns None or raises the refusal. Rooms that somebody may not see are answered like rooms that do not
exist.
"""

from __future__ import annotations

from realtime.errors import (
    Banned,
    DirectRoomFixed,
    Forbidden,
    InvalidRequest,
    LastOwner,
    MemberNotFound,
    NotAddable,
    NotAMember,
    RoomNotFound,
)
from realtime.model import MayAdd, Role, RoomKind

_RANK = {Role.MEMBER: 0, Role.ADMIN: 1, Role.OWNER: 2}


def see(kind: RoomKind | None, role: Role | None) -> None:
    """May they know that the room exists? Members may; everybody may of public rooms."""
    if kind is None:
        raise RoomNotFound
    if role is None and kind is not RoomKind.PUBLIC:
        raise RoomNotFound


def read(kind: RoomKind | None, role: Role | None) -> None:
    """May they read and receive? Members only, of public rooms too: whoever was removed is really out."""
    see(kind, role)
    if role is None:
        raise NotAMember


def join(kind: RoomKind | None, role: Role | None, *, banned: bool) -> None:
    """May they join by themselves? Public rooms only, and who is banned may not."""
    see(kind, role)
    if kind is RoomKind.DIRECT:
        raise DirectRoomFixed
    if role is None and kind is not RoomKind.PUBLIC:
        raise RoomNotFound
    if banned:
        raise Banned("You are banned from this room.")


def role_of_newcomer(owners: int) -> Role:
    """Return the role of a user who joins by themselves: a room whose last owner left while alone gets an owner again."""
    return Role.MEMBER if owners else Role.OWNER


def leave(kind: RoomKind | None, role: Role | None, owners: int, members_left: bool) -> None:
    """May they leave? The last owner may only when nobody stays behind."""
    read(kind, role)
    if kind is RoomKind.DIRECT:
        raise DirectRoomFixed
    if role is Role.OWNER and owners < 2 and members_left:
        raise LastOwner


def be_added(may_add: MayAdd, *, blocks: bool, shares: bool) -> None:
    """Does a user let somebody make them a member? Which of the reasons it was is not told.

    Args:
        may_add: Whom they let.
        blocks: Whether they block who would add them.
        shares: Whether both are members of one room.
    """
    if blocks or may_add is MayAdd.NOBODY or (may_add is MayAdd.SHARED_ROOMS and not shares):
        raise NotAddable


def close(kind: RoomKind | None, role: Role | None) -> None:
    """May they close the room, or open it again? Either of the two of a direct room."""
    read(kind, role)
    if kind is not RoomKind.DIRECT:
        raise InvalidRequest("Only direct rooms are closed: leave the others.")


def add(kind: RoomKind | None, actor: Role | None, new: Role) -> None:
    """May `actor` add somebody with the role `new`? Admins and owners may, up to their own role."""
    read(kind, actor)
    assert actor is not None  # read() refused everybody else
    if kind is RoomKind.DIRECT:
        raise DirectRoomFixed
    if actor is Role.MEMBER:
        raise Forbidden
    if _RANK[new] > _RANK[actor]:
        raise Forbidden("Nobody gives a role above their own.")


def change_role(kind: RoomKind | None, actor: Role | None, current: Role | None, new: Role, owners: int) -> None:
    """May `actor` change a member's role from `current` to `new`? Up to their own role, never of somebody above."""
    add(kind, actor, new)
    assert actor is not None  # add() refused everybody else
    if current is None:
        raise MemberNotFound
    if _RANK[current] > _RANK[actor]:
        raise Forbidden("Nobody changes the role of somebody above them.")
    if current is Role.OWNER and new is not Role.OWNER and owners < 2:
        raise LastOwner


def remove(kind: RoomKind | None, actor: Role | None, current: Role | None) -> None:
    """May `actor` take somebody else out? Admins and owners may, only those below them."""
    add(kind, actor, Role.MEMBER)
    assert actor is not None  # add() refused everybody else
    if current is None:
        raise MemberNotFound
    if _RANK[current] >= _RANK[actor] and actor is not Role.OWNER:
        raise Forbidden("Nobody removes somebody of their own role or above.")


def ban(kind: RoomKind | None, actor: Role | None, current: Role | None, *, oneself: bool) -> None:
    """May `actor` ban somebody, a member or not? As they may remove; who is no member is below everybody."""
    add(kind, actor, Role.MEMBER)
    if oneself:
        raise Forbidden("Nobody bans themselves: leave the room.")
    if current is not None:
        remove(kind, actor, current)


def see_bans(kind: RoomKind | None, actor: Role | None) -> None:
    """May `actor` see who is banned, and lift bans? Admins and owners may."""
    add(kind, actor, Role.MEMBER)
