"""When the garbage collector looks at everything.

CPython's full collections stop a node for 14 µs a connection (140 ms with 10,000), and they come when many connections do: in a
storm of reconnects there is one after the other. What ends here ends by reference counts: connections leave no cycles behind
(a test holds them to that). So full collections wait for a timer, and what survived one is looked at again only every few hours.
"""

from __future__ import annotations

import gc

EVERY_S = 600.0
_EVERYTHING = 36  # each so many times what was set aside is looked at too: every six hours
_NEVER = 1 << 30


def settle() -> None:
    """Set what lives now aside: it lives long. From now on full collections come from `Collector` alone."""
    gc.collect()
    gc.freeze()
    young, middle, _ = gc.get_threshold()
    gc.set_threshold(young, middle, _NEVER)


class Collector:
    """Collects everything now and then."""

    def __init__(self) -> None:
        self._turn = 0

    async def collect(self) -> None:
        self._turn += 1
        if self._turn % _EVERYTHING == 0:
            gc.unfreeze()
        gc.collect()
        gc.freeze()
