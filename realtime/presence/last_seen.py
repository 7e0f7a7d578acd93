"""When users were last seen, where no node lived to tell it.

A node writes down who was there when they go, and a node that is killed is buried by another one. Where there was no other one
and Redis died too, nobody knows who was connected. What they wrote is in the log: they were there then at the latest.
"""

from __future__ import annotations

from realtime.log.consumers import Consumer
from realtime.presence.store import PresenceStore

EVERY_S = 5.0
"""Nobody looks at the time of who is there, and of who went it is known to the minute."""
AT_ONCE = 10_000
"""Events in one statement that reads and writes no row of them: some 20 ms."""

CONSUMER = Consumer("presence.last_seen", PresenceStore.seen_writing, every_s=EVERY_S, is_woken=False, at_once=AT_ONCE)
