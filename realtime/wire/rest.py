"""The REST surface: bodies, queries and answers. `operations` binds them to paths."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from realtime import model
from realtime.wire.events import RoomEvent
from realtime.wire.types import (
    DEFAULT_PAGE,
    MAX_PAGE,
    Account,
    Answer,
    Ban,
    Block,
    DisplayName,
    GivenPassword,
    Id,
    MayAdd,
    Member,
    Password,
    PresenceChoice,
    Request,
    Room,
    RoomId,
    RoomName,
    SessionId,
    Since,
    Time,
    User,
    UserId,
    Username,
)

MAX_SEQ = 2**53 - 1  # what every client's numbers hold exactly (RFC 7493 §2.2)
PageLimit = Annotated[int, Meta(ge=1, le=MAX_PAGE, description=f"How many to answer, at most {MAX_PAGE}.")]
RefreshToken = Annotated[str, Meta(min_length=1, max_length=256, description="Works once; the answer brings the next.")]
HeadSeq = Annotated[int, Meta(description="The room's last seq.")]
HasMore = Annotated[bool, Meta(description="There are more: go on behind the last one of this page.")]


class Register(Request):
    username: Username
    password: Password
    display_name: DisplayName | None = None


class Login(Request):
    username: Annotated[str, Meta(min_length=1, max_length=64)]
    password: GivenPassword
    new_password: (
        Annotated[Password, Meta(description="Set in place of the one shown, which must be done when that one works once.")]
        | None
    ) = None


class RefreshRequest(Request):
    refresh_token: RefreshToken


class LogoutRequest(Request):
    """The body may be left out when the request carries an access token."""

    refresh_token: RefreshToken | None = None


class SignedIn(Answer):
    """Somebody signed in. Send the access token as `Authorization: Bearer …` and on the socket."""

    user: Account
    access_token: str
    refresh_token: Annotated[str, Meta(description="Works once; the answer to it brings the next.")]
    expires_in: Annotated[int, Meta(description="The access token's life in seconds.")]
    token_type: Literal["Bearer"] = msgspec.field(default_factory=lambda: "Bearer")


class ChangePassword(Request):
    """Every other session ends; this one goes on with new tokens."""

    current_password: GivenPassword
    new_password: Password


class Session(Answer):
    """One sign-in. `agent` is what the program that signed in called itself; `current` marks the one that asks."""

    id: Id
    created_at: Time
    last_used_at: Annotated[Time, Meta(description="When it last got a new access token.")]
    agent: str
    current: bool = False


class Sessions(Answer):
    """Open sessions, the one used last first."""

    sessions: list[Session]


class SessionRef(Request):
    """One of one's own sign-ins by its id."""

    session: SessionId


class ChoosePresence(PresenceChoice):
    """Choose what others see of you, on all devices. What is left out stays."""


class ListAccounts(Request):
    """`scope`: everybody, or administrators. `query`: the beginning of the username. `after`: the username to continue behind."""

    scope: Literal["all", "admins"] = "all"
    query: Annotated[str, Meta(max_length=64)] = ""
    after: Annotated[str, Meta(max_length=64)] = ""
    limit: PageLimit = DEFAULT_PAGE


class AccountDetails(Account, kw_only=True):
    """An account as administrators see it. `sessions`: how many sign-ins are open."""

    created_at: Time
    sessions: Annotated[int, Meta(description="How many sign-ins are open.")]
    disabled_at: Time | None = None


class Accounts(Answer):
    """Ascending by username, without regard to case."""

    accounts: list[AccountDetails]
    has_more: HasMore = msgspec.field(default_factory=lambda: False)


class ChangeAccount(Request):
    """What is left out stays. Disabling ends all sessions, and nobody can sign in any more."""

    user: UserId
    admin: bool | None = None
    disabled: bool | None = None


class OneTimePassword(Answer):
    """Works for one sign-in, which must bring a `new_password`. It is shown here and nowhere else."""

    password: str
    expires_in: Annotated[int, Meta(description="How long it works, in seconds.")]


class CreateRoom(Request):
    """A direct room names exactly one other member and is found again when it exists."""

    kind: model.RoomKind
    name: RoomName | None = None
    members: Annotated[list[UserId], Meta(max_length=200)] = msgspec.field(default_factory=list)


class ListRooms(Request):
    """`scope`: rooms one is a member of, public rooms, or (by default) both. `after`: the id to continue behind."""

    scope: Literal["mine", "public", "all"] = "all"
    after: RoomId | None = None
    limit: PageLimit = MAX_PAGE


class Rooms(Answer):
    rooms: list[Room]
    has_more: HasMore = msgspec.field(default_factory=lambda: False)


class AddMember(Request):
    room: RoomId
    user: UserId
    role: model.Role = model.Role.MEMBER


class ChangeMember(Request):
    room: RoomId
    user: UserId
    role: model.Role


class ListMembers(Request):
    room: RoomId
    after: UserId | None = None
    limit: PageLimit = MAX_PAGE


class ListBlocks(Request):
    after: UserId | None = None
    limit: PageLimit = MAX_PAGE


class Members(Answer):
    members: list[Member]
    has_more: HasMore = msgspec.field(default_factory=lambda: False)


class Bans(Answer):
    """Ascending by user id."""

    bans: list[Ban]
    has_more: HasMore = msgspec.field(default_factory=lambda: False)


class Blocks(Answer):
    """Ascending by user id."""

    blocks: list[Block]
    has_more: HasMore = msgspec.field(default_factory=lambda: False)


class Settings(Answer):
    """What one wants of others. `may_add`: who may make one a member of a room, a direct room too; `shared_rooms`: members of a
    room that one is a member of.
    """

    may_add: MayAdd


class ChangeSettings(Request):
    may_add: model.MayAdd


class FindUsers(Request):
    """Find by the beginning of the username, or name up to 100 ids (joined by commas)."""

    query: Annotated[str, Meta(min_length=1, max_length=64)] | None = None
    ids: Annotated[str, Meta(max_length=3700)] | None = None


class Users(Answer):
    users: list[User]


class Sent(Answer):
    """The event is committed with this `seq`. `duplicate`: it was there before (then the status is 200)."""

    room: Id
    seq: int
    at: Time
    client_id: str | None = None
    duplicate: bool = False


class ListMessages(Request):
    """At most one of `before`, `after`, `around` (each a seq); none means the latest."""

    room: RoomId
    before: Annotated[int, Meta(ge=1, le=MAX_SEQ, description="Only messages before this seq.")] | None = None
    after: Annotated[int, Meta(ge=0, le=MAX_SEQ, description="Only messages after this seq.")] | None = None
    around: Annotated[int, Meta(ge=1, le=MAX_SEQ, description="Messages on both sides of this seq, and its own.")] | None = None
    limit: PageLimit = DEFAULT_PAGE


class Message(Answer):
    """A message as it is now. A deleted one keeps its place: `deleted_at`, and an empty `body`."""

    room: Id
    seq: int
    at: Time
    author: Id
    client_id: str
    body: str
    edited_at: Time | None = None
    deleted_at: Time | None = None


class Messages(Answer):
    """Ascending by `seq`."""

    messages: list[Message]
    head_seq: HeadSeq
    has_before: Annotated[bool, Meta(description="There are messages before the first one of this page.")]
    has_after: Annotated[bool, Meta(description="There are messages after the last one of this page.")]


class ListEvents(Request):
    room: RoomId
    since: Since = 0
    limit: PageLimit = DEFAULT_PAGE


class Events(Answer):
    """Ascending by `seq`, of every kind."""

    events: list[RoomEvent]
    head_seq: HeadSeq
    has_more: HasMore


class Problem(Answer):
    """`application/problem+json` (RFC 9457)."""

    title: str
    status: int
    detail: str
    code: Annotated[str, Meta(description="Stable: branch on this.")]
    retryable: Annotated[bool, Meta(description="The same request can succeed later.")]
    type: str = msgspec.field(default_factory=lambda: "about:blank")
    retry_after_ms: Annotated[int, Meta(description="How long to wait first, where that is known.")] | None = None
    field: Annotated[str, Meta(description="The path of the field that does not fit, as `$.rooms[0].since`.")] | None = None


Milliseconds = Annotated[float, Meta(description="99 % took no longer, in ms; left out when nothing was measured.")]


class NodeSample(Answer):
    """A few seconds of a node: rates a second and times of that span."""

    at: Time
    connections: int
    requests_per_s: float
    committed_per_s: Annotated[float, Meta(description="Messages, edits and deletions.")]
    delivered_per_s: Annotated[float, Meta(description="Events written to connections.")]
    waiting: Annotated[int, Meta(description="Entries that wait for a commit.")]
    answer_p99_ms: Milliseconds | None = None
    flush_p99_ms: Milliseconds | None = None
    loop_lag_p99_ms: Milliseconds | None = None
    bus_p99_ms: Milliseconds | None = None


class NodeStatus(Answer):
    """A node, as it told of itself. `closes` and `refusals` are counts since it started."""

    node: str
    version: str
    started_at: Time
    heard_at: Time
    state: Annotated[
        str,
        Meta(
            description="`ok`, `unready`, `draining`, `gone` (it said that it ends) or `silent` (it has not been heard for a "
            "while). Nodes of a newer release may say something else."
        ),
    ]
    checks: Annotated[dict[str, str], Meta(description="As `/readyz` has them.")]
    websocket: int
    polling: int
    users: int
    rooms: int
    subscriptions: int
    closes: dict[str, int]
    refusals: dict[str, int]
    memory_bytes: int | None = None
    samples: list[NodeSample] = msgspec.field(default_factory=list)


class ClosedConnection(Answer):
    """A connection that ended. `connection` is its Socket.IO id, empty when it did not come so far."""

    at: Time
    node: str
    reason: str
    transport: str
    connection: str
    user: Id | None = None


class ClusterStatus(Answer):
    """All nodes that were heard within the last minute, the one that answers first; the latest closes, newest first."""

    at: Time
    node: str
    sample_s: Annotated[float, Meta(description="Pause between two samples.")]
    nodes: list[NodeStatus]
    closes: list[ClosedConnection]


class Health(Answer):
    """`checks` names each part and says `ok` or what is wrong."""

    status: Literal["ok", "unready"]
    checks: dict[str, str] = msgspec.field(default_factory=dict)
