"""Commits what people write: group commit without a timer.

While one flush of a lane is in flight, newcomers collect; the next flush takes all of them, bounded. A room always
belongs to the same lane, so its events, and one client's, keep their order.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import deque
from typing import TYPE_CHECKING, Protocol, TypeAlias

from realtime import errors, tasks
from realtime.log.store import BatchRefused, Committed, Entry, RoomLocked
from realtime.model import Event, RoomId, UserId

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

logger = logging.getLogger(__name__)

ANSWER_S = 4.8
"""Within which every entry is answered, also when PostgreSQL hangs: what waited behind one slow flush gets what is left."""
_LEAST_S = 0.5
"""With less time than this left, a commit is not tried."""
PARTS = 64
"""Flushes that are made of one that was refused: enough to find four culprits among 500."""
LOCK_S = 0.25
"""How long a part waits for a room that somebody else has locked."""
LOCKED_S = 10.0
"""How long such a room is flushed apart from the others, after it was found locked last."""


Answer: TypeAlias = Committed | errors.RealtimeError


class Log(Protocol):
    """Commits a batch: one answer per entry, in order, all in one transaction; raises when that is not known, and
    `BatchRefused` when nothing was done for what may be the fault of one entry or room.
    """

    async def append(self, entries: Sequence[Entry], within_s: float, lock_s: float | None = None) -> list[Answer]: ...


class Append(Entry):
    """An entry on its way. `done` is called exactly once, synchronously, and must not raise."""

    done: Callable[[Answer], None]
    at_s: float = 0.0
    """When it was taken, by the loop's clock."""


class Writer:
    """The only way into the log for messages, edits and deletions.

    Args:
        log: Commits batches.
        committed: Called after each commit with the new events of one room, in order, before anything else happens.
        flushed: Called after each flush with the number of entries and its duration in seconds.
        lanes: Flushes that may be in flight at once.
        queue: Entries that may wait over all lanes; more are refused.
        batch: Entries in one flush.
    """

    def __init__(
        self,
        log: Log,
        committed: Callable[[RoomId, list[Event]], None],
        *,
        flushed: Callable[[int, float], None] = lambda _count, _seconds: None,
        lanes: int = 2,
        queue: int = 10_000,
        batch: int = 500,
    ) -> None:
        self._lanes = [Lane(log, committed, flushed, self._taken, batch) for _ in range(lanes)]
        self._queue = queue
        self._closed = False
        self.waiting = 0
        """How many entries wait to be flushed."""

    def _taken(self, count: int) -> None:
        self.waiting -= count

    def submit(self, append: Append) -> None:
        """Queue an entry; its `done` is called after the commit.

        Raises:
            Overloaded: when the queue is full; nothing was done.
            Draining: when the node is closing.
        """
        if self._closed:
            raise errors.Draining
        if self.waiting >= self._queue:
            raise errors.Overloaded(retry_after_ms=500)
        self.waiting += 1
        self._lanes[hash(append.room) % len(self._lanes)].put(append)

    async def close(self) -> None:
        """Refuse newcomers and wait until everything that was taken is answered."""
        self._closed = True
        await asyncio.gather(*(lane.idle() for lane in self._lanes))


class Lane:
    """One flush at a time."""

    def __init__(
        self,
        log: Log,
        committed: Callable[[RoomId, list[Event]], None],
        flushed: Callable[[int, float], None],
        taken: Callable[[int], None],
        batch: int,
    ) -> None:
        self.queue: deque[Append] = deque()
        self._log = log
        self._committed = committed
        self._flushed = flushed
        self._taken = taken
        self._batch = batch
        self._task: asyncio.Task[None] | None = None
        self._clock = asyncio.get_running_loop().time
        self._locked: dict[RoomId, float] = {}  # rooms that somebody else has locked, and until when they count as such

    def put(self, append: Append) -> None:
        append.at_s = self._clock()
        self.queue.append(append)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def idle(self) -> None:
        if self._task is not None:
            await asyncio.shield(self._task)

    async def _run(self) -> None:
        while self.queue:
            try:
                await self._next()
            except Exception as error:  # noqa: BLE001 - the lane goes on: else nothing is written to its rooms any more
                tasks.report(asyncio.get_running_loop(), "a flush of a lane", error)
        self._task = None

    async def _next(self) -> None:
        """Take the next batch off the queue and flush it."""
        started_s = self._clock()
        if self.queue[0].at_s < started_s - ANSWER_S + _LEAST_S:
            self._taken(1)
            self.queue.popleft().done(errors.Overloaded())
            return
        until_s = self.queue[0].at_s + ANSWER_S
        batch, retries = take(self.queue, self._batch)
        self._taken(len(batch) + len(retries))
        if self._locked and (parts := self._apart_from_locked(batch)):
            await self._flush_parts(parts, batch, retries, until_s)
        else:
            await self._flush(batch, retries, until_s)
        self._flushed(len(batch), self._clock() - started_s)

    async def _flush(self, batch: list[Append], retries: list[tuple[Append, int]], until_s: float) -> None:
        try:
            answers = await self._log.append(batch, until_s - self._clock())
        except BatchRefused as refused:
            if isinstance(refused.error, RoomLocked) and _rooms(batch) == 1:
                self._refuse(refused.error, batch, retries)
            else:
                await self._flush_parts([(half, LOCK_S) for half in halves(batch)], batch, retries, until_s)
        except Exception as error:  # noqa: BLE001 - the lane goes on
            self._refuse(error, batch, retries)
        else:
            self._answer(batch, answers, retries)

    async def _flush_parts(
        self,
        parts: list[tuple[list[Append], float | None]],
        batch: list[Append],
        retries: list[tuple[Append, int]],
        until_s: float,
    ) -> None:
        """Flush a batch in parts, halving those that are refused, so that only the culprits fail.

        Args:
            parts: With each how long it waits for locks; None: as usual.
        """
        left = deque(parts)
        first = {id(batch[index]): [retry for retry, of in retries if of == index] for index in {of for _, of in retries}}
        for number in itertools.count():
            if not left:
                return
            part, lock_s = left.popleft()
            again = [(retry, index) for index, append in enumerate(part) for retry in first.get(id(append), ())]
            left_s = until_s - self._clock()
            if number >= PARTS or left_s < _LEAST_S:
                self._refuse(errors.Overloaded(), part, again)
                continue
            try:
                answers = await self._log.append(part, left_s, lock_s)
            except BatchRefused as refused:
                if isinstance(refused.error, RoomLocked) and _rooms(part) == 1:
                    self._refuse(refused.error, part, again)
                else:
                    left.extendleft((half, LOCK_S) for half in reversed(halves(part)))
            except Exception as error:  # noqa: BLE001 - the other parts go on
                self._refuse(error, part, again)
            else:
                for append in part if self._locked else ():
                    self._locked.pop(append.room, None)
                self._answer(part, answers, again)

    def _apart_from_locked(self, batch: list[Append]) -> list[tuple[list[Append], float | None]]:
        """Cut off the entries of rooms that were found locked a moment ago: the others do not wait for these. Empty: none."""
        now_s = self._clock()
        self._locked = {room: until_s for room, until_s in self._locked.items() if until_s > now_s}
        locked = [append for append in batch if append.room in self._locked]
        free = [append for append in batch if append.room not in self._locked]
        return [*([(free, None)] if free else []), (locked, LOCK_S)] if locked else []

    def _refuse(self, error: Exception, batch: list[Append], retries: list[tuple[Append, int]]) -> None:
        if not isinstance(error, errors.RealtimeError):
            logger.exception("flush failed", exc_info=error)
        if isinstance(error, RoomLocked):
            self._locked[batch[0].room] = self._clock() + LOCKED_S
        refusal = error if isinstance(error, errors.RealtimeError) else errors.Internal()
        for append in [*batch, *(retry for retry, _ in retries)]:
            append.done(refusal)

    def _answer(self, batch: list[Append], answers: list[Answer], retries: list[tuple[Append, int]]) -> None:
        made: dict[RoomId, list[Event]] = {}
        for append, answer in zip(batch, answers, strict=True):
            try:
                append.done(answer)
            except Exception as error:  # noqa: BLE001 - the others are to be answered, and the event is committed
                tasks.report(asyncio.get_running_loop(), "the answer to an append", error)
            if isinstance(answer, Committed) and not answer.duplicate:
                events = made.get(append.room)
                if events is None:
                    events = made[append.room] = []
                events.append(_event(append, answer))
        for retry, index in retries:
            first = answers[index]
            retry.done(Committed(first.seq, first.at, duplicate=True) if isinstance(first, Committed) else first)
        for room, events in made.items():
            try:
                self._committed(room, events)
            except Exception as error:  # noqa: BLE001 - the other rooms are to hear; this one is compared with the store
                tasks.report(asyncio.get_running_loop(), "the delivery of committed events", error)


def take(queue: deque[Append], at_most: int) -> tuple[list[Append], list[tuple[Append, int]]]:
    """Take the next batch off the queue.

    An entry that changes what another one of the batch changes, or reads what another one changes, or the reverse, goes into the
    next batch: all of one batch are judged by what was there before it. Which these are is the kind's to say. A retry that
    stands in the same batch as its first try is not sent twice: it waits for the first one's answer.

    Returns:
        The entries to commit, and the retries with the index of the entry that each repeats.
    """
    batch: list[Append] = []
    retries: list[tuple[Append, int]] = []
    first: dict[tuple[RoomId, UserId, str], int] = {}
    changed: set[Hashable] = set()
    read: set[Hashable] = set()
    while queue and len(batch) < at_most:
        append = queue[0]
        if append.client_id is not None:
            key = (append.room, append.actor, append.client_id)
            if key in first:
                if batch[first[key]].kind is not append.kind:
                    break
                retries.append((queue.popleft(), first[key]))
                continue
            first[key] = len(batch)
        if not append.kind.is_plain or append.thread is not None:
            changes, reads = _touched(append)
            if not changed.isdisjoint(changes | reads) or not read.isdisjoint(changes):
                break
            changed |= changes
            read |= reads
        batch.append(queue.popleft())
    return batch, retries


def _touched(append: Append) -> tuple[set[Hashable], set[Hashable]]:
    """Return what an entry changes beside its own row, and what its rule reads that others change."""
    kind = append.kind
    changes = set() if kind.changes is None else {kind.changes(append)}
    reads = set() if kind.reads is None else {kind.reads(append)}
    if append.thread is not None:
        reads.add((append.room, append.thread))
    return changes, reads


def halves(batch: list[Append]) -> list[list[Append]]:
    """Cut a batch of several entries in two: between rooms if there are several, so that each room's order stays."""
    rooms = list(dict.fromkeys(append.room for append in batch))
    if len(rooms) == 1:
        middle = len(batch) // 2
        return [batch[:middle], batch[middle:]]
    left = set(rooms[: len(rooms) // 2])
    return [[append for append in batch if append.room in left], [append for append in batch if append.room not in left]]


def _rooms(batch: list[Append]) -> int:
    return len({append.room for append in batch})


def _event(append: Append, answer: Committed) -> Event:
    return Event(
        room=append.room,
        seq=answer.seq,
        kind=append.kind.name,
        actor=append.actor,
        at=answer.at,
        client_id=append.client_id,
        target=append.target,
        body=append.body,
        thread=append.thread,
        data=append.data,
    )
