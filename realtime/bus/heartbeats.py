"""Which other nodes are heard. Pure: a clock in, an opinion out.

A node that hears its own probes hears Redis; it does not follow that it hears everybody: one that was cut off, or killed between
a commit and its publish, leaves events that nobody announces. So nodes beat, and while one that may live is silent the others
read the store for it.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

HEARTBEAT_S = 0.4
QUIET_S = 1.2
FORGOTTEN_S = 600.0
"""A node may live, and commit, although it is not heard: that long it is waited for."""


class Heartbeat(enum.IntEnum):
    """What a node says of itself."""

    PARTLY = 0  # not all that it publishes gets through
    WHOLE = 1
    GONE = 2  # it has said everything and ends


class Heartbeats:
    """Args:
    clock: Monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._heard_s: dict[bytes, float] = {}  # since when each has not been heard whole

    def heard(self, sender: bytes, beat: int) -> None:
        """Note a heartbeat. What only newer nodes say of themselves counts as `PARTLY`: they live, and no more is known."""
        if beat == Heartbeat.GONE:
            self._heard_s.pop(sender, None)
        elif beat == Heartbeat.WHOLE:
            self._heard_s[sender] = self._clock()
        else:
            self._heard_s.setdefault(sender, self._clock() - QUIET_S)

    @property
    def known(self) -> bool:
        """Whether there is any other node that may live."""
        return bool(self._heard_s)

    @property
    def silent(self) -> int:
        """How many nodes are not heard that may live."""
        now_s = self._clock()
        self._heard_s = {sender: heard_s for sender, heard_s in self._heard_s.items() if now_s - heard_s < FORGOTTEN_S}
        return sum(now_s - heard_s >= QUIET_S for heard_s in self._heard_s.values())
