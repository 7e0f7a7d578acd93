"""What the REST surface needs from the rest of the house."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from datetime import datetime

    from realtime.budgets import Budget
    from realtime.model import (
        Account,
        Ban,
        Block,
        Choice,
        Event,
        MayAdd,
        Member,
        PresenceSetting,
        Principal,
        Role,
        Room,
        RoomKind,
        Session,
        SessionId,
        User,
        UserId,
    )
    from realtime.wire import rest


class SignedIn(Protocol):
    """A new pair of tokens. `expires_in` is the access token's life in seconds."""

    @property
    def user(self) -> User: ...
    @property
    def is_admin(self) -> bool: ...
    @property
    def access_token(self) -> str: ...
    @property
    def refresh_token(self) -> str: ...
    @property
    def expires_in(self) -> int: ...


class Accounts(Protocol):
    """Sign-in. `address` is whom the attempts count against, `agent` what the client calls itself. Refusals are raised as
    `RealtimeError`.
    """

    async def register(self, username: str, password: str, display_name: str | None, address: str, agent: str, /) -> SignedIn: ...
    async def login(self, username: str, password: str, address: str, agent: str, new_password: str | None, /) -> SignedIn: ...
    async def refresh(self, refresh_token: str, address: str, /) -> SignedIn: ...
    async def logout(self, session: SessionId, /) -> None: ...
    async def logout_by_refresh_token(self, refresh_token: str, /) -> None:
        """End the session of a refresh token; one that is unknown is passed over."""

    async def is_admin(self, user: UserId, /) -> bool: ...
    async def change_password(self, principal: Principal, current: str, new: str, address: str, /) -> SignedIn: ...
    async def sessions(self, user: UserId, /) -> list[Session]: ...
    async def end_session(self, user: UserId, session: str, /) -> None: ...

    def authenticate(self, token: str, /) -> Principal:
        """Check an access token without I/O.

        Raises:
            TokenInvalid, TokenExpired, SessionEnded: it speaks for nobody, or no longer.
        """
        ...


class OneTimePassword(Protocol):
    """Works for one sign-in, which sets another. `expires_in`: seconds."""

    @property
    def password(self) -> str: ...
    @property
    def expires_in(self) -> int: ...


class Administration(Protocol):
    """What administrators of the server do. `actor` is who asks; that they may is checked again inside each change."""

    async def require(self, user: UserId, /) -> None:
        """Return if they administrate the server, by the store and not by their token. Raises AdminOnly."""

    async def list_accounts(
        self, scope: Literal["all", "admins"], prefix: str, after: str, limit: int, /
    ) -> tuple[list[Account], bool]: ...
    async def account(self, user: str, /) -> Account: ...
    async def change(
        self, actor: UserId, user: str, /, *, admin: bool | None = None, disabled: bool | None = None
    ) -> Account: ...
    async def end_sessions(self, actor: UserId, user: str, /) -> None: ...
    async def reset_password(self, actor: UserId, user: str, /) -> OneTimePassword: ...


class Committed(Protocol):
    """An append is committed. `duplicate`: it had been there before."""

    @property
    def seq(self) -> int: ...
    @property
    def at(self) -> datetime: ...
    @property
    def duplicate(self) -> bool: ...


class MessagePage(Protocol):
    """Created messages, ascending."""

    @property
    def messages(self) -> list[Event]: ...
    @property
    def head_seq(self) -> int: ...
    @property
    def has_before(self) -> bool: ...
    @property
    def has_after(self) -> bool: ...


class EventPage(Protocol):
    """Events of every kind, ascending, each already encoded as JSON."""

    @property
    def events(self) -> list[bytes]: ...
    @property
    def head_seq(self) -> int: ...
    @property
    def has_more(self) -> bool: ...


class Rooms(Protocol):
    """Rooms and messages. Ids from outside come in as they are; the service knows a foreign one when it sees it."""

    async def create(self, user: User, kind: RoomKind, name: str | None, members: Sequence[str], /) -> tuple[Room, bool]: ...
    async def list_rooms(
        self, user: UserId, scope: Literal["mine", "public", "all"], after: str | None, limit: int, /
    ) -> tuple[list[Room], bool]: ...
    async def get(self, user: UserId, room: str, /) -> Room: ...
    async def join(self, user: UserId, room: str, /) -> Room: ...
    async def leave(self, user: UserId, room: str, /) -> None: ...
    async def close(self, user: UserId, room: str, /, *, closed: bool) -> None: ...
    async def members(self, user: UserId, room: str, after: str | None, limit: int, /) -> tuple[list[Member], bool]: ...
    async def add_member(self, actor: UserId, room: str, user: str, role: Role, /) -> tuple[Member, bool]: ...
    async def change_role(self, actor: UserId, room: str, user: str, role: Role, /) -> Member: ...
    async def remove_member(self, actor: UserId, room: str, user: str, /) -> None: ...
    async def ban(self, actor: UserId, room: str, user: str, /) -> tuple[Ban, bool]: ...
    async def unban(self, actor: UserId, room: str, user: str, /) -> None: ...
    async def bans(self, actor: UserId, room: str, after: str | None, limit: int, /) -> tuple[list[Ban], bool]: ...
    async def get_ban(self, actor: UserId, room: str, user: str, /) -> Ban: ...
    async def send(self, user: UserId, room: str, client_id: str, body: str, /) -> Committed: ...
    async def edit(self, user: UserId, room: str, seq: int, body: str, client_id: str | None, /) -> Committed: ...
    async def delete(self, user: UserId, room: str, seq: int, client_id: str | None, /) -> Committed: ...
    async def messages(
        self, user: UserId, room: str, before: int | None, after: int | None, around: int | None, limit: int, /
    ) -> MessagePage: ...
    async def events(self, user: UserId, room: str, since: int, limit: int, /) -> EventPage: ...


class People(Protocol):
    """What users want of others."""

    async def block(self, user: UserId, blocked: str, /) -> None: ...
    async def unblock(self, user: UserId, blocked: str, /) -> None: ...
    async def get_block(self, user: UserId, blocked: str, /) -> Block: ...
    async def blocks(self, user: UserId, after: str | None, limit: int, /) -> tuple[list[Block], bool]: ...
    async def may_add(self, user: UserId, /) -> MayAdd: ...
    async def set_may_add(self, user: UserId, may_add: MayAdd, /) -> None: ...


class Presence(Protocol):
    """What people choose to show of themselves. What is None stays."""

    async def setting(self, user: UserId, /) -> PresenceSetting: ...
    async def choose(
        self, user: UserId, choice: Choice | None, text: str | None, text_life_s: float | None, /
    ) -> PresenceSetting: ...


class Users(Protocol):
    """Reads users. Those that do not exist are left out."""

    async def find(self, ids: Sequence[UserId], /) -> list[User]: ...
    async def search(self, prefix: str, limit: int, /) -> list[User]: ...


class Budgets(Protocol):
    """What users may write. Raises RateLimited or QuotaExceeded; then nothing was taken."""

    def charge(self, budget: Budget, user: UserId, room: str | None = None, tokens: int = 1) -> None: ...
    def give_back(self, budget: Budget, user: UserId, /) -> None: ...
    def admit_send(self, user: UserId, body: str | None, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Services:
    """Everything the routes call.

    Args:
        accounts, administration, people, presence, rooms, users: The services.
        health: Tells whether this node can serve; bounded by the caller to `READY_TIMEOUT_S`.
        metrics: Returns the page for Prometheus and its content type.
        status: Tells how all nodes are.
        budgets: Of what users write, the same as for what comes over a socket.
        observe: Called after each request with (method, route, status, seconds).
    """

    accounts: Accounts
    administration: Administration
    people: People
    presence: Presence
    rooms: Rooms
    users: Users
    health: Callable[[], Awaitable[rest.Health]]
    metrics: Callable[[], Awaitable[tuple[bytes, str]]]
    status: Callable[[], rest.ClusterStatus]
    budgets: Budgets
    observe: Callable[[str, str, int, float], None]
