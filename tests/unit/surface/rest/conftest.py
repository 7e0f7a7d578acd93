"""The REST surface on a test server, with services that answer from memory and remember what they were asked."""

from __future__ import annotations

import ipaddress
import pathlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from realtime import errors
from realtime.budgets import Budget, Budgets
from realtime.log.store import Committed
from realtime.log.writer import Append
from realtime.messages import kinds as messages
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
    PrincipalKind,
    Role,
    Room,
    RoomId,
    RoomKind,
    Scope,
    Session,
    SessionId,
    User,
    UserId,
)
from realtime.node.kinds import KINDS
from realtime.node.operations import CAPABILITIES, served
from realtime.operations import Served
from realtime.rooms import kinds as rooms
from realtime.surface.door import Door
from realtime.surface.rest.app import Settings, Watch, mount
from realtime.surface.rest.probes import Readers
from realtime.wire import rest

AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
ADA = User(UserId("019b0000-0000-7000-8000-000000000001"), "ada", "Ada")
BOB = User(UserId("019b0000-0000-7000-8000-000000000002"), "bob", "Bob")
ROOM = RoomId("019b0000-0000-7000-8000-0000000000aa")
SESSION = SessionId("019b0000-0000-7000-8000-0000000000bb")
TOKEN = {"Authorization": "Bearer good"}
MAX_BODY_BYTES = 16_384

Client: TypeAlias = TestClient[web.Request, web.Application]


@dataclass
class OneTime:
    password: str = "once"
    expires_in: int = 60


@dataclass
class Tokens:
    user: User
    is_admin: bool = False
    access_token: str = "access"
    refresh_token: str = "refresh"
    expires_in: int = 900


@dataclass
class Page:
    messages: list[Event]
    head_seq: int = 9
    has_before: bool = True
    has_after: bool = False


@dataclass
class Log:
    events: list[bytes]
    head_seq: int = 9
    has_more: bool = False


def room(role: Role | None = Role.OWNER, kind: RoomKind = RoomKind.PUBLIC) -> Room:
    return Room(ROOM, kind, "Lobby", 9, AT, AT, 2, role)


def message(seq: int, **more: Any) -> Event:
    return Event(ROOM, seq, messages.CREATED.name, ADA.id, AT, client_id=f"c{seq}", body=f"text {seq}", **more)


@dataclass
class Fake:
    """Every service at once. `fails` raises in the place of any answer; `calls` holds what was asked."""

    calls: list[tuple[Any, ...]] = field(default_factory=list)
    observed: list[tuple[str, str, int]] = field(default_factory=list)
    charged: list[tuple[Budget, UserId, str | None, int]] = field(default_factory=list)
    fails: Exception | None = None
    token_fails: errors.RealtimeError | None = None
    caller: User | None = ADA
    scopes: frozenset[Scope] = frozenset(Scope)
    made: bool = True
    duplicate: bool = False
    admin: bool = False
    agent: str = ""
    new_password: str | None = None
    ready: Callable[[], Awaitable[rest.Health]] | None = None

    def _called(self, *call: Any) -> None:
        self.calls.append(call)
        if self.fails is not None:
            raise self.fails

    # -- accounts ---------------------------------------------------------------------------------

    async def register(self, username: str, password: str, display_name: str | None, address: str, agent: str) -> Tokens:
        self._called("register", username, password, display_name, address)
        self.agent = agent
        return Tokens(ADA)

    async def login(self, username: str, password: str, address: str, agent: str, new_password: str | None) -> Tokens:
        self._called("login", username, password, address)
        self.agent, self.new_password = agent, new_password
        return Tokens(ADA)

    async def refresh(self, refresh_token: str, address: str) -> Tokens:
        self._called("refresh", refresh_token, address)
        return Tokens(ADA)

    async def is_admin(self, user: UserId) -> bool:
        return self.admin

    async def change_password(self, principal: Principal, current: str, new: str, address: str) -> Tokens:
        self._called("change_password", principal.session, current, new, address)
        return Tokens(ADA)

    async def sessions(self, user: UserId) -> list[Session]:
        self._called("sessions", user)
        return [Session(SESSION, AT, AT, "Browser"), Session(SessionId(ROOM), AT, AT, "")]

    async def end_session(self, user: UserId, session: str) -> None:
        self._called("end_session", user, session)

    # -- administration ---------------------------------------------------------------------------

    async def require(self, user: UserId) -> None:
        if not self.admin:
            raise errors.AdminOnly

    async def list_accounts(self, scope: str, prefix: str, after: str, limit: int) -> tuple[list[Account], bool]:
        self._called("list_accounts", scope, prefix, after, limit)
        return [Account(ADA, True, AT, None, 2), Account(BOB, False, AT, AT, 0)], True

    async def account(self, user: str) -> Account:
        self._called("account", user)
        return Account(BOB, False, AT, None, 1)

    async def change(self, actor: UserId, user: str, *, admin: bool | None = None, disabled: bool | None = None) -> Account:
        self._called("change", actor, user, admin, disabled)
        return Account(BOB, bool(admin), AT, AT if disabled else None, 0)

    async def end_sessions(self, actor: UserId, user: str) -> None:
        self._called("end_sessions", actor, user)

    async def reset_password(self, actor: UserId, user: str) -> OneTime:
        self._called("reset_password", actor, user)
        return OneTime()

    async def logout(self, session: SessionId) -> None:
        self._called("logout", session)

    async def logout_by_refresh_token(self, refresh_token: str) -> None:
        self._called("logout_by_refresh_token", refresh_token)

    def authenticate(self, token: str) -> Principal:
        if self.token_fails is not None:
            raise self.token_fails
        if token != "good":
            raise errors.TokenInvalid
        return Principal(PrincipalKind.SESSION, SESSION, self.caller, self.scopes, 2_000_000_000)

    # -- rooms ------------------------------------------------------------------------------------

    async def create(self, user: User, kind: RoomKind, name: str | None, members: Sequence[str]) -> tuple[Room, bool]:
        self._called("create", user, kind, name, list(members))
        return room(kind=kind), self.made

    async def list_rooms(self, user: UserId, scope: str, after: str | None, limit: int) -> tuple[list[Room], bool]:
        self._called("list_rooms", user, scope, after, limit)
        return [room(), room(None)], True

    async def get(self, user: UserId, room_id: str) -> Room:
        self._called("get", user, room_id)
        return room()

    async def join(self, user: UserId, room_id: str) -> Room:
        self._called("join", user, room_id)
        return room(Role.MEMBER)

    async def leave(self, user: UserId, room_id: str) -> None:
        self._called("leave", user, room_id)

    async def members(self, user: UserId, room_id: str, after: str | None, limit: int) -> tuple[list[Member], bool]:
        self._called("members", user, room_id, after, limit)
        return [Member(ADA, Role.OWNER, AT)], False

    async def add_member(self, actor: UserId, room_id: str, user: str, role: Role) -> tuple[Member, bool]:
        self._called("add_member", actor, room_id, user, role)
        return Member(BOB, role, AT), self.made

    async def change_role(self, actor: UserId, room_id: str, user: str, role: Role) -> Member:
        self._called("change_role", actor, room_id, user, role)
        return Member(BOB, role, AT)

    async def remove_member(self, actor: UserId, room_id: str, user: str) -> None:
        self._called("remove_member", actor, room_id, user)

    async def ban(self, actor: UserId, room_id: str, user: str) -> tuple[Ban, bool]:
        self._called("ban", actor, room_id, user)
        return Ban(BOB, ADA.id, AT), self.made

    async def unban(self, actor: UserId, room_id: str, user: str) -> None:
        self._called("unban", actor, room_id, user)

    async def bans(self, actor: UserId, room_id: str, after: str | None, limit: int) -> tuple[list[Ban], bool]:
        self._called("bans", actor, room_id, after, limit)
        return [Ban(BOB, ADA.id, AT)], False

    async def get_ban(self, actor: UserId, room_id: str, user: str) -> Ban:
        self._called("get_ban", actor, room_id, user)
        return Ban(BOB, ADA.id, AT)

    def submit(self, append: Append) -> None:
        self._called("submit", append.kind.name, append.actor, append.room, append.client_id, append.target, append.body)
        append.done(Committed(10, AT, duplicate=self.duplicate))

    async def messages(self, user: UserId, asked: rest.ListMessages) -> Page:
        self._called("messages", user, asked.room, asked.before, asked.after, asked.around, asked.limit)
        return Page([message(8), message(9, edited_at=AT)])

    async def events(self, user: UserId, room_id: str, since: int, limit: int) -> Log:
        self._called("events", user, room_id, since, limit)
        joined = Event(ROOM, 7, rooms.JOINED.name, BOB.id, AT, user=BOB.id, role=Role.MEMBER)
        return Log([KINDS.encode(joined), KINDS.encode(message(8))])

    async def close(self, user: UserId, room_id: str, *, closed: bool) -> None:
        self._called("close", user, room_id, closed)

    # -- people ---------------------------------------------------------------------------------------

    async def block(self, user: UserId, blocked: str) -> None:
        self._called("block", user, blocked)

    async def unblock(self, user: UserId, blocked: str) -> None:
        self._called("unblock", user, blocked)

    async def get_block(self, user: UserId, blocked: str) -> Block:
        self._called("get_block", user, blocked)
        return Block(BOB, AT)

    async def blocks(self, user: UserId, after: str | None, limit: int) -> tuple[list[Block], bool]:
        self._called("blocks", user, after, limit)
        return [Block(BOB, AT)], False

    async def may_add(self, user: UserId) -> MayAdd:
        self._called("may_add", user)
        return MayAdd.SHARED_ROOMS

    async def set_may_add(self, user: UserId, may_add: MayAdd) -> None:
        self._called("set_may_add", user, may_add)

    # -- users and the rest -----------------------------------------------------------------------

    async def find(self, ids: Sequence[UserId]) -> list[User]:
        self._called("find", list(ids))
        return [user for user in (ADA, BOB) if user.id in ids]

    async def search(self, prefix: str, limit: int) -> list[User]:
        self._called("search", prefix, limit)
        return [user for user in (ADA, BOB) if user.username.startswith(prefix)]

    async def setting(self, user: UserId) -> PresenceSetting:
        self._called("setting", user)
        return PresenceSetting(Choice.DND, "busy", AT.timestamp(), 1)

    async def choose(self, user: UserId, choice: Choice | None, text: str | None, text_life_s: float | None) -> PresenceSetting:
        self._called("choose", user, choice, text, text_life_s)
        return PresenceSetting(choice or Choice.ONLINE, text or "")

    async def health(self) -> rest.Health:
        return await self.ready() if self.ready else rest.Health(status="ok", checks={"store": "ok"})

    def charge(self, budget: Budget, user: UserId, room: str | None = None, tokens: int = 1) -> None:
        self.charged.append((budget, user, room, tokens))

    def give_back(self, budget: Budget, user: UserId, tokens: int = 1) -> None:
        self.charged.append((budget, user, None, -tokens))

    def admit_send(self, user: UserId, body: str | None) -> None:
        self._called("admit_send", user)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        assert seconds >= 0
        self.observed.append((method, route, status))

    async def metrics(self) -> tuple[bytes, str]:
        return b"up 1\n", "text/plain; version=1.0.0; charset=utf-8"

    def view(self) -> rest.ClusterStatus:
        return rest.ClusterStatus(at="2026-01-02T03:04:05.678Z", node="n0", sample_s=5.0, nodes=[], closes=[])

    def served(self) -> tuple[Served, ...]:
        return served(dict.fromkeys(CAPABILITIES, self))

    def door(self) -> Door:
        return Door(self.authenticate, self.require, cast("Budgets", self))

    def watch(self) -> Watch:
        return Watch(self.health, self.metrics, self.observe)


Start: TypeAlias = Callable[..., Awaitable[Client]]


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest.fixture
def start(aiohttp_client: Any, fake: Fake) -> Start:
    """Start a server; the keywords are those of `mount`."""

    async def begin(
        *,
        cors_origins: Sequence[str] = (),
        trusted: Sequence[str] = (),
        static: pathlib.Path | None = None,
        scrapers: Sequence[str] = ("127.0.0.0/8",),
        scrape_token: str = "",
        base_path: str = "",
    ) -> Client:
        app = web.Application()
        networks = [ipaddress.ip_network(one) for one in trusted]
        readers = Readers([ipaddress.ip_network(one) for one in scrapers], scrape_token, networks)
        settings = Settings(
            cors_origins=cors_origins, trusted=networks, readers=readers, max_body_bytes=MAX_BODY_BYTES,
            static=static, base_path=base_path,
        )  # fmt: skip
        mount(app, fake.served(), KINDS, fake.door(), fake.watch(), settings)
        client: Client = await aiohttp_client(app)
        return client

    return begin


@pytest.fixture
async def client(start: Start) -> Client:
    return await start()
