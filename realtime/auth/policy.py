"""Who may administrate the server. Pure: a function returns None or raises the refusal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime.errors import AdminOnly, LastAdmin

if TYPE_CHECKING:
    from collections.abc import Set

    from realtime.model import UserId


def administrate(is_admin: bool) -> None:
    """May they look at accounts and change them? Administrators may."""
    if not is_admin:
        raise AdminOnly


def step_down(admins: Set[UserId], user: UserId) -> None:
    """May `user` stop being one who administrates? Unless nobody else does.

    Args:
        admins: Everybody who does, the disabled left out.
    """
    if admins == {user}:
        raise LastAdmin
