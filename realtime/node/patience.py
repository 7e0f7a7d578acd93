"""Waiting for a sign of life, judged by time in which the one who waits ran itself. Pure: time is an argument."""

from __future__ import annotations


class Patience:
    """Runs out after some time without a sign of life.

    A process that was frozen (SIGSTOP, a paused container, a virtual machine that moves) sees on its return that minutes
    went by, in which nobody else ran either. So the time between two looks counts as `step_s` at most.

    Args:
        limit_s: How long to wait without a sign.
        now_s: Monotonic seconds.
        step_s: Longer than the pause between two looks, and much shorter than `limit_s`.
    """

    def __init__(self, limit_s: float, now_s: float, step_s: float = 2.0) -> None:
        self.limit_s = limit_s
        self._step_s = step_s
        self._looked_s = now_s
        self._silent_s = 0.0

    def sign(self, limit_s: float | None = None) -> None:
        """Begin anew: there was a sign of life. `limit_s`: how long to wait from now on, when it changes."""
        self._silent_s = 0.0
        if limit_s is not None:
            self.limit_s = limit_s

    def over(self, now_s: float) -> bool:
        """Look, and return whether it has run out."""
        self._silent_s += min(max(now_s - self._looked_s, 0.0), self._step_s)
        self._looked_s = now_s
        return self._silent_s >= self.limit_s
