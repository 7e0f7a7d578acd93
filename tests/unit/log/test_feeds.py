"""The feeds of a node over a store and a bus that are lists: what they read, when, and the races of opening and closing."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from realtime import errors
from realtime.gateway.socketio import event_frame, event_of
from realtime.log.feed import Frame
from realtime.log.feeds import Feeds, Hooks, Settings
from realtime.log.frames import EventCodec
from realtime.log.store import Page, Range
from realtime.messages import kinds as messages
from realtime.model import Access, Event, Role, RoomId, RoomKind, UserId
from realtime.node.kinds import KINDS
from realtime.rooms import policy
from realtime.runtime import Runtime
from realtime.tasks import Loops
from tests.unit.presence.virtual_time import now_s, run

ANN = UserId("ann")
CODEC = EventCodec(KINDS, event_frame, event_of)
LEVEL_S = 0.2


def event(room: RoomId, seq: int, body: str = "text") -> Event:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    return Event(room=room, seq=seq, kind=messages.CREATED.name, actor=ANN, at=at, client_id=f"c{seq}", body=body)


def frame(room: RoomId, seq: int, body: str = "text") -> Frame:
    return CODEC.encode(event(room, seq, body))


class Store:
    """Rooms and their events. `gate` holds back answers, after they were read."""

    def __init__(self) -> None:
        self.logs: dict[RoomId, list[Event]] = {}
        self.queries: list[tuple[str, float]] = []
        self.read_bytes = 0
        self.epoch_id = "first"
        self.restored: dict[RoomId, int] = {}
        self.away = False
        self.gate: asyncio.Event | None = None

    def commit(self, room: RoomId, count: int = 1) -> list[Event]:
        log = self.logs.setdefault(room, [])
        new = [event(room, len(log) + 1 + index) for index in range(count)]
        log.extend(new)
        return new

    async def _answer(self, name: str, answer: Any) -> Any:
        self.queries.append((name, now_s()))
        await asyncio.sleep(0.001)
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise errors.Unavailable
        return answer

    async def access(self, pairs: Sequence[tuple[RoomId, UserId]]) -> Sequence[Access | None]:
        found = [
            Access(RoomKind.PRIVATE, len(self.logs[room]), Role.MEMBER, self.epoch_id, self.restored.get(room))
            if room in self.logs
            else None
            for room, _ in pairs
        ]
        answer: Sequence[Access | None] = await self._answer("access", found)
        return answer

    async def epoch(self) -> str:
        return self.epoch_id

    async def heads(self, rooms: Sequence[RoomId]) -> dict[RoomId, int]:
        answer: dict[RoomId, int] = await self._answer(
            "heads", {room: len(self.logs[room]) for room in rooms if room in self.logs}
        )
        return answer

    async def pages(self, ranges: Sequence[Range], range_bytes: int, all_bytes: int) -> list[Page]:
        pages, read = [], 0
        for room, since, until in ranges:
            page: list[Event] = []
            size = 0
            for one in self.logs[room][since:until]:
                if size >= range_bytes or read >= all_bytes:
                    break
                page.append(one)
                size += 256 + len(one.body or "")
                read += 256 + len(one.body or "")
            cut = (page[-1].seq if page else since) >= until or size >= range_bytes or read >= all_bytes
            pages.append(Page(page, cut))
            self.read_bytes += size
        answer: list[Page] = await self._answer("pages", pages)
        return answer

    async def missing(
        self, positions: Sequence[tuple[RoomId, int]], per_room: int, in_all: int, all_bytes: int
    ) -> tuple[list[tuple[int, list[Event]]], bool]:
        found, read = [], 0
        for index, (room, seq) in enumerate(positions):
            page = self.logs[room][seq:][:per_room]
            if page and read < in_all:
                found.append((index, page))
                read += len(page)
        answer: tuple[list[tuple[int, list[Event]]], bool] = await self._answer("missing", (found, read >= in_all))
        return answer


class Bus:
    """Hears all rooms but the `deaf` ones."""

    def __init__(self) -> None:
        self.deaf: set[RoomId] = set()
        self.all_deaf = False
        self.subscribed: Counter[RoomId] = Counter()
        self.published: list[tuple[RoomId, int]] = []

    @property
    def complete(self) -> bool:
        return not self.deaf and not self.all_deaf

    def hears(self, room: RoomId) -> bool:
        return room not in self.deaf and not self.all_deaf

    async def subscribe(self, room: RoomId) -> bool:
        self.subscribed[room] += 1
        await asyncio.sleep(0.001)
        return self.hears(room)

    def unsubscribe(self, room: RoomId) -> None:
        self.subscribed[room] -= 1

    def publish_batch(self, room: RoomId, first_seq: int, frames: Sequence[bytes]) -> None:
        self.published.append((room, first_seq))


class Reader:
    def __init__(self) -> None:
        self.user = ANN
        self.seqs: list[int] = []

    def write(self, frames: bytes) -> None:
        from realtime.gateway.websocket import split

        for _, packet in split(frames):
            self.seqs.append(int(packet.partition(b'"seq":')[2].partition(b",")[0]))

    def removed(self, room: RoomId, reason: str) -> None:
        raise AssertionError("nobody is removed here")

    def reset(self, room: RoomId, head_seq: int) -> None:
        raise AssertionError("nobody is reset here")

    def mark(self, reached: Callable[[], None]) -> None:
        raise AssertionError("nobody is behind here")


class World:
    def __init__(self, **settings: Any) -> None:
        self.store, self.bus = Store(), Bus()
        self.repaired: list[tuple[int, float]] = []
        self.feeds = Feeds(
            self.store, self.store, self.bus, CODEC, Settings(**settings), policy.read,  # type: ignore[arg-type]
            Hooks(repaired=lambda count, age_s: self.repaired.append((count, age_s))), Runtime(Loops(), wall=lambda: 0.0),
        )  # fmt: skip
        self.feeds.open()

    async def read(self, room: RoomId) -> Reader:
        reader = Reader()
        [found] = await self.feeds.subscribe(reader, [(room, None)], {}, gone=lambda: False)
        assert found.error is None
        return reader

    def since(self, start_s: float) -> Counter[str]:
        """Count the queries from a time on."""
        return Counter(name for name, at_s in self.store.queries if at_s >= start_s)


def play(main: Callable[[World], Any], **settings: Any) -> None:
    """Run a scene in virtual time."""

    async def scene() -> None:
        world = World(**settings)
        try:
            await main(world)
        finally:
            await world.feeds.close()

    run(scene())


ROOM = RoomId("room")


def test_holes_of_many_rooms_are_read_in_one_query() -> None:
    async def scene(world: World) -> None:
        rooms = [RoomId(f"r{number}") for number in range(40)]
        for room in rooms:
            world.store.commit(room)
        readers = [await world.read(room) for room in rooms]
        for turn in range(1, 4):
            start_s = now_s()
            for room in rooms:
                world.store.commit(room, 3)
                world.feeds.received(room, 3 * turn + 1, [frame(room, 3 * turn + 1)])
            await asyncio.sleep(LEVEL_S)
            assert [reader.seqs for reader in readers] == [list(range(2, 3 * turn + 2))] * 40
            assert world.since(start_s) == {"pages": 1}
        assert sum(count for count, _ in world.repaired) == 360

    play(scene)


def test_while_the_bus_is_away_one_query_a_second_follows_all_rooms_within_two() -> None:
    async def scene(world: World) -> None:
        rooms = [RoomId(f"r{number}") for number in range(200)]
        for room in rooms:
            world.store.commit(room)
        readers = [await world.read(room) for room in rooms]
        world.bus.all_deaf = True
        world.feeds.compare_soon()  # as the node does when it notices
        start_s = now_s()
        for turn in range(100):  # ten seconds in which others commit, and this node too: its own show holes
            for room in rooms[turn % 7 :: 7]:
                theirs, [ours] = world.store.commit(room), world.store.commit(room)
                assert theirs
                world.feeds.committed(room, [ours])
            await asyncio.sleep(0.1)
        heads = [len(world.store.logs[room]) for room in rooms]
        await asyncio.sleep(2)
        assert all(reader.seqs[: head - 1] == list(range(2, head + 1)) for reader, head in zip(readers, heads, strict=True))
        times = [at_s for _, at_s in world.store.queries if at_s >= start_s]
        assert set(world.since(start_s)) == {"missing"}
        assert all(later - earlier >= 1 for earlier, later in itertools.pairwise(times))
        assert len(times) >= 10

    play(scene)


def test_rooms_that_a_shard_does_not_bring_are_compared_and_the_others_left_alone() -> None:
    async def scene(world: World) -> None:
        here, gone = RoomId("here"), RoomId("gone")
        for room in (here, gone):
            world.store.commit(room)
        a, b = await world.read(here), await world.read(gone)
        await asyncio.sleep(30)
        world.bus.deaf.add(gone)
        world.feeds.suspect([gone])
        await asyncio.sleep(1)
        world.store.commit(here)  # lost without a trace; only the slow comparison finds it
        world.store.commit(gone)
        await asyncio.sleep(2)
        assert (a.seqs, b.seqs) == ([], [2])
        await asyncio.sleep(25)
        assert a.seqs == [2]

    play(scene)


def test_a_last_frame_that_was_lost_is_found_by_the_slow_comparison() -> None:
    async def scene(world: World) -> None:
        world.store.commit(ROOM)
        reader = await world.read(ROOM)
        world.store.commit(ROOM)
        start_s = now_s()
        await asyncio.sleep(24.1)
        assert reader.seqs == [2]
        assert world.since(start_s) == {"missing": 1}

    play(scene)


def test_what_arrives_between_the_reading_of_the_head_and_its_answer_is_not_lost() -> None:
    async def scene(world: World) -> None:
        world.store.commit(ROOM)
        reader = Reader()
        world.store.gate = asyncio.Event()
        world.store.gate.set()
        opening = asyncio.create_task(world.feeds.subscribe(reader, [(ROOM, None)], {}, gone=lambda: False))
        while [name for name, _ in world.store.queries] != ["access"]:
            await asyncio.sleep(0)
        await asyncio.sleep(0.0015)  # the access is read, the bus is subscribed
        world.store.gate.clear()
        while [name for name, _ in world.store.queries] != ["access", "heads"]:
            await asyncio.sleep(0.0001)
        world.store.commit(ROOM)  # after the head was read
        world.feeds.received(ROOM, 2, [frame(ROOM, 2)])
        world.store.gate.set()
        [found] = await opening
        assert found.head_seq == 2
        world.store.commit(ROOM)
        world.feeds.received(ROOM, 3, [frame(ROOM, 3)])
        assert reader.seqs == [3]
        assert world.repaired == []

    play(scene)


def test_a_feed_that_could_not_be_opened_leaves_no_subscription() -> None:
    async def scene(world: World) -> None:
        world.store.commit(ROOM)
        heads = world.store.heads

        async def fail(_: Sequence[RoomId]) -> dict[RoomId, int]:
            raise errors.Unavailable

        world.feeds._heads._load = world.feeds._load_heads(type("Rooms", (), {"heads": staticmethod(fail)})())
        with pytest.raises(errors.Unavailable):
            await world.read(ROOM)
        assert world.bus.subscribed[ROOM] == 0
        assert not world.feeds._opening and not world.feeds._arrived
        world.feeds._heads._load = world.feeds._load_heads(type("Rooms", (), {"heads": staticmethod(heads)})())
        await world.read(ROOM)
        assert world.bus.subscribed[ROOM] == 1

    play(scene)


def test_a_feed_that_lingers_is_closed_and_opened_again_with_one_subscription() -> None:
    async def scene(world: World) -> None:
        world.store.commit(ROOM)
        for _ in range(3):
            reader = await world.read(ROOM)
            world.feeds.unsubscribe(reader, ROOM)
            await asyncio.sleep(30)
            assert (world.bus.subscribed[ROOM], len(world.feeds)) == (1, 1)
            await asyncio.sleep(40)
            assert (world.bus.subscribed[ROOM], len(world.feeds)) == (0, 0)

    play(scene, linger_s=60)


def test_feeds_that_nobody_receives_are_bounded() -> None:
    async def scene(world: World) -> None:
        rooms = [RoomId(f"r{number}") for number in range(30)]
        for room in rooms:
            world.store.commit(room)
            world.feeds.unsubscribe(await world.read(room), room)
        kept = await world.read(rooms[0])
        await asyncio.sleep(3)
        assert len(world.feeds) == 11
        world.feeds.received(rooms[0], 2, [frame(rooms[0], 2)])
        assert kept.seqs == [2]

    play(scene, linger_feeds=10)


def test_the_memory_of_all_feeds_is_bounded_and_the_quietest_go_first() -> None:
    async def scene(world: World) -> None:
        size = len(frame(ROOM, 2, "x" * 1000))
        rooms = [RoomId(f"r{number:03}") for number in range(50)]
        for room in rooms:
            world.store.commit(room)
            await world.read(room)
            world.feeds.received(room, 2, [frame(room, 2, "x" * 1000)])
        held = [room for room in rooms if world.feeds._feeds[room].remembers(1)]
        assert sum(feed.size_bytes for feed in world.feeds._feeds.values()) == world.feeds._memory_bytes <= 20 * size
        assert held == rooms[-len(held) :]
        assert len(held) >= 15

    play(scene, memory_total_bytes=20 * len(frame(RoomId("r000"), 2, "x" * 1000)))


def test_a_slow_store_is_not_asked_again_and_again_for_the_same_hole() -> None:
    async def scene(world: World) -> None:
        world.store.commit(ROOM)
        reader = await world.read(ROOM)
        world.store.commit(ROOM, 60)
        start_s = now_s()
        world.store.gate = asyncio.Event()
        for seq in range(3, 60):
            world.feeds.received(ROOM, seq, [frame(ROOM, seq)])
            await asyncio.sleep(0.05)
        assert world.since(start_s) == {"pages": 1}
        world.store.gate.set()
        await asyncio.sleep(LEVEL_S)
        assert reader.seqs == list(range(2, 62))

    play(scene)


def test_frames_of_what_was_never_committed_reach_nobody_and_are_let_go() -> None:
    async def scene(world: World) -> None:
        world.store.commit(ROOM)
        reader = await world.read(ROOM)
        world.feeds.received(ROOM, 9, [frame(ROOM, 9)])
        await asyncio.sleep(LEVEL_S)
        assert not world.feeds._feeds[ROOM].has_hole
        for seq in range(2, 9):
            world.store.commit(ROOM)
            world.feeds.received(ROOM, seq, [frame(ROOM, seq)])
        assert reader.seqs == list(range(2, 9))

    play(scene)


def test_frames_of_another_room_or_number_are_refused_whole() -> None:
    async def scene(world: World) -> None:
        world.store.commit(ROOM)
        reader = await world.read(ROOM)
        for frames in ([frame(ROOM, 2), frame(RoomId("other"), 3)], [frame(ROOM, 2), frame(ROOM, 4)], [b"42"]):
            with pytest.raises(ValueError, match=r"\S"):
                world.feeds.received(ROOM, 2, frames)
        assert reader.seqs == []
        assert not world.feeds._feeds[ROOM].has_hole

    play(scene)


def test_when_the_store_is_back_nothing_is_missing_and_it_was_not_stormed() -> None:
    async def scene(world: World) -> None:
        world.store.commit(ROOM)
        reader = await world.read(ROOM)
        world.bus.all_deaf = world.store.away = True
        world.feeds.compare_soon()
        start_s = now_s()
        world.store.commit(ROOM, 5)
        await asyncio.sleep(60)
        assert 8 <= world.since(start_s)["missing"] <= 40
        world.store.away = False
        await asyncio.sleep(8)
        assert reader.seqs == list(range(2, 7))

    play(scene)


def test_more_than_one_comparison_reads_comes_with_the_next_and_the_cut_off_come_first() -> None:
    async def scene(world: World) -> None:
        rooms = [RoomId(f"r{number}") for number in range(10)]
        for room in rooms:
            world.store.commit(room)
        readers = [await world.read(room) for room in rooms]
        for room in rooms:
            world.store.commit(room, 20)
        start_s = now_s()
        world.feeds.compare_soon()
        await asyncio.sleep(12)
        assert all(reader.seqs == list(range(2, 22)) for reader in readers)
        assert world.since(start_s)["missing"] <= 8

    play(scene, compare_events=50, resume_events=15, compare_s=1000)
