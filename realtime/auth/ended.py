"""Which sessions are over, on this node: told over the bus at once, and read from the store for those that got lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from realtime import tasks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from realtime.auth.sessions import SessionStore
    from realtime.model import SessionId

POLL_S = 10.0
"""How often ended sessions are read from the store: a third of what revocation may take while the bus is away."""
_MARGIN_S = 60.0
"""How long an ended session may take to show in the store, and how far clocks of nodes may be apart."""


class EndedSessions:
    """Remembers ended sessions for as long as an access token of theirs may be alive.

    Args:
        sessions: Where they are read.
        token_life_s: Of an access token, with the grace of open connections.
        tell: Called with a session that was ended through this node: the other nodes are to know.
        close: Called once with a session that was ended anywhere: its connections on this node close.
        loops: Run what runs in the background.
    """

    def __init__(
        self,
        sessions: SessionStore,
        token_life_s: float,
        tell: Callable[[SessionId], None],
        close: Callable[[SessionId], None],
        loops: tasks.Loops,
    ) -> None:
        self._loops = loops
        self._sessions = sessions
        self._keep_s = token_life_s + _MARGIN_S
        self._tell = tell
        self._close = close
        self._noted: dict[SessionId, float] = {}  # in the order of their times
        self._read_at_s: float | None = None
        self._now = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def __contains__(self, session: object) -> bool:
        return session in self._noted

    async def open(self) -> None:
        """Read them, and keep reading. Raises Unavailable."""
        await self.read()
        self._task = self._loops.start("auth.ended_sessions", self.read, every_s=POLL_S, called=self._now)

    async def close(self) -> None:
        await tasks.end([self._task])

    def end(self, sessions: Iterable[SessionId]) -> None:
        """Make known, here and elsewhere, that sessions were ended; the store says so already."""
        for session in sessions:
            self.note(session)
            self._tell(session)

    def note(self, session: SessionId) -> None:
        """Take note that a session is over."""
        if session not in self._noted:
            self._noted[session] = _now_s()
            self._close(session)

    def read_soon(self) -> None:
        """Read them now: a notice may have been lost."""
        self._now.set()

    async def read(self) -> None:
        """Read what was ended since the last reading, and forget what no token can speak of any more. Raises Unavailable."""
        began_s = _now_s()
        since_s = self._keep_s if self._read_at_s is None else min(self._keep_s, began_s - self._read_at_s + _MARGIN_S)
        for session in await self._sessions.revoked_since(since_s):
            self.note(session)
        self._read_at_s = began_s
        while self._noted:
            oldest = next(iter(self._noted))
            if self._noted[oldest] > began_s - self._keep_s:
                break
            del self._noted[oldest]


def _now_s() -> float:
    return asyncio.get_running_loop().time()
