"""Sends connections away, a part at a time, so that they do not all come back at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from realtime import tasks
from realtime.gateway.session import CloseReason

if TYPE_CHECKING:
    from realtime.surface.socket.hub import Hub

_PER_S = 1000  # connections that are sent to the other nodes
_MARGIN_S = 0.5  # for clients to go by themselves when they were told to


class Leaving:
    """Tells each connection of this node when to come back, and closes it a moment after that.

    Args:
        hub: The register of connections.
        within_s: How long `begin` takes at most.
    """

    def __init__(self, hub: Hub, within_s: float) -> None:
        self._hub = hub
        self._within_s = within_s
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Let every connection come back: what it was let in for, and what it holds, is of another history."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self.send_away(self._within_s))

    async def send_away(self, within_s: float) -> None:
        """Tell all, and close those that do not go."""
        now = asyncio.get_running_loop().time
        spread_s = min(within_s / 2, len(self._hub) / _PER_S)
        closing_from_s = now() + min(_MARGIN_S, within_s / 10)
        for after_s, peer in self._hub.drain(spread_s):
            early_s = closing_from_s + after_s - now()
            if not peer.closed and early_s > 0:
                await asyncio.sleep(early_s)
            if not peer.closed:
                peer.connection.close(CloseReason.DRAINING)

    async def close(self) -> None:
        """Stop what `begin` began."""
        await tasks.end([self._task])
