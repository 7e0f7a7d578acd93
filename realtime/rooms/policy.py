"""Who may do what in a room. Pure: every decision of the project about rooms is a function here.

A function returns None or raises the refusal. Rooms that somebody may not see are answered like rooms that do not
exist.

Kinds of rooms and roles that only newer nodes know are judged so that nothing is allowed that the newer node might refuse
(docs/decisions/049-what-newer-nodes-write.md): such a room is seen, read and written in by its members as a private one, and its
members are not changed here; such a member has the rights of `member`, and only owners change or remove them.
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
    Unavailable,
)
from realtime.model import MayAdd, Role, RoomKind

_RANK: dict[str, int] = {Role.MEMBER: 0, Role.ADMIN: 1, Role.OWNER: 2}
_KINDS: frozenset[str] = frozenset(RoomKind)


def _rank(actor: str) -> int:
    """Return how high a role stands when its bearer acts; one that only newer nodes know is the lowest."""
    return _RANK.get(actor, _RANK[Role.MEMBER])


def _height(target: str) -> int:
    """Return how high a role stands when its bearer is acted upon; one that only newer nodes know may be the highest."""
    return _RANK.get(target, _RANK[Role.OWNER])


def _change_members(kind: str | None) -> None:
    """May anybody become a member, stop being one, or get another role, as far as the kind of the room goes?"""
    if kind == RoomKind.DIRECT:
        raise DirectRoomFixed
    if kind not in _KINDS:
        raise Unavailable("Only servers of a newer release know the rules of this room: try again when all are of it.")


def see(kind: str | None, role: str | None) -> None:
    """May they know that the room exists? Members may; everybody may of public rooms."""
    if kind is None:
        raise RoomNotFound
    if role is None and kind != RoomKind.PUBLIC:
        raise RoomNotFound


def read(kind: str | None, role: str | None) -> None:
    """May they read and receive? Members only, of public rooms too: whoever was removed is really out."""
    see(kind, role)
    if role is None:
        raise NotAMember


def join(kind: str | None, role: str | None, *, banned: bool) -> None:
    """May they join by themselves? Public rooms only, and who is banned may not."""
    see(kind, role)
    _change_members(kind)
    if role is None and kind != RoomKind.PUBLIC:
        raise RoomNotFound
    if banned:
        raise Banned("You are banned from this room.")


def role_of_newcomer(*, owned: bool) -> Role:
    """Return the role of a user who joins by themselves: a room whose last owner left while alone gets an owner again.

    Args:
        owned: Whether a member owns the room, or may, by a role that only newer nodes know.
    """
    return Role.MEMBER if owned else Role.OWNER


def leave(kind: str | None, role: str | None, owners: int, members_left: bool) -> None:
    """May they leave? The last owner may only when nobody stays behind."""
    read(kind, role)
    _change_members(kind)
    if role == Role.OWNER and owners < 2 and members_left:
        raise LastOwner


def be_added(may_add: str, *, blocks: bool, shares: bool) -> None:
    """Does a user let somebody make them a member? Which of the reasons it was is not told.

    Args:
        may_add: Whom they let; what only newer nodes know lets nobody.
        blocks: Whether they block who would add them.
        shares: Whether both are members of one room.
    """
    if blocks or not (may_add == MayAdd.EVERYBODY or (may_add == MayAdd.SHARED_ROOMS and shares)):
        raise NotAddable


def close(kind: str | None, role: str | None) -> None:
    """May they close the room, or open it again? Either of the two of a direct room."""
    read(kind, role)
    if kind != RoomKind.DIRECT:
        raise InvalidRequest("Only direct rooms are closed: leave the others.")


def add(kind: str | None, actor: str | None, new: Role) -> None:
    """May `actor` add somebody with the role `new`? Admins and owners may, up to their own role."""
    read(kind, actor)
    assert actor is not None  # read() refused everybody else
    _change_members(kind)
    if _rank(actor) == _RANK[Role.MEMBER]:
        raise Forbidden
    if _RANK[new] > _rank(actor):
        raise Forbidden("Nobody gives a role above their own.")


def change_role(kind: str | None, actor: str | None, current: str | None, new: Role, owners: int) -> None:
    """May `actor` change a member's role from `current` to `new`? Up to their own role, never of somebody above."""
    add(kind, actor, new)
    assert actor is not None  # add() refused everybody else
    if current is None:
        raise MemberNotFound
    if _height(current) > _rank(actor):
        raise Forbidden("Nobody changes the role of somebody above them.")
    if current == Role.OWNER and new != Role.OWNER and owners < 2:
        raise LastOwner


def remove(kind: str | None, actor: str | None, current: str | None) -> None:
    """May `actor` take somebody else out? Admins and owners may, only those below them."""
    add(kind, actor, Role.MEMBER)
    assert actor is not None  # add() refused everybody else
    if current is None:
        raise MemberNotFound
    if _height(current) >= _rank(actor) and actor != Role.OWNER:
        raise Forbidden("Nobody removes somebody of their own role or above.")


def ban(kind: str | None, actor: str | None, current: str | None, *, oneself: bool) -> None:
    """May `actor` ban somebody, a member or not? As they may remove; who is no member is below everybody."""
    add(kind, actor, Role.MEMBER)
    if oneself:
        raise Forbidden("Nobody bans themselves: leave the room.")
    if current is not None:
        remove(kind, actor, current)


def see_bans(kind: str | None, actor: str | None) -> None:
    """May `actor` see who is banned, and lift bans? Admins and owners may."""
    add(kind, actor, Role.MEMBER)
