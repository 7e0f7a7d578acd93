"""The one door to every operation: who may come in, and what it takes from their budget."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from realtime import errors
from realtime.auth import scopes
from realtime.budgets import COUNTED_ELSEWHERE, Budget
from realtime.operations import Auth, acting_user

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from realtime.budgets import Budgets
    from realtime.model import Principal, UserId
    from realtime.operations import Caller, Done, Row, Served


class Door:
    """Judges requests before any handler sees them.

    Args:
        authenticate: Checks an access token without I/O. Raises TokenInvalid, TokenExpired, SessionEnded.
        require_admin: Returns if a user is an admin of the server, by the store and not by their token. Raises AdminOnly.
        budgets: What users may write, whichever way they ask.
    """

    def __init__(
        self,
        authenticate: Callable[[str], Principal],
        require_admin: Callable[[UserId], Awaitable[None]],
        budgets: Budgets,
    ) -> None:
        self.authenticate = authenticate
        self._require_admin = require_admin
        self._budgets = budgets

    async def admit(self, row: Row, principal: Principal) -> UserId:
        """Return the user who asks, if they may ask for this at all.

        Raises:
            Forbidden: the principal lacks the scope, or is no user.
            AdminOnly: the operation is for admins.
        """
        scopes.require(principal.scopes, row.scope)
        user = acting_user(principal).id
        if row.auth is Auth.ADMIN:
            await self._require_admin(user)
        return user

    def charges(self, row: Row) -> Callable[[UserId, Any], None] | None:
        """Return what takes a request of a user from their budget; None: an operation that costs nothing.

        The function raises RateLimited or QuotaExceeded; then nothing was taken.
        """
        budgets, budget = self._budgets, row.budget
        if row.costs is not None:
            return self._charge_each(row.costs)
        if budget is Budget.MESSAGES:
            admit_send = budgets.admit_send
            if "body" in row.request.__struct_fields__:
                return lambda user, request: admit_send(user, request.body)
            return lambda user, _request: admit_send(user, None)
        if budget is Budget.JOINS:
            return lambda user, request: budgets.charge(Budget.JOINS, user, request.room)
        if budget is None or budget in COUNTED_ELSEWHERE:
            return None
        return lambda user, _request: budgets.charge(budget, user)

    def _charge_each(self, costs: Callable[[Any], Any]) -> Callable[[UserId, Any], None]:
        budgets = self._budgets

        def charge(user: UserId, request: Any) -> None:
            taken: list[tuple[Budget, int]] = []
            for budget, tokens in costs(request):
                try:
                    budgets.charge(budget, user, tokens=tokens)
                except errors.RateLimited:
                    for earlier, given in taken:
                        budgets.give_back(earlier, user, given)
                    raise
                taken.append((budget, tokens))

        return charge

    def refund(self, row: Row, user: UserId, answer: Any) -> None:
        """Give back what a request took that wrote nothing."""
        if row.refunds is not None and row.budget is not None and row.refunds(answer):
            self._budgets.give_back(row.budget, user)


def asks(served: Served) -> Callable[[Caller, Any], Awaitable[Any]]:
    """Return what asks a service and waits for its answer, whether the operation is awaited or submitted."""
    if served.row.submit is not None:
        return functools.partial(_submitted, functools.partial(served.row.submit, served.service))
    assert served.row.handler is not None  # `attend` is for the socket alone
    return functools.partial(served.row.handler, served.service)


async def _submitted(submit: Callable[[UserId, Any, Done[Any]], None], caller: Caller, request: Any) -> Any:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def done(result: Any) -> None:
        if future.done():
            return  # the caller went away; what was committed stands
        if isinstance(result, errors.RealtimeError):
            future.set_exception(result)
        else:
            future.set_result(result)

    submit(caller.user_id, request, done)
    return await future
