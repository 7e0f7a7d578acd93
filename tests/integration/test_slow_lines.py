"""Clients on slow lines that were away: the official client, behind a proxy that lets few bytes a second through, arrives."""

from __future__ import annotations

import asyncio
import contextlib
import socket as sockets
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from realtime.tasks import end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.client import Person, Socket
    from tests.conftest import Nodes

    Keep = Callable[[Socket], Socket]

PIECE_BYTES = 8192


@contextlib.asynccontextmanager
async def line(url: str, bytes_per_s: float) -> AsyncIterator[str]:
    """A proxy in front of a node. It reads steadily, and holds little: the node sees how slow the line is."""
    port = urlsplit(url).port
    tasks: set[asyncio.Task[None]] = set()
    writers: list[asyncio.StreamWriter] = []

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, pace: float) -> None:
        writers.append(writer)
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(PIECE_BYTES):
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(len(data) * pace)
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = sockets.socket()
        upstream.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        upstream.setblocking(False)
        await asyncio.get_running_loop().sock_connect(upstream, ("127.0.0.1", port))
        up_reader, up_writer = await asyncio.open_connection(sock=upstream, limit=PIECE_BYTES)
        for one in (pump(reader, up_writer, 0.0), pump(up_reader, writer, 1 / bytes_per_s)):
            task = asyncio.create_task(one)
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        await end(tasks)
        for writer in writers:
            writer.transport.abort()


async def fill(person: Person, room: str, count: int, body: str) -> None:
    for _ in range(0, count, 50):
        await asyncio.gather(*(person.send(room, body) for _ in range(50)))


@pytest.mark.parametrize("transport", ["websocket", "polling"])
async def test_a_client_that_missed_more_than_may_be_unsent_arrives_over_one_connection(
    nodes: Nodes, close_later: Keep, transport: str
) -> None:
    api = await nodes.start(send_rate=10_000, send_burst=10_000, unsent_limit_bytes=1 << 19)
    anna = await api.register()
    room, other = await anna.room("private"), await anna.room("private")
    await fill(anna, room, 150, "x" * 6000)
    async with line(api.url, 400_000) as slow:
        socket = close_later(await anna.at(slow).connect([transport]))
        answer = await socket.call("room.subscribe", {"rooms": [{"room": room, "since": 0}, {"room": other}]})
        first = answer["rooms"][0]
        assert first["head_seq"] + first["behind"] == 150
        held = [event["seq"] for event in first["events"]]
        assert held == list(range(1, first["head_seq"] + 1))
        await anna.send(room, "while it catches up")
        await anna.send(other, "elsewhere")
        await socket.wait_events(other, 1)
        assert len(socket.seqs(room)) < first["behind"], "what is live elsewhere does not wait for it"
        await socket.wait(lambda: held + socket.seqs(room) == list(range(1, 152)), timeout_s=30)
        assert not socket.gone.is_set()


async def test_many_rooms_at_once_arrive(nodes: Nodes, close_later: Keep) -> None:
    api = await nodes.start(send_rate=10_000, send_burst=10_000)
    anna = await api.register()
    rooms = [await anna.room("private") for _ in range(6)]
    await asyncio.gather(*(fill(anna, room, 50, "x" * 600) for room in rooms))
    async with line(api.url, 400_000) as slow:
        socket = close_later(await anna.at(slow).connect(["websocket"]))
        answer = await socket.call("room.subscribe", {"rooms": [{"room": room, "since": 0} for room in rooms]})
        held = {one["room"]: [event["seq"] for event in one["events"]] for one in answer["rooms"]}
        assert sum(map(len, held.values())) < 300
        await socket.wait(lambda: all(held[room] + socket.seqs(room) == list(range(1, 51)) for room in rooms), timeout_s=30)


async def test_who_is_removed_while_behind_gets_nothing_more(nodes: Nodes, close_later: Keep) -> None:
    api = await nodes.start(send_rate=10_000, send_burst=10_000)
    anna, bert = await api.register(), await api.register()
    room = await anna.room("private", members=[bert])
    await fill(anna, room, 150, "x" * 6000)
    async with line(api.url, 200_000) as slow:
        socket = close_later(await bert.at(slow).connect(["websocket"]))
        await socket.subscribe(room, since=0)
        await socket.wait_events(room, 1)
        await anna.request("DELETE", f"/rooms/{room}/members/{bert.id}", expect=204)
        await socket.wait_for("room.removed", timeout_s=15)
        seen = len(socket.events(room))
        await asyncio.sleep(1)
        assert len(socket.events(room)) == seen < 150


async def test_pages_of_history_and_events_end_by_bytes_and_leave_nothing_out(nodes: Nodes) -> None:
    api = await nodes.start(send_rate=10_000, send_burst=10_000)
    anna = await api.register()
    room = await anna.room("private")
    await fill(anna, room, 50, "\U0001f525" * 8000)
    seqs: list[int] = []
    before = ""
    while True:
        page = await anna.get(f"/rooms/{room}/messages?limit=200{before}")
        assert 1 <= len(page["messages"]) <= 17, "512 KiB"
        seqs = [one["seq"] for one in page["messages"]] + seqs
        if not page["has_before"]:
            break
        before = f"&before={seqs[0]}"
    assert seqs == list(range(1, 51))
    forward: list[int] = []
    while True:
        page = await anna.get(f"/rooms/{room}/messages?limit=200&after={forward[-1] if forward else 0}")
        forward += [one["seq"] for one in page["messages"]]
        if not page["has_after"]:
            break
    assert forward == seqs
    around = await anna.get(f"/rooms/{room}/messages?limit=200&around=25")
    assert around["has_before"] and around["has_after"] and 25 in [one["seq"] for one in around["messages"]]
    events: list[int] = []
    while True:
        page = await anna.get(f"/rooms/{room}/events?limit=200&since={len(events)}")
        assert 1 <= len(page["events"]) <= 17
        events += [one["seq"] for one in page["events"]]
        if not page["has_more"]:
            break
    assert events == seqs
