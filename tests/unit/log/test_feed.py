"""The feed alone: whatever order frames arrive in, subscribers see one dense sequence."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from realtime.log.feed import Departure, Entry, Feed, Frame
from realtime.model import RoomId, UserId

ROOM = RoomId("room")


class Reader:
    def __init__(self, user: str = "ann") -> None:
        self.user = UserId(user)
        self.received: list[int] = []
        self.writes = 0
        self.farewell: tuple[str, str] | None = None

    def write(self, frames: bytes) -> None:
        self.writes += 1
        self.received.extend(frames)

    def removed(self, room: RoomId, reason: str) -> None:
        self.farewell = (room, reason)

    def reset(self, room: RoomId, head_seq: int) -> None:
        raise AssertionError("a feed resets nobody")

    def mark(self, reached: Callable[[], None]) -> None:
        raise AssertionError("a feed waits for nobody")


def entry(seq: int, leaves: str | None = None) -> Entry:
    """A frame of one byte, its seq, so that what was written can be read back."""
    return Entry(Frame(bytes([seq])), Departure(UserId(leaves), "left") if leaves else None)


def entries(*seqs: int) -> list[Entry]:
    return [entry(seq) for seq in seqs]


@given(st.data())
def test_any_order_and_any_repetition_ends_in_one_dense_sequence(data: st.DataObject) -> None:
    last = data.draw(st.integers(1, 40))
    cuts = sorted(data.draw(st.sets(st.integers(2, last), max_size=10))) if last > 1 else []
    bounds = [1, *cuts, last + 1]
    batches = [list(range(low, high)) for low, high in itertools.pairwise(bounds)]
    repeated = data.draw(st.lists(st.sampled_from(batches), max_size=10))
    order = data.draw(st.permutations(batches + repeated))
    feed, reader = Feed(ROOM, 0), Reader()
    feed.subscribers[reader] = 0
    for batch in order:
        feed.offer(batch[0], entries(*batch))
        assert reader.received == list(range(1, feed.position + 1))
    assert reader.received == list(range(1, last + 1))
    assert not feed.has_hole


def test_a_batch_is_one_write_per_reader() -> None:
    feed, readers = Feed(ROOM, 0), [Reader() for _ in range(3)]
    for reader in readers:
        feed.subscribers[reader] = 0
    assert feed.offer(1, entries(1, 2, 3, 4)) == 4
    assert [reader.writes for reader in readers] == [1, 1, 1]


def test_a_frame_that_comes_early_waits_for_the_one_before() -> None:
    feed, reader = Feed(ROOM, 5), Reader()
    feed.subscribers[reader] = 0
    assert feed.offer(7, entries(7)) == 0
    assert feed.has_hole
    assert feed.offer(6, entries(6)) == 2
    assert reader.received == [6, 7]
    assert not feed.has_hole


def test_nothing_after_a_departure_reaches_who_left_and_everything_before_does() -> None:
    feed, gone, stays = Feed(ROOM, 0), Reader("gone"), Reader("stays")
    feed.subscribers[gone] = feed.subscribers[stays] = 0
    feed.offer(1, [entry(1), entry(2, leaves="gone"), entry(3)])
    assert gone.received == [1]
    assert gone.farewell == (ROOM, "left")
    assert stays.received == [1, 2, 3]
    assert feed.departed == {"gone": 2}


def test_who_came_back_is_not_expelled_by_a_departure_from_before() -> None:
    feed, again = Feed(ROOM, 0), Reader("gone")
    feed.subscribers[again] = 3  # access was read at 3: they left at 2 and joined again at 3
    feed.expel(again.user, "removed", 2)
    feed.offer(1, [entry(1), entry(2, leaves="gone"), entry(3)])
    assert again.received == [1, 2, 3]
    assert again.farewell is None
    feed.expel(again.user, "removed", 4)
    assert again.farewell == (ROOM, "removed")


def test_a_departure_told_ahead_of_its_event_counts_for_subscriptions_being_made() -> None:
    feed = Feed(ROOM, 0)
    feed.expel(UserId("gone"), "removed", 5)
    feed.expel(UserId("gone"), "removed", 3)
    assert feed.departed == {"gone": 5}


def test_memory_answers_what_it_holds_whole_or_not_at_all() -> None:
    feed = Feed(ROOM, 0, memory_events=3)
    feed.offer(1, entries(1, 2, 3, 4, 5))
    assert feed.after(2, 9) == [b"\x03", b"\x04", b"\x05"]
    assert feed.after(2, 2) == [b"\x03", b"\x04"]
    assert feed.after(2, 0) == [b"\x03"], "one at least, however large"
    assert feed.after(5, 9) == []
    assert [feed.remembers(seq) for seq in (1, 2, 5, 6)] == [False, True, True, False]


def test_memory_is_bounded_in_bytes() -> None:
    feed = Feed(ROOM, 0, memory_bytes=2)
    feed.offer(1, entries(1, 2, 3))
    assert feed.after(1, 9) == [b"\x02", b"\x03"]
    assert not feed.remembers(0)


def test_frames_that_wait_are_bounded() -> None:
    feed = Feed(ROOM, 0, early_events=2)
    feed.offer(3, entries(3, 4, 5))
    assert feed.offer(1, entries(1, 2)) == 4
    assert feed.position == 4


def test_a_reader_that_leaves_while_it_is_written_to_does_not_disturb_the_others() -> None:
    feed = Feed(ROOM, 0)

    class Slow(Reader):
        def write(self, frames: bytes) -> None:
            super().write(frames)
            del feed.subscribers[self]

    slow, other = Slow(), Reader()
    feed.subscribers[slow] = feed.subscribers[other] = 0
    feed.offer(1, entries(1))
    feed.offer(2, entries(2))
    assert slow.received == [1]
    assert other.received == [1, 2]


def test_what_came_before_a_deletion_is_not_remembered_since_it_may_hold_the_text() -> None:
    feed, reader = Feed(ROOM, 0), Reader()
    feed.subscribers[reader] = 0
    feed.offer(1, [*entries(1, 2), Entry(Frame(bytes([3])), None, erases=True), *entries(4)])
    assert reader.received == [1, 2, 3, 4]
    assert [feed.remembers(seq) for seq in (1, 2, 3, 4)] == [False, True, True, True]
    assert feed.size_bytes == 2
