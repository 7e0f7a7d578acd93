"""Connections that are behind: brought up in parts, at the pace at which they read, over a store and lines that are lists."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from realtime import errors
from realtime.gateway.websocket import split
from realtime.log import catch_up
from realtime.log.feed import Entry, Feed, Frame
from realtime.log.feeds import ANSWER_BYTES, Subscribed
from realtime.log.store import Page, Range
from realtime.model import Event, RoomId, UserId
from realtime.rooms import kinds as rooms
from tests.unit.log.test_feeds import ANN, CODEC, ROOM, World, event, play
from tests.unit.presence.virtual_time import now_s


class Line:
    """A client on a line of so many bytes a second; it takes what was written in order and answers marks in their turn."""

    def __init__(self, bytes_per_s: float, user: UserId = ANN) -> None:
        self.user = user
        self.bytes_per_s = bytes_per_s
        self.seqs: dict[RoomId, list[int]] = {}
        self.resets: list[tuple[RoomId, int]] = []
        self.removals: list[RoomId] = []
        self.largest_unread = self.unread = 0
        self.written = 0
        self._way: deque[bytes | int | Callable[[], None]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._order = 0

    def write(self, frames: bytes) -> None:
        self.written += len(frames)
        self.unread += len(frames)
        self.largest_unread = max(self.unread, self.largest_unread)
        self._put(frames)

    def removed(self, room: RoomId, reason: str) -> None:
        self.removals.append(room)

    def reset(self, room: RoomId, head_seq: int) -> None:
        self.resets.append((room, head_seq))

    def mark(self, reached: Callable[[], None]) -> None:
        self._put(reached)

    def answer(self, size: int) -> None:
        """An answer of that size is on its way."""
        self._put(size)

    def _put(self, item: bytes | int | Callable[[], None]) -> None:
        self._way.append(item)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._bring())

    async def _bring(self) -> None:
        while self._way:
            item = self._way.popleft()
            if isinstance(item, bytes):
                await asyncio.sleep(len(item) / self.bytes_per_s)
                self.unread -= len(item)
                for _, packet in split(item):
                    room = RoomId(packet.partition(b'"room":"')[2].partition(b'"')[0].decode())
                    self.seqs.setdefault(room, []).append(int(packet.partition(b'"seq":')[2].partition(b",")[0]))
            elif isinstance(item, int):
                await asyncio.sleep(item / self.bytes_per_s)
            else:
                await asyncio.sleep(0.02)  # the answer's way back
                item()
        self._task = None

    def hang(self) -> None:
        """Read nothing any more."""
        assert self._task is not None, "something is on its way"
        self._task.cancel()


def fill(world: World, room: RoomId, count: int, characters: int) -> None:
    log = world.store.logs.setdefault(room, [])
    log += [event(room, len(log) + 1 + index, "x" * characters) for index in range(count)]


async def subscribe(world: World, line: Line, wanted: dict[RoomId, int | None], epoch: str | None = None) -> list[Subscribed]:
    epochs = {} if epoch is None else dict.fromkeys(wanted, epoch)
    found = await world.feeds.subscribe(line, list(wanted.items()), epochs, gone=lambda: False)
    line.answer(sum(100 + sum(map(len, one.frames or ())) for one in found))
    for one in found:
        assert one.error is None
        if one.frames is not None:
            got = [int(frame.partition(b'"seq":')[2].partition(b",")[0]) for frame in one.frames]
            since = wanted[one.room]
            assert got == list(range((one.head_seq if since is None else since) + 1, one.head_seq + 1)), "all up to head_seq"
            line.seqs.setdefault(one.room, []).extend(got)
    return found


async def level(world: World, within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while world.feeds.catching_up:
            await asyncio.sleep(0.01)


def test_a_long_absence_arrives_whole_and_in_order_on_a_slow_line() -> None:
    async def scene(world: World) -> None:
        fill(world, ROOM, 900, 1500)
        line = Line(32_000)
        [found] = await subscribe(world, line, {ROOM: 0})
        assert found.frames is not None and sum(map(len, found.frames)) <= ANSWER_BYTES
        assert found.head_seq + found.behind == 900
        await level(world, 120)
        await asyncio.sleep(10)
        assert line.seqs[ROOM] == list(range(1, 901))
        assert line.largest_unread <= 3 * catch_up.WINDOW_BYTES[0]
        # Live from here on, and no part any more.
        fill(world, ROOM, 1, 10)
        world.feeds.received(ROOM, 901, [CODEC.encode(world.store.logs[ROOM][-1])])
        await asyncio.sleep(1)
        assert line.seqs[ROOM] == list(range(1, 902))

    play(scene)


def test_what_is_committed_during_catch_up_comes_in_its_turn() -> None:
    async def scene(world: World) -> None:
        fill(world, ROOM, 300, 1500)
        line = Line(50_000)
        await subscribe(world, line, {ROOM: 0})
        for _ in range(200):
            fill(world, ROOM, 1, 20)
            world.feeds.committed(ROOM, [world.store.logs[ROOM][-1]])
            await asyncio.sleep(0.1)
        await level(world, 60)
        await asyncio.sleep(5)
        assert line.seqs[ROOM] == list(range(1, 501))

    play(scene)


@pytest.mark.parametrize("memory_events", [0, 500])
def test_many_rooms_are_brought_up_together(memory_events: int) -> None:
    async def scene(world: World) -> None:
        rooms = [RoomId(f"r{number}") for number in range(200)]
        for room in rooms:
            fill(world, room, 40, 100)
        line = Line(250_000)
        found = await subscribe(world, line, dict.fromkeys(rooms, 0))
        assert sum(len(frame) for one in found for frame in one.frames or ()) <= ANSWER_BYTES + 1000
        await level(world, 60)
        await asyncio.sleep(5)
        assert all(line.seqs[room] == list(range(1, 41)) for room in rooms)
        assert world.since(0)["pages"] < 150

    play(scene, memory_events=memory_events)


def test_a_connection_that_does_not_read_gets_one_answer_and_no_part() -> None:
    async def scene(world: World) -> None:
        fill(world, ROOM, 900, 8000)
        lines = [Line(1e-9) for _ in range(50)]
        for line in lines:
            await subscribe(world, line, {ROOM: 0})
        await asyncio.sleep(60)
        assert [line.written for line in lines] == [0] * 50
        assert world.store.read_bytes <= 50 * 2 * ANSWER_BYTES

    play(scene)


def test_one_that_stops_reading_holds_little_and_is_forgotten_when_it_goes() -> None:
    async def scene(world: World) -> None:
        fill(world, ROOM, 900, 8000)
        line = Line(10_000_000)
        await subscribe(world, line, {ROOM: 0})
        await asyncio.sleep(0.5)
        line.hang()
        await asyncio.sleep(30)
        assert 0 < line.unread <= 2 * catch_up.WINDOW_BYTES[1]
        assert world.feeds.catching_up == 1
        world.feeds.unsubscribe(line, ROOM)
        world.feeds.forget(line)
        await asyncio.sleep(0.01)
        assert (world.feeds.catching_up, world.feeds._catch_up._unread_bytes) == (0, 0)
        assert not world.feeds._catch_up._tasks

    play(scene)


def test_the_store_is_read_in_pages_whose_bytes_are_bounded_and_nothing_twice() -> None:
    async def scene(world: World) -> None:
        largest = 0
        pages = world.store.pages

        async def watched(ranges: Sequence[Range], range_bytes: int, all_bytes: int) -> list[Page]:
            nonlocal largest
            found = await pages(ranges, range_bytes, all_bytes)
            largest = max(largest, sum(256 + len(one.body or "") for page in found for one in page.events))
            return found

        world.store.pages = watched  # type: ignore[method-assign]
        fill(world, ROOM, 990, 32_000)
        line = Line(20_000_000)
        await subscribe(world, line, {ROOM: 0})
        await level(world, 60)
        await asyncio.sleep(1)
        assert line.seqs[ROOM] == list(range(1, 991))
        assert largest <= catch_up.WINDOW_BYTES[1]
        assert world.store.read_bytes <= 1.1 * 990 * 32_256

    play(scene)


def test_those_who_read_fast_share_what_a_node_brings_in_a_second() -> None:
    async def scene(world: World) -> None:
        fill(world, ROOM, 990, 32_000)
        lines = [Line(1e12) for _ in range(10)]
        for line in lines:
            await subscribe(world, line, {ROOM: 0})
        began_s = now_s()
        await asyncio.sleep(1)
        written = [line.written for line in lines]
        assert sum(written) <= 1.2 * catch_up.BYTES_PER_S
        assert max(written) <= 1.5 * min(written)
        await level(world, 60)
        assert now_s() - began_s >= 0.9 * 10 * 990 * 32_000 / catch_up.BYTES_PER_S
        await asyncio.sleep(1)
        assert all(line.seqs[ROOM] == list(range(1, 991)) for line in lines)

    play(scene)


def test_who_is_removed_while_behind_gets_nothing_more() -> None:
    async def scene(world: World) -> None:
        fill(world, ROOM, 400, 1500)
        line = Line(50_000)
        await subscribe(world, line, {ROOM: 0})
        await asyncio.sleep(3)
        world.feeds.expel(ROOM, ANN, "removed", 401)
        written = line.written
        await asyncio.sleep(60)
        assert line.removals == [ROOM]
        assert line.written == written
        assert world.feeds.catching_up == 0
        assert world.feeds.subscriptions == 0

    play(scene)


def test_a_removal_that_is_an_event_of_the_room_stops_who_is_behind() -> None:
    async def scene(world: World) -> None:
        fill(world, ROOM, 400, 1500)
        line = Line(50_000)
        await subscribe(world, line, {ROOM: 0})
        await asyncio.sleep(3)
        gone = event(ROOM, 401)
        removal = type(gone)(
            room=ROOM, seq=401, kind=rooms.REMOVED.name, actor=UserId("bob"), at=gone.at, user=ANN
        )  # fmt: skip
        world.feeds.received(ROOM, 401, [CODEC.encode(removal)])
        written = line.written
        await asyncio.sleep(30)
        assert (line.removals, line.written, world.feeds.catching_up) == ([ROOM], written, 0)

    play(scene)


def test_one_that_falls_too_far_behind_is_told_to_reset_and_goes_on_at_the_head() -> None:
    async def scene(world: World) -> None:
        fill(world, ROOM, 90, 1500)
        line = Line(1_000)
        [found] = await subscribe(world, line, {ROOM: 0})
        for _ in range(100):
            fill(world, ROOM, 1, 10)
            world.feeds.committed(ROOM, [world.store.logs[ROOM][-1]])
        line.bytes_per_s = 1e9
        await level(world, 60)
        await asyncio.sleep(1)
        [(room, head)] = line.resets
        assert (room, head) == (ROOM, 190)
        fill(world, ROOM, 1, 10)
        world.feeds.committed(ROOM, [world.store.logs[ROOM][-1]])
        await asyncio.sleep(1)
        assert line.seqs[ROOM][found.head_seq :] == [191]

    play(scene, resume_events=100, memory_events=0)


def test_a_second_subscription_of_the_room_takes_the_place_of_the_first() -> None:
    async def scene(world: World) -> None:
        fill(world, ROOM, 400, 1500)
        line = Line(50_000)
        await subscribe(world, line, {ROOM: 0})
        await asyncio.sleep(2)
        line.seqs.clear()
        [found] = await subscribe(world, line, {ROOM: 390})
        assert (found.head_seq, found.behind) == (390, 10), "parts are on their way: no answer goes around them"
        await level(world, 60)
        await asyncio.sleep(5)
        held = line.seqs[ROOM]
        assert held[held.index(391) :] == list(range(391, 401))
        [found] = await subscribe(world, line, {ROOM: None})
        assert (found.head_seq, found.behind) == (400, 0)

    play(scene)


def test_answers_that_nobody_reads_are_bounded() -> None:
    async def scene(world: World) -> None:
        fill(world, ROOM, 400, 1500)
        line = Line(1e-9)
        for _ in range(catch_up._ASKED):
            await subscribe(world, line, {ROOM: 0})
        with pytest.raises(errors.Overloaded):
            await subscribe(world, line, {ROOM: 0})

    play(scene)


def test_while_the_store_is_away_nothing_is_lost_and_catch_up_goes_on_after() -> None:
    async def scene(world: World) -> None:
        fill(world, ROOM, 400, 1500)
        line = Line(100_000)
        await subscribe(world, line, {ROOM: 0})
        await asyncio.sleep(1)
        world.store.away = True
        await asyncio.sleep(20)
        world.store.away = False
        await level(world, 60)
        await asyncio.sleep(5)
        assert line.seqs[ROOM] == list(range(1, 401))

    play(scene, memory_events=0)


def test_what_cannot_be_read_at_all_ends_in_a_reset_and_not_in_silence(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(world: World) -> None:
        fill(world, ROOM, 400, 1500)
        line = Line(100_000)

        async def broken(*_: Any) -> list[Page]:
            raise ValueError("a row that cannot be read")

        await subscribe(world, line, {ROOM: 0})
        world.store.pages = broken  # type: ignore[method-assign,assignment]
        await level(world, 60)
        assert line.resets == [(ROOM, 400)]
        assert [record.levelname for record in caplog.records] == ["ERROR"], "said once, and goes on"

    play(scene, memory_events=0)


def test_an_answer_never_rests_on_a_position_that_the_store_is_ahead_of() -> None:
    async def scene(world: World) -> None:
        """The frames were lost, and the comparison that would find them has not come."""
        world.store.commit(ROOM, 2)
        reader = Line(1e9)
        await subscribe(world, reader, {ROOM: 2})
        world.store.commit(ROOM, 3)
        late = Line(1e9)
        [found] = await subscribe(world, late, {ROOM: 2})
        assert (found.head_seq, late.seqs[ROOM]) == (5, [3, 4, 5])
        [found] = await subscribe(world, Line(1e9), {ROOM: None})
        assert found.head_seq == 5
        await asyncio.sleep(0.1)
        assert reader.seqs[ROOM] == [3, 4, 5], "and who was there is told now"

    play(scene, compare_s=10_000)


def test_a_comparison_that_fails_for_whatever_reason_is_made_again() -> None:
    async def scene(world: World) -> None:
        world.store.commit(ROOM)
        reader = await world.read(ROOM)
        missing = world.store.missing

        async def broken(*_: Any) -> Any:
            raise KeyError("an unknown kind")

        world.store.missing = broken  # type: ignore[method-assign,assignment]
        world.store.commit(ROOM)
        world.feeds.compare_soon()
        await asyncio.sleep(30)
        assert any("rooms.reconcile" in name for name in world.feeds._loops.troubles())
        world.store.missing = missing  # type: ignore[method-assign]
        await asyncio.sleep(8)
        assert reader.seqs == [2]
        assert world.feeds._loops.troubles() == {}

    play(scene)


def test_a_room_whose_events_cannot_be_taken_keeps_no_other_waiting() -> None:
    async def scene(world: World) -> None:
        bad, good = RoomId("bad"), RoomId("good")
        for room in (bad, good):
            world.store.commit(room)
        readers = [await world.read(room) for room in (bad, good)]
        nobody = event(bad, 2)
        world.store.logs[bad].append(
            type(nobody)(room=bad, seq=2, kind=rooms.LEFT.name, actor=ANN, at=nobody.at)  # of no user
        )
        world.store.commit(good)
        world.feeds.compare_soon()
        await asyncio.sleep(3)
        assert [reader.seqs for reader in readers] == [[], [2]]

    play(scene)


def test_events_of_a_kind_that_only_newer_nodes_know_are_passed_on() -> None:
    async def scene(world: World) -> None:
        world.store.commit(ROOM)
        reader = await world.read(ROOM)
        one = event(ROOM, 2)
        world.store.logs[ROOM].append(
            type(one)(room=ROOM, seq=2, kind="poll.opened", actor=ANN, at=one.at, target=1, body="Tea?")
        )  # fmt: skip
        world.feeds.compare_soon()
        await asyncio.sleep(3)
        assert reader.seqs == [2]
        frame: bytes = CODEC.encode(world.store.logs[ROOM][-1])
        assert CODEC.check(frame, ROOM, 2) == frame, "and other nodes take it"
        assert b'"at":"2026-01-01T00:00:00.000Z"' in frame and b'"body":"Tea?"' in frame

    play(scene)


def mixed(room: RoomId, count: int) -> list[Event]:
    """Rows of kinds of this release and of newer ones: alone, several in a row, first and last."""
    made = [event(room, seq) for seq in range(1, count + 1)]
    for one in made:
        if one.seq % 10 in (1, 4, 5, 6, 0):
            made[one.seq - 1] = Event(room, one.seq, "x.future", ANN, one.at, data={"x": [1]})
        elif one.seq % 10 == 8:
            made[one.seq - 1] = Event(room, one.seq, rooms.JOINED.name, ANN, one.at, user=ANN, role="x.future")
    return made


@pytest.mark.parametrize("memory_events", [0, 500])
def test_rows_of_newer_nodes_come_in_their_turn_in_answers_in_parts_in_gaps_and_in_comparisons(memory_events: int) -> None:
    async def scene(world: World) -> None:
        log = mixed(ROOM, 500)
        world.store.logs[ROOM] = log[:400]
        answered, behind = Line(1e9), Line(20_000)
        await subscribe(world, answered, {ROOM: 395})  # in the answer
        await subscribe(world, behind, {ROOM: 0})
        await level(world, 60)  # in parts
        world.store.logs[ROOM] = log[:450]
        world.feeds.compare_soon()
        await asyncio.sleep(3)
        world.store.logs[ROOM] = log[:500]
        world.feeds.received(ROOM, 460, [CODEC.encode(one) for one in log[459:470]])  # a gap before it, and the end is lost
        await asyncio.sleep(3)
        world.feeds.compare_soon()
        await asyncio.sleep(10)
        assert answered.seqs[ROOM] == list(range(396, 501))
        assert behind.seqs[ROOM] == list(range(1, 501))
        assert answered.resets == behind.resets == []
        assert world.feeds._loops.troubles() == {}

    play(scene, memory_events=memory_events)


# -- epochs -----------------------------------------------------------------------------------------


def test_who_shows_an_older_epoch_is_reset_and_who_shows_this_one_resumes() -> None:
    async def scene(world: World) -> None:
        world.store.commit(ROOM, 51)
        world.store.epoch_id, world.store.restored[ROOM] = "second", 21
        for since, epoch, resets in [
            (41, "first", True),
            (15, "first", True),
            (0, "first", False),
            (None, "first", False),
            (41, "second", False),
            (41, None, True),  # it may hold what was taken back
            (21, None, False),  # the same in both
            (0, None, False),
        ]:
            [found] = await subscribe(world, Line(1e9), {ROOM: since}, epoch)
            assert (found.frames is None) is resets, (since, epoch)
        assert world.feeds.epoch == "second"

    play(scene)


def test_where_no_restore_was_a_client_without_an_epoch_resumes_as_ever() -> None:
    async def scene(world: World) -> None:
        world.store.commit(ROOM, 51)
        [found] = await subscribe(world, Line(1e9), {ROOM: 41})
        assert found.frames is not None and len(found.frames) == 10

    play(scene)


def test_a_node_that_runs_through_a_restore_forgets_its_positions() -> None:
    async def scene(world: World) -> None:
        sent_away = 0

        def restored() -> None:
            nonlocal sent_away
            sent_away += 1

        world.feeds._restored = restored
        await world.feeds.look()
        world.store.commit(ROOM, 41)
        reader = await world.read(ROOM)
        del world.store.logs[ROOM][21:]
        world.store.epoch_id, world.store.restored[ROOM] = "second", 21
        world.feeds.compare_soon()  # as the node does when PostgreSQL is back
        await asyncio.sleep(2)
        assert (sent_away, len(world.feeds), world.bus.subscribed[ROOM]) == (1, 0, 0)
        world.store.commit(ROOM, 30)
        [found] = await subscribe(world, Line(1e9), {ROOM: 41}, "first")
        assert (found.frames, found.head_seq) == (None, 51)
        fresh = Line(1e9)
        await subscribe(world, fresh, {ROOM: 51}, "second")
        world.feeds.committed(ROOM, world.store.commit(ROOM))
        await asyncio.sleep(0.1)
        assert fresh.seqs[ROOM] == [52]
        assert reader.seqs == [], "it holds another history, and comes back"

    play(scene)


async def test_a_part_of_many_rooms_costs_as_much_as_what_is_in_it() -> None:
    looked = 0

    class Counted(bytes):
        def __len__(self) -> int:
            nonlocal looked
            looked += 1
            return super().__len__()

    rooms = 400
    line = Line(1e9)
    feeds = {RoomId(str(number)): Feed(RoomId(str(number)), 0) for number in range(rooms)}
    for feed in feeds.values():
        feed.offer(1, [Entry(Frame(Counted(CODEC.encode(event(feed.room, 1, "x")))), None)])
        feed.behind[line] = 1
    looked = 0

    async def read(_ranges: Sequence[Range], _limit_bytes: int) -> Sequence[catch_up.Frames]:
        pytest.fail("it is all in memory")

    bringing = catch_up.CatchUp(feeds, read, 1000, lambda _count: None, asyncio.get_running_loop().time)
    bringing.begin(line, dict.fromkeys(feeds, 0))
    async with asyncio.timeout(5):
        while len(bringing):
            await asyncio.sleep(0)
    await bringing.close()
    assert all(line in feed.subscribers for feed in feeds.values())
    assert looked <= 5 * rooms
