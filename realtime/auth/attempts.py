"""How often somebody may try: budgets, and their counts in memory. Pure: time is an argument."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

KNOWN_S = 7 * 86_400.0
"""For how long an account that signed in from an address is known there."""
_PAUSE_AT_MOST_S = 900.0


@dataclass(frozen=True, slots=True)
class Budget:
    """So many attempts, of each key.

    Args:
        name: Part of the key.
        free: Attempts without a pause.
        window_s: After that time the count begins anew; with a pause: after that time without an attempt.
        pause_s: After the last free attempt, and twice as long after each one more, up to 15 minutes. 0: until the window is
            over.
        strangers: It does not bind an account where it is known (signed in from this address before), so that one who guesses
            behind a shared address locks nobody out.
    """

    name: str
    free: int
    window_s: float
    pause_s: float = 0.0
    strangers: bool = False

    def pause_after_s(self, attempts: int) -> float:
        """How long the next attempt has to wait after so many."""
        beyond = attempts - self.free
        return 0.0 if beyond < 0 else min(_PAUSE_AT_MOST_S, self.pause_s * 2.0 ** min(beyond, 64))


class Charge(NamedTuple):
    """One attempt that counts against a budget of a key."""

    budget: Budget
    key: str


@dataclass(slots=True)
class _Count:
    attempts: int
    over_s: float
    again_s: float = 0.0


class MemoryAttempts:
    """Counts of one node; beyond `at_most` the one used longest ago is forgotten.

    Args:
        at_most: Counts, and known accounts.
    """

    def __init__(self, at_most: int = 100_000) -> None:
        self._at_most = at_most
        self._counts: OrderedDict[Charge, _Count] = OrderedDict()
        self._known: OrderedDict[str, float] = OrderedDict()

    def take(self, charges: Sequence[Charge], known: str, now_s: float) -> float:
        """Count one attempt against each budget.

        Args:
            known: The account at its address, as `remember` was told it; empty: none.

        Returns:
            0.0, or the seconds to wait, and then nothing was counted.
        """
        is_known = self._known.get(known, 0.0) > now_s
        counts = [self._count(charge, now_s) for charge in charges]
        wait_s = 0.0
        for (budget, _), count in zip(charges, counts, strict=True):
            if count.attempts >= budget.free and not (budget.strangers and is_known):
                wait_s = max(wait_s, (count.again_s if budget.pause_s else count.over_s) - now_s)
        if wait_s > 0:
            return wait_s
        for (budget, _), count in zip(charges, counts, strict=True):
            count.attempts += 1
            if budget.pause_s:
                count.over_s = now_s + budget.window_s
                count.again_s = now_s + budget.pause_after_s(count.attempts)
        while len(self._counts) > self._at_most:
            self._counts.popitem(last=False)
        return 0.0

    def give_back(self, charges: Sequence[Charge]) -> None:
        """Undo one `take`: the attempt was not judged."""
        for charge in charges:
            count = self._counts.get(charge)
            if count is not None and count.attempts > 0:
                count.attempts -= 1
                count.again_s = 0.0

    def forget(self, charges: Sequence[Charge]) -> None:
        """Begin counts anew."""
        for charge in charges:
            self._counts.pop(charge, None)

    def remember(self, known: str, now_s: float) -> None:
        """Note that an account signed in from an address."""
        self._known.pop(known, None)
        self._known[known] = now_s + KNOWN_S
        if len(self._known) > self._at_most:
            self._known.popitem(last=False)

    def _count(self, charge: Charge, now_s: float) -> _Count:
        count = self._counts.pop(charge, None)
        if count is None or count.over_s <= now_s:
            count = _Count(0, now_s + charge.budget.window_s)
        self._counts[charge] = count  # behind the others: the order is that of use
        return count
