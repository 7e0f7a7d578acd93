"""The table of operations: what a caller can ask of the server, over the socket, over REST, or over both.

A capability declares its operations in its own folder, as rows. The composition root joins each row to the service that
serves it (`serve`), and everything else reads those rows: router, socket dispatcher, limits, documents, metrics and tests. Pure.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from realtime.errors import Forbidden, RealtimeError, TokenMissing

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    import msgspec

    from realtime.budgets import Budget
    from realtime.model import Principal, Scope, User, UserId
    from realtime.wire.types import Request

S = TypeVar("S")
R = TypeVar("R", bound="Request")
A = TypeVar("A")
T = TypeVar("T")

Done: TypeAlias = "Callable[[T | RealtimeError], None]"
"""Takes the answer of an operation, or its refusal; called exactly once."""


class Auth(enum.Enum):
    """Whether an operation needs an access token. ADMIN: of an admin of the server, as the store has it now."""

    ADMIN = "admin"
    REQUIRED = "required"
    OPTIONAL = "optional"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and from where.

    Args:
        principal: Who asks, where there was an access token.
        address: The client's, which limits of sign-in count against.
        agent: What the client calls itself (User-Agent), printable and cut.
        refusal: Why an access token was not accepted, where an operation can do without one.
    """

    principal: Principal | None
    address: str = ""
    agent: str = ""
    refusal: RealtimeError | None = None

    @property
    def signed_in(self) -> Principal:
        """Who asks, and in which session. Raises TokenMissing."""
        if self.principal is None:
            raise self.refusal or TokenMissing()
        return self.principal

    @property
    def user(self) -> User:
        """The user who asks. Raises TokenMissing, Forbidden."""
        return acting_user(self.signed_in)

    @property
    def user_id(self) -> UserId:
        return self.user.id


def acting_user(principal: Principal) -> User:
    """Return whom a caller speaks for. Raises Forbidden: no user."""
    if principal.user is None:
        raise Forbidden("Only users may do that.")
    return principal.user


@dataclass(frozen=True, slots=True)
class Made(Generic[T]):
    """The answer of an operation that makes something.

    Args:
        is_new: False: it was there before.
        location: Its address, relative to the path of the request.
    """

    value: T
    is_new: bool
    location: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rest(Generic[R, A]):
    """How an operation is asked for over REST.

    The fields of the request that the path names come from the path. The others come from the query (GET, DELETE) or from the
    JSON body.

    Args:
        path: Below `/api/v1`, with the variable parts in braces.
        tag: The section of the documents.
        answers: The struct of each status that means success; None for an empty answer. With 201 and 200 the answer is a
            `Made`, and 200 says that it was there before.
        body_optional: Whether the body may be left out; then its fields have their defaults.
        write: Makes the struct (or a `Made` of it) from the request and the handler's answer; None: they are the same.
    """

    method: str
    path: str
    tag: str
    answers: Mapping[int, type[msgspec.Struct] | None]
    body_optional: bool = False
    write: Callable[[R, A], msgspec.Struct | Made[Any] | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Socket(Generic[A]):
    """How an operation is asked for over the socket.

    Args:
        name: Of the event.
        ack: The struct of the answer.
        write: Makes it from the handler's answer; None: the handler's answer is it.
    """

    name: str
    ack: type[msgspec.Struct]
    write: Callable[[A], msgspec.Struct] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operation(Generic[S, R, A]):
    """One row: everything that the server, the documents and the tests need to know about an operation.

    It has one handler, in one of three forms. `handler` is awaited; over the socket it runs behind the earlier requests of its
    connection that are awaited. `submit` must not wait: the order in which the caller asked is kept. `attend` is for what
    concerns the connection itself, and for the socket alone: it answers by itself (`surface.socket.live`).

    Args:
        name: Its id in the documents.
        summary: An imperative of a few words.
        request: What the handler is given, whichever way it came.
        scope: What the caller's principal must have; None: nothing.
        errors: Refusals beyond those that every operation of this form may answer.
        budget: What a request is counted against; every operation that writes has one.
        costs: What a request takes, where that is not one token of `budget`.
        refunds: Whether the one token is given back, by the answer: nothing was written.
    """

    name: str
    summary: str
    request: type[R]
    scope: Scope | None
    handler: Callable[[S, Caller, R], Awaitable[A]] | None = None
    submit: Callable[[S, UserId, R, Done[A]], None] | None = None
    attend: Callable[[S, Any, R], None] | None = None
    auth: Auth = Auth.REQUIRED
    errors: tuple[type[RealtimeError], ...] = ()
    budget: Budget | None = None
    costs: Callable[[R], Iterable[tuple[Budget, int]]] | None = None
    refunds: Callable[[A], bool] | None = None
    rest: Rest[R, A] | None = None
    socket: Socket[A] | None = None


Row: TypeAlias = Operation[Any, Any, Any]


@dataclass(frozen=True, slots=True)
class Served:
    """A row and the service that serves it."""

    row: Row
    service: Any


def by_event(rows: Iterable[Row]) -> dict[str, Row]:
    """Return the rows that are asked for over the socket, by the name of the event."""
    return {row.socket.name: row for row in rows if row.socket is not None}


def serve(rows: Iterable[Operation[S, Any, Any]], service: S) -> tuple[Served, ...]:
    """Join rows to the service that serves them."""
    return tuple(Served(row, service) for row in rows)
