"""What users do with rooms and members, for the socket and REST alike. Every call goes through `policy`."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal

from realtime import errors
from realtime.model import Ban, Event, Member, Role, Room, RoomId, RoomKind, User, UserId, is_uuid
from realtime.rooms import policy
from realtime.rooms.store import Full

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from realtime.log.feeds import Feeds
    from realtime.rooms.store import LockedRoom, Quotas, RoomStore, Willing


class Rooms:
    """The service of rooms and members.

    Args:
        store: Rooms and members.
        feeds: Delivery on this node and to the others.
        new_id: Makes ids.
        tell_user: Called with (user, event name, room as that user sees it) to tell all of a user's connections, on
            every node, that they became a member.
        tell_removed: Called with (user, room, reason, seq of the event) to tell them that they are none any more.
        quotas: How many rooms a user may have.
    """

    def __init__(
        self,
        store: RoomStore,
        feeds: Feeds,
        new_id: Callable[[], str],
        tell_added: Callable[[UserId, Room], None],
        tell_removed: Callable[[UserId, RoomId, str, int], None],
        quotas: Quotas,
    ) -> None:
        self._quotas = quotas
        self._store = store
        self._feeds = feeds
        self._new_id = new_id
        self._tell_added = tell_added
        self._tell_removed = tell_removed

    # -- rooms ------------------------------------------------------------------------------------

    async def create(self, user: User, kind: RoomKind, name: str | None, members: Sequence[str]) -> tuple[Room, bool]:
        """Create a room; its maker owns it, `members` are its founding members.

        Returns:
            The room, and whether it was made now (False: the direct room of these two was there).

        Raises:
            InvalidRequest: a direct room needs exactly one other member and no name.
            UserNotFound: one of the members has no account.
            NotAddable: one of them does not let this user add them.
            QuotaExceeded: one of them has as many rooms as one user may have.
        """
        others = [UserId(member) for member in dict.fromkeys(members) if member != user.id]
        if not all(is_uuid(other) for other in others):
            raise errors.UserNotFound
        founders = [(user.id, Role.OWNER), *((other, Role.MEMBER) for other in others)]
        if kind is RoomKind.DIRECT:
            if len(others) != 1:
                raise errors.InvalidRequest("A direct room has exactly one other member.", field="$.members")
            if name is not None:
                raise errors.InvalidRequest("A direct room has no name of its own.", field="$.name")
            founders = [(one, Role.MEMBER) for one, _ in founders]
        with _quota_of(user.id):
            made = await self._store.create(RoomId(self._new_id()), kind, name, founders, self._quotas, _judge)
        if made is None:
            raise errors.UserNotFound
        room, is_new = made
        if is_new:
            await self._announce(room, [one for one, _ in founders])
        return await self._get(user.id, room), is_new

    async def list_rooms(
        self, user: UserId, scope: Literal["mine", "public", "all"], after: str | None, limit: int
    ) -> tuple[list[Room], bool]:
        """List rooms by ascending id, behind `after`. Returns at most `limit`, and whether there are more."""
        if after is not None and not is_uuid(after):
            raise errors.InvalidRequest("`after` is the id of a room.", field="$.after")
        behind = RoomId(after) if after else None
        found: dict[str, Room] = {}
        if scope != "mine":
            found |= {room.id: room for room in await self._store.list_public(user, behind, limit + 1)}
        if scope != "public":
            found |= {room.id: room for room in await self._store.list_mine(user, behind, limit + 1)}
        rooms = [found[key] for key in sorted(found)]
        return rooms[:limit], len(rooms) > limit

    async def get(self, user: UserId, room: str) -> Room:
        """Return a room that the user may see. Raises RoomNotFound."""
        return await self._get(user, _room_id(room))

    async def _get(self, user: UserId, room: RoomId) -> Room:
        found = await self._store.get(room, user)
        policy.see(found.kind if found else None, found.role if found else None)
        assert found is not None  # see() refused
        return found

    async def readable(self, user: UserId, room: str) -> Room:
        """Return a room that the user may read. Raises RoomNotFound, NotAMember."""
        found = await self.get(user, room)
        policy.read(found.kind, found.role)
        return found

    # -- members ----------------------------------------------------------------------------------

    async def join(self, user: UserId, room: str) -> Room:
        """Join a public room; again is harmless. The first member of a room without an owner owns it."""
        key = _room_id(room)
        event = None
        async with self._store.locked(key, user, user) as locked:
            policy.join(*_seen(locked), banned=locked is not None and locked.is_banned)
            assert locked is not None  # join() refused
            if locked.actor_role is None:
                with _quota_of(user):
                    event = await locked.put(policy.role_of_newcomer(owned=await locked.is_owned()), self._quotas)
        if event is not None:
            self._feeds.committed(key, [event])
        found = await self._get(user, key)
        if event is not None:
            self._tell_added(user, found)
        return found

    async def leave(self, user: UserId, room: str) -> None:
        """Leave a room. Raises LastOwner when members would stay without an owner."""
        key = _room_id(room)
        async with self._store.locked(key, user, user) as locked:
            kind, role = _seen(locked)
            owners = await locked.count_owners() if locked else 0
            others = locked is not None and await locked.has_others()
            policy.leave(kind, role, owners, others)
            assert locked is not None  # leave() refused
            event = await locked.delete()
        self._departed(key, user, event, "left")

    async def close(self, user: UserId, room: str, *, closed: bool) -> None:
        """Close a direct room: nobody writes in it until the same user opens it again. Its history stays."""
        async with self._store.locked(_room_id(room), user, user) as locked:
            policy.close(*_seen(locked))
            assert locked is not None  # close() refused
            await locked.close(closed=closed)

    async def members(self, user: UserId, room: str, after: str | None, limit: int) -> tuple[list[Member], bool]:
        """List members by ascending user id, behind `after`. Returns at most `limit`, and whether there are more."""
        found = await self.readable(user, room)
        members = await self._store.list_members(found.id, _behind(after), limit + 1)
        return members[:limit], len(members) > limit

    async def add_member(self, actor: UserId, room: str, user: str, role: Role) -> tuple[Member, bool]:
        """Add somebody. Returns the member, and False when they were one already (their role stays)."""
        key, whom = _room_id(room), _user_id(user)
        event = None
        async with self._store.locked(key, actor, whom) as locked:
            policy.add(*_seen(locked), role)
            assert locked is not None  # add() refused
            if await locked.find_user() is None:
                raise errors.UserNotFound
            if locked.is_banned:
                raise errors.Banned
            if locked.user_role is None:
                _judge(await locked.willing())
                with _quota_of(actor):
                    event = await locked.put(role, self._quotas)
        if event is not None:
            self._feeds.committed(key, [event])
            await self._announce(key, [whom])
        return await self._member(key, whom), event is not None

    async def change_role(self, actor: UserId, room: str, user: str, role: Role) -> Member:
        """Give a member another role."""
        key, whom = _room_id(room), _user_id(user)
        event = None
        async with self._store.locked(key, actor, whom) as locked:
            kind, actor_role = _seen(locked)
            owners = await locked.count_owners() if locked else 0
            current = locked.user_role if locked else None
            policy.change_role(kind, actor_role, current, role, owners)
            assert locked is not None  # change_role() refused
            if current != role:
                with _quota_of(actor):
                    event = await locked.put(role, self._quotas)
        if event is not None:
            self._feeds.committed(key, [event])
        return await self._member(key, whom)

    async def remove_member(self, actor: UserId, room: str, user: str) -> None:
        """Take somebody out; delivery to them stops with the event that says so. Oneself: the same as leaving."""
        if user == actor:
            await self.leave(actor, room)
            return
        key, whom = _room_id(room), _user_id(user)
        async with self._store.locked(key, actor, whom) as locked:
            policy.remove(*_seen(locked), locked.user_role if locked else None)
            assert locked is not None  # remove() refused
            event = await locked.delete()
        self._departed(key, whom, event, "removed")

    async def ban(self, actor: UserId, room: str, user: str) -> tuple[Ban, bool]:
        """Keep somebody out until the ban is lifted; a member is none any more. Returns False when they were banned already."""
        key, whom = _room_id(room), _user_id(user)
        event = None
        async with self._store.locked(key, actor, whom) as locked:
            policy.ban(*_seen(locked), locked.user_role if locked else None, oneself=actor == whom)
            assert locked is not None  # ban() refused
            if not await locked.user_exists():
                raise errors.UserNotFound
            if not locked.is_banned:
                event = await locked.ban()
        if event is not None and locked.user_role is not None:
            self._departed(key, whom, event, "banned")
        elif event is not None:
            self._feeds.committed(key, [event])
        return await self._ban(key, whom), event is not None

    async def unban(self, actor: UserId, room: str, user: str) -> None:
        """Lift a ban. Raises BanNotFound."""
        key, whom = _room_id(room), _user_id(user)
        async with self._store.locked(key, actor, whom) as locked:
            policy.see_bans(*_seen(locked))
            assert locked is not None  # see_bans() refused
            if not locked.is_banned:
                raise errors.BanNotFound
            event = await locked.unban()
        self._feeds.committed(key, [event])

    async def bans(self, actor: UserId, room: str, after: str | None, limit: int) -> tuple[list[Ban], bool]:
        """List bans by ascending user id, behind `after`. Returns at most `limit`, and whether there are more."""
        found = await self.get(actor, room)
        policy.see_bans(found.kind, found.role)
        bans = await self._store.list_bans(found.id, _behind(after), limit + 1)
        return bans[:limit], len(bans) > limit

    async def get_ban(self, actor: UserId, room: str, user: str) -> Ban:
        """Return one ban. Raises BanNotFound."""
        found = await self.get(actor, room)
        policy.see_bans(found.kind, found.role)
        return await self._ban(found.id, _user_id(user))

    async def _ban(self, room: RoomId, user: UserId) -> Ban:
        ban = await self._store.get_ban(room, user)
        if ban is None:
            raise errors.BanNotFound
        return ban

    def _departed(self, room: RoomId, user: UserId, event: Event, reason: str) -> None:
        self._feeds.committed(room, [event])
        self._tell_removed(user, room, reason, event.seq)

    async def _member(self, room: RoomId, user: UserId) -> Member:
        member = await self._store.get_member(room, user)
        if member is None:
            raise errors.MemberNotFound
        return member

    async def _announce(self, room: RoomId, users: Sequence[UserId]) -> None:
        """Tell new members' connections about their room. They find it in their list too, should this get lost."""
        for user in users:
            found = await self._store.get(room, user)
            if found is not None:
                self._tell_added(user, found)


@contextlib.contextmanager
def _quota_of(actor: UserId) -> Iterator[None]:
    try:
        yield
    except Full as full:
        if full.user == actor:
            raise errors.QuotaExceeded("You have as many rooms as one user may have.") from full
        raise errors.QuotaExceeded("One of these users has as many rooms as one user may have.") from full


def _judge(willing: Willing) -> None:
    policy.be_added(willing.may_add, blocks=willing.blocks, shares=willing.shares)


def _seen(locked: LockedRoom | None) -> tuple[str | None, str | None]:
    return (locked.kind, locked.actor_role) if locked else (None, None)


def _behind(after: str | None) -> UserId | None:
    if after is not None and not is_uuid(after):
        raise errors.InvalidRequest("`after` is the id of a user.", field="$.after")
    return UserId(after) if after else None


def _room_id(room: str) -> RoomId:
    if not is_uuid(room):
        raise errors.RoomNotFound
    return RoomId(room)


def _user_id(user: str) -> UserId:
    if not is_uuid(user):
        raise errors.UserNotFound
    return UserId(user)
