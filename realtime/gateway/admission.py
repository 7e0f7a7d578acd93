"""Who may open one more connection: counts and budgets of a node. Pure, no I/O: time is an argument."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from realtime import errors
from realtime.address import address_key
from realtime.limits import Buckets, TokenBucket, retry_ms

_FILL_S = 10.0  # in that time an address gets as many handshakes back as it may have connections
_HALF_OPEN_AT_LEAST = 10
_BURST_AT_LEAST = 20
_FULL_RETRY_MS = 10_000  # connections go when their clients go, and that is not soon


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Args:
    per_address: Live connections of an address; twice as many handshakes at once, and a tenth of it a second.
    per_node: Live connections of the node.
    rate_per_s: New connections of the node a second; at once, one second's worth.
    """

    per_address: int = 200
    per_node: int = 50_000
    rate_per_s: float = 5_000.0


class Admission:
    """Counts connections by address, and those of an address that have not shown a token yet.

    An address counts as its `address_key`, an IPv6 address as its /64.
    """

    def __init__(self, limits: AdmissionLimits) -> None:
        self._limits = limits
        self._live: Counter[str] = Counter()
        self._half_open: Counter[str] = Counter()
        self._total = 0
        self._handshakes = Buckets(max(1.0, limits.per_address / _FILL_S), max(_BURST_AT_LEAST, 2 * limits.per_address))
        self._node = TokenBucket(limits.rate_per_s, max(1.0, limits.rate_per_s), 0.0)

    def __len__(self) -> int:
        return self._total

    def open(self, address: str, now_s: float) -> None:
        """Count one more connection that has not shown a token. Who is refused has used up nothing.

        Half of an address's connections may be in that state, so that whoever opens them and stays silent leaves room
        for the others behind the same address.

        Raises:
            TooManyConnections: the address has as many as it may have.
            RateLimited: the address opens them too fast.
            Overloaded: the node has as many as it may have, or they come too fast for it.
        """
        key = address_key(address)
        half = max(_HALF_OPEN_AT_LEAST, self._limits.per_address // 2)
        if self._live[key] >= self._limits.per_address or self._half_open[key] >= half:
            raise errors.TooManyConnections(retry_after_ms=_FULL_RETRY_MS)
        if self._total >= self._limits.per_node:
            raise errors.Overloaded("This node has as many connections as it takes.", retry_after_ms=_FULL_RETRY_MS)
        wait_s = self._handshakes.take(key, now_s)
        if wait_s > 0:
            raise errors.RateLimited(retry_after_ms=retry_ms(wait_s))
        wait_s = self._node.take(now_s)
        if wait_s > 0:
            self._handshakes.give_back(key)
            raise errors.Overloaded("New connections come too fast for this node.", retry_after_ms=retry_ms(wait_s))
        self._live[key] += 1
        self._half_open[key] += 1
        self._total += 1

    def entered(self, address: str) -> None:
        """Note that a connection of this address was let in."""
        _take_off(self._half_open, address_key(address))

    def closed(self, address: str, entered: bool) -> None:
        """Forget a connection; `entered` as it was told before."""
        key = address_key(address)
        _take_off(self._live, key)
        if not entered:
            _take_off(self._half_open, key)
        self._total -= 1


def _take_off(counts: Counter[str], key: str) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
