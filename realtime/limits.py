"""Token buckets (RFC 2697 in spirit: a rate and a burst), bounded in number. Pure: time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable


class TokenBucket:
    """Grants `burst` at once and `rate_per_s` in the long run.

    Args:
        rate_per_s: Tokens that come back each second.
        burst: Tokens at most.
        now_s: Monotonic seconds.
    """

    __slots__ = ("_at_s", "_burst", "_rate_per_s", "_tokens")

    def __init__(self, rate_per_s: float, burst: float, now_s: float) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._tokens = float(burst)
        self._at_s = now_s

    def take(self, now_s: float) -> float:
        """Take one token; return 0.0, or the seconds until there is one, and then nothing was taken."""
        tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._rate_per_s)
        self._at_s = now_s
        if tokens < 1:
            self._tokens = tokens
            return (1 - tokens) / self._rate_per_s
        self._tokens = tokens - 1
        return 0.0


class Buckets:
    """A bucket per key; beyond `at_most` the one used longest ago is forgotten.

    Args:
        rate_per_s: Of each.
        burst: Of each.
        at_most: Keys remembered.
    """

    def __init__(self, rate_per_s: float, burst: float, at_most: int = 100_000) -> None:
        self._rate_per_s = rate_per_s
        self._burst = burst
        self._at_most = at_most
        self._buckets: OrderedDict[Hashable, TokenBucket] = OrderedDict()

    def take(self, key: Hashable, now_s: float) -> float:
        """Take one token of a key; return 0.0 or the seconds to wait."""
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = TokenBucket(self._rate_per_s, self._burst, now_s)
            if len(self._buckets) > self._at_most:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
        return bucket.take(now_s)

    def forget(self, key: Hashable) -> None:
        """Give a key its full burst back."""
        self._buckets.pop(key, None)

    def __len__(self) -> int:
        return len(self._buckets)
