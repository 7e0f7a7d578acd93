"""One room on one node: brings frames into order, remembers the last ones, and says who gets them. Pure, no I/O.

Invariant: `position` is the seq up to which every subscriber has been written to; nothing is written out of order,
twice, or to somebody whose removal has a lower seq.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple, NewType, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from realtime.model import RoomId, UserId

Frame = NewType("Frame", bytes)
"""One event, encoded once to the bytes that go to sockets. Opaque here."""


_DEPARTURES_KEPT = 10_000  # those of the last moments count: they are compared with subscriptions being made just now


class Subscriber(Protocol):
    """Somebody on this node who receives a room.

    `write` takes one or many joined frames; it never blocks and never raises. `removed` says that nothing follows.
    """

    user: UserId

    def write(self, frames: bytes) -> None: ...

    def removed(self, room: RoomId, reason: str) -> None: ...

    def reset(self, room: RoomId, head_seq: int) -> None:
        """Say that events up to `head_seq` are left out, and that those behind it follow."""

    def mark(self, reached: Callable[[], None]) -> None:
        """Call `reached` once the client has read all that was written so far; never, if it goes before."""


class Departure(NamedTuple):
    """A membership event that ends somebody's entitlement."""

    user: UserId
    reason: str


class Entry(NamedTuple):
    """A frame with what the feed must know about it."""

    frame: Frame
    departure: Departure | None
    erases: bool = False
    """Whether it deletes a message: frames before it may hold its texts."""


class Feed:
    """The state of one room on this node.

    `subscribers` are written to; `behind` are entitled too, and are brought up to `position` first (`CatchUp`). Both hold
    with each the `head_seq` at which their access was read: a departure up to there is no news, they have come back since.

    Args:
        room: Its id.
        position: The seq after which this feed begins.
        memory_events: How many of the last frames are kept for those who come back.
        memory_bytes: And how many bytes of them.
        early_events: How many frames may wait for a hole before it; more are dropped, since the hole is read from the
            store together with what follows it.
        early_bytes: And how many bytes of them.
    """

    __slots__ = ("_early", "_early_bytes", "_early_events", "_early_size", "_memory", "_memory_bytes", "_memory_events",
                 "_memory_size", "behind", "departed", "empty_since_s", "position", "room", "subscribers")  # fmt: skip

    def __init__(
        self,
        room: RoomId,
        position: int,
        *,
        memory_events: int = 500,
        memory_bytes: int = 1 << 19,
        early_events: int = 1000,
        early_bytes: int = 1 << 20,
    ) -> None:
        self.room = room
        self.position = position
        self.subscribers: dict[Subscriber, int] = {}
        self.behind: dict[Subscriber, int] = {}
        self.departed: dict[UserId, int] = {}
        self.empty_since_s: float | None = None
        self._memory: deque[Frame] = deque()  # the frames of (position - len, position]
        self._memory_events = memory_events
        self._memory_bytes = memory_bytes
        self._memory_size = 0
        self._early: dict[int, Entry] = {}
        self._early_events = early_events
        self._early_bytes = early_bytes
        self._early_size = 0

    @property
    def size_bytes(self) -> int:
        """What the frames in memory take."""
        return self._memory_size

    @property
    def has_hole(self) -> bool:
        """Whether frames wait for others that have not arrived."""
        return bool(self._early)

    def offer(self, first_seq: int, entries: Sequence[Entry]) -> int:
        """Take frames as they come, in any order and any number of times; write out what is now in order.

        Args:
            first_seq: The seq of the first; the rest follow without a hole.

        Returns:
            How many events were delivered.
        """
        last = first_seq + len(entries) - 1
        if last <= self.position:
            return 0
        if first_seq > self.position + 1:
            for seq, entry in enumerate(entries, first_seq):
                self._wait(seq, entry)
            return 0
        ready = list(entries[self.position + 1 - first_seq :])
        if self._early:
            ready.extend(self._in_order(last + 1))
        self._deliver(ready)
        return len(ready)

    def _wait(self, seq: int, entry: Entry) -> None:
        size = self._early_size + len(entry.frame)
        if seq not in self._early and len(self._early) < self._early_events and size <= self._early_bytes:
            self._early[seq] = entry
            self._early_size = size

    def _in_order(self, seq: int) -> Iterator[Entry]:
        while (entry := self._early.pop(seq, None)) is not None:
            self._early_size -= len(entry.frame)
            yield entry
            seq += 1
        self.forget_early([early for early in self._early if early < seq])

    def early(self) -> list[int]:
        """Return the seqs of the frames that wait."""
        return list(self._early)

    def forget_early(self, seqs: Iterable[int]) -> None:
        """Let frames go that waited for what, as the store says, was never committed, or that are old by now."""
        for seq in seqs:
            entry = self._early.pop(seq, None)
            if entry is not None:
                self._early_size -= len(entry.frame)

    def _deliver(self, entries: list[Entry]) -> None:
        run: list[bytes] = []
        for frame, departure, erases in entries:
            if erases:
                self.forget()  # who comes back reads what was before from the store
            if departure is not None:
                self._write(run)
                run = []
                self.expel(departure.user, departure.reason, self.position + 1)
            run.append(frame)
            self.position += 1
            self._remember(frame)
        self._write(run)

    def _write(self, run: list[bytes]) -> None:
        if run:
            joined = run[0] if len(run) == 1 else b"".join(run)
            # A copy: a write may close a slow subscriber, which leaves the feed while we walk it.
            for subscriber in list(self.subscribers):
                subscriber.write(joined)

    def _remember(self, frame: Frame) -> None:
        self._memory.append(frame)
        self._memory_size += len(frame)
        while len(self._memory) > self._memory_events or self._memory_size > self._memory_bytes:
            self._memory_size -= len(self._memory.popleft())

    def forget(self) -> None:
        """Let go what is kept for those who come back."""
        self._memory.clear()
        self._memory_size = 0

    def remembers(self, seq: int) -> bool:
        """Tell whether memory holds everything in (seq, position]."""
        return 0 <= self.position - seq <= len(self._memory)

    def after(self, seq: int, limit_bytes: int) -> list[Frame]:
        """Return from memory the first frames of (seq, position], which it must hold: up to a size, but at least one."""
        frames: list[Frame] = []
        for index in range(len(self._memory) - (self.position - seq), len(self._memory)):
            frames.append(self._memory[index])
            limit_bytes -= len(self._memory[index])
            if limit_bytes <= 0:
                break
        return frames

    def expel(self, user: UserId, reason: str, seq: int) -> None:
        """Stop writing to every subscriber of a user who departed at `seq`, and tell them. Subscriptions being made with
        access that was read before see it in `departed`.
        """
        self.departed[user] = max(seq, self.departed.pop(user, 0))
        if len(self.departed) > _DEPARTURES_KEPT:
            del self.departed[next(iter(self.departed))]
        for receivers in (self.subscribers, self.behind):
            for subscriber in [one for one, read_at in receivers.items() if one.user == user and read_at < seq]:
                del receivers[subscriber]
                subscriber.removed(self.room, reason)
