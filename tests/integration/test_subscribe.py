"""Live delivery and resume: complete, or `reset`; never partial."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.client import Api

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.client import Socket
    from tests.conftest import Nodes

    Keep = Callable[[Socket], Socket]


async def test_without_since_a_subscription_begins_at_the_head(api: Api, close_later: Keep) -> None:
    anna = await api.register()
    room = await anna.room("private")
    await anna.send(room)
    socket = close_later(await anna.connect())
    answer = await socket.subscribe(room)
    assert (answer["head_seq"], answer["role"], answer["events"]) == (1, "owner", [])
    await anna.send(room)
    await socket.wait(lambda: socket.seqs(room) == [2])


async def test_since_brings_everything_missed_from_the_store_and_from_memory(api: Api, close_later: Keep) -> None:
    anna = await api.register()
    room = await anna.room("private")
    for number in range(5):
        await anna.send(room, str(number))
    first = close_later(await anna.connect())
    cold = await first.subscribe(room, since=2)  # the feed has just begun and remembers nothing
    assert [event["seq"] for event in cold["events"]] == [3, 4, 5]
    for number in range(5):
        await anna.send(room, str(number))
    second = close_later(await anna.connect())
    warm = await second.subscribe(room, since=7)
    assert [event["seq"] for event in warm["events"]] == [8, 9, 10]
    both = await second.subscribe(room, since=3)
    assert [event["seq"] for event in both["events"]] == [4, 5, 6, 7, 8, 9, 10]
    assert (await second.subscribe(room, since=10))["events"] == []


async def test_too_much_missed_says_reset(nodes: Nodes, close_later: Keep) -> None:
    api = await nodes.start(resume_max_events=5, feed_memory_events=2)
    anna = await api.register()
    room = await anna.room("private")
    for number in range(8):
        await anna.send(room, str(number))
    socket = close_later(await anna.connect())
    answer = await socket.subscribe(room, since=0)
    assert (answer["reset"], answer["head_seq"], "events" in answer) == (True, 8, False)
    await anna.send(room)
    await socket.wait(lambda: socket.seqs(room) == [9])


async def test_a_since_beyond_the_head_says_reset(api: Api, close_later: Keep) -> None:
    anna = await api.register()
    room = await anna.room("private")
    socket = close_later(await anna.connect())
    assert (await socket.subscribe(room, since=7))["reset"] is True


async def test_many_rooms_are_answered_each_by_itself(api: Api, close_later: Keep) -> None:
    anna, bert = await api.register(), await api.register()
    mine, theirs = await anna.room("private"), await bert.room("private")
    public = await bert.room("public")
    socket = close_later(await anna.connect())
    rooms = [mine, theirs, public, "nonsense"]
    answer = await socket.call("room.subscribe", {"rooms": [{"room": room} for room in rooms]})
    assert [one["room"] for one in answer["rooms"]] == rooms
    assert [one.get("error", {}).get("code") for one in answer["rooms"]] == [
        None, "room_not_found", "not_a_member", "room_not_found",
    ]  # fmt: skip


async def test_after_unsubscribe_nothing_comes(api: Api, close_later: Keep) -> None:
    anna = await api.register()
    room = await anna.room("private")
    socket, other = close_later(await anna.connect()), close_later(await anna.connect())
    await socket.subscribe(room)
    await other.subscribe(room)
    await socket.call("room.unsubscribe", {"rooms": [room]})
    await anna.send(room)
    await other.wait(lambda: other.seqs(room) == [1])
    await socket.call("room.unsubscribe", {"rooms": [{"room": room}]})
    assert socket.seqs(room) == []


@pytest.mark.parametrize("remembered", [0, 5, 500])
async def test_subscribing_amid_a_storm_of_messages_leaves_no_gap(nodes: Nodes, close_later: Keep, remembered: int) -> None:
    api = await nodes.start(send_rate=100_000, send_burst=100_000, feed_memory_events=remembered)
    anna = await api.register()
    room = await anna.room("private")
    sender = close_later(await anna.connect())
    await sender.subscribe(room)
    total = 400

    async def send_all() -> None:
        for number in range(0, total, 20):
            await asyncio.gather(*(sender.send(room, str(number + index)) for index in range(20)))

    async def reader(start: int, after: int) -> None:
        await sender.wait_events(room, after)
        socket = close_later(await anna.connect())
        answer = await socket.subscribe(room, since=start)
        caught_up = [event["seq"] for event in answer["events"]]
        await socket.wait(lambda: (caught_up + socket.seqs(room))[-1:] == [total], timeout_s=20)
        assert caught_up + socket.seqs(room) == list(range(start + 1, total + 1))

    await asyncio.gather(send_all(), *(reader(0, after) for after in range(0, 320, 40)))


async def test_a_signal_reaches_the_others_who_look_and_not_the_sender(api: Api, close_later: Keep) -> None:
    anna, bert = await api.register(), await api.register()
    room = await anna.room("private", members=[bert])
    a, b = close_later(await anna.connect()), close_later(await bert.connect())
    await a.subscribe(room)
    await b.subscribe(room)
    await a.call("signal", {"room": room, "kind": "cursor", "data": {"x": 1.5, "y": [None, True, "ü"]}})
    await b.wait_for("signal")
    assert b.payloads("signal") == [{"room": room, "user": anna.id, "kind": "cursor", "data": {"x": 1.5, "y": [None, True, "ü"]}}]
    assert "signal" not in a.names
    assert (await anna.get(f"/rooms/{room}"))["head_seq"] == 0
