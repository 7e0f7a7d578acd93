"""Keeps the feeds of a node level with the store: fills holes, and compares positions with `rooms.head_seq`.

What arrives over the bus is a hint. A hole shows that something is missing; a lost last frame shows nothing, so positions
are compared now and then, and every second for rooms that the bus does not bring.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Protocol

from realtime import errors, tasks
from realtime.log.coalescer import Coalescer
from realtime.log.store import Page, Range

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence

    from realtime.log.feed import Feed
    from realtime.log.feeds import Settings
    from realtime.model import Event, RoomId
    from realtime.runtime import Runtime

logger = logging.getLogger(__name__)

HOLE_PATIENCE_S = 0.05
"""How long a frame that came early waits for the ones before it until they are read from the store."""
RETRY_S = (1.0, 4.0)
"""Pause before asking a store again that did not answer: the first, and the longest."""
_OFFERED_AT_ONCE = 500  # events written out before others get their turn of the loop
_PAGE_BYTES = 1 << 20
"""Read of one room at a time, and twice as much of all in one query."""


class Log(Protocol):
    """What the reconciler reads. Raises Unavailable."""

    async def pages(self, ranges: Sequence[Range], range_bytes: int, all_bytes: int, /) -> Sequence[Page]: ...

    async def missing(
        self, positions: Sequence[tuple[RoomId, int]], per_room: int, in_all: int, all_bytes: int, /
    ) -> tuple[Sequence[tuple[int, list[Event]]], bool]: ...


class Hears(Protocol):
    """What the reconciler asks of the bus."""

    @property
    def complete(self) -> bool:
        """Whether every room is heard."""

    def hears(self, room: RoomId) -> bool: ...


class Reconciler:
    """Reads what the feeds miss.

    Args:
        feeds: Those that are open, as they are at any time.
        log: The store.
        bus: Tells which rooms it brings.
        offer: Hands events to a room's feed.
        settings: Bounds and pauses.
        repaired: Called with the number of events that had to be read, and the age in seconds of the oldest of them.
        look: Called before everything is compared: what was open may belong to another epoch. Raises Unavailable.
        runtime: Clocks, and who runs what runs in the background.
    """

    def __init__(
        self,
        feeds: Mapping[RoomId, Feed],
        log: Log,
        bus: Hears,
        offer: Callable[[RoomId, list[Event]], None],
        settings: Settings,
        repaired: Callable[[int, float], None],
        look: Callable[[], Awaitable[None]],
        runtime: Runtime,
    ) -> None:
        self._loops = runtime.loops
        self._look = look
        self._feeds = feeds
        self._log = log
        self._bus = bus
        self._offer = offer
        self._settings = settings
        self._repaired = repaired
        self._now = runtime.wall
        self._clock = asyncio.get_running_loop().time
        self._pages = Coalescer[Range, Page](self._load_pages, 50)
        self._called = asyncio.Event()
        self._all = False
        self._suspects: dict[RoomId, None] = {}
        self._last_s = float("-inf")  # when the last comparison began
        self._not_before_s = float("-inf")  # after one that failed
        self._retry_s = RETRY_S[0]
        self._complain_from_s = float("-inf")
        self._full_due_s = self._next_full_s()
        self._repairing: set[RoomId] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def open(self) -> None:
        """Start comparing."""
        self._tasks.add(self._loops.start("rooms.reconcile", self._reconcile, every_s=self._pause_s, called=self._called))

    async def close(self) -> None:
        """Stop what runs in the background."""
        self._closed = True
        await tasks.end(self._tasks)

    # -- what calls for it ------------------------------------------------------------------------

    def compare_soon(self) -> None:
        """Compare every position: anything may have been lost."""
        self._all = True
        self._called.set()

    def suspect(self, rooms: Iterable[RoomId]) -> None:
        """Compare the positions of these rooms: their frames may have been lost."""
        self._suspects.update(dict.fromkeys(rooms))
        self._called.set()

    def hole(self, feed: Feed) -> None:
        """Frames of this feed wait for others: read those if they do not come in a moment."""
        if feed.room in self._repairing or self._closed:
            return
        if not self._bus.hears(feed.room):
            # They cannot come. The comparison of this second brings them, with those of all other rooms.
            self.suspect([feed.room])
            return
        self._repairing.add(feed.room)
        asyncio.get_running_loop().call_later(HOLE_PATIENCE_S, self._patience_over, feed)

    def _patience_over(self, feed: Feed) -> None:
        if feed.has_hole and self._is_open(feed) and not self._closed:
            self._spawn(self._mend(feed))
        else:
            self._repairing.discard(feed.room)

    async def _mend(self, feed: Feed) -> None:
        try:
            await self.catch_up(feed)
        except Exception as error:
            if not isinstance(error, errors.Unavailable) and self._clock() >= self._complain_from_s:
                self._complain_from_s = self._clock() + tasks.COMPLAIN_S
                logger.error("what a room misses could not be read; said once a minute", exc_info=error)
            self.suspect([feed.room])
            return
        finally:
            self._repairing.discard(feed.room)
        if feed.has_hole and self._is_open(feed):
            self.hole(feed)  # came while the store was read

    # -- reading ----------------------------------------------------------------------------------

    async def catch_up(self, feed: Feed) -> None:
        """Read what follows one feed's position until nothing does. Rooms that need it together share a query.

        Raises:
            Unavailable: when the store does not answer.
        """
        while self._is_open(feed):
            waiting, before = feed.early(), feed.position
            page = await self._pages.get(Range(feed.room, before, before + self._settings.resume_events))
            if page.events:
                self._deliver(feed, page.events)
            elif not page.more:
                self._forget_phantoms(feed, waiting, before)
            if not page.more or (page.events and feed.position == before):
                return

    async def compare(self, rooms: Iterable[RoomId]) -> None:
        """Compare the positions of these rooms with the store and deliver what is missing: one query, whatever it finds.

        Raises:
            Unavailable: when the store does not answer.
        """
        feeds = [feed for room in rooms if (feed := self._feeds.get(room)) is not None]
        if not feeds:
            return
        waiting = [(feed.early(), feed.position) for feed in feeds]
        per_room, in_all = self._settings.resume_events, self._settings.compare_events
        self._last_s = self._clock()
        found, cut = await self._log.missing(
            [(feed.room, feed.position) for feed in feeds], per_room, in_all, self._settings.compare_bytes
        )
        read = 0
        behind = set()
        failure: Exception | None = None
        for index, events in found:
            feed = feeds[index]
            behind.add(index)
            try:
                self._deliver(feed, events)
            except Exception as error:  # noqa: BLE001 - raised when the other rooms have theirs
                failure = error
            if len(events) >= per_room:
                self.suspect([feed.room])
            read += len(events)
            if read % _OFFERED_AT_ONCE < len(events):
                await asyncio.sleep(0)
        if cut:
            last = [feeds[found[-1][0]].room] if found else []
            self.suspect([*last, *(feed.room for index, feed in enumerate(feeds) if index not in behind)])
        else:
            for index, feed in enumerate(feeds):
                if index not in behind:
                    self._forget_phantoms(feed, *waiting[index])
        if failure is not None:
            raise failure

    def _deliver(self, feed: Feed, events: list[Event]) -> None:
        if not self._is_open(feed):
            return
        before = feed.position
        age_s = max(0.0, self._now() - events[0].at.timestamp())
        self._offer(feed.room, events)
        if feed.position > before:
            self._repaired(feed.position - before, age_s)

    @staticmethod
    def _forget_phantoms(feed: Feed, waiting: Sequence[int], position: int) -> None:
        """Let frames go that waited before the store was asked, when it says that nothing follows the position."""
        if waiting and feed.position == position:
            logger.warning("frames came of events that were never committed; they are dropped")
            feed.forget_early(waiting)

    def _is_open(self, feed: Feed) -> bool:
        return self._feeds.get(feed.room) is feed

    # -- the loop ---------------------------------------------------------------------------------

    async def _reconcile(self) -> None:
        """Compare what is due."""
        # A moment in which several calls become one, and never two queries in one second.
        earliest_s = max(self._last_s + self._settings.compare_least_s, self._not_before_s)
        await asyncio.sleep(max(random.uniform(0.01, 0.05), earliest_s - self._clock()))
        self._called.clear()
        everything = self._all or self._clock() >= self._full_due_s
        rooms = self._choose(everything)
        self._all = False
        self._suspects.clear()
        try:
            if everything:
                await self._look()
            await self.compare(rooms)
        except Exception:
            # Nodes that lost the same database must not come back to it in step.
            self._not_before_s = self._clock() + self._retry_s * random.uniform(0.5, 1.5)
            self._retry_s = min(self._retry_s * 2, RETRY_S[1])
            self._all = self._all or everything
            self.suspect(rooms)
            raise
        self._retry_s = RETRY_S[0]
        if everything:
            self._full_due_s = self._next_full_s()

    def _choose(self, everything: bool) -> list[RoomId]:
        if everything:
            # Those that were cut off last time come first.
            return [*self._suspects, *(room for room in self._feeds if room not in self._suspects)]
        rooms = self._suspects.copy()
        if not self._bus.complete:
            rooms.update({room: None for room in self._feeds if not self._bus.hears(room)})
        return list(rooms)

    def _pause_s(self) -> float:
        if not self._bus.complete:
            return self._settings.compare_unhealthy_s * random.uniform(1.0, 1.1)
        return max(0.0, self._full_due_s - self._clock())

    def _next_full_s(self) -> float:
        return self._clock() + self._settings.compare_s * random.uniform(0.8, 1.2)

    async def _load_pages(self, ranges: Sequence[Range]) -> Sequence[Page]:
        return await self._log.pages(ranges, _PAGE_BYTES, 2 * _PAGE_BYTES)

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
