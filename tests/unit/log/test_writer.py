"""The writer over a log that the test answers: batches, order, retries, refusals."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from realtime import errors
from realtime.log.store import Appended, BatchRefused, Entry, Outcome, RoomLocked
from realtime.log.writer import LOCK_S, LOCKED_S, PARTS, Append, Committed, Writer, take
from realtime.model import Event, EventKind, RoomId, UserId
from tests.unit.presence.virtual_time import now_s, run

AT = datetime(2026, 1, 1, tzinfo=UTC)
ANN = UserId("ann")
Result = Committed | errors.RealtimeError


class Log:
    """Numbers entries like the store; each append waits until the test lets it go."""

    def __init__(self) -> None:
        self.batches: list[list[Entry]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self._seq: dict[str, int] = {}

    async def append(self, entries: Sequence[Entry], within_s: float, lock_s: float | None = None) -> list[Appended]:
        self.batches.append(list(entries))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        answers = []
        for entry in entries:
            self._seq[entry.room] = self._seq.get(entry.room, 0) + 1
            answers.append(Appended(Outcome.ACCEPTED, self._seq[entry.room], AT))
        return answers


def message(client_id: str, results: list[Result], room: str = "room", target: int | None = None) -> Append:
    kind = EventKind.MESSAGE_CREATED if target is None else EventKind.MESSAGE_EDITED
    return Append(RoomId(room), ANN, kind, client_id, target, "text", results.append)


async def test_what_comes_while_a_flush_is_in_flight_goes_into_the_next_one() -> None:
    log, results, committed = Log(), list[Result](), list[list[Event]]()
    writer = Writer(log, lambda _room, events: committed.append(events))
    log.gate.clear()
    writer.submit(message("0", results))
    await asyncio.sleep(0)
    for number in range(1, 6):
        writer.submit(message(str(number), results))
    log.gate.set()
    await writer.close()
    assert [len(batch) for batch in log.batches] == [1, 5]
    assert [result.seq for result in results if isinstance(result, Committed)] == [1, 2, 3, 4, 5, 6]
    assert [[event.seq for event in events] for events in committed] == [[1], [2, 3, 4, 5, 6]]


async def test_a_retry_in_the_same_batch_gets_the_first_answer() -> None:
    log, results = Log(), list[Result]()
    writer = Writer(log, lambda _room, _events: None)
    writer.submit(message("same", results))
    writer.submit(message("same", results))
    await writer.close()
    assert results == [Committed(1, AT), Committed(1, AT, duplicate=True)]
    assert [len(batch) for batch in log.batches] == [1]


async def test_a_full_queue_refuses_at_once_and_says_that_a_retry_helps() -> None:
    log, results = Log(), list[Result]()
    writer = Writer(log, lambda _room, _events: None, queue=2)
    log.gate.clear()
    writer.submit(message("a", results))
    writer.submit(message("b", results))
    with pytest.raises(errors.Overloaded) as refused:
        writer.submit(message("c", results))
    assert refused.value.retryable
    log.gate.set()
    await writer.close()
    assert len(results) == 2


async def test_a_failed_flush_answers_everybody_and_the_lane_goes_on() -> None:
    log, results = Log(), list[Result]()
    writer = Writer(log, lambda _room, _events: None)
    log.failure = errors.Unavailable()
    writer.submit(message("a", results))
    writer.submit(message("a", results))
    await asyncio.sleep(0.01)
    assert [type(result) for result in results] == [errors.Unavailable, errors.Unavailable]
    log.failure = None
    writer.submit(message("b", results))
    await writer.close()
    assert results[-1] == Committed(1, AT)


async def test_a_closing_writer_refuses_newcomers() -> None:
    writer = Writer(Log(), lambda _room, _events: None)
    await writer.close()
    with pytest.raises(errors.Draining):
        writer.submit(message("a", []))


def test_two_changes_of_one_message_go_into_two_batches() -> None:
    queue = deque([message("a", [], target=1), message("b", [], target=2), message("c", [], target=1)])
    batch, retries = take(queue, 10)
    assert [append.client_id for append in batch] == ["a", "b"]
    assert not retries
    assert [append.client_id for append in queue] == ["c"]


def test_a_batch_is_bounded() -> None:
    queue = deque(message(str(number), []) for number in range(5))
    assert len(take(queue, 3)[0]) == 3
    assert len(queue) == 2


class Hung:
    """Takes all the time that it is given, and then does not answer."""

    def __init__(self) -> None:
        self.given_s: list[float] = []

    async def append(self, entries: Sequence[Entry], within_s: float, lock_s: float | None = None) -> list[Appended]:
        self.given_s.append(within_s)
        await asyncio.sleep(within_s)
        raise errors.Unavailable


def test_while_the_store_hangs_everybody_is_answered_in_time_however_they_come() -> None:
    async def scenario() -> None:
        log = Hung()
        writer = Writer(log, lambda _room, _events: None, lanes=1, batch=3)
        waited_s: list[float] = []
        kinds: set[str] = set()

        def take_down(at_s: float, result: Result) -> None:
            assert isinstance(result, errors.RealtimeError)
            assert result.retryable
            kinds.add(result.code)
            waited_s.append(now_s() - at_s)

        for number in range(100):
            at_s = now_s()
            done = functools.partial(take_down, at_s)
            writer.submit(Append(RoomId("room"), ANN, EventKind.MESSAGE_CREATED, str(number), None, "text", done))
            await asyncio.sleep(0.17)
        await writer.close()
        assert len(waited_s) == 100
        assert max(waited_s) < 5
        assert kinds == {"unavailable", "overloaded"}
        assert min(log.given_s) >= 0.5

    run(scenario())


class Picky(Log):
    """Refuses what a test says, and a batch that holds such an entry, as the store does."""

    def __init__(self, bad: dict[str, errors.RealtimeError]) -> None:
        super().__init__()
        self.bad = bad
        self.waits: list[float | None] = []

    async def append(self, entries: Sequence[Entry], within_s: float, lock_s: float | None = None) -> list[Appended]:
        self.waits.append(lock_s)
        for entry in entries:
            error = self.bad.get(entry.client_id or "") or self.bad.get(entry.room)
            if error is not None:
                self.batches.append([])
                await self.gate.wait()
                raise BatchRefused(error) if len(entries) > 1 else error
        return await super().append(entries, within_s)


def submitted(writer: Writer, log: Log, entries: Sequence[tuple[str, str]]) -> list[tuple[str, Result]]:
    """Hand in entries, (client_id, room), so that all but the first are one batch; return what they are answered."""
    answers: list[tuple[str, Result]] = []
    log.gate.clear()
    for client_id, room in entries:
        done = functools.partial(lambda name, result: answers.append((name, result)), client_id)
        writer.submit(Append(RoomId(room), ANN, EventKind.MESSAGE_CREATED, client_id, None, "text", done))
    log.gate.set()
    return answers


async def test_one_bad_entry_fails_alone_and_the_others_of_its_batch_keep_their_order() -> None:
    log = Picky({"bad": errors.NotStorable()})
    events: list[int] = []
    writer = Writer(log, lambda _room, committed: events.extend(event.seq for event in committed), lanes=1)
    names = [f"m{number}" for number in range(100)]
    entries = [(name, "room") for name in (*names[:70], "bad", *names[70:])]
    answers = submitted(writer, log, [*entries, ("m5", "room"), ("bad", "room")])
    await writer.close()
    made = [(name, result.seq) for name, result in answers if isinstance(result, Committed) and not result.duplicate]
    assert made == list(zip(names, range(1, 101), strict=True))
    assert events == list(range(1, 101))
    assert [type(result) for name, result in answers if name == "bad"] == [errors.NotStorable] * 2
    assert ("m5", Committed(6, AT, duplicate=True)) in answers
    assert len(log.batches) <= 2 + 2 * 7, "halving, not one by one"


def test_one_room_that_is_locked_fails_alone_and_others_do_not_wait_for_it_any_more_until_it_is_free() -> None:
    async def main() -> None:
        log = Picky({"locked": RoomLocked("55P03")})
        writer = Writer(log, lambda _room, _events: None, lanes=1)

        async def flush(*rooms: str) -> tuple[list[tuple[str, str]], list[float | None]]:
            """Return what became of an entry of each room, and how long each flush waited for locks."""
            log.waits.clear()
            answers = submitted(writer, log, [(f"{room} {number} {now_s()}", room) for number, room in enumerate(rooms)])
            await asyncio.sleep(0.1)
            return [(name.split()[0], type(result).__name__) for name, result in answers], list(log.waits)

        many = [f"room{number}" for number in range(20)]
        answers, waits = await flush(*many, "locked")
        assert sorted(answers) == sorted([*((room, "Committed") for room in many), ("locked", "RoomLocked")])
        assert RoomLocked.retryable
        assert waits[0] is None and set(waits[1:]) == {LOCK_S}

        assert await flush("locked", "room0") == ([("room0", "Committed"), ("locked", "RoomLocked")], [None, LOCK_S])
        assert await flush("room0") == ([("room0", "Committed")], [None])
        answers, waits = await flush(*["locked"] * 50, "room0")
        assert answers == [("room0", "Committed"), *[("locked", "RoomLocked")] * 50]
        assert waits == [None, LOCK_S], "all entries of a locked room wait for it together"
        log.bad.clear()
        assert await flush("locked", "room0") == ([("room0", "Committed"), ("locked", "Committed")], [None, LOCK_S])
        assert await flush("locked", "room0") == ([("locked", "Committed"), ("room0", "Committed")], [None])

        log.bad["locked"] = RoomLocked("55P03")
        await flush("locked")
        log.bad.clear()
        await asyncio.sleep(LOCKED_S)
        assert await flush("locked", "room0") == ([("locked", "Committed"), ("room0", "Committed")], [None])
        await writer.close()

    run(main())


async def test_a_batch_full_of_bad_entries_costs_a_bounded_number_of_flushes() -> None:
    entries = [(f"m{number}", "room") for number in range(400)]
    log = Picky({name: errors.NotStorable() for name, _ in entries})
    writer = Writer(log, lambda _room, _events: None, lanes=1)
    answers = submitted(writer, log, entries)
    await writer.close()
    assert len(log.batches) <= 2 + PARTS
    assert len(answers) == 400
    assert {type(result) for _, result in answers} == {errors.NotStorable, errors.Overloaded}
    assert errors.Overloaded.retryable and not errors.NotStorable.retryable
