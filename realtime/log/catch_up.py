"""Brings connections that are behind level with their feeds: in parts, at the pace at which they read.

What fits into the answer to a subscription goes there. The rest follows as the events that it is, in order, and then the
feed takes over. A connection gets its next part when it has read enough of those before: so whoever reads makes progress on
however slow a line, and whoever does not read holds one part of memory.
"""

from __future__ import annotations

import asyncio
import logging
import random
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from realtime import errors, tasks
from realtime.log.store import Range

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from realtime.log.feed import Feed, Frame, Subscriber
    from realtime.model import RoomId

logger = logging.getLogger(__name__)

WINDOW_BYTES = (1 << 15, 1 << 18)
"""What a connection may have unread of its parts: at first, and at most."""
_LEAST_BYTES = 1 << 14
UNREAD_BYTES = 64 << 20
"""What all connections together may have unread before each is held to the window of the beginning."""
_FAST_S, _SLOW_S = 0.5, 2.0
"""A part that was read sooner doubles the window, one that took longer halves it. A heartbeat waits behind what is unread, so a
line that brings 1 KB/s answers it in time."""
BYTES_PER_S = 32 << 20
"""What is brought to all connections together: a third of a core or so. Those who read fast share it, in the order in which they
ask; everybody else's requests are served in between."""
_ROWS = 200
"""Events read from the store for one part."""
_ASKED = 32
"""Answers to subscriptions that a connection may leave unread."""
_RETRY_S = 1.0
_FAILURES = 5
"""In a row, other than a store that does not answer, after which what is missing counts as lost."""


class Frames(NamedTuple):
    """The first frames of a range. `more`: it was cut before its end."""

    frames: list[Frame]
    more: bool


class _Behind:
    """A connection that is behind.

    Attributes:
        rooms: Those that are brought up, each with the seq up to which it was written.
        asked: Those whose answer has not been read yet: their events must not overtake it. Each with what was asked for.
        answers: How many answers have not been read.
        unread_bytes: Of the parts that were written.
    """

    __slots__ = ("answers", "asked", "progress", "rooms", "task", "unread_bytes", "window_bytes")

    def __init__(self) -> None:
        self.rooms: dict[RoomId, int] = {}
        self.asked: dict[RoomId, Mapping[RoomId, int]] = {}
        self.answers = 0
        self.unread_bytes = 0
        self.window_bytes = WINDOW_BYTES[0]
        self.progress = asyncio.Event()
        self.task: asyncio.Task[None] | None = None


class CatchUp:
    """Whom the feeds are ahead of.

    Args:
        feeds: Those that are open, as they are at any time.
        read: Reads the first frames of ranges from the store, up to a number of bytes over all but at least one.
        reset_events: Who is so many events behind in a room is told `reset`, and goes on at its head.
        wrote: Called with the number of events after each part.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        feeds: Mapping[RoomId, Feed],
        read: Callable[[Sequence[Range], int], Awaitable[Sequence[Frames]]],
        reset_events: int,
        wrote: Callable[[int], None],
        clock: Callable[[], float],
    ) -> None:
        self._feeds = feeds
        self._read = read
        self._reset_events = reset_events
        self._wrote = wrote
        self._clock = clock
        self._behind: dict[Subscriber, _Behind] = {}
        self._unread_bytes = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._complain_from_s = float("-inf")
        self._free_s = 0.0  # when what was promised of `BYTES_PER_S` is spent

    def __len__(self) -> int:
        """How many connections are behind."""
        return len(self._behind)

    async def close(self) -> None:
        """Stop what runs in the background."""
        await tasks.end(self._tasks)

    def admit(self, subscriber: Subscriber) -> bool:
        """Tell whether an answer to this connection may bring events by itself: not while parts are on their way.

        Raises:
            Overloaded: it has not read many answers that it asked for.
        """
        behind = self._behind.get(subscriber)
        if behind is not None and behind.answers >= _ASKED:
            raise errors.Overloaded("Many answers of this connection are unread.", retry_after_ms=500)
        return behind is None

    def begin(self, subscriber: Subscriber, rooms: Mapping[RoomId, int]) -> None:
        """Bring a connection up, which its feeds hold as `behind`, from a seq in each room; once it has read what is written in
        this turn.
        """
        behind = self._behind.get(subscriber)
        if behind is None:
            behind = self._behind[subscriber] = _Behind()
        for room in rooms:
            behind.rooms.pop(room, None)
            behind.asked[room] = rooms
        behind.answers += 1
        asyncio.get_running_loop().call_soon(subscriber.mark, partial(self._answered, subscriber, behind, rooms))

    def stop(self, subscriber: Subscriber, room: RoomId) -> None:
        """Forget a room of a connection: it is not behind there any more, or it went."""
        behind = self._behind.get(subscriber)
        if behind is not None:
            behind.rooms.pop(room, None)
            behind.asked.pop(room, None)
            self._end_if_over(subscriber, behind)

    def forget(self, subscriber: Subscriber) -> None:
        """Forget a connection that has closed."""
        behind = self._behind.pop(subscriber, None)
        if behind is not None:
            self._unread_bytes -= behind.unread_bytes
            behind.unread_bytes = 0
            behind.progress.set()

    def _end_if_over(self, subscriber: Subscriber, behind: _Behind) -> None:
        if not behind.rooms and not behind.answers and self._behind.get(subscriber) is behind:
            self.forget(subscriber)

    def _answered(self, subscriber: Subscriber, behind: _Behind, rooms: Mapping[RoomId, int]) -> None:
        """The connection has read the answer that says from where on these rooms follow."""
        behind.answers -= 1
        for room, position in rooms.items():
            if behind.asked.get(room) is rooms:
                del behind.asked[room]
                behind.rooms[room] = position
        if self._behind.get(subscriber) is not behind:
            return
        if behind.rooms and behind.task is None:
            behind.task = task = asyncio.get_running_loop().create_task(self._run(subscriber, behind))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        behind.progress.set()
        self._end_if_over(subscriber, behind)

    # -- parts ------------------------------------------------------------------------------------

    async def _run(self, subscriber: Subscriber, behind: _Behind) -> None:
        failures = 0
        while self._behind.get(subscriber) is behind:
            if not behind.rooms or behind.unread_bytes >= self._window(behind):
                behind.progress.clear()
                await behind.progress.wait()
                continue
            try:
                await self._bring(subscriber, behind)
                failures = 0
            except errors.Unavailable:
                await asyncio.sleep(_RETRY_S * random.uniform(0.5, 1.5))
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not end the way of this connection to its rooms
                failures += 1
                self._complain(error)
                if failures >= _FAILURES:
                    self._give_up(subscriber, behind)
                await asyncio.sleep(_RETRY_S * random.uniform(0.5, 1.5))

    def _complain(self, error: Exception) -> None:
        if self._clock() >= self._complain_from_s:
            self._complain_from_s = self._clock() + tasks.COMPLAIN_S
            logger.error("what a connection missed could not be read; said once a minute", exc_info=error)

    def _give_up(self, subscriber: Subscriber, behind: _Behind) -> None:
        """What is missing cannot be read: say so, and go on with what comes."""
        for room in list(behind.rooms):
            feed = self._feeds.get(room)
            if feed is None or subscriber not in feed.behind:
                del behind.rooms[room]
            else:
                self._reset(subscriber, behind, feed)
        self._end_if_over(subscriber, behind)

    def _window(self, behind: _Behind) -> int:
        return behind.window_bytes if self._unread_bytes < UNREAD_BYTES else min(behind.window_bytes, WINDOW_BYTES[0])

    async def _bring(self, subscriber: Subscriber, behind: _Behind) -> None:
        """Write the next part."""
        limit_bytes = max(self._window(behind) // 2, _LEAST_BYTES)
        now_s = self._clock()
        turn_s = max(self._free_s, now_s)
        self._free_s = turn_s + limit_bytes / BYTES_PER_S
        if turn_s > now_s:
            await asyncio.sleep(turn_s - now_s)
        ranges = self._unremembered(behind)
        found = await self._read(ranges, limit_bytes) if ranges else ()
        # From here nothing awaits: what is handed over to a feed must be level with it.
        pages = {one.room: (one.since, page) for one, page in zip(ranges, found, strict=True)}
        part: list[Frame] = []
        size = 0
        for room in list(behind.rooms):
            count = len(part)
            if size >= limit_bytes or not self._collect(subscriber, behind, room, pages.get(room), limit_bytes - size, part):
                break
            size += sum(map(len, part[count:]))
        self._free_s += (size - limit_bytes) / BYTES_PER_S  # what it came to
        if part:
            behind.unread_bytes += size
            self._unread_bytes += size
            self._wrote(len(part))
            subscriber.write(b"".join(part))
            subscriber.mark(partial(self._has_read, behind, size, self._clock()))
        self._end_if_over(subscriber, behind)
        await asyncio.sleep(0)

    def _unremembered(self, behind: _Behind) -> list[Range]:
        """Choose what must be read from the store for the next part."""
        ranges, rows = [], _ROWS
        for room, position in behind.rooms.items():
            feed = self._feeds.get(room)
            if feed is None or feed.remembers(position) or feed.position - position >= self._reset_events:
                continue
            until = min(feed.position, position + rows)
            ranges.append(Range(room, position, until))
            rows -= until - position
            if rows <= 0:
                break
        return ranges

    def _collect(
        self,
        subscriber: Subscriber,
        behind: _Behind,
        room: RoomId,
        page: tuple[int, Frames] | None,
        limit_bytes: int,
        part: list[Frame],
    ) -> bool:
        """Put what follows of a room into the part; return False when it has to be read first."""
        feed, position = self._feeds.get(room), behind.rooms[room]
        if feed is None or subscriber not in feed.behind:
            del behind.rooms[room]  # it left, or was taken out
            return True
        missing = feed.position - position
        if missing < 0 or missing >= self._reset_events:
            self._reset(subscriber, behind, feed)
            return True
        if feed.remembers(position):
            frames = feed.after(position, limit_bytes)
        elif page is None or page[0] != position or (page[1].more and not page[1].frames):
            return False
        elif page[1].frames:
            frames = page[1].frames
        else:
            self._reset(subscriber, behind, feed)  # the store has not got what it once had
            return True
        part.extend(frames)
        if len(frames) == missing:
            self._hand_over(subscriber, behind, feed)
        else:
            behind.rooms[room] = position + len(frames)
        return True

    def _reset(self, subscriber: Subscriber, behind: _Behind, feed: Feed) -> None:
        self._hand_over(subscriber, behind, feed)
        subscriber.reset(feed.room, feed.position)

    @staticmethod
    def _hand_over(subscriber: Subscriber, behind: _Behind, feed: Feed) -> None:
        del behind.rooms[feed.room]
        feed.subscribers[subscriber] = feed.behind.pop(subscriber)

    def _has_read(self, behind: _Behind, size: int, written_s: float) -> None:
        """The connection has read a part."""
        if behind.unread_bytes == 0:
            return  # it was forgotten meanwhile
        behind.unread_bytes -= size
        self._unread_bytes -= size
        took_s = self._clock() - written_s
        if took_s < _FAST_S:
            behind.window_bytes = min(2 * behind.window_bytes, WINDOW_BYTES[1])
        elif took_s > _SLOW_S:
            behind.window_bytes = max(behind.window_bytes // 2, _LEAST_BYTES)
        behind.progress.set()
