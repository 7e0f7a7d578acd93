"""What one pub/sub connection shall carry, what it was asked for, and what it carries by its own word. Pure, no I/O.

Redis answers every SUBSCRIBE and UNSUBSCRIBE in order, and each answer tells how many channels the connection has
(<https://redis.io/docs/latest/develop/pubsub/>). So this side knows at any moment what the server should have, and an
answer with another number says that the two have parted: something is subscribed that nobody hears, or the reverse.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple


class OutOfStep(Exception):
    """The server's subscriptions are not what its answers said: the connection is to be made anew."""


class Changes(NamedTuple):
    """What to ask for, in this order."""

    unsubscribe: list[str]
    subscribe: list[str]


class Channels:
    """The channels of one connection, over its reconnections."""

    def __init__(self) -> None:
        self._wanted: set[str] = set()
        self._asked: set[str] = set()  # the last command about them was SUBSCRIBE
        self._carried: set[str] = set()
        self._unanswered: deque[tuple[bool, str]] = deque()
        self._open: Counter[str] = Counter()  # commands about a channel that are not answered yet
        self._dirty: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._wanted)

    def want(self, channel: str) -> None:
        """Carry a channel from now on."""
        self._wanted.add(channel)
        self._dirty[channel] = None

    def drop(self, channel: str) -> None:
        """Carry a channel no more."""
        self._wanted.discard(channel)
        self._dirty[channel] = None

    def hears(self, channel: str) -> bool:
        """Whether the server confirmed a channel and nothing that was asked since is open."""
        return channel in self._carried and channel not in self._open

    def connected(self) -> set[str]:
        """Begin with a new connection, which carries nothing. Returns what it will be asked for."""
        self.disconnected()
        self._dirty = dict.fromkeys(self._wanted)
        return set(self._wanted)

    def disconnected(self) -> None:
        """Forget what the last connection carried."""
        self._asked.clear()
        self._carried.clear()
        self._unanswered.clear()
        self._open.clear()

    def changes(self, at_most: int) -> Changes | None:
        """Return what is to be asked for now, and count it as asked; None: nothing.

        A channel that was wanted and dropped, or dropped and wanted, since the last call costs nothing.
        """
        changes = Changes([], [])
        while self._dirty and len(changes.subscribe) + len(changes.unsubscribe) < at_most:
            channel = next(iter(self._dirty))
            del self._dirty[channel]
            if channel in self._wanted and channel not in self._asked:
                changes.subscribe.append(channel)
            elif channel not in self._wanted and channel in self._asked:
                changes.unsubscribe.append(channel)
        for channel in changes.unsubscribe:
            self._asked.discard(channel)
            self._ask(False, channel)
        for channel in changes.subscribe:
            self.ask_again(channel)
        return changes if changes.subscribe or changes.unsubscribe else None

    def ask_again(self, channel: str) -> None:
        """Count one more SUBSCRIBE of a channel as asked."""
        self._asked.add(channel)
        self._ask(True, channel)

    def _ask(self, subscribe: bool, channel: str) -> None:
        self._unanswered.append((subscribe, channel))
        self._open[channel] += 1

    def answered(self, subscribed: bool, channel: str, count: int) -> bool:
        """Take an answer, or what the server says unasked.

        Args:
            count: How many channels the connection has, as the server says.

        Returns:
            False when the server took away, unasked, a channel that is wanted (a slot of a cluster moved).

        Raises:
            OutOfStep: the count is not what it must be.
        """
        asked = bool(self._unanswered) and self._unanswered[0] == (subscribed, channel)
        if asked:
            self._close()
        elif subscribed:
            raise OutOfStep("a subscription that nobody asked for")
        else:
            self._asked.discard(channel)
        (self._carried.add if subscribed else self._carried.discard)(channel)
        if count != len(self._carried):
            raise OutOfStep(f"the server carries {count} channels, and said so of {len(self._carried)}")
        return asked or channel not in self._wanted

    def refused(self) -> str | None:
        """Take an error as the answer; return the channel if it is wanted and was asked for."""
        if not self._unanswered:
            raise OutOfStep("an error that answers nothing")
        subscribe, channel = self._unanswered[0]
        self._close()
        if not subscribe:
            return None
        self._asked.discard(channel)
        self._carried.discard(channel)
        return channel if channel in self._wanted else None

    def _close(self) -> None:
        _, channel = self._unanswered.popleft()
        self._open[channel] -= 1
        if not self._open[channel]:
            del self._open[channel]
