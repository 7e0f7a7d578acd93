"""The REST surface: bodies, queries and answers. `api/` binds them to paths; OpenAPI is generated from both."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from realtime import model
from realtime.contract import events
from realtime.contract.types import (
    DEFAULT_PAGE,
    MAX_PAGE,
    Answer,
    Body,
    ClientId,
    DisplayName,
    Member,
    Password,
    Request,
    Room,
    RoomId,
    RoomName,
    Seq,
    Since,
    Time,
    User,
    UserId,
    Username,
)

_NO_NUL = r"^[^\x00]*$"  # PostgreSQL cannot store it, nor compare with it
PageLimit = Annotated[int, Meta(ge=1, le=MAX_PAGE)]


class Register(Request):
    username: Username
    password: Password
    display_name: DisplayName | None = None


class Login(Request):
    username: Annotated[str, Meta(min_length=1, max_length=64, pattern=_NO_NUL)]
    password: Annotated[str, Meta(min_length=1, max_length=256)]


class RefreshRequest(Request):
    refresh_token: Annotated[str, Meta(min_length=1, max_length=256)]


class LogoutRequest(Request):
    """The body may be left out when the request carries an access token."""

    refresh_token: Annotated[str, Meta(min_length=1, max_length=256)] | None = None


class SignedIn(Answer):
    """`expires_in` is the access token's life in seconds. The refresh token works once."""

    user: User
    access_token: str
    refresh_token: str
    expires_in: int
    token_type: Literal["Bearer"] = msgspec.field(default_factory=lambda: "Bearer")


class CreateRoom(Request):
    """A direct room names exactly one other member and is found again when it exists."""

    kind: model.RoomKind
    name: RoomName | None = None
    members: Annotated[list[UserId], Meta(max_length=200)] = []


class ListRooms(Request):
    """`scope`: rooms one is a member of, public rooms, or (by default) both. `after`: the id to continue behind."""

    scope: Literal["mine", "public", "all"] = "all"
    after: RoomId | None = None
    limit: PageLimit = MAX_PAGE


class Rooms(Answer):
    rooms: list[Room]
    has_more: bool = msgspec.field(default_factory=lambda: False)


class AddMember(Request):
    user: UserId
    role: model.Role = model.Role.MEMBER


class ChangeMember(Request):
    role: model.Role


class ListMembers(Request):
    after: UserId | None = None
    limit: PageLimit = MAX_PAGE


class Members(Answer):
    members: list[Member]
    has_more: bool = msgspec.field(default_factory=lambda: False)


class FindUsers(Request):
    """Find by the beginning of the username, or name up to 100 ids (joined by commas)."""

    query: Annotated[str, Meta(min_length=1, max_length=64, pattern=_NO_NUL)] | None = None
    ids: Annotated[str, Meta(max_length=3700)] | None = None


class Users(Answer):
    users: list[User]


class SendMessage(Request):
    client_id: ClientId
    body: Body


class EditMessage(Request):
    body: Body
    client_id: ClientId | None = None


class DeleteMessage(Request):
    client_id: ClientId | None = None


class Sent(Answer):
    """The event is committed with this `seq`. `duplicate`: it was there before (then the status is 200)."""

    room: str
    seq: int
    at: Time
    client_id: str | None = None
    duplicate: bool = False


class ListMessages(Request):
    """At most one of `before`, `after`, `around` (each a seq); none means the latest."""

    before: Seq | None = None
    after: Since | None = None
    around: Seq | None = None
    limit: PageLimit = DEFAULT_PAGE


class Message(Answer):
    """A message as it is now. A deleted one keeps its place: `deleted_at`, and an empty `body`."""

    room: str
    seq: int
    at: Time
    author: str
    client_id: str
    body: str
    edited_at: Time | None = None
    deleted_at: Time | None = None


class Messages(Answer):
    """Ascending by `seq`."""

    messages: list[Message]
    head_seq: int
    has_before: bool
    has_after: bool


class ListEvents(Request):
    since: Since = 0
    limit: PageLimit = DEFAULT_PAGE


class Events(Answer):
    """Ascending by `seq`, of every kind."""

    events: list[events.AnyEvent]
    head_seq: int
    has_more: bool


class Problem(Answer):
    """`application/problem+json` (RFC 9457)."""

    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    type: str = msgspec.field(default_factory=lambda: "about:blank")
    retry_after_ms: int | None = None
    field: str | None = None


class Health(Answer):
    """`checks` names each part and says `ok` or what is wrong."""

    status: Literal["ok", "unready"]
    checks: dict[str, Any] = {}
