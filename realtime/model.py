"""The words of the project as frozen values. Imports nothing of ours.

Ids are canonical lower-case UUID strings on the whole way; only PostgreSQL sees them as `uuid`.
Times are aware `datetime` in UTC; on the wire RFC 3339 with milliseconds (`rfc3339`).
"""

from __future__ import annotations

import enum
import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NewType

import msgspec

if TYPE_CHECKING:
    from datetime import datetime

UserId = NewType("UserId", str)
RoomId = NewType("RoomId", str)
SessionId = NewType("SessionId", str)
NodeId = NewType("NodeId", str)

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")


@functools.lru_cache(maxsize=8192)  # the same few rooms again and again: a third of the pattern's time
def is_uuid(text: str) -> bool:
    """Tell whether `text` is a UUID in the one form we hand out (lower case, with hyphens; RFC 9562 §4)."""
    return _UUID.match(text) is not None


def uuid7(now_ms: int, random: bytes) -> str:
    """Make a UUIDv7 (RFC 9562 §5.7).

    Args:
        now_ms: Unix time in milliseconds, 48 bits.
        random: 10 random bytes, of which 74 bits are used.
    """
    bits = int.from_bytes(random, "big")
    value = (now_ms & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | (bits >> 62 & 0xFFF) << 64 | 0b10 << 62 | bits & (1 << 62) - 1
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def rfc3339(at: datetime) -> str:
    """Write a UTC time as RFC 3339 with milliseconds and `Z`."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def known(words: type[enum.StrEnum], word: str) -> str:
    """Return the member of `words` that a word of the store, or of another node, stands for.

    A word that only newer nodes know comes back as it is: nodes of two releases run side by side in every upgrade.
    """
    try:
        return words(word)
    except ValueError:
        return word


class RoomKind(enum.StrEnum):
    PUBLIC = "public"
    PRIVATE = "private"
    DIRECT = "direct"


class Role(enum.StrEnum):
    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"


class MayAdd(enum.StrEnum):
    """Who may make a user a member of a room, a direct room too."""

    EVERYBODY = "everybody"
    SHARED_ROOMS = "shared_rooms"
    """Members of a room that the user is a member of."""
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True)
class User:
    id: UserId
    username: str
    display_name: str


@dataclass(frozen=True, slots=True)
class Account:
    """A user as administrators of the server see them. `sessions`: how many sign-ins are open."""

    user: User
    is_admin: bool
    created_at: datetime
    disabled_at: datetime | None
    sessions: int


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in. `agent` is what the program that signed in called itself (User-Agent)."""

    id: SessionId
    created_at: datetime
    refreshed_at: datetime
    agent: str


class PrincipalKind(enum.StrEnum):
    """How a caller proved who it is. `auth.scopes` says what each kind may ask for."""

    SESSION = "session"
    """An access token of a sign-in here."""


class Scope(enum.StrEnum):
    """What a caller may ask for at all: `<resource>:<read or write>`; neither implies the other.

    A scope opens an operation. What the caller may do to one room or account there is decided by the policy of that room or
    account, as if there were no scopes.
    """

    ME_READ = "me:read"
    ME_WRITE = "me:write"
    """The caller's own settings and blocks."""
    SESSIONS_READ = "sessions:read"
    SESSIONS_WRITE = "sessions:write"
    """The caller's own sign-ins and password."""
    USERS_READ = "users:read"
    ROOMS_READ = "rooms:read"
    ROOMS_WRITE = "rooms:write"
    MEMBERS_READ = "members:read"
    MEMBERS_WRITE = "members:write"
    """Joins, leaves, roles and bans too."""
    MESSAGES_READ = "messages:read"
    MESSAGES_WRITE = "messages:write"
    EVENTS_READ = "events:read"
    """Subscriptions too."""
    SIGNALS_WRITE = "signals:write"
    PRESENCE_READ = "presence:read"
    PRESENCE_WRITE = "presence:write"
    ADMIN_READ = "admin:read"
    ADMIN_WRITE = "admin:write"


class Principal(msgspec.Struct, frozen=True, gc=False):
    """Who asks, as the proof that was verified says: no store is read for it.

    Args:
        kind: How it proved who it is.
        credential: The id of that proof: of the session, for an access token of a sign-in here.
        user: Whom it speaks for; None: nobody. A connection always has one.
        scopes: What it may ask for.
        expires_at_s: Unix seconds.
    """

    kind: PrincipalKind
    credential: str
    user: User | None
    scopes: frozenset[Scope]
    expires_at_s: int

    @property
    def session(self) -> SessionId:
        """The sign-in; only a principal of the kind `SESSION` has one."""
        assert self.kind is PrincipalKind.SESSION  # no other kind has the scopes that lead here
        return SessionId(self.credential)

    def __str__(self) -> str:
        """Name it in logs: kind, credential and user."""
        return f"{self.kind}:{self.credential}" + ("" if self.user is None else f" user:{self.user.id}")


class Status(enum.StrEnum):
    """What others see of somebody."""

    ONLINE = "online"
    AWAY = "away"
    DND = "dnd"
    OFFLINE = "offline"


class Choice(enum.StrEnum):
    """What somebody wants others to see while they are there."""

    ONLINE = "online"
    AWAY = "away"
    DND = "dnd"
    INVISIBLE = "invisible"


@dataclass(frozen=True, slots=True)
class PresenceSetting:
    """What somebody chose, on all devices.

    Args:
        choice: A `Choice`, or one that only newer nodes know.
        text: In their own words.
        text_until_s: When the text is over, Unix seconds; None: never.
        version: Grows with each change.
    """

    choice: str = Choice.ONLINE
    text: str = ""
    text_until_s: float | None = None
    version: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """A room as one user sees it; `role` is None for somebody who is not a member.

    `kind` is a `RoomKind` and `role` a `Role`, or what only newer nodes know: `rooms.policy` says what that may do.
    """

    id: RoomId
    kind: str
    name: str | None
    head_seq: int
    last_event_at: datetime
    created_at: datetime
    member_count: int
    role: str | None = None
    peer: User | None = None


@dataclass(frozen=True, slots=True)
class Member:
    user: User
    role: str
    joined_at: datetime


@dataclass(frozen=True, slots=True)
class Ban:
    """Somebody who may not become a member of a room; `actor` is who said so."""

    user: User
    actor: UserId
    at: datetime


@dataclass(frozen=True, slots=True)
class Block:
    """Somebody whom a user blocks."""

    user: User
    at: datetime


class Event(msgspec.Struct, frozen=True, gc=False):
    """One numbered row of a room. One is made per message on every node: a struct costs a tenth of a dataclass.

    Args:
        kind: One of the registry (`log.kinds`), or one that only newer nodes know: rows of theirs are passed on like all others.
        target: The `seq` of the event that this one is about; for edits and deletions, of the message.
        user: For membership events, the user concerned (`actor` is who did it).
        body: The text of a message or of its edit. For a created message: as it is now.
        thread: The `seq` of the message that this one answers.
        data: What the kind says beyond these fields, as JSON holds it.
    """

    room: RoomId
    seq: int
    kind: str
    actor: UserId
    at: datetime
    client_id: str | None = None
    target: int | None = None
    user: UserId | None = None
    role: str | None = None
    body: str | None = None
    edited_at: datetime | None = None
    deleted_at: datetime | None = None
    thread: int | None = None
    data: object = None


@dataclass(frozen=True, slots=True)
class Access:
    """A room's kind and head, and one user's role in it (None: not a member).

    Args:
        epoch: Of the database.
        restored_seq: Up to where the log is the same in all epochs; None: everything of the room is of this one.
    """

    kind: str
    head_seq: int
    role: str | None
    epoch: str = ""
    restored_seq: int | None = None
