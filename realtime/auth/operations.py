"""What callers do with accounts and sign-ins."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime import errors
from realtime.auth.service import Accounts
from realtime.auth.users import UserStore
from realtime.budgets import Budget
from realtime.model import Scope, UserId, is_uuid
from realtime.operations import Auth, Caller, Operation, Rest, Row
from realtime.wire import rest
from realtime.wire.types import Account, Empty, User, time

if TYPE_CHECKING:
    from realtime import model
    from realtime.auth.service import SignedIn

MAX_USERS = 100


# -- signing in and out -----------------------------------------------------------------------------


async def register(accounts: Accounts, caller: Caller, request: rest.Register) -> rest.SignedIn:
    made = await accounts.register(request.username, request.password, request.display_name, caller.address, caller.agent)
    return _signed_in(made)


async def login(accounts: Accounts, caller: Caller, request: rest.Login) -> rest.SignedIn:
    made = await accounts.login(request.username, request.password, caller.address, caller.agent, request.new_password)
    return _signed_in(made)


async def refresh(accounts: Accounts, caller: Caller, request: rest.RefreshRequest) -> rest.SignedIn:
    return _signed_in(await accounts.refresh(request.refresh_token, caller.address))


async def logout(accounts: Accounts, caller: Caller, request: rest.LogoutRequest) -> None:
    """End the session of whichever token was given; with both, an access token that has run out does not matter."""
    if request.refresh_token is not None:
        await accounts.logout_by_refresh_token(request.refresh_token)
    if caller.principal is not None:
        await accounts.logout(caller.principal.session)
    elif request.refresh_token is None:
        _ = caller.user  # raises what is wrong with the access token


# -- the caller's own account -------------------------------------------------------------------------


async def me(accounts: Accounts, caller: Caller, _: Empty) -> Account:
    user = caller.user
    return _account(user, await accounts.is_admin(user.id))


async def change_password(accounts: Accounts, caller: Caller, request: rest.ChangePassword) -> rest.SignedIn:
    made = await accounts.change_password(caller.signed_in, request.current_password, request.new_password, caller.address)
    return _signed_in(made)


async def list_sessions(accounts: Accounts, caller: Caller, _: Empty) -> rest.Sessions:
    sessions = [
        rest.Session(
            id=one.id,
            created_at=time(one.created_at),
            last_used_at=time(one.refreshed_at),
            agent=one.agent,
            current=one.id == caller.signed_in.session,
        )
        for one in await accounts.sessions(caller.user_id)
    ]
    return rest.Sessions(sessions=sessions)


async def end_session(accounts: Accounts, caller: Caller, request: rest.SessionRef) -> None:
    await accounts.end_session(caller.user_id, request.session)


# -- other users --------------------------------------------------------------------------------------


async def find_users(users: UserStore, caller: Caller, request: rest.FindUsers) -> rest.Users:
    if (request.query is None) == (request.ids is None):
        raise errors.InvalidRequest("Give one of query and ids.")
    if request.query is not None:
        found = await users.search(request.query, MAX_USERS)
    else:
        named = list(dict.fromkeys((request.ids or "").split(",")))
        if len(named) > MAX_USERS or not all(is_uuid(one) for one in named):
            raise errors.InvalidRequest(f"`ids` is up to {MAX_USERS} user ids, joined by commas.", field="$.ids")
        found = await users.find([UserId(one) for one in named])
    return rest.Users(users=[User.of(user) for user in found])


def _signed_in(made: SignedIn) -> rest.SignedIn:
    return rest.SignedIn(
        user=_account(made.user, made.is_admin),
        access_token=made.access_token,
        refresh_token=made.refresh_token,
        expires_in=made.expires_in,
    )


def _account(user: model.User, is_admin: bool) -> Account:
    return Account(id=user.id, username=user.username, display_name=user.display_name, admin=is_admin)


ACCOUNTS: tuple[Row, ...] = (
    Operation(
        name="register",
        summary="Create an account and sign in.",
        request=rest.Register,
        handler=register,
        auth=Auth.NONE,
        scope=None,
        budget=Budget.ATTEMPTS,
        errors=(errors.UsernameTaken, errors.PasswordTooWeak),
        rest=Rest(method="POST", path="/auth/register", tag="Accounts", answers={201: rest.SignedIn}),
    ),
    Operation(
        name="login",
        summary="Sign in. Every sign-in is a session of its own.",
        request=rest.Login,
        handler=login,
        auth=Auth.NONE,
        scope=None,
        budget=Budget.ATTEMPTS,
        errors=(errors.InvalidCredentials, errors.PasswordChangeRequired, errors.PasswordTooWeak),
        rest=Rest(method="POST", path="/auth/login", tag="Accounts", answers={200: rest.SignedIn}),
    ),
    Operation(
        name="refresh",
        summary="Exchange the refresh token for a new pair. An old one used again ends the session.",
        request=rest.RefreshRequest,
        handler=refresh,
        auth=Auth.NONE,
        scope=None,
        budget=Budget.ATTEMPTS,
        errors=(errors.RefreshTokenInvalid, errors.SessionEnded),
        rest=Rest(method="POST", path="/auth/refresh", tag="Accounts", answers={200: rest.SignedIn}),
    ),
    Operation(
        name="logout",
        summary="End the session of the access token or of the refresh token. Its connections close everywhere.",
        request=rest.LogoutRequest,
        handler=logout,
        auth=Auth.OPTIONAL,
        scope=None,
        budget=Budget.ATTEMPTS,
        rest=Rest(method="POST", path="/auth/logout", tag="Accounts", answers={204: None}, body_optional=True),
    ),
    Operation(
        name="me",
        summary="Get the current user, and whether they are an admin of the server.",
        request=Empty,
        handler=me,
        scope=Scope.ME_READ,
        rest=Rest(method="GET", path="/me", tag="Users", answers={200: Account}),
    ),
    Operation(
        name="change_password",
        summary="Change the password. This session goes on with new tokens; every other one ends, everywhere.",
        request=rest.ChangePassword,
        handler=change_password,
        scope=Scope.SESSIONS_WRITE,
        budget=Budget.ATTEMPTS,
        errors=(errors.WrongPassword, errors.PasswordTooWeak),
        rest=Rest(method="POST", path="/me/password", tag="Users", answers={200: rest.SignedIn}),
    ),
    Operation(
        name="list_sessions",
        summary="List your open sessions: where you are signed in.",
        request=Empty,
        handler=list_sessions,
        scope=Scope.SESSIONS_READ,
        rest=Rest(method="GET", path="/me/sessions", tag="Users", answers={200: rest.Sessions}),
    ),
    Operation(
        name="end_session",
        summary="End one of your sessions. Its connections close everywhere.",
        request=rest.SessionRef,
        handler=end_session,
        scope=Scope.SESSIONS_WRITE,
        budget=Budget.SETTINGS,
        errors=(errors.SessionNotFound,),
        rest=Rest(method="DELETE", path="/me/sessions/{session}", tag="Users", answers={204: None}),
    ),
)
"""Served by `Accounts`."""

USERS: tuple[Row, ...] = (
    Operation(
        name="find_users",
        summary="Find users by the beginning of their username, or by id.",
        request=rest.FindUsers,
        handler=find_users,
        scope=Scope.USERS_READ,
        rest=Rest(method="GET", path="/users", tag="Users", answers={200: rest.Users}),
    ),
)
"""Served by a `UserStore`."""
