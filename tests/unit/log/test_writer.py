"""The writer over a log that the test answers: batches, order, retries, refusals."""

from __future__ import annotations

import asyncio
import functools
from collections import deque
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime import errors
from realtime.log.kinds import Kind
from realtime.log.store import BatchRefused, Committed, Entry, RoomLocked
from realtime.log.writer import LOCK_S, LOCKED_S, PARTS, Answer, Append, Writer, take
from realtime.messages import kinds
from realtime.model import Event, RoomId, UserId
from realtime.wire.events import RoomEvent
from tests.unit.presence.virtual_time import now_s, run

AT = datetime(2026, 1, 1, tzinfo=UTC)
ANN = UserId("ann")


class Log:
    """Numbers entries like the store; each append waits until the test lets it go."""

    def __init__(self) -> None:
        self.batches: list[list[Entry]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: Exception | None = None
        self._seq: dict[str, int] = {}

    async def append(self, entries: Sequence[Entry], within_s: float, lock_s: float | None = None) -> list[Answer]:
        self.batches.append(list(entries))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        answers = list[Answer]()
        for entry in entries:
            self._seq[entry.room] = self._seq.get(entry.room, 0) + 1
            answers.append(Committed(self._seq[entry.room], AT))
        return answers


def message(client_id: str, results: list[Answer], room: str = "room", target: int | None = None) -> Append:
    kind = kinds.CREATED if target is None else kinds.EDITED
    return Append(RoomId(room), ANN, kind, client_id, target, "text", results.append)


async def test_what_comes_while_a_flush_is_in_flight_goes_into_the_next_one() -> None:
    log, results, committed = Log(), list[Answer](), list[list[Event]]()
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
    log, results = Log(), list[Answer]()
    writer = Writer(log, lambda _room, _events: None)
    writer.submit(message("same", results))
    writer.submit(message("same", results))
    await writer.close()
    assert results == [Committed(1, AT), Committed(1, AT, duplicate=True)]
    assert [len(batch) for batch in log.batches] == [1]


async def test_a_full_queue_refuses_at_once_and_says_that_a_retry_helps() -> None:
    log, results = Log(), list[Answer]()
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
    log, results = Log(), list[Answer]()
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


class Reacted(RoomEvent, frozen=True, kw_only=True, tag="message.reacted"):
    target: int


REACTED = Kind(
    event=Reacted,
    changes=lambda one: (one.room, one.target, one.actor, one.body),  # nobody reacts twice with the same
    reads=lambda one: (one.room, one.target),  # to a message that is there
)


def entry(kind: Kind, number: int, target: int | None = None, body: str = "text", thread: int | None = None) -> Append:
    return Append(RoomId("room"), ANN, kind, str(number), target, body, lambda _answer: None, thread=thread)


def test_a_hundred_reactions_to_one_message_go_into_one_batch() -> None:
    queue = deque(entry(REACTED, number, 1, f"emoji {number}") for number in range(100))
    assert len(take(queue, 500)[0]) == 100
    queue.extend([entry(REACTED, 1, 1, "+1"), entry(REACTED, 2, 2, "+1"), entry(REACTED, 3, 1, "+1")])
    assert [one.client_id for one in take(queue, 500)[0]] == ["1", "2"], "the same reaction again waits"


_entries = st.one_of(
    st.builds(entry, st.just(kinds.CREATED), st.integers(0, 9), thread=st.one_of(st.none(), st.integers(1, 3))),
    st.builds(entry, st.sampled_from([kinds.EDITED, kinds.DELETED]), st.integers(0, 9), st.integers(1, 3)),
    st.builds(entry, st.just(REACTED), st.integers(0, 9), st.integers(1, 3), st.sampled_from(["+1", "-1"])),
)


@given(st.lists(_entries, max_size=30), st.integers(1, 8))
def test_whatever_comes_no_entry_of_a_batch_depends_on_another_one_and_the_order_stays(
    entries: list[Append], at_most: int
) -> None:
    queue, taken = deque(entries), list[Append]()
    while queue:
        batch, retries = take(queue, at_most)
        assert 1 <= len(batch) <= at_most
        for index, one in enumerate(batch):
            for other in batch[index + 1 :]:
                assert one.client_id != other.client_id
                about = {(one.target or one.thread), (other.target or other.thread)}
                changing = {kinds.EDITED, kinds.DELETED} & {one.kind, other.kind}
                assert not (changing and len(about) == 1), "two changes of one message, or one and who relies on it"
                assert not (one.kind is other.kind is REACTED and (one.target, one.body) == (other.target, other.body))
        assert all(batch[first].kind is retry.kind and batch[first].client_id == retry.client_id for retry, first in retries)
        order = [*batch, *(retry for retry, _ in retries)]
        assert {id(one) for one in order} == {id(one) for one in entries[len(taken) : len(taken) + len(order)]}
        taken += order


def test_a_batch_is_bounded() -> None:
    queue = deque(message(str(number), []) for number in range(5))
    assert len(take(queue, 3)[0]) == 3
    assert len(queue) == 2


class Hung:
    """Takes all the time that it is given, and then does not answer."""

    def __init__(self) -> None:
        self.given_s: list[float] = []

    async def append(self, entries: Sequence[Entry], within_s: float, lock_s: float | None = None) -> list[Answer]:
        self.given_s.append(within_s)
        await asyncio.sleep(within_s)
        raise errors.Unavailable


def test_while_the_store_hangs_everybody_is_answered_in_time_however_they_come() -> None:
    async def scenario() -> None:
        log = Hung()
        writer = Writer(log, lambda _room, _events: None, lanes=1, batch=3)
        waited_s: list[float] = []
        codes: set[str] = set()

        def take_down(at_s: float, result: Answer) -> None:
            assert isinstance(result, errors.RealtimeError)
            assert result.retryable
            codes.add(result.code)
            waited_s.append(now_s() - at_s)

        for number in range(100):
            at_s = now_s()
            done = functools.partial(take_down, at_s)
            writer.submit(Append(RoomId("room"), ANN, kinds.CREATED, str(number), None, "text", done))
            await asyncio.sleep(0.17)
        await writer.close()
        assert len(waited_s) == 100
        assert max(waited_s) < 5
        assert codes == {"unavailable", "overloaded"}
        assert min(log.given_s) >= 0.5

    run(scenario())


class Picky(Log):
    """Refuses what a test says, and a batch that holds such an entry, as the store does."""

    def __init__(self, bad: dict[str, errors.RealtimeError]) -> None:
        super().__init__()
        self.bad = bad
        self.waits: list[float | None] = []

    async def append(self, entries: Sequence[Entry], within_s: float, lock_s: float | None = None) -> list[Answer]:
        self.waits.append(lock_s)
        for entry in entries:
            error = self.bad.get(entry.client_id or "") or self.bad.get(entry.room)
            if error is not None:
                self.batches.append([])
                await self.gate.wait()
                raise BatchRefused(error) if len(entries) > 1 else error
        return await super().append(entries, within_s)


def submitted(writer: Writer, log: Log, entries: Sequence[tuple[str, str]]) -> list[tuple[str, Answer]]:
    """Hand in entries, (client_id, room), so that all but the first are one batch; return what they are answered."""
    answers: list[tuple[str, Answer]] = []
    log.gate.clear()
    for client_id, room in entries:
        done = functools.partial(lambda name, result: answers.append((name, result)), client_id)
        writer.submit(Append(RoomId(room), ANN, kinds.CREATED, client_id, None, "text", done))
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
