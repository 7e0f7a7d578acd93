"""`roomwire admin`: what the operator does with accounts, on the database itself. The first administrator is made here."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from realtime.auth.accounts import AccountStore
from realtime.auth.administration import Administration
from realtime.auth.passwords import Passwords
from realtime.auth.users import UserStore
from realtime.model import rfc3339
from realtime.node import serve
from realtime.telemetry import logs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from realtime.config import Config
    from realtime.model import Account


async def run(config: Config, action: str, username: str) -> int:
    """Carry out one of `cli.ADMIN_ACTIONS`; return the exit status.

    Running nodes know of ended sessions within 10 s: this program is not on their bus.

    Raises:
        EngineError: the embedded PostgreSQL cannot be started or reached.
        UserNotFound, AccountDisabled, Unavailable.
    """
    logs.configure("warning", config.log_format)
    async with _opened(config) as (users, administration):
        if action == "list":
            print("\n".join(map(_line, await users.admins())) or "This server has no administrator: roomwire admin grant NAME")
            return 0
        user = await administration.find(username)
        if action == "reset-password":
            print((await administration.reset_password(None, user)).password)
            return 0
        if action == "sign-out":
            await administration.end_sessions(None, user)
        elif action in ("grant", "revoke"):
            await administration.change(None, user, admin=action == "grant")
        elif action in ("disable", "enable"):
            await administration.change(None, user, disabled=action == "disable")
        print(_line(await administration.account(user)))
        return 0


@contextlib.asynccontextmanager
async def _opened(config: Config) -> AsyncIterator[tuple[UserStore, Administration]]:
    async with serve.database(config) as database:
        passwords = Passwords(1, 1)
        try:
            users = UserStore(database)
            yield users, Administration(users, AccountStore(database), passwords, lambda _sessions: None)
        finally:
            passwords.close()


def _line(account: Account) -> str:
    facts = [
        "administrator" if account.is_admin else "",
        f"disabled since {rfc3339(account.disabled_at)}" if account.disabled_at else "",
        f"{account.sessions} open session{'' if account.sessions == 1 else 's'}",
    ]
    return f"{account.user.username}  {account.user.id}  " + ", ".join(filter(None, facts))
