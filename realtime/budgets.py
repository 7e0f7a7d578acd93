"""What one user may write, and how often: one table for every surface. A test finds a write without a budget."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from realtime import errors
from realtime.limits import Buckets, retry_ms

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping

    from realtime.model import UserId

DAY_S = 86_400.0
_USERS_AT_MOST = 100_000


class Budget(enum.Enum):
    """What a write is counted against."""

    ATTEMPTS = "attempts"
    """Sign-in and all that takes a password or a token: by address and account, in `auth/`."""
    MESSAGES = "messages"
    """Messages, edits and deletions, and the bytes of them (`Budgets.admit_send`)."""
    PRESENCE = "presence"
    """What one shows of oneself."""
    ROOMS = "rooms"
    ADDS = "adds"
    """Memberships that a user makes for others; each founding member of a room is one."""
    JOINS = "joins"
    """A user's own coming and going, over all rooms and in each."""
    MODERATION = "moderation"
    """Roles, removals, bans, and direct rooms that are closed."""
    SETTINGS = "settings"
    """What concerns oneself: blocks, who may add one, one's sessions."""
    ADMINISTRATION = "administration"


COUNTED_ELSEWHERE = frozenset({Budget.ATTEMPTS, Budget.MESSAGES})
"""Whose surface does not charge them: whatever serves them does."""


@dataclass(frozen=True, slots=True)
class Allowance:
    """So many at once, and so many each second in the long run."""

    burst: float
    per_s: float


class Budgets:
    """The budgets of all users on one node.

    Args:
        allowances: Of each budget that is charged here; `MESSAGES` are sends.
        same_room: Of one user's joins of one room.
        bytes_per_day: Of the messages of one user.
        clock: Monotonic seconds.
    """

    def __init__(
        self, allowances: Mapping[Budget, Allowance], same_room: Allowance, bytes_per_day: int, clock: Callable[[], float]
    ) -> None:
        self._buckets = {budget: Buckets(one.per_s, one.burst) for budget, one in allowances.items()}
        self._same_room = Buckets(same_room.per_s, same_room.burst)
        self._sends = self._buckets[Budget.MESSAGES]
        self._byte_s = DAY_S / bytes_per_day
        self._full_s: dict[UserId, float] = {}  # when the bytes of each are there again, as in `Buckets`
        self._clock = clock

    def charge(self, budget: Budget, user: UserId, room: str | None = None, tokens: int = 1) -> None:
        """Take from a user's budget.

        Args:
            room: For `JOINS`.
            tokens: How many. What is there is enough to begin with; the rest is owed.

        Raises:
            RateLimited: there is nothing left; nothing was taken.
        """
        if budget in COUNTED_ELSEWHERE:
            return
        now_s = self._clock()
        _take(self._buckets[budget], user, now_s, tokens)
        if budget is Budget.JOINS:
            try:
                _take(self._same_room, (user, room), now_s, tokens)
            except errors.RateLimited:
                self._buckets[budget].give_back(user)
                raise

    def give_back(self, budget: Budget, user: UserId, tokens: int = 1) -> None:
        """Undo the last charge of so many tokens: nothing was written."""
        self._buckets[budget].give_back(user, tokens)

    def admit_send(self, user: UserId, body: str | None) -> None:
        """Take a message, an edit or a deletion from a user's budgets.

        Raises:
            RateLimited: too many of them.
            QuotaExceeded: too many bytes in a day.
        """
        now_s = self._clock()
        wait_s = self._sends.take(user, now_s)
        if wait_s > 0:
            raise _limited(wait_s)
        if body:
            full_s = self._full_s.get(user, now_s)
            if full_s < now_s:
                full_s = now_s
            elif full_s - now_s > DAY_S:
                wait_s = full_s - now_s - DAY_S
                raise errors.QuotaExceeded("You have written as much as one user may in a day.", retry_after_ms=retry_ms(wait_s))
            # As UTF-8 has them, or a little more: to encode them costs more than to count them.
            self._full_s[user] = full_s + (len(body) if body.isascii() else 3 * len(body)) * self._byte_s
            if len(self._full_s) > _USERS_AT_MOST:
                self._forget(now_s)

    def _forget(self, now_s: float) -> None:
        """Forget users who have written least lately, half of all."""
        kept = sorted(self._full_s.items(), key=lambda one: one[1])[_USERS_AT_MOST // 2 :]
        self._full_s = {user: full_s for user, full_s in kept if full_s > now_s}


def _take(buckets: Buckets, key: Hashable, now_s: float, tokens: int) -> None:
    wait_s = buckets.take(key, now_s, tokens)
    if wait_s > 0:
        raise _limited(wait_s)


def _limited(wait_s: float) -> errors.RateLimited:
    return errors.RateLimited(retry_after_ms=retry_ms(wait_s))
