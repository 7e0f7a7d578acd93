"""Whether this node can serve: PostgreSQL as it comes and goes, and the checks of `/readyz`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from realtime import errors
from realtime.wire import rest

if TYPE_CHECKING:
    from collections.abc import Callable

    from realtime.bus.bus import Bus
    from realtime.store.pool import Database
    from realtime.tasks import Loops
    from realtime.telemetry.metrics import Metrics

_ANSWER_S = 1.5  # for PostgreSQL's sign of life; the probe has 2 s


class Availability:
    """Whether PostgreSQL answers, as the pool finds out.

    Args:
        metrics: Where it is counted.
        clock: Monotonic seconds.
    """

    def __init__(self, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._metrics = metrics
        self._clock = clock
        self._away_since_s: float | None = None
        self._looks: list[Callable[[], None]] = []

    def when_back(self, look: Callable[[], None]) -> None:
        """Call this whenever PostgreSQL is back: what was not answered may have been committed."""
        self._looks.append(look)

    def turned(self, healthy: bool) -> None:
        """Take the pool's word that PostgreSQL went away or is back."""
        self._metrics.database_healthy.set(healthy)
        now_s = self._clock()
        if healthy and self._away_since_s is not None:
            self._metrics.database_away.inc(now_s - self._away_since_s)
        self._away_since_s = None if healthy else now_s
        if healthy:
            for look in self._looks:
                look()


class Readiness:
    """The checks of `/readyz`.

    Args:
        database: Is asked for a sign of life.
        bus: Says how it is.
        loops: Say which of them are in trouble.

    Attributes:
        draining: Whether the node is ending.
    """

    def __init__(self, database: Database, bus: Bus, loops: Loops) -> None:
        self.draining = False
        self._database = database
        self._bus = bus
        self._loops = loops

    async def health(self) -> rest.Health:
        """Return whether this node can serve, after PostgreSQL answered."""
        try:
            await self._database.fetchrow("SELECT 1", within_s=_ANSWER_S)
            checks = self._checks("ok")
        except errors.Unavailable:
            checks = self._checks("away")
        ready = all(state == "ok" for state in checks.values())
        return rest.Health(status="ok" if ready else "unready", checks=checks)

    def checks(self) -> dict[str, str]:
        """Return the checks by what is known, without asking PostgreSQL."""
        return self._checks("away" if self._database.away else "ok")

    def _checks(self, postgresql: str) -> dict[str, str]:
        tasks_state = "; ".join(f"{name} {trouble}" for name, trouble in self._loops.troubles().items()) or "ok"
        node = "draining" if self.draining else "ok"
        return {"node": node, "bus": self._bus.state, "postgresql": postgresql, "tasks": tasks_state}
