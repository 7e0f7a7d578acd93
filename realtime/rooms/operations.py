"""What users do with rooms and their members."""

from __future__ import annotations

from realtime import errors
from realtime.budgets import Budget
from realtime.model import RoomKind, Scope
from realtime.operations import Caller, Made, Operation, Rest, Row
from realtime.rooms.service import Rooms
from realtime.wire import rest
from realtime.wire.types import Ban, Member, MemberRef, Room, RoomRef

_ROOM = (errors.RoomNotFound,)
_MODERATE = (*_ROOM, errors.NotAMember, errors.Forbidden, errors.DirectRoomFixed)


# -- rooms --------------------------------------------------------------------------------------------


async def create_room(rooms: Rooms, caller: Caller, request: rest.CreateRoom) -> Made[Room]:
    room, is_new = await rooms.create(caller.user, request.kind, request.name, request.members)
    return Made(Room.of(room), is_new, location=f"rooms/{room.id}")


def _costs_of_creating(request: rest.CreateRoom) -> list[tuple[Budget, int]]:
    added = 0 if request.kind is RoomKind.DIRECT else len(request.members)
    return [(Budget.ADDS, added), (Budget.ROOMS, 1)] if added else [(Budget.ROOMS, 1)]


async def list_rooms(rooms: Rooms, caller: Caller, request: rest.ListRooms) -> rest.Rooms:
    found, has_more = await rooms.list_rooms(caller.user_id, request.scope, request.after, request.limit)
    return rest.Rooms(rooms=[Room.of(room) for room in found], has_more=has_more)


async def get_room(rooms: Rooms, caller: Caller, request: RoomRef) -> Room:
    return Room.of(await rooms.get(caller.user_id, request.room))


async def join_room(rooms: Rooms, caller: Caller, request: RoomRef) -> Room:
    return Room.of(await rooms.join(caller.user_id, request.room))


async def leave_room(rooms: Rooms, caller: Caller, request: RoomRef) -> None:
    await rooms.leave(caller.user_id, request.room)


async def close_room(rooms: Rooms, caller: Caller, request: RoomRef) -> None:
    await rooms.close(caller.user_id, request.room, closed=True)


async def reopen_room(rooms: Rooms, caller: Caller, request: RoomRef) -> None:
    await rooms.close(caller.user_id, request.room, closed=False)


# -- members and bans ---------------------------------------------------------------------------------


async def list_members(rooms: Rooms, caller: Caller, request: rest.ListMembers) -> rest.Members:
    members, has_more = await rooms.members(caller.user_id, request.room, request.after, request.limit)
    return rest.Members(members=[Member.of(member) for member in members], has_more=has_more)


async def add_member(rooms: Rooms, caller: Caller, request: rest.AddMember) -> Made[Member]:
    member, is_new = await rooms.add_member(caller.user_id, request.room, request.user, request.role)
    return Made(Member.of(member), is_new)


async def change_member(rooms: Rooms, caller: Caller, request: rest.ChangeMember) -> Member:
    return Member.of(await rooms.change_role(caller.user_id, request.room, request.user, request.role))


async def remove_member(rooms: Rooms, caller: Caller, request: MemberRef) -> None:
    await rooms.remove_member(caller.user_id, request.room, request.user)


async def list_bans(rooms: Rooms, caller: Caller, request: rest.ListMembers) -> rest.Bans:
    bans, has_more = await rooms.bans(caller.user_id, request.room, request.after, request.limit)
    return rest.Bans(bans=[Ban.of(ban) for ban in bans], has_more=has_more)


async def get_ban(rooms: Rooms, caller: Caller, request: MemberRef) -> Ban:
    return Ban.of(await rooms.get_ban(caller.user_id, request.room, request.user))


async def ban(rooms: Rooms, caller: Caller, request: MemberRef) -> Made[Ban]:
    made, is_new = await rooms.ban(caller.user_id, request.room, request.user)
    return Made(Ban.of(made), is_new)


async def unban(rooms: Rooms, caller: Caller, request: MemberRef) -> None:
    await rooms.unban(caller.user_id, request.room, request.user)


OPERATIONS: tuple[Row, ...] = (
    Operation(
        name="create_room",
        summary="Create a room and own it. The direct room of two users is found again (200).",
        request=rest.CreateRoom,
        handler=create_room,
        scope=Scope.ROOMS_WRITE,
        budget=Budget.ROOMS,
        costs=_costs_of_creating,
        refunds=lambda made: not made.is_new,
        errors=(errors.UserNotFound, errors.NotAddable),
        rest=Rest(method="POST", path="/rooms", tag="Rooms", answers={201: Room, 200: Room}),
    ),
    Operation(
        name="list_rooms",
        summary="List your rooms and public ones, by ascending id.",
        request=rest.ListRooms,
        handler=list_rooms,
        scope=Scope.ROOMS_READ,
        rest=Rest(method="GET", path="/rooms", tag="Rooms", answers={200: rest.Rooms}),
    ),
    Operation(
        name="get_room",
        summary="Get a room.",
        request=RoomRef,
        handler=get_room,
        scope=Scope.ROOMS_READ,
        errors=_ROOM,
        rest=Rest(method="GET", path="/rooms/{room}", tag="Rooms", answers={200: Room}),
    ),
    Operation(
        name="join_room",
        summary="Join a public room. To join again is harmless.",
        request=RoomRef,
        handler=join_room,
        scope=Scope.MEMBERS_WRITE,
        budget=Budget.JOINS,
        errors=(*_ROOM, errors.Banned, errors.DirectRoomFixed),
        rest=Rest(method="POST", path="/rooms/{room}/join", tag="Rooms", answers={200: Room}),
    ),
    Operation(
        name="leave_room",
        summary="Leave a room.",
        request=RoomRef,
        handler=leave_room,
        scope=Scope.MEMBERS_WRITE,
        budget=Budget.JOINS,
        errors=(*_ROOM, errors.NotAMember, errors.LastOwner, errors.DirectRoomFixed),
        rest=Rest(method="POST", path="/rooms/{room}/leave", tag="Rooms", answers={204: None}),
    ),
    Operation(
        name="close_room",
        summary="Close a direct room: no user writes in it until you open it again. Its history stays.",
        request=RoomRef,
        handler=close_room,
        scope=Scope.ROOMS_WRITE,
        budget=Budget.MODERATION,
        errors=_ROOM,
        rest=Rest(method="PUT", path="/rooms/{room}/closed", tag="Rooms", answers={204: None}),
    ),
    Operation(
        name="reopen_room",
        summary="Open a direct room that you closed. It stays closed while the other user has closed it.",
        request=RoomRef,
        handler=reopen_room,
        scope=Scope.ROOMS_WRITE,
        budget=Budget.MODERATION,
        errors=_ROOM,
        rest=Rest(method="DELETE", path="/rooms/{room}/closed", tag="Rooms", answers={204: None}),
    ),
    Operation(
        name="list_members",
        summary="List a room's members, by ascending user id.",
        request=rest.ListMembers,
        handler=list_members,
        scope=Scope.MEMBERS_READ,
        errors=(*_ROOM, errors.NotAMember),
        rest=Rest(method="GET", path="/rooms/{room}/members", tag="Members", answers={200: rest.Members}),
    ),
    Operation(
        name="add_member",
        summary="Add a member. A user who is a member already keeps their role (200).",
        request=rest.AddMember,
        handler=add_member,
        scope=Scope.MEMBERS_WRITE,
        budget=Budget.ADDS,
        errors=(
            *_ROOM, errors.UserNotFound, errors.NotAMember, errors.Banned, errors.Forbidden, errors.DirectRoomFixed,
            errors.NotAddable,
        ),
        rest=Rest(method="POST", path="/rooms/{room}/members", tag="Members", answers={201: Member, 200: Member}),
    ),
    Operation(
        name="change_member",
        summary="Change a member's role.",
        request=rest.ChangeMember,
        handler=change_member,
        scope=Scope.MEMBERS_WRITE,
        budget=Budget.MODERATION,
        errors=(
            *_ROOM, errors.UserNotFound, errors.MemberNotFound, errors.NotAMember, errors.Forbidden, errors.LastOwner,
            errors.DirectRoomFixed, errors.QuotaExceeded,
        ),
        rest=Rest(method="PATCH", path="/rooms/{room}/members/{user}", tag="Members", answers={200: Member}),
    ),
    Operation(
        name="remove_member",
        summary="Remove a member. Nothing of the room reaches them any more.",
        request=MemberRef,
        handler=remove_member,
        scope=Scope.MEMBERS_WRITE,
        budget=Budget.MODERATION,
        errors=(
            *_ROOM, errors.UserNotFound, errors.MemberNotFound, errors.NotAMember, errors.Forbidden, errors.LastOwner,
            errors.DirectRoomFixed,
        ),
        rest=Rest(method="DELETE", path="/rooms/{room}/members/{user}", tag="Members", answers={204: None}),
    ),
    Operation(
        name="list_bans",
        summary="List the users banned from a room, by ascending user id (admins and owners).",
        request=rest.ListMembers,
        handler=list_bans,
        scope=Scope.MEMBERS_READ,
        errors=_MODERATE,
        rest=Rest(method="GET", path="/rooms/{room}/bans", tag="Members", answers={200: rest.Bans}),
    ),
    Operation(
        name="get_ban",
        summary="Get a ban: by whom, and since when (admins and owners).",
        request=MemberRef,
        handler=get_ban,
        scope=Scope.MEMBERS_READ,
        errors=(*_MODERATE, errors.UserNotFound, errors.BanNotFound),
        rest=Rest(method="GET", path="/rooms/{room}/bans/{user}", tag="Members", answers={200: Ban}),
    ),
    Operation(
        name="ban",
        summary="Ban a user from a room until the ban is lifted. A member is removed. To ban again is harmless (200).",
        request=MemberRef,
        handler=ban,
        scope=Scope.MEMBERS_WRITE,
        budget=Budget.MODERATION,
        errors=(*_MODERATE, errors.UserNotFound),
        rest=Rest(method="PUT", path="/rooms/{room}/bans/{user}", tag="Members", answers={201: Ban, 200: Ban}),
    ),
    Operation(
        name="unban",
        summary="Lift a ban. The user may join or be added again.",
        request=MemberRef,
        handler=unban,
        scope=Scope.MEMBERS_WRITE,
        budget=Budget.MODERATION,
        errors=(*_MODERATE, errors.UserNotFound, errors.BanNotFound),
        rest=Rest(method="DELETE", path="/rooms/{room}/bans/{user}", tag="Members", answers={204: None}),
    ),
)  # fmt: skip
"""Served by `Rooms`."""
