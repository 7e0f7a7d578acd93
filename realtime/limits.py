"""Token buckets, kept as one number each, and bounded in number. Pure: time is an argument.

A bucket is the time at which it will be full again: the generic cell rate algorithm (ITU-T I.371, annex A), which grants
what a bucket of `burst` tokens, refilled at `rate_per_s`, grants.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Hashable

_EPSILON_S = 1e-9  # sums of intervals are not exact


def retry_ms(wait_s: float) -> int:
    """Return a wait as refusals say it: whole milliseconds, never too few."""
    return int(wait_s * 1000) + 1


class TokenBucket:
    """Grants `burst` at once and `rate_per_s` in the long run.

    Args:
        rate_per_s: Tokens that come back each second.
        burst: Tokens at most.
        now_s: Monotonic seconds.
    """

    __slots__ = ("_full_s", "_interval_s", "_tolerance_s")

    def __init__(self, rate_per_s: float, burst: float, now_s: float) -> None:
        self._interval_s = 1 / rate_per_s
        self._tolerance_s = (burst - 1) / rate_per_s
        self._full_s = now_s

    def take(self, now_s: float, tokens: int = 1) -> float:
        """Take one token or more; return 0.0, or the seconds until they are there, and then nothing was taken."""
        full_s = max(self._full_s, now_s)
        wait_s = full_s + (tokens - 1) * self._interval_s - now_s - self._tolerance_s
        if wait_s > _EPSILON_S:
            return wait_s
        self._full_s = full_s + tokens * self._interval_s
        return 0.0


class Metered(Protocol):
    """Keeps its own bucket.

    Attributes:
        full_s: When it will be full again; 0 to begin with.
    """

    full_s: float


class Rate:
    """A bucket for each of many objects that keep its one number themselves.

    Args:
        rate_per_s: Of each.
        burst: Of each.
    """

    __slots__ = ("_interval_s", "_tolerance_s")

    def __init__(self, rate_per_s: float, burst: float) -> None:
        self._interval_s = 1 / rate_per_s
        self._tolerance_s = (burst - 1) / rate_per_s

    def take(self, who: Metered, now_s: float) -> float:
        """Take one token; return 0.0, or the seconds until there is one, and then nothing was taken."""
        full_s = who.full_s
        if full_s < now_s:
            full_s = now_s
        elif full_s - now_s > self._tolerance_s + _EPSILON_S:
            return full_s - now_s - self._tolerance_s
        who.full_s = full_s + self._interval_s
        return 0.0


class Buckets:
    """A bucket per key; beyond `at_most` the one used longest ago is forgotten.

    Args:
        rate_per_s: Of each.
        burst: Of each.
        at_most: Keys remembered.
    """

    def __init__(self, rate_per_s: float, burst: float, at_most: int = 100_000) -> None:
        self._interval_s = 1 / rate_per_s
        self._tolerance_s = (burst - 1) / rate_per_s
        self._at_most = at_most
        self._full_s: OrderedDict[Hashable, float] = OrderedDict()

    def take(self, key: Hashable, now_s: float, tokens: int = 1) -> float:
        """Take tokens of a key; return 0.0 or the seconds to wait, and then nothing was taken.

        One that is there is enough; the others are owed, and nothing is granted before they are paid.
        """
        kept = self._full_s
        full_s = kept.get(key, now_s)
        wait_s = 0.0
        if full_s < now_s:
            full_s = now_s
        elif full_s - now_s > self._tolerance_s + _EPSILON_S:
            wait_s = full_s - now_s - self._tolerance_s
        kept[key] = full_s if wait_s else full_s + tokens * self._interval_s
        kept.move_to_end(key)  # the order is that of use
        if len(kept) > self._at_most:
            kept.popitem(last=False)
        return wait_s

    def book(self, key: Hashable, now_s: float) -> float:
        """Take one token of a key, of those to come if there is none; return 0.0 or the seconds until it is there."""
        full_s = max(self._full_s.pop(key, now_s), now_s)
        self._full_s[key] = full_s + self._interval_s
        if len(self._full_s) > self._at_most:
            self._full_s.popitem(last=False)
        return max(0.0, full_s - now_s - self._tolerance_s)

    def give_back(self, key: Hashable, tokens: int = 1) -> None:
        """Undo the last `take` of a key; one that is not remembered any more has all that it may have."""
        if key in self._full_s:
            self._full_s[key] -= tokens * self._interval_s

    def forget(self, key: Hashable) -> None:
        """Give a key its full burst back."""
        self._full_s.pop(key, None)

    def __len__(self) -> int:
        return len(self._full_s)
