"""Field types and objects that both surfaces share."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from realtime import model, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.errors import RealtimeError

MAX_BODY_CHARS = 8_000
MAX_WATCHED_USERS = 200
MAX_WATCHED_ROOMS = 20
MAX_STATUS_CHARS = 140
MAX_STATUS_LIFE_S = 30 * 86_400
MAX_PAGE = 200
DEFAULT_PAGE = 50

# In Python `$` also matches before a final line feed, in ECMA 262 it does not; this is the end in both.
_END = r"$(?!\n)"
_CLIENT_ID = rf"^[\x21-\x7e]+{_END}"
# What patterns can say of the rules in `realtime.text`, for the documents.
_LINE = {"pattern": rf"^[^\x00-\x1f\x7f-\x9f]*{_END}"}
_BODY = {"pattern": r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"}


def _by(rule: Callable[[str], str], schema: dict[str, str] | None = None) -> dict[str, Any]:
    """Have a field of text kept by a rule of `realtime.text`; one without a rule is kept by `text.plain`."""
    return {"extra": {"rule": rule}, "extra_json_schema": schema}


_UUID = {"format": "uuid"}
_SECRET = {"format": "password"}
Id = Annotated[str, Meta(extra_json_schema=_UUID)]
"""A server-made id in an answer or an event."""
type_id = Annotated[str, Meta(min_length=1, max_length=64, **_by(text.any_text, _UUID), description="A server-made id (UUID).")]
Token = Annotated[str, Meta(min_length=1, max_length=4096, **_by(text.any_text))]
RoomId = type_id
UserId = type_id
SessionId = type_id
ClientId = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=128,
        extra_json_schema={"pattern": _CLIENT_ID},
        description="The client's own id of this request, unique per sender and room for ever. Sending it again is safe: "
        "the first answer comes back. Printable ASCII without spaces; a UUID is a good choice.",
    ),
]
Body = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=MAX_BODY_CHARS,
        **_by(text.body, _BODY),
        description="Plain text of at most 8,000 characters with something to see: no control characters but tab and line ends, "
        f"at most {text.MAX_MARKS} combining marks in a row.",
    ),
]
Seq = Annotated[int, Meta(ge=1, le=2**53 - 1, description="An event's number in its room: 1, 2, 3 … without holes.")]
Since = Annotated[int, Meta(ge=0, le=2**53 - 1, description="The last seq the client holds; 0 for none.")]
Epoch = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=64,
        description="Of the history that is served. It changes when the database was restored from a back-up.",
    ),
]
_NAME = "one line with something to see, blanks trimmed, in NFC; no characters that hide or turn what stands beside them."
RoomName = Annotated[str, Meta(min_length=1, max_length=80, **_by(text.name, _LINE), description=f"1–80 characters: {_NAME}")]
DisplayName = Annotated[str, Meta(min_length=1, max_length=64, **_by(text.name, _LINE), description=f"1–64 characters: {_NAME}")]
Username = Annotated[
    str,
    Meta(
        min_length=2,
        max_length=32,
        pattern=rf"^[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?{_END}",
        description="2–32 letters, digits, dots, hyphens or underscores; unique without regard to case.",
    ),
]
Password = Annotated[
    str,
    Meta(
        min_length=8,
        max_length=256,
        **_by(text.any_text, _SECRET),
        description="8–256 characters of any kind, not common and not soon guessed.",
    ),
]
GivenPassword = Annotated[str, Meta(min_length=1, max_length=256, **_by(text.any_text, _SECRET))]
SignalKind = Annotated[
    str,
    Meta(min_length=1, max_length=32, pattern=rf"^[a-z][a-z0-9_.-]*{_END}", description="`typing`, `cursor`, or the app's own."),
]
StatusText = Annotated[
    str,
    Meta(
        max_length=MAX_STATUS_CHARS,
        **_by(text.line, _LINE),
        description="One line of at most 140 characters with something to see; empty: none.",
    ),
]
StatusLife = Annotated[
    int,
    Meta(
        ge=1, le=MAX_STATUS_LIFE_S, description="Seconds from now after which the text is over; without it: until it is changed."
    ),
]
_NEWER = "Releases to come may have others: take those for"
RoomKind = Annotated[str, Meta(description=f"`public`, `private` or `direct`. {_NEWER} `private`.")]
Role = Annotated[str, Meta(description=f"`owner`, `admin` or `member`. {_NEWER} `member`.")]
MayAdd = Annotated[str, Meta(description=f"`everybody`, `shared_rooms` or `nobody`. {_NEWER} `nobody`.")]
Choice = Annotated[str, Meta(description=f"`online`, `away`, `dnd` or `invisible`. {_NEWER} `online`.")]
Status = Annotated[str, Meta(description=f"`online`, `away`, `dnd` or `offline`. {_NEWER} `online`.")]
"""Words in answers and events, which newer nodes may add to; in requests they are the enums of the model."""
Time = Annotated[str, Meta(description="RFC 3339 in UTC with milliseconds.", extra_json_schema={"format": "date-time"})]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a client sends: unknown fields are refused, and every text is kept by its rule.

    A struct of capabilities to come has that for free. Text inside `Any` is not looked at: it must not reach the store.
    """

    def __post_init__(self) -> None:
        for field, rule in _rules(type(self)):
            given = getattr(self, field)
            if given is None:
                continue
            try:
                if isinstance(given, str):
                    kept = rule(given)
                    if kept is not given:
                        msgspec.structs.force_setattr(self, field, kept)
                else:
                    for one in given:
                        if isinstance(one, str):
                            rule(one)
            except ValueError as error:
                raise ValueError(f"{error} - at `$.{field}`") from error


@cache
def _rules(struct: type[Request]) -> tuple[tuple[str, Callable[[str], str]], ...]:
    """Return the fields of text, and the rule of each."""
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    return tuple((one.name, rule) for one in info.fields if (rule := _rule(one.type)) is not None)


def _rule(kind: msgspec.inspect.Type) -> Callable[[str], str] | None:
    if isinstance(kind, msgspec.inspect.Metadata):
        given: Callable[[str], str] | None = (kind.extra or {}).get("rule")
        return given or _rule(kind.type)
    if isinstance(kind, msgspec.inspect.UnionType):
        return next((rule for one in kind.types if (rule := _rule(one)) is not None), None)
    if isinstance(kind, msgspec.inspect.ListType):
        return _rule(kind.item_type)
    return text.plain if isinstance(kind, msgspec.inspect.StrType) else None


class Written(Request):
    """A request with a `client_id`, a `body`, or both, checked without the loop: 0.5 µs of a send."""

    def __post_init__(self) -> None:
        client_id: str | None = getattr(self, "client_id", None)
        if client_id is not None and not (client_id.isascii() and client_id.isprintable() and " " not in client_id):
            raise ValueError(f"Expected `str` matching regex {_CLIENT_ID!r} - at `$.client_id`")
        body: str | None = getattr(self, "body", None)
        if body is not None:
            try:
                text.body(body)
            except ValueError as error:
                raise ValueError(f"{error} - at `$.body`") from error


class Empty(Request):
    """A request that has nothing to say."""


class RoomRef(Request):
    """A room by its id."""

    room: RoomId


class UserRef(Request):
    """A user by their id."""

    user: UserId


class MemberRef(Request):
    """A user in a room."""

    room: RoomId
    user: UserId


class PresenceChoice(Request):
    """What others are to see of somebody, on all devices. What is left out stays."""

    status: model.Choice | None = None
    text: StatusText | None = None
    text_expires_in_s: StatusLife | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.text_expires_in_s is not None and not self.text:
            raise ValueError("An expiry is of a text - at `$.text_expires_in_s`")


class Answer(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the server sends: fields that hold their default are left out."""


class User(Answer):
    """Somebody with an account."""

    id: Id
    username: str
    display_name: str

    @classmethod
    def of(cls, user: model.User) -> User:
        return cls(id=user.id, username=user.username, display_name=user.display_name)


class Account(User):
    """One's own account. `admin`: one looks after this server (left out otherwise)."""

    admin: bool = False


class Room(Answer):
    """A room as the asking user sees it. `role` is absent for somebody who is not a member."""

    id: Id
    kind: RoomKind
    name: str | None
    head_seq: int
    last_event_at: Time
    created_at: Time
    member_count: int
    role: Role | None = None
    peer: User | None = None
    """The other member of a direct room."""

    @classmethod
    def of(cls, room: model.Room) -> Room:
        return cls(
            id=room.id,
            kind=room.kind,
            name=room.name,
            head_seq=room.head_seq,
            last_event_at=time(room.last_event_at),
            created_at=time(room.created_at),
            member_count=room.member_count,
            role=room.role,
            peer=User.of(room.peer) if room.peer else None,
        )


class Member(Answer):
    """A user in a room."""

    user: User
    role: Role
    joined_at: Time

    @classmethod
    def of(cls, member: model.Member) -> Member:
        return cls(user=User.of(member.user), role=member.role, joined_at=time(member.joined_at))


class Ban(Answer):
    """A user who may not become a member of a room. `by`: who banned them."""

    user: User
    by: Id
    at: Time

    @classmethod
    def of(cls, ban: model.Ban) -> Ban:
        return cls(user=User.of(ban.user), by=ban.actor, at=time(ban.at))


class Block(Answer):
    """A user whom one blocks."""

    user: User
    at: Time

    @classmethod
    def of(cls, block: model.Block) -> Block:
        return cls(user=User.of(block.user), at=time(block.at))


class OwnPresence(Answer):
    """What one chose to show, on all devices. `invisible`: for everybody else the same as not being there."""

    status: Choice
    text: str = ""
    text_expires_at: Time | None = None

    @classmethod
    def of(cls, setting: model.PresenceSetting) -> OwnPresence:
        return cls(status=setting.choice, text=setting.text, text_expires_at=unix_time(setting.text_until_s))


class Error(Answer):
    """Why a request was refused. Branch on `code`; `message` is for people."""

    code: str
    message: str
    retryable: bool
    retry_after_ms: int | None = None
    field: str | None = None

    @classmethod
    def of(cls, error: RealtimeError) -> Error:
        return cls(
            code=error.code,
            message=error.message,
            retryable=error.retryable,
            retry_after_ms=error.retry_after_ms,
            field=error.field,
        )


@lru_cache(maxsize=1024)
def time(at: datetime) -> str:
    """Write a time for the wire. Cached, since all events of one batch share theirs."""
    return model.rfc3339(at)


def unix_time(at_s: float | None) -> str | None:
    """Write Unix seconds for the wire; None stays None."""
    return None if at_s is None else model.rfc3339(datetime.fromtimestamp(at_s, UTC))
