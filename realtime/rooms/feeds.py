"""The feeds of this node: opens them, fills their holes from PostgreSQL, and lets connections in without a gap."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from realtime import errors
from realtime.model import Role, RoomId, UserId
from realtime.rooms import policy
from realtime.rooms.coalescer import Coalescer
from realtime.rooms.feed import Departure, Entry, Feed, Frame, Subscriber

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

    from realtime.model import Event
    from realtime.store.events import EventStore
    from realtime.store.rooms import Access, RoomStore

logger = logging.getLogger(__name__)

HOLE_PATIENCE_S = 0.05
"""How long a frame that came early waits for the ones before it until they are read from the store."""
_ATTEMPTS = 8


class Hints(Protocol):
    """What feeds need of the bus: at most once, any frame may be lost. `healthy` is False while losses are certain."""

    healthy: bool

    async def subscribe(self, room: RoomId) -> bool: ...

    def unsubscribe(self, room: RoomId) -> None: ...

    def publish_batch(self, room: RoomId, first_seq: int, frames: Sequence[bytes]) -> None: ...


class Codec(Protocol):
    """Between events and the bytes that go to sockets."""

    def encode(self, event: Event) -> Frame: ...

    def departure(self, frame: Frame) -> Departure | None:
        """Tell whether a frame, from wherever it came, ends somebody's membership."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Bounds of the feeds; times in seconds, sizes in bytes."""

    memory_events: int = 500
    memory_bytes: int = 1 << 19
    resume_events: int = 1000
    compare_s: float = 20.0
    compare_unhealthy_s: float = 1.0
    linger_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The answer for one room: `frames` are all events after `since`; None means reset. Or a refusal."""

    room: RoomId
    head_seq: int = 0
    role: Role | None = None
    frames: list[Frame] | None = None
    error: errors.RealtimeError | None = None


@dataclass(slots=True)
class _Wanted:
    room: RoomId
    since: int | None
    feed: Feed | None = None
    access: Access | None = None
    rows: list[Frame] | None = None  # what memory did not hold: the frames of (since, rows_end]
    rows_end: int = 0
    too_far: bool = False


class Feeds:
    """Every room that somebody on this node receives.

    Args:
        rooms: For access and heads.
        log: For holes and catch-up.
        bus: Carries frames between nodes.
        codec: Encodes events, and recognises departures.
        settings: Bounds.
        delivered: Called with (events, recipients) after each delivery.
        repaired: Called with the number of events that had to be read from the store.
    """

    def __init__(
        self,
        rooms: RoomStore,
        log: EventStore,
        bus: Hints,
        codec: Codec,
        settings: Settings,
        *,
        delivered: Callable[[int, int], None] = lambda _events, _recipients: None,
        repaired: Callable[[int], None] = lambda _events: None,
    ) -> None:
        self._bus = bus
        self._codec = codec
        self._settings = settings
        self._delivered = delivered
        self._repaired = repaired
        self._feeds: dict[RoomId, Feed] = {}
        self._opening: dict[RoomId, asyncio.Task[Feed]] = {}
        self._access = Coalescer[tuple[RoomId, UserId], "Access | None"](rooms.access, 2000)
        self._heads = Coalescer[RoomId, "int | None"](self._load_heads(rooms), 5000)
        self._since = Coalescer[tuple[RoomId, int], "list[Event]"](self._load_since(log), 50)
        self._compare_now = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._repairing: set[RoomId] = set()

    def open(self) -> None:
        """Start comparing positions with the store."""
        self._spawn(self._compare())

    async def close(self) -> None:
        """Stop what runs in the background."""
        tasks = [*self._tasks, *self._opening.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def __len__(self) -> int:
        return len(self._feeds)

    # -- what arrives -----------------------------------------------------------------------------

    def committed(self, room: RoomId, events: list[Event]) -> None:
        """Deliver what this node committed, here and on every other node. `events` follow each other without a hole."""
        entries = [self._entry(self._codec.encode(event)) for event in events]
        self._offer(room, events[0].seq, entries)
        self._bus.publish_batch(room, events[0].seq, [entry.frame for entry in entries])

    def received(self, room: RoomId, first_seq: int, frames: Sequence[bytes]) -> None:
        """Deliver what another node committed."""
        self._offer(room, first_seq, [self._entry(Frame(frame)) for frame in frames])

    def signal(self, room: RoomId, frame: bytes, sender: Subscriber | None = None) -> None:
        """Write a frame without a number to everybody who receives the room, but for the sender."""
        feed = self._feeds.get(room)
        if feed is not None:
            for subscriber in list(feed.subscribers):
                if subscriber is not sender:
                    subscriber.write(frame)

    def compare_soon(self) -> None:
        """Compare every position with the store now: frames may have been lost."""
        self._compare_now.set()

    def _entry(self, frame: Frame) -> Entry:
        return Entry(frame, self._codec.departure(frame))

    def _offer(self, room: RoomId, first_seq: int, entries: list[Entry]) -> None:
        feed = self._feeds.get(room)
        if feed is None:
            return
        recipients = len(feed.subscribers)
        count = feed.offer(first_seq, entries)
        if count:
            self._delivered(count, recipients)
        if feed.has_hole and room not in self._repairing:
            self._repairing.add(room)
            asyncio.get_running_loop().call_later(HOLE_PATIENCE_S, self._repair_if_needed, feed)

    # -- holes ------------------------------------------------------------------------------------

    def _repair_if_needed(self, feed: Feed) -> None:
        self._repairing.discard(feed.room)
        if feed.has_hole and self._feeds.get(feed.room) is feed:
            self._spawn(self._catch_up(feed))

    async def _catch_up(self, feed: Feed) -> None:
        """Read what follows the feed's position until nothing does."""
        limit = self._settings.resume_events
        try:
            while self._feeds.get(feed.room) is feed:
                events = await self._since.get((feed.room, feed.position))
                if not events:
                    return
                before = feed.position
                self._offer(feed.room, events[0].seq, [self._entry(self._codec.encode(event)) for event in events])
                self._repaired(max(0, feed.position - before))
                if len(events) < limit:
                    return
        except errors.Unavailable:
            self.compare_soon()  # tried again when the next comparison gets through

    async def _compare(self) -> None:
        while True:
            pause_s = self._settings.compare_s if self._bus.healthy else self._settings.compare_unhealthy_s
            try:
                async with asyncio.timeout(pause_s):
                    await self._compare_now.wait()
            except TimeoutError:
                pass  # the pause is over
            else:
                # Called for: several calls at once make one comparison.
                await asyncio.sleep(0.02)
            self._compare_now.clear()
            self._close_empty()
            try:
                await self.compare()
            except errors.Unavailable:
                await asyncio.sleep(self._settings.compare_unhealthy_s)
                self._compare_now.set()

    async def compare(self) -> None:
        """Compare the position of every feed with the store, in one query, and read what is missing.

        Raises:
            Unavailable: when the store does not answer.
        """
        feeds = list(self._feeds.values())
        if not feeds:
            return
        heads = await self._heads.get_many([feed.room for feed in feeds])
        behind = [feed for feed, head in zip(feeds, heads, strict=True) if head is not None and head > feed.position]
        if behind:
            await asyncio.gather(*(self._catch_up(feed) for feed in behind))

    def _close_empty(self) -> None:
        now_s = asyncio.get_running_loop().time()
        for feed in list(self._feeds.values()):
            if feed.subscribers:
                feed.empty_since_s = None
            elif feed.empty_since_s is None:
                feed.empty_since_s = now_s
            elif now_s - feed.empty_since_s >= self._settings.linger_s:
                del self._feeds[feed.room]
                self._bus.unsubscribe(feed.room)

    # -- who receives -----------------------------------------------------------------------------

    async def subscribe(
        self, subscriber: Subscriber, wanted: Sequence[tuple[RoomId, int | None]], *, gone: Callable[[], bool]
    ) -> list[Subscribed]:
        """Let a connection receive rooms, each from behind `since`, without a gap and without a repeat.

        When this returns, the connection is attached; the caller writes the answer before it awaits anything, so that
        live events come behind it.

        Args:
            subscriber: Who.
            wanted: Each room once, and the last seq held there (None: begin at the head).
            gone: Tells whether the connection has closed meanwhile.

        Raises:
            Unavailable: when the store does not answer; nothing was attached.
        """
        wants = [_Wanted(room, since) for room, since in wanted]
        for _ in range(_ATTEMPTS):
            await self._prepare(subscriber.user, wants)
            if gone():
                return []
            # From here to the return nothing awaits.
            if all(self._is_ready(subscriber.user, want) for want in wants):
                break
        else:
            raise errors.Overloaded("The room moves faster than it can be read; try again.", retry_after_ms=500)
        return [self._attach(subscriber, want) for want in wants]

    def unsubscribe(self, subscriber: Subscriber, room: RoomId) -> None:
        """Stop writing a room to a connection."""
        feed = self._feeds.get(room)
        if feed is not None:
            feed.subscribers.pop(subscriber, None)

    def expel(self, room: RoomId, user: UserId, reason: str, seq: int) -> None:
        """Stop writing a room to every connection of a user on this node, ahead of the event `seq` that says so."""
        feed = self._feeds.get(room)
        if feed is not None:
            feed.expel(user, reason, seq)

    async def _prepare(self, user: UserId, wants: list[_Wanted]) -> None:
        # Access first, so that nobody opens feeds of rooms that are not theirs; and once more for feeds that were opened
        # after it, since a feed knows only of departures that came after its opening.
        await self._load_access(user, [want for want in wants if want.feed is None])
        entitled = [want for want in wants if _refusal(want.access) is None]
        opening = [want for want in entitled if want.room not in self._feeds]
        feeds = await asyncio.gather(*(self._open(want.room) for want in entitled))
        for want, feed in zip(entitled, feeds, strict=True):
            want.feed = feed
        await self._load_access(
            user, opening + [want for want in entitled if want not in opening and self._departed_since(user, want)]
        )
        await asyncio.gather(*(self._catch_up(want.feed) for want in entitled if want.feed and self._lags(want)))
        reading = [want for want in entitled if self._must_read(want)]
        pages = await self._since.get_many([(want.room, want.since or 0) for want in reading])
        for want, page in zip(reading, pages, strict=True):
            self._take_page(want, page)

    async def _load_access(self, user: UserId, wants: list[_Wanted]) -> None:
        for want, access in zip(wants, await self._access.get_many([(want.room, user) for want in wants]), strict=True):
            want.access = access

    @staticmethod
    def _departed_since(user: UserId, want: _Wanted) -> bool:
        return want.feed is not None and want.access is not None and want.feed.departed.get(user, 0) > want.access.head_seq

    @staticmethod
    def _lags(want: _Wanted) -> bool:
        """Whether the client has seen, elsewhere, what has not arrived on this node."""
        if want.since is None or want.feed is None or want.access is None:
            return False
        return want.feed.position < want.since <= want.access.head_seq

    def _must_read(self, want: _Wanted) -> bool:
        if want.since is None or want.feed is None or want.too_far:
            return False
        if want.rows is not None:
            return want.feed.after(want.rows_end) is None
        return want.feed.after(want.since) is None and want.since <= want.feed.position

    def _take_page(self, want: _Wanted, page: list[Event]) -> None:
        if len(page) >= self._settings.resume_events:
            want.too_far = True
            return
        entries = [self._entry(self._codec.encode(event)) for event in page]
        want.rows = [entry.frame for entry in entries]
        want.rows_end = page[-1].seq if page else want.since or 0
        if page:
            # What the store has and the feed not yet goes to everybody now: then both end at the same place.
            self._offer(want.room, page[0].seq, entries)

    def _is_ready(self, user: UserId, want: _Wanted) -> bool:
        if _refusal(want.access) is not None:
            return True
        if want.feed is None or self._feeds.get(want.room) is not want.feed:
            want.feed = None
            return False
        return not self._departed_since(user, want) and not self._lags(want) and not self._must_read(want)

    def _attach(self, subscriber: Subscriber, want: _Wanted) -> Subscribed:
        refusal = _refusal(want.access)
        if refusal is not None:
            return Subscribed(want.room, error=refusal)
        assert want.feed is not None and want.access is not None  # _is_ready() saw to it
        want.feed.subscribers[subscriber] = want.access.head_seq
        return Subscribed(want.room, want.feed.position, want.access.role, self._missed(want.feed, want))

    @staticmethod
    def _missed(feed: Feed, want: _Wanted) -> list[Frame] | None:
        if want.since is None:
            return []
        if want.rows is not None:
            return want.rows + (feed.after(want.rows_end) or [])
        return feed.after(want.since)  # None: the client is ahead of us, or memory does not reach: reset

    async def _open(self, room: RoomId) -> Feed:
        feed = self._feeds.get(room)
        if feed is not None:
            return feed
        task = self._opening.get(room)
        if task is None:
            task = self._opening[room] = asyncio.get_running_loop().create_task(self._open_new(room))
            task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return await asyncio.shield(task)

    async def _open_new(self, room: RoomId) -> Feed:
        try:
            # Subscribed before the head is read: what commits in between arrives, at worst twice.
            await self._bus.subscribe(room)
            head = await self._heads.get(room)
            if head is None:
                self._bus.unsubscribe(room)
                raise errors.RoomNotFound
            feed = self._feeds[room] = Feed(
                room, head, memory_events=self._settings.memory_events, memory_bytes=self._settings.memory_bytes
            )
            return feed
        finally:
            del self._opening[room]

    # -- loads ------------------------------------------------------------------------------------

    @staticmethod
    def _load_heads(rooms: RoomStore) -> Callable[[Sequence[RoomId]], Awaitable[Sequence[int | None]]]:
        async def load(keys: Sequence[RoomId]) -> Sequence[int | None]:
            heads = await rooms.heads(keys)
            return [heads.get(key) for key in keys]

        return load

    def _load_since(self, log: EventStore) -> Callable[[Sequence[tuple[RoomId, int]]], Awaitable[Sequence[list[Event]]]]:
        async def load(keys: Sequence[tuple[RoomId, int]]) -> Sequence[list[Event]]:
            return await log.since(keys, self._settings.resume_events)

        return load

    def _spawn(self, coroutine: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.error("feed task failed", exc_info=task.exception())


def _refusal(access: Access | None) -> errors.RealtimeError | None:
    try:
        policy.read(access.kind if access else None, access.role if access else None)
    except errors.RealtimeError as error:
        return error
    return None
