"""The form of one line of the route table, and what a handler gets and gives."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from realtime.errors import Forbidden, InvalidRequest, TokenMissing
from realtime.wire.rest import MAX_SEQ

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    import msgspec

    from realtime.budgets import Budget
    from realtime.errors import RealtimeError
    from realtime.model import Principal, User, UserId
    from realtime.surface.rest.ports import Services
    from realtime.wire.types import Request


class NoInput:
    """Stands for a body or a query that a route does not have."""


B = TypeVar("B")
Q = TypeVar("Q")


class Auth(enum.Enum):
    """Whether a route needs an access token. ADMIN: of somebody who administrates the server, as the store has it now."""

    ADMIN = "admin"
    REQUIRED = "required"
    OPTIONAL = "optional"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Call(Generic[B, Q]):
    """One request, checked and typed.

    Args:
        services: What the handler may call.
        path: The variable parts of the path.
        address: Whom limits count against.
        agent: What the client calls itself (User-Agent), printable and cut.
        principal: Who asks, where there was an access token.
        refusal: Why a given access token was not accepted, on a route that can do without one.
    """

    services: Services
    path: Mapping[str, str]
    body: B
    query: Q
    address: str
    agent: str
    principal: Principal | None
    refusal: RealtimeError | None = None

    @property
    def user(self) -> User:
        """Who asks.

        Raises:
            TokenMissing: nobody we know.
            Forbidden: a caller that is no user.
        """
        return acting_user(self.signed_in)

    @property
    def signed_in(self) -> Principal:
        """Who asks, and in which session. Raises TokenMissing."""
        if self.principal is None:
            raise self.refusal or TokenMissing()
        return self.principal

    @property
    def user_id(self) -> UserId:
        return self.user.id

    @property
    def room(self) -> str:
        return self.path["room"]

    @property
    def seq(self) -> int:
        """The seq in the path.

        Raises:
            InvalidRequest: it is not a positive number.
        """
        text = self.path["seq"]
        if not (text.isascii() and text.isdigit() and len(text) <= 16 and 1 <= int(text) <= MAX_SEQ):
            raise InvalidRequest("The seq in the path is a number from 1.", field="$.seq")
        return int(text)


def acting_user(principal: Principal) -> User:
    """Return whom a caller speaks for. Raises Forbidden: no user."""
    if principal.user is None:
        raise Forbidden("Only users may do that.")
    return principal.user


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: its status, and what is encoded as JSON (None: no content)."""

    status: int
    value: msgspec.Struct | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Generic[B, Q]):
    """One operation: everything that the server, the documents and the tests need to know about it.

    Args:
        path: With the variable parts in braces.
        name: The operation's id in the documents.
        answers: The struct of each status that means success; None for an empty answer.
        errors: Refusals beyond those that `problems.errors_of` adds for every route of this form.
        body: The struct of the JSON body, where there is one.
        body_optional: Whether the body may be left out; then its fields have their defaults.
        query: The struct of the query parameters, where there are some.
        budget: What a request is counted against; every route that writes has one.
    """

    method: str
    path: str
    name: str
    tag: str
    summary: str
    handler: Callable[[Call[B, Q]], Awaitable[Reply]]
    answers: Mapping[int, type[msgspec.Struct] | None]
    errors: tuple[type[RealtimeError], ...] = ()
    body: type[B] | type[Request] | None = None
    body_optional: bool = False
    query: type[Q] | type[Request] | None = None
    auth: Auth = Auth.REQUIRED
    budget: Budget | None = None
