"""What each route does: one call of a service, and its answer as a struct."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from realtime.budgets import Budget
from realtime.errors import InvalidRequest
from realtime.model import RoomKind, UserId, is_uuid
from realtime.surface.rest.route import Call, NoInput, Reply
from realtime.wire import rest
from realtime.wire.types import Account, Answer, Ban, Block, Member, OwnPresence, Room, User, time

if TYPE_CHECKING:
    from realtime import model
    from realtime.model import Event
    from realtime.surface.rest.ports import Committed, SignedIn

MAX_USERS = 100


class EncodedEvents(Answer, frozen=True):
    """`rest.Events`, of events that are JSON already."""

    events: list[msgspec.Raw]
    head_seq: int
    has_more: bool


# -- accounts -------------------------------------------------------------------------------------


async def register(call: Call[rest.Register, NoInput]) -> Reply:
    body = call.body
    made = await call.services.accounts.register(body.username, body.password, body.display_name, call.address, call.agent)
    return Reply(201, _signed_in(made))


async def login(call: Call[rest.Login, NoInput]) -> Reply:
    body = call.body
    made = await call.services.accounts.login(body.username, body.password, call.address, call.agent, body.new_password)
    return Reply(200, _signed_in(made))


async def refresh(call: Call[rest.RefreshRequest, NoInput]) -> Reply:
    return Reply(200, _signed_in(await call.services.accounts.refresh(call.body.refresh_token, call.address)))


async def logout(call: Call[rest.LogoutRequest, NoInput]) -> Reply:
    """End the session of whichever token was given; with both, an access token that has run out does not matter."""
    if call.body.refresh_token is not None:
        await call.services.accounts.logout_by_refresh_token(call.body.refresh_token)
    if call.principal is not None:
        await call.services.accounts.logout(call.principal.session)
    elif call.body.refresh_token is None:
        _ = call.user  # raises what is wrong with the access token
    return Reply(204)


async def me(call: Call[NoInput, NoInput]) -> Reply:
    user = call.user
    return Reply(200, _account(user, await call.services.accounts.is_admin(user.id)))


async def my_presence(call: Call[NoInput, NoInput]) -> Reply:
    return Reply(200, OwnPresence.of(await call.services.presence.setting(call.user_id)))


async def choose_presence(call: Call[rest.ChoosePresence, NoInput]) -> Reply:
    body = call.body
    chosen = await call.services.presence.choose(call.user_id, body.status, body.text, body.text_expires_in_s)
    return Reply(200, OwnPresence.of(chosen))


async def change_password(call: Call[rest.ChangePassword, NoInput]) -> Reply:
    body = call.body
    made = await call.services.accounts.change_password(call.signed_in, body.current_password, body.new_password, call.address)
    return Reply(200, _signed_in(made))


async def list_sessions(call: Call[NoInput, NoInput]) -> Reply:
    found = await call.services.accounts.sessions(call.user_id)
    sessions = [
        rest.Session(
            id=one.id,
            created_at=time(one.created_at),
            last_used_at=time(one.refreshed_at),
            agent=one.agent,
            current=one.id == call.signed_in.session,
        )
        for one in found
    ]
    return Reply(200, rest.Sessions(sessions=sessions))


async def end_session(call: Call[NoInput, NoInput]) -> Reply:
    await call.services.accounts.end_session(call.user_id, call.path["session"])
    return Reply(204)


async def find_users(call: Call[NoInput, rest.FindUsers]) -> Reply:
    query, ids = call.query.query, call.query.ids
    if (query is None) == (ids is None):
        raise InvalidRequest("Give one of query and ids.")
    if query is not None:
        found = await call.services.users.search(query, MAX_USERS)
    else:
        named = list(dict.fromkeys((ids or "").split(",")))
        if len(named) > MAX_USERS or not all(is_uuid(one) for one in named):
            raise InvalidRequest(f"`ids` is up to {MAX_USERS} user ids, joined by commas.", field="$.ids")
        found = await call.services.users.find([UserId(one) for one in named])
    return Reply(200, rest.Users(users=[User.of(user) for user in found]))


async def list_blocks(call: Call[NoInput, rest.ListMembers]) -> Reply:
    blocks, has_more = await call.services.people.blocks(call.user_id, call.query.after, call.query.limit)
    return Reply(200, rest.Blocks(blocks=[Block.of(block) for block in blocks], has_more=has_more))


async def get_block(call: Call[NoInput, NoInput]) -> Reply:
    return Reply(200, Block.of(await call.services.people.get_block(call.user_id, call.path["user"])))


async def block(call: Call[NoInput, NoInput]) -> Reply:
    await call.services.people.block(call.user_id, call.path["user"])
    return Reply(204)


async def unblock(call: Call[NoInput, NoInput]) -> Reply:
    await call.services.people.unblock(call.user_id, call.path["user"])
    return Reply(204)


async def settings(call: Call[NoInput, NoInput]) -> Reply:
    return Reply(200, rest.Settings(may_add=await call.services.people.may_add(call.user_id)))


async def change_settings(call: Call[rest.ChangeSettings, NoInput]) -> Reply:
    await call.services.people.set_may_add(call.user_id, call.body.may_add)
    return Reply(200, rest.Settings(may_add=call.body.may_add))


def _signed_in(made: SignedIn) -> rest.SignedIn:
    return rest.SignedIn(
        user=_account(made.user, made.is_admin),
        access_token=made.access_token,
        refresh_token=made.refresh_token,
        expires_in=made.expires_in,
    )


def _account(user: model.User, is_admin: bool) -> Account:
    return Account(id=user.id, username=user.username, display_name=user.display_name, admin=is_admin)


# -- administration -------------------------------------------------------------------------------


async def status(call: Call[NoInput, NoInput]) -> Reply:
    return Reply(200, call.services.status())


async def list_accounts(call: Call[NoInput, rest.ListAccounts]) -> Reply:
    query = call.query
    found, has_more = await call.services.administration.list_accounts(query.scope, query.query, query.after, query.limit)
    return Reply(200, rest.Accounts(accounts=[_details(one) for one in found], has_more=has_more))


async def get_account(call: Call[NoInput, NoInput]) -> Reply:
    return Reply(200, _details(await call.services.administration.account(call.path["user"])))


async def change_account(call: Call[rest.ChangeAccount, NoInput]) -> Reply:
    body = call.body
    changed = await call.services.administration.change(call.user_id, call.path["user"], admin=body.admin, disabled=body.disabled)
    return Reply(200, _details(changed))


async def end_sessions(call: Call[NoInput, NoInput]) -> Reply:
    await call.services.administration.end_sessions(call.user_id, call.path["user"])
    return Reply(204)


async def reset_password(call: Call[NoInput, NoInput]) -> Reply:
    made = await call.services.administration.reset_password(call.user_id, call.path["user"])
    return Reply(200, rest.OneTimePassword(password=made.password, expires_in=made.expires_in))


def _details(found: model.Account) -> rest.AccountDetails:
    user = found.user
    return rest.AccountDetails(
        id=user.id,
        username=user.username,
        display_name=user.display_name,
        admin=found.is_admin,
        created_at=time(found.created_at),
        sessions=found.sessions,
        disabled_at=time(found.disabled_at) if found.disabled_at else None,
    )


# -- rooms and members ----------------------------------------------------------------------------


async def create_room(call: Call[rest.CreateRoom, NoInput]) -> Reply:
    body, budgets = call.body, call.services.budgets
    if body.kind is not RoomKind.DIRECT and body.members:
        budgets.charge(Budget.ADDS, call.user_id, tokens=len(body.members))
    room, is_new = await call.services.rooms.create(call.user, body.kind, body.name, body.members)
    if not is_new:
        budgets.give_back(Budget.ROOMS, call.user_id)  # the room of these two was there
    return Reply(201 if is_new else 200, Room.of(room), {"Location": f"rooms/{room.id}"})


async def list_rooms(call: Call[NoInput, rest.ListRooms]) -> Reply:
    query = call.query
    rooms, has_more = await call.services.rooms.list_rooms(call.user_id, query.scope, query.after, query.limit)
    return Reply(200, rest.Rooms(rooms=[Room.of(room) for room in rooms], has_more=has_more))


async def get_room(call: Call[NoInput, NoInput]) -> Reply:
    return Reply(200, Room.of(await call.services.rooms.get(call.user_id, call.room)))


async def join_room(call: Call[NoInput, NoInput]) -> Reply:
    return Reply(200, Room.of(await call.services.rooms.join(call.user_id, call.room)))


async def leave_room(call: Call[NoInput, NoInput]) -> Reply:
    await call.services.rooms.leave(call.user_id, call.room)
    return Reply(204)


async def close_room(call: Call[NoInput, NoInput]) -> Reply:
    await call.services.rooms.close(call.user_id, call.room, closed=True)
    return Reply(204)


async def reopen_room(call: Call[NoInput, NoInput]) -> Reply:
    await call.services.rooms.close(call.user_id, call.room, closed=False)
    return Reply(204)


async def list_members(call: Call[NoInput, rest.ListMembers]) -> Reply:
    query = call.query
    members, has_more = await call.services.rooms.members(call.user_id, call.room, query.after, query.limit)
    return Reply(200, rest.Members(members=[Member.of(member) for member in members], has_more=has_more))


async def add_member(call: Call[rest.AddMember, NoInput]) -> Reply:
    body = call.body
    member, is_new = await call.services.rooms.add_member(call.user_id, call.room, body.user, body.role)
    return Reply(201 if is_new else 200, Member.of(member))


async def change_member(call: Call[rest.ChangeMember, NoInput]) -> Reply:
    rooms = call.services.rooms
    return Reply(200, Member.of(await rooms.change_role(call.user_id, call.room, call.path["user"], call.body.role)))


async def remove_member(call: Call[NoInput, NoInput]) -> Reply:
    await call.services.rooms.remove_member(call.user_id, call.room, call.path["user"])
    return Reply(204)


async def list_bans(call: Call[NoInput, rest.ListMembers]) -> Reply:
    query = call.query
    bans, has_more = await call.services.rooms.bans(call.user_id, call.room, query.after, query.limit)
    return Reply(200, rest.Bans(bans=[Ban.of(ban) for ban in bans], has_more=has_more))


async def get_ban(call: Call[NoInput, NoInput]) -> Reply:
    return Reply(200, Ban.of(await call.services.rooms.get_ban(call.user_id, call.room, call.path["user"])))


async def ban(call: Call[NoInput, NoInput]) -> Reply:
    made, is_new = await call.services.rooms.ban(call.user_id, call.room, call.path["user"])
    return Reply(201 if is_new else 200, Ban.of(made))


async def unban(call: Call[NoInput, NoInput]) -> Reply:
    await call.services.rooms.unban(call.user_id, call.room, call.path["user"])
    return Reply(204)


# -- messages -------------------------------------------------------------------------------------


async def send_message(call: Call[rest.SendMessage, NoInput]) -> Reply:
    body = call.body
    call.services.budgets.admit_send(call.user_id, body.body)
    done = await call.services.rooms.send(call.user_id, call.room, body.client_id, body.body)
    return Reply(200 if done.duplicate else 201, _sent(call.room, done, body.client_id))


async def edit_message(call: Call[rest.EditMessage, NoInput]) -> Reply:
    body = call.body
    seq = call.seq
    call.services.budgets.admit_send(call.user_id, body.body)
    done = await call.services.rooms.edit(call.user_id, call.room, seq, body.body, body.client_id)
    return Reply(200, _sent(call.room, done, body.client_id))


async def delete_message(call: Call[NoInput, rest.DeleteMessage]) -> Reply:
    seq = call.seq
    call.services.budgets.admit_send(call.user_id, None)
    done = await call.services.rooms.delete(call.user_id, call.room, seq, call.query.client_id)
    return Reply(200, _sent(call.room, done, call.query.client_id))


async def list_messages(call: Call[NoInput, rest.ListMessages]) -> Reply:
    query = call.query
    page = await call.services.rooms.messages(call.user_id, call.room, query.before, query.after, query.around, query.limit)
    messages = [_message(event) for event in page.messages]
    return Reply(
        200,
        rest.Messages(messages=messages, head_seq=page.head_seq, has_before=page.has_before, has_after=page.has_after),
    )


async def list_events(call: Call[NoInput, rest.ListEvents]) -> Reply:
    page = await call.services.rooms.events(call.user_id, call.room, call.query.since, call.query.limit)
    events = [msgspec.Raw(event) for event in page.events]
    return Reply(200, EncodedEvents(events=events, head_seq=page.head_seq, has_more=page.has_more))


def _sent(room: str, done: Committed, client_id: str | None) -> rest.Sent:
    return rest.Sent(room=room, seq=done.seq, at=time(done.at), client_id=client_id, duplicate=done.duplicate)


def _message(event: Event) -> rest.Message:
    return rest.Message(
        room=event.room,
        seq=event.seq,
        at=time(event.at),
        author=event.actor,
        client_id=event.client_id or "",
        body=event.body or "",
        edited_at=time(event.edited_at) if event.edited_at else None,
        deleted_at=time(event.deleted_at) if event.deleted_at else None,
    )
