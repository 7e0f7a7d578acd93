"""Rooms and members. Who may do what is decided by `rooms.policy`, inside the transaction, under the room's row lock."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from realtime.model import Access, Ban, Event, MayAdd, Member, Role, Room, RoomId, RoomKind, User, UserId, known
from realtime.rooms import kinds
from realtime.store import queries

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    import asyncpg

    from realtime.log.kinds import Kind
    from realtime.store.pool import Database

_SQL = queries.load("rooms", "rooms")
_PEOPLE = queries.load("rooms", "people")
_NEVER = 1 << 62
NIL = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Quotas:
    """How many rooms a user is a member of, and owns, at most."""

    rooms: int = 10_000
    owned: int = 2_000


@dataclass(frozen=True, slots=True)
class Willing:
    """What a user wants of somebody who would add them.

    Args:
        may_add: Whom they let.
        blocks: Whether they block that one.
        shares: Whether both are members of one room; looked up where it matters.
    """

    may_add: str
    blocks: bool
    shares: bool


class Full(Exception):
    """A user has as many rooms as one user may have.

    Args:
        user: Who.
    """

    def __init__(self, user: UserId) -> None:
        super().__init__()
        self.user = user


class LockedRoom:
    """A room whose row is locked by an open transaction: nothing is numbered in it until the transaction ends.

    Args:
        actor_role: The role of who asks, None for somebody who is not a member.
        user_role: The role of the user concerned.
        is_banned: Whether the user concerned is.
    """

    def __init__(self, connection: Any, room: RoomId, actor: UserId, user: UserId, kind: str, standing: asyncpg.Record) -> None:
        self._connection = connection
        self._room = room
        self._actor = actor
        self._user = user
        self.kind = kind
        self.actor_role = _role(standing["actor_role"])
        self.user_role = _role(standing["user_role"])
        self.is_banned: bool = standing["is_banned"]

    async def count_owners(self) -> int:
        """Return the number of owners, counting no further than 2."""
        return int(await self._connection.fetchval(_SQL.count_owners, self._room))

    async def is_owned(self) -> bool:
        """Tell whether there is an owner, or somebody whose role this release does not know: they may be one."""
        return bool(await self._connection.fetchval(_SQL.is_owned, self._room))

    async def has_others(self) -> bool:
        """Tell whether anybody but the user concerned is a member."""
        return bool(await self._connection.fetchval(_SQL.has_others, self._room, self._user))

    async def find_user(self) -> User | None:
        """Return the user concerned if the account exists and is open."""
        row = await self._connection.fetchrow(_SQL.find_user, self._user)
        return None if row is None else _user(row)

    async def user_exists(self) -> bool:
        """Tell whether there is an account of the user concerned, open or disabled."""
        return await self._connection.fetchrow(_SQL.any_user, self._user) is not None

    async def put(self, role: Role, quotas: Quotas) -> Event:
        """Make the user a member with this role, or change their role; number the event. Raises Full."""
        if self.user_role is None or role is Role.OWNER:
            joins = self.user_role is None
            await require_space(self._connection, [self._user], quotas, joins=joins, owns=role is Role.OWNER)
        await self._connection.execute(_SQL.put_member, self._room, self._user, role.value)
        if self.user_role is None:
            return await self._append(kinds.JOINED, role, 1)
        return await self._append(kinds.ROLE_CHANGED, role, 0)

    async def willing(self) -> Willing:
        """Return what the user concerned wants of who asks."""
        [found] = await _willing(self._connection, self._actor, [self._user])
        return found

    async def close(self, *, closed: bool) -> None:
        """Close a direct room for both, or take back what the one who asks has closed."""
        await self._connection.execute(_SQL.set_closed, self._room, self._actor, closed)
        await self._connection.execute(_SQL.silence, self._room)

    async def delete(self) -> Event:
        """Take the member out; number the event."""
        await self._connection.execute(_SQL.delete_member, self._room, self._user)
        kind = kinds.LEFT if self._actor == self._user else kinds.REMOVED
        return await self._append(kind, None, -1)

    async def ban(self) -> Event:
        """Ban the user; if they are a member, they are none any more. Number the event."""
        change = 0
        if self.user_role is not None:
            await self._connection.execute(_SQL.delete_member, self._room, self._user)
            change = -1
        event = await self._append(kinds.BANNED, None, change)
        await self._connection.execute(_SQL.put_ban, self._room, self._user, self._actor, event.at)
        return event

    async def unban(self) -> Event:
        """Lift the ban; number the event."""
        await self._connection.execute(_SQL.delete_ban, self._room, self._user)
        return await self._append(kinds.UNBANNED, None, 0)

    async def _append(self, kind: Kind, role: Role | None, change: int) -> Event:
        row = await self._connection.fetchrow(
            _SQL.append_membership, self._room, kind.name, self._actor, self._user, role.value if role else None, change
        )
        return Event(room=self._room, seq=row["seq"], kind=kind.name, actor=self._actor, at=row["at"], user=self._user, role=role)


class RoomStore:
    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        room: RoomId,
        kind: RoomKind,
        name: str | None,
        members: Sequence[tuple[UserId, Role]],
        quotas: Quotas,
        judge: Callable[[Willing], None],
    ) -> tuple[RoomId, bool] | None:
        """Create a room with its founding members; they are its state at seq 0 and no events.

        Args:
            members: Who makes it, and then the others.
            judge: Called for each of the others; what it raises undoes everything.

        Returns:
            The room's id and whether it was made now (a direct room of the same two is found again), or None when one
            of the members has no open account.

        Raises:
            Full: one of the members has as many rooms as one user may have.
        """
        users = [user for user, _ in members]
        key = direct_key(users) if kind is RoomKind.DIRECT else None
        async with self._database.transaction() as connection:
            if key is not None:
                await connection.execute(_PEOPLE.pair, key)
            if await connection.fetchval(_SQL.known_users, users) != len(users):
                return None
            made = await connection.fetchval(_SQL.insert_room, room, kind.value, name, key, len(users))
            if made is None:
                return RoomId(str(await connection.fetchval(_SQL.find_direct, key))), False
            for one in await _willing(connection, users[0], users[1:]):
                judge(one)
            await require_space(connection, users, quotas, joins=True, owns=False)
            await require_space(connection, [one for one, role in members if role is Role.OWNER], quotas, joins=False, owns=True)
            await connection.execute(_SQL.insert_members, room, users, [role.value for _, role in members])
            if key is not None:
                await connection.execute(_SQL.silence, room)  # who makes it may block the other one
            return room, True

    async def get(self, room: RoomId, user: UserId) -> Room | None:
        """Return a room as this user sees it, whether or not they may."""
        row = await self._database.fetchrow(_SQL.get, room, user)
        return None if row is None else _room(row)

    async def list_mine(self, user: UserId, after: RoomId | None, limit: int) -> list[Room]:
        """Return the user's rooms by ascending id, behind `after`."""
        return [_room(row) for row in await self._database.fetch(_SQL.list_mine, user, after or NIL, limit)]

    async def list_public(self, user: UserId, after: RoomId | None, limit: int) -> list[Room]:
        """Return public rooms by ascending id, behind `after`, with the user's role where there is one."""
        return [_room(row) for row in await self._database.fetch(_SQL.list_public, user, after or NIL, limit)]

    @contextlib.asynccontextmanager
    async def locked(self, room: RoomId, actor: UserId, user: UserId) -> AsyncIterator[LockedRoom | None]:
        """Lock a room for a change of membership; None when there is no such room. An exception rolls back."""
        async with self._database.transaction() as connection:
            kind = await connection.fetchval(_SQL.lock, room)
            if kind is None:
                yield None
                return
            standing = await connection.fetchrow(_SQL.standing, room, actor, user)
            assert standing is not None  # one row, whoever they are
            yield LockedRoom(connection, room, actor, user, known(RoomKind, kind), standing)

    async def list_members(self, room: RoomId, after: UserId | None, limit: int) -> list[Member]:
        """Return members by ascending user id, behind `after`."""
        return [_member(row) for row in await self._database.fetch(_SQL.list_members, room, after or NIL, limit)]

    async def get_member(self, room: RoomId, user: UserId) -> Member | None:
        """Return one member."""
        row = await self._database.fetchrow(_SQL.get_member, room, user)
        return None if row is None else _member(row)

    async def list_bans(self, room: RoomId, after: UserId | None, limit: int) -> list[Ban]:
        """Return bans by ascending user id, behind `after`."""
        return [_ban(row) for row in await self._database.fetch(_SQL.list_bans, room, after or NIL, limit)]

    async def get_ban(self, room: RoomId, user: UserId) -> Ban | None:
        """Return one ban."""
        row = await self._database.fetchrow(_SQL.get_ban, room, user)
        return None if row is None else _ban(row)

    async def access(self, pairs: Sequence[tuple[RoomId, UserId]]) -> list[Access | None]:
        """Tell for each (room, user) what the room is and the user's role in it; None: no such room. One query."""
        found: list[Access | None] = [None] * len(pairs)
        rows = await self._database.fetch(_SQL.access, [room for room, _ in pairs], [user for _, user in pairs])
        for row in rows:
            kind, role = known(RoomKind, row["kind"]), _role(row["role"])
            found[row["ord"] - 1] = Access(kind, row["head_seq"], role, str(row["epoch"]), row["restored_seq"])
        return found

    async def epoch(self) -> str:
        """Return the epoch of the database, which a restore replaces."""
        row = await self._database.fetchrow(_SQL.epoch)
        return "" if row is None else str(row["id"])

    async def heads(self, rooms: Sequence[RoomId]) -> dict[RoomId, int]:
        """Return the `head_seq` of each of these rooms, in one query."""
        return {RoomId(str(row["id"])): row["head_seq"] for row in await self._database.fetch(_SQL.heads, rooms)}


def direct_key(users: Sequence[UserId]) -> str:
    """Return what the direct room of two users is found by."""
    return ":".join(sorted(users))


async def _willing(connection: Any, actor: UserId, users: Sequence[UserId]) -> list[Willing]:
    if not users:
        return []
    rows = await connection.fetch(_SQL.willing, actor, users)
    return [Willing(known(MayAdd, row["may_add"]), row["blocks"], row["shares"]) for row in rows]


async def require_space(connection: Any, users: Sequence[UserId], quotas: Quotas, *, joins: bool, owns: bool) -> None:
    """Return if each of these users may have one more room. Raises Full.

    Two that come at once may both be let in: the quota is for what grows without end, and not exact.
    """
    if not users:
        return
    found = await connection.fetchval(_SQL.full, users, quotas.rooms if joins else _NEVER, quotas.owned if owns else _NEVER)
    if found is not None:
        raise Full(UserId(str(found)))


def _user(row: asyncpg.Record) -> User:
    return User(UserId(str(row["id"])), row["username"], row["display_name"])


def _role(role: str | None) -> str | None:
    return None if role is None else known(Role, role)


def _member(row: asyncpg.Record) -> Member:
    return Member(user=_user(row), role=known(Role, row["role"]), joined_at=row["joined_at"])


def _ban(row: asyncpg.Record) -> Ban:
    return Ban(user=_user(row), actor=UserId(str(row["actor"])), at=row["at"])


def _room(row: asyncpg.Record) -> Room:
    peer = None
    if row["peer_id"]:
        peer = User(UserId(str(row["peer_id"])), row["peer_username"], row["peer_display_name"])
    return Room(
        id=RoomId(str(row["id"])),
        kind=known(RoomKind, row["kind"]),
        name=row["name"],
        head_seq=row["head_seq"],
        last_event_at=row["last_event_at"],
        created_at=row["created_at"],
        member_count=row["member_count"],
        role=_role(row["role"]),
        peer=peer,
    )
