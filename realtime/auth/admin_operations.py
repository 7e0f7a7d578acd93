"""What admins of the server do with accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime import errors
from realtime.auth.administration import Administration
from realtime.budgets import Budget
from realtime.model import Scope
from realtime.operations import Auth, Caller, Operation, Rest, Row
from realtime.wire import rest
from realtime.wire.types import UserRef, time

if TYPE_CHECKING:
    from realtime import model

_TAG = "Administration"


async def list_accounts(administration: Administration, caller: Caller, request: rest.ListAccounts) -> rest.Accounts:
    found, has_more = await administration.list_accounts(request.scope, request.query, request.after, request.limit)
    return rest.Accounts(accounts=[_details(one) for one in found], has_more=has_more)


async def get_account(administration: Administration, caller: Caller, request: UserRef) -> rest.AccountDetails:
    return _details(await administration.account(request.user))


async def change_account(administration: Administration, caller: Caller, request: rest.ChangeAccount) -> rest.AccountDetails:
    changed = await administration.change(caller.user_id, request.user, admin=request.admin, disabled=request.disabled)
    return _details(changed)


async def end_sessions(administration: Administration, caller: Caller, request: UserRef) -> None:
    await administration.end_sessions(caller.user_id, request.user)


async def reset_password(administration: Administration, caller: Caller, request: UserRef) -> rest.OneTimePassword:
    given = await administration.reset_password(caller.user_id, request.user)
    return rest.OneTimePassword(password=given.password, expires_in=given.expires_in)


def _details(found: model.Account) -> rest.AccountDetails:
    user = found.user
    return rest.AccountDetails(
        id=user.id,
        username=user.username,
        display_name=user.display_name,
        admin=found.is_admin,
        created_at=time(found.created_at),
        sessions=found.sessions,
        disabled_at=time(found.disabled_at) if found.disabled_at else None,
    )


ADMINISTRATION: tuple[Row, ...] = (
    Operation(
        name="list_accounts",
        summary="List accounts by username, or find them by its beginning.",
        request=rest.ListAccounts,
        handler=list_accounts,
        auth=Auth.ADMIN,
        scope=Scope.ADMIN_READ,
        rest=Rest(method="GET", path="/admin/users", tag=_TAG, answers={200: rest.Accounts}),
    ),
    Operation(
        name="get_account",
        summary="Get an account.",
        request=UserRef,
        handler=get_account,
        auth=Auth.ADMIN,
        scope=Scope.ADMIN_READ,
        errors=(errors.UserNotFound,),
        rest=Rest(method="GET", path="/admin/users/{user}", tag=_TAG, answers={200: rest.AccountDetails}),
    ),
    Operation(
        name="change_account",
        summary="Disable or enable an account, make a user an admin of the server or not.",
        request=rest.ChangeAccount,
        handler=change_account,
        auth=Auth.ADMIN,
        scope=Scope.ADMIN_WRITE,
        budget=Budget.ADMINISTRATION,
        errors=(errors.UserNotFound, errors.LastAdmin),
        rest=Rest(method="PATCH", path="/admin/users/{user}", tag=_TAG, answers={200: rest.AccountDetails}),
    ),
    Operation(
        name="end_sessions",
        summary="End all sessions of a user. Their connections close everywhere.",
        request=UserRef,
        handler=end_sessions,
        auth=Auth.ADMIN,
        scope=Scope.ADMIN_WRITE,
        budget=Budget.ADMINISTRATION,
        errors=(errors.UserNotFound,),
        rest=Rest(method="DELETE", path="/admin/users/{user}/sessions", tag=_TAG, answers={204: None}),
    ),
    Operation(
        name="reset_password",
        summary="Replace a user's password by one that works once. All their sessions end.",
        request=UserRef,
        handler=reset_password,
        auth=Auth.ADMIN,
        scope=Scope.ADMIN_WRITE,
        budget=Budget.ADMINISTRATION,
        errors=(errors.UserNotFound, errors.AccountDisabled),
        rest=Rest(method="POST", path="/admin/users/{user}/password", tag=_TAG, answers={200: rest.OneTimePassword}),
    ),
)
"""Served by `Administration`."""
