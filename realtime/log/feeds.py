"""The feeds of this node: opens and closes them, hands them what arrives, and lets connections in without a gap."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

from realtime import errors, tasks
from realtime.log.catch_up import CatchUp, Frames
from realtime.log.coalescer import Coalescer
from realtime.log.feed import Entry, Feed, Frame, Subscriber
from realtime.log.reconciler import Reconciler
from realtime.log.store import Range
from realtime.model import RoomId, UserId

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence

    from realtime.log.store import EventStore
    from realtime.model import Access, Event
    from realtime.runtime import Runtime

logger = logging.getLogger(__name__)

_ATTEMPTS = 8
_TICK_S = 1.0
_ARRIVED = 1000  # events kept for one feed that is being opened
ANSWER_BYTES = 1 << 16
"""Events that an answer to a subscription brings by itself."""
_RANGES, _ROWS, _QUERY_BYTES = 16, 256, 1 << 19
"""What is read from the store for one answer, and by one query for several answers: thousands who come back share it."""
_READERS = 4
"""Parts that are read from the store at once, over all connections."""


class Rooms(Protocol):
    """What feeds need to know of rooms."""

    async def access(self, pairs: Sequence[tuple[RoomId, UserId]], /) -> list[Access | None]:
        """Tell for each (room, user) what the room is and the user's role in it; None: no such room."""
        ...

    async def heads(self, rooms: Sequence[RoomId], /) -> dict[RoomId, int]:
        """Return the `head_seq` of each of these rooms that there are."""
        ...

    async def epoch(self) -> str:
        """Return the epoch of the database, which a restore replaces."""
        ...


class Hints(Protocol):
    """What feeds need of the bus: at most once, any frame may be lost."""

    @property
    def complete(self) -> bool:
        """Whether every room is heard; losses are certain otherwise."""

    def hears(self, room: RoomId) -> bool:
        """Whether what others publish in a room arrives here, as far as can be known."""

    async def subscribe(self, room: RoomId) -> bool: ...

    def unsubscribe(self, room: RoomId) -> None: ...

    def publish_batch(self, room: RoomId, first_seq: int, frames: Sequence[bytes]) -> None: ...


class Codec(Protocol):
    """Between events and the bytes that go to sockets."""

    def encode(self, event: Event) -> Frame: ...

    def check(self, frame: bytes, room: RoomId, seq: int) -> Frame:
        """Take a frame from another node. Raises ValueError when it is not the event of that room with that number."""

    def check_signal(self, frame: bytes, room: RoomId) -> None:
        """Raise ValueError when a frame is no signal of this room."""

    def entry(self, event: Event) -> Entry:
        """Encode an event, with what a feed must know about it."""

    def noted(self, frame: Frame) -> Entry:
        """Return a frame, from wherever it came, with what a feed must know about it."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Bounds of the feeds; times in seconds, sizes in bytes."""

    memory_events: int = 500
    memory_bytes: int = 1 << 19
    memory_total_bytes: int = 256 << 20
    resume_events: int = 1000
    compare_s: float = 20.0
    compare_unhealthy_s: float = 1.0
    compare_least_s: float = 1.0
    """Between two comparisons, whatever calls for them."""
    compare_events: int = 5000
    """Read by one comparison, over all rooms; the rest follows with the next."""
    compare_bytes: int = 8 << 20
    """And how many bytes of them."""
    linger_s: float = 60.0
    linger_feeds: int = 5000
    """Feeds without a subscriber that are kept for those who may come back."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What feeds tell.

    Args:
        delivered: Called with (events, recipients) after each delivery.
        repaired: Called with the number of events that had to be read from the store, and the age in seconds of the oldest.
        restored: Called when the database was restored while this node ran: no feed is open any more, and every connection
            must come back.
        wake: Called when something was committed, here or, as far as is heard, elsewhere.
    """

    delivered: Callable[[int, int], None] = lambda _events, _recipients: None
    repaired: Callable[[int, float], None] = lambda _events, _age_s: None
    restored: Callable[[], None] = lambda: None
    wake: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The answer for one room: `frames` are all events up to `head_seq`; None means reset. Or a refusal.

    `behind`: how many events follow in parts before the live ones do.
    """

    room: RoomId
    head_seq: int = 0
    role: str | None = None
    frames: list[Frame] | None = None
    behind: int = 0
    error: errors.RealtimeError | None = None


@dataclass(slots=True)
class _Wanted:
    room: RoomId
    since: int | None
    feed: Feed | None = None
    access: Access | None = None
    page: list[Frame] | None = None  # what memory did not hold: the first frames behind `since`


class Feeds:
    """Every room that somebody on this node receives.

    Args:
        rooms: For access and heads.
        log: For holes and catch-up.
        bus: Carries frames between nodes.
        codec: Encodes events, and recognises departures.
        settings: Bounds.
        may_read: Raises RealtimeError unless a user with this role in a room of this kind receives its events.
        hooks: What is told of them.
        runtime: Clocks, and who runs what runs in the background.

    Attributes:
        epoch: Of the database, as it was read last.
    """

    def __init__(
        self,
        rooms: Rooms,
        log: EventStore,
        bus: Hints,
        codec: Codec,
        settings: Settings,
        may_read: Callable[[str | None, str | None], None],
        hooks: Hooks,
        runtime: Runtime,
    ) -> None:
        self.epoch = ""
        self._rooms = rooms
        self._restored = hooks.restored
        self._wake = hooks.wake
        self._loops = runtime.loops
        self._bus = bus
        self._codec = codec
        self._settings = settings
        self._may_read = may_read
        self._delivered = delivered = hooks.delivered
        self._feeds: dict[RoomId, Feed] = {}  # the one that had something last is the last
        self._opening: dict[RoomId, asyncio.Task[Feed]] = {}
        self._arrived: dict[RoomId, list[tuple[int, list[Entry]]]] = {}  # for feeds that are being opened
        self._memory_bytes = 0
        self._access = Coalescer[tuple[RoomId, UserId], "Access | None"](rooms.access, 2000)
        self._heads = Coalescer[RoomId, "int | None"](self._load_heads(rooms), 5000)
        self._reconciler = Reconciler(self._feeds, log, bus, self._offer_events, settings, hooks.repaired, self.look, runtime)
        self._log = log
        self._pages = Coalescer[Range, "list[Frame]"](self._load_pages, 50)
        self._readers = asyncio.Semaphore(_READERS)
        clock = asyncio.get_running_loop().time
        wrote = partial(self._wrote, delivered)
        self._catch_up = CatchUp(self._feeds, self._read_part, settings.resume_events, wrote, clock)
        self._closing: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start comparing positions with the store, and closing feeds that nobody needs."""
        self._reconciler.open()
        self._closing = self._loops.start("rooms.close_empty", self._close_empty, every_s=_TICK_S)

    async def close(self) -> None:
        """Stop what runs in the background."""
        await tasks.end([self._closing])
        await self._reconciler.close()
        await self._catch_up.close()
        await tasks.end(self._opening.values())

    def __len__(self) -> int:
        return len(self._feeds)

    @property
    def subscriptions(self) -> int:
        """Rooms that connections receive, added up."""
        return sum(len(feed.subscribers) + len(feed.behind) for feed in self._feeds.values())

    @property
    def catching_up(self) -> int:
        """Connections that are behind."""
        return len(self._catch_up)

    @property
    def waiting(self) -> int:
        """Rooms in which frames wait for others that have not arrived."""
        return sum(feed.has_hole for feed in self._feeds.values())

    # -- what arrives -----------------------------------------------------------------------------

    def committed(self, room: RoomId, events: list[Event]) -> None:
        """Deliver what this node committed, here and on every other node. `events` follow each other without a hole."""
        entry = self._codec.entry
        entries = [entry(event) for event in events]
        self._offer(room, events[0].seq, entries)
        self._bus.publish_batch(room, events[0].seq, [entry.frame for entry in entries])
        self._wake()

    def received(self, room: RoomId, first_seq: int, frames: Sequence[bytes]) -> None:
        """Deliver what another node committed.

        Raises:
            ValueError: one of the frames is not what it should be; none was taken.
        """
        self._wake()
        if room in self._feeds or room in self._opening:
            checked = [self._codec.check(frame, room, seq) for seq, frame in enumerate(frames, first_seq)]
            self._offer(room, first_seq, [self._codec.noted(frame) for frame in checked])

    def signal(self, room: RoomId, frame: bytes, sender: Subscriber | None = None) -> None:
        """Write a frame without a number to everybody who receives the room, but for the sender."""
        feed = self._feeds.get(room)
        if feed is not None:
            for subscriber in list(feed.subscribers):
                if subscriber is not sender:
                    subscriber.write(frame)

    def signal_received(self, room: RoomId, frame: bytes) -> None:
        """Write a signal of another node to everybody who receives the room. Raises ValueError when it is none."""
        if room in self._feeds:
            self._codec.check_signal(frame, room)
            self.signal(room, frame)

    async def look(self) -> None:
        """Read the epoch of the database. Raises Unavailable."""
        self._note(await self._rooms.epoch())

    def _note(self, epoch: str) -> None:
        """Take note of the epoch: all that is held of an older one may never have happened."""
        before, self.epoch = self.epoch, epoch
        if not before or before == epoch:
            return
        logger.warning("the database was restored from a back-up: rooms and connections begin anew")
        for room in self._feeds:
            self._bus.unsubscribe(room)
        self._feeds.clear()
        self._memory_bytes = 0
        self._restored()

    def compare_soon(self) -> None:
        """Compare every position with the store: frames may have been lost."""
        self._reconciler.compare_soon()

    def suspect(self, rooms: Iterable[RoomId]) -> None:
        """Compare the positions of these rooms with the store: their frames may have been lost."""
        self._reconciler.suspect(rooms)

    def _offer_events(self, room: RoomId, events: Sequence[Event]) -> None:
        self._offer(room, events[0].seq, [self._codec.entry(event) for event in events])

    def _offer(self, room: RoomId, first_seq: int, entries: list[Entry]) -> None:
        feed = self._feeds.get(room)
        if feed is None:
            self._keep(room, first_seq, entries)
            return
        recipients, size = len(feed.subscribers), feed.size_bytes
        count = feed.offer(first_seq, entries)
        if count:
            self._delivered(count, recipients)
            self._memory_bytes += feed.size_bytes - size
            self._feeds[room] = self._feeds.pop(room)
            if self._memory_bytes > self._settings.memory_total_bytes:
                self._forget_oldest()
        if feed.has_hole:
            self._reconciler.hole(feed)

    def _keep(self, room: RoomId, first_seq: int, entries: list[Entry]) -> None:
        """Keep what arrives for a feed that is being opened: its head may have been read before."""
        if room in self._opening:
            kept = self._arrived.setdefault(room, [])
            if sum(len(run) for _, run in kept) + len(entries) <= _ARRIVED:
                kept.append((first_seq, entries))
            else:
                self._reconciler.suspect([room])

    def _forget_oldest(self) -> None:
        """Let go the memory of the feeds that were quiet longest, down to nine tenths of what all may hold."""
        for feed in list(self._feeds.values()):
            if self._memory_bytes <= self._settings.memory_total_bytes * 0.9:
                return
            self._memory_bytes -= feed.size_bytes
            feed.forget()

    async def _close_empty(self) -> None:
        now_s = asyncio.get_running_loop().time()
        empty: list[Feed] = []
        for feed in self._feeds.values():
            if feed.subscribers or feed.behind:
                feed.empty_since_s = None
                continue
            if feed.empty_since_s is None:
                feed.empty_since_s = now_s
            empty.append(feed)
        too_many = len(empty) - self._settings.linger_feeds
        for index, feed in enumerate(empty):
            if index < too_many or now_s - (feed.empty_since_s or now_s) >= self._settings.linger_s:
                del self._feeds[feed.room]
                self._memory_bytes -= feed.size_bytes
                self._bus.unsubscribe(feed.room)

    # -- who receives -----------------------------------------------------------------------------

    async def subscribe(
        self,
        subscriber: Subscriber,
        wanted: Sequence[tuple[RoomId, int | None]],
        epochs: Mapping[RoomId, str],
        *,
        gone: Callable[[], bool],
    ) -> list[Subscribed]:
        """Let a connection receive rooms, each from behind `since`, without a gap and without a repeat.

        What an answer does not hold follows in parts once the answer was read (`CatchUp`), and the live events behind it.
        When this returns, the connection is attached; the caller writes the answer before it awaits anything, so that
        live events come behind it.

        Args:
            subscriber: Who.
            wanted: Each room once, and the last seq held there (None: begin at the head).
            epochs: In which that was received, as far as the client says.
            gone: Tells whether the connection has closed meanwhile.

        Raises:
            Unavailable: when the store does not answer; nothing was attached.
            Overloaded: when the rooms move too fast, or many answers of this connection are unread.
        """
        self._catch_up.admit(subscriber)
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
        left_bytes = ANSWER_BYTES if self._catch_up.admit(subscriber) else 0
        found = []
        for want in wants:
            one = self._attach(subscriber, want, epochs.get(want.room), left_bytes)
            left_bytes -= sum(map(len, one.frames or ()))
            found.append(one)
        behind = {one.room: one.head_seq for one in found if one.behind}
        if behind:
            self._catch_up.begin(subscriber, behind)
        return found

    def unsubscribe(self, subscriber: Subscriber, room: RoomId) -> None:
        """Stop writing a room to a connection."""
        feed = self._feeds.get(room)
        if feed is not None:
            feed.subscribers.pop(subscriber, None)
            feed.behind.pop(subscriber, None)
            self._catch_up.stop(subscriber, room)

    def forget(self, subscriber: Subscriber) -> None:
        """Forget a connection that has closed and was unsubscribed from its rooms."""
        self._catch_up.forget(subscriber)

    def expel(self, room: RoomId, user: UserId, reason: str, seq: int) -> None:
        """Stop writing a room to every connection of a user on this node, ahead of the event `seq` that says so."""
        feed = self._feeds.get(room)
        if feed is not None:
            feed.expel(user, reason, seq)

    async def _prepare(self, user: UserId, wants: list[_Wanted]) -> None:
        # Access first, so that nobody opens feeds of rooms that are not theirs; and once more for feeds that were opened
        # after it, since a feed knows only of departures that came after its opening.
        await self._load_access(user, [want for want in wants if want.feed is None])
        entitled = [want for want in wants if self._refusal(want.access) is None]
        opening = [want for want in entitled if want.room not in self._feeds]
        feeds = await asyncio.gather(*(self._open(want.room) for want in entitled))
        for want, feed in zip(entitled, feeds, strict=True):
            want.feed = feed
        await self._load_access(
            user, opening + [want for want in entitled if want not in opening and self._departed_since(user, want)]
        )
        await asyncio.gather(*(self._reconciler.catch_up(want.feed) for want in entitled if want.feed and self._lags(want)))
        reading = list(self._to_read(entitled))
        pages = await self._pages.get_many([one for _, one in reading])
        for (want, _), page in zip(reading, pages, strict=True):
            want.page = page

    @staticmethod
    def _is_missed(want: _Wanted, resume_events: int) -> bool:
        """Whether the client missed something that it can be given."""
        return want.since is not None and want.feed is not None and 0 < want.feed.position - want.since < resume_events

    def _to_read(self, wants: Sequence[_Wanted]) -> Iterator[tuple[_Wanted, Range]]:
        """Choose what memory does not hold, as far as an answer holds it. Whoever is left out is brought up later."""
        rows, ranges = _ROWS, _RANGES
        for want in wants:
            if not self._is_missed(want, self._settings.resume_events) or want.page is not None:
                continue
            assert want.since is not None and want.feed is not None  # _is_missed() saw to it
            if want.feed.remembers(want.since):
                continue
            until = min(want.feed.position, want.since + rows)
            yield want, Range(want.room, want.since, until)
            rows, ranges = rows - (until - want.since), ranges - 1
            if rows <= 0 or ranges <= 0:
                return

    async def _load_access(self, user: UserId, wants: list[_Wanted]) -> None:
        for want, access in zip(wants, await self._access.get_many([(want.room, user) for want in wants]), strict=True):
            want.access = access
            if access is not None:
                self._note(access.epoch)

    @staticmethod
    def _departed_since(user: UserId, want: _Wanted) -> bool:
        return want.feed is not None and want.access is not None and want.feed.departed.get(user, 0) > want.access.head_seq

    @staticmethod
    def _lags(want: _Wanted) -> bool:
        """Whether something was committed that has not arrived on this node: an answer rests on what the store said."""
        return want.feed is not None and want.access is not None and want.feed.position < want.access.head_seq

    def _is_ready(self, user: UserId, want: _Wanted) -> bool:
        if self._refusal(want.access) is not None:
            return True
        if want.feed is None or self._feeds.get(want.room) is not want.feed:
            want.feed = None
            return False
        return not self._departed_since(user, want) and not self._lags(want)

    def _attach(self, subscriber: Subscriber, want: _Wanted, epoch: str | None, limit_bytes: int) -> Subscribed:
        refusal = self._refusal(want.access)
        if refusal is not None:
            return Subscribed(want.room, error=refusal)
        assert want.feed is not None and want.access is not None  # _is_ready() saw to it
        feed, access = want.feed, want.access
        self.unsubscribe(subscriber, want.room)
        frames: list[Frame] | None = []
        if _diverged(want.since, epoch, access):
            frames = None
        elif self._is_missed(want, self._settings.resume_events):
            assert want.since is not None  # _is_missed() saw to it
            frames = self._missed(feed, want, limit_bytes)
            reached = want.since + len(frames)
            if reached < feed.position:
                feed.behind[subscriber] = access.head_seq
                return Subscribed(want.room, reached, access.role, frames, feed.position - reached)
        elif want.since is not None and want.since != feed.position:
            frames = None  # too far behind, or ahead of us
        feed.subscribers[subscriber] = access.head_seq
        return Subscribed(want.room, feed.position, access.role, frames)

    @staticmethod
    def _missed(feed: Feed, want: _Wanted, limit_bytes: int) -> list[Frame]:
        assert want.since is not None  # the caller looked
        frames: list[Frame] = []
        if limit_bytes <= 0:
            return frames
        for frame in want.page or ():
            frames.append(frame)
            limit_bytes -= len(frame)
            if limit_bytes <= 0:
                return frames
        if feed.remembers(want.since + len(frames)):
            frames += feed.after(want.since + len(frames), limit_bytes)
        return frames

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
        opened = False
        epoch = self.epoch
        try:
            # Subscribed before the head is read: what commits in between arrives, at worst twice. What arrives between
            # the reading of the head and its answer is kept.
            await self._bus.subscribe(room)
            head = await self._heads.get(room)
            if head is None:
                raise errors.RoomNotFound
            if epoch != self.epoch:
                raise errors.Unavailable  # which of them the head is of is not known
            feed = self._feeds[room] = Feed(
                room, head, memory_events=self._settings.memory_events, memory_bytes=self._settings.memory_bytes
            )
            opened = True
        finally:
            del self._opening[room]
            arrived = self._arrived.pop(room, ())
            if not opened:
                self._bus.unsubscribe(room)
        for first_seq, entries in arrived:
            self._offer(room, first_seq, entries)
        return feed

    # -- loads ------------------------------------------------------------------------------------

    async def _load_pages(self, ranges: Sequence[Range]) -> Sequence[list[Frame]]:
        """Read what answers may bring, a bounded number of rows and bytes in one query."""
        found: list[list[Frame]] = []
        for start in range(0, len(ranges), _RANGES):
            # Where a query is full, the rest of its ranges is empty: these rooms are brought up later.
            pages = await self._log.pages(ranges[start : start + _RANGES], ANSWER_BYTES, _QUERY_BYTES)
            found += [[self._codec.encode(event) for event in page.events] for page in pages]
        return found

    async def _read_part(self, ranges: Sequence[Range], limit_bytes: int) -> list[Frames]:
        async with self._readers:
            pages = await self._log.pages(ranges, limit_bytes, limit_bytes)
        return [Frames([self._codec.encode(event) for event in page.events], page.more) for page in pages]

    def _refusal(self, access: Access | None) -> errors.RealtimeError | None:
        try:
            self._may_read(access.kind if access else None, access.role if access else None)
        except errors.RealtimeError as error:
            return error
        return None

    @staticmethod
    def _wrote(delivered: Callable[[int, int], None], count: int) -> None:
        delivered(count, 1)

    @staticmethod
    def _load_heads(rooms: Rooms) -> Callable[[Sequence[RoomId]], Awaitable[Sequence[int | None]]]:
        async def load(keys: Sequence[RoomId]) -> Sequence[int | None]:
            heads = await rooms.heads(keys)
            return [heads.get(key) for key in keys]

        return load


def _diverged(since: int | None, shown: str | None, access: Access) -> bool:
    """Tell whether what a client holds may have been taken back by a restore.

    Without an epoch it may be from any: up to `restored_seq` all of them are the same, and beyond it nobody knows.
    """
    if not since:
        return False
    if shown is not None:
        return shown != access.epoch
    return access.restored_seq is not None and since > access.restored_seq
