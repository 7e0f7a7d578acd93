"""Slows down those who guess: counts over all nodes in Redis, and on this node while Redis is away.

Each node counts in memory too. So a node that loses Redis does not begin at nought, and what Redis forgot is no second chance
there. While Redis answers, its word counts.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from realtime.auth.attempts import MemoryAttempts
from realtime.auth.redis_attempts import FAILURES

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from typing import Any, TypeVar

    from realtime.auth.attempts import Charge
    from realtime.auth.redis_attempts import RedisAttempts

    T = TypeVar("T")

logger = logging.getLogger(__name__)

_RETRY_S = 2.0
"""For so long Redis is not asked after it failed: a sign-in waits for it once, not each time."""
_SAY_S = 60.0


class Throttle:
    """Args:
    shared: What all nodes count; None: this node alone.
    clock: Seconds.
    """

    def __init__(self, shared: RedisAttempts | None, clock: Callable[[], float]) -> None:
        self._shared = shared
        self._clock = clock
        self._memory = MemoryAttempts()
        self._away_until_s = float("-inf")
        self._said_s = float("-inf")

    async def close(self) -> None:
        if self._shared is not None:
            await self._shared.close()

    async def take(self, charges: Sequence[Charge], known: str = "") -> float:
        """Count one attempt; return 0.0 or the seconds to wait, and then nothing was counted. Never fails."""
        here_s = self._memory.take(charges, known, self._clock())
        if self._shared is None:
            return here_s
        wait_s = await self._ask(self._shared.take(charges, known), here_s)
        if wait_s > 0 and here_s == 0:
            self._memory.give_back(charges)
        return wait_s

    async def give_back(self, charges: Sequence[Charge]) -> None:
        """Undo one `take`: the attempt was not judged, since the server was busy."""
        self._memory.give_back(charges)
        if self._shared is not None:
            await self._ask(self._shared.give_back(charges), None)

    async def succeeded(self, forget: Sequence[Charge], give_back: Sequence[Charge], known: str = "") -> None:
        """Begin some counts anew, undo one attempt of others, and know the account at its address."""
        self._memory.forget(forget)
        self._memory.give_back(give_back)
        if known:
            self._memory.remember(known, self._clock())
        if self._shared is not None:
            await self._ask(self._shared.succeeded(forget, give_back, known), None)

    async def _ask(self, question: Coroutine[Any, Any, T], otherwise: T) -> T:
        now_s = self._clock()
        if now_s < self._away_until_s:
            question.close()
            return otherwise
        try:
            return await question
        except FAILURES as error:
            self._away_until_s = now_s + _RETRY_S
            if now_s - self._said_s >= _SAY_S:
                self._said_s = now_s
                reason = type(error).__name__
                logger.warning("Redis does not count attempts to sign in; this node counts alone", extra={"reason": reason})
            return otherwise
