"""Who gets which connection when, with connections that are none."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest

from realtime.store.connections import Connections


class Line:
    def __init__(self) -> None:
        self.closed = False

    def is_closed(self) -> bool:
        return self.closed

    def terminate(self) -> None:
        self.closed = True

    def add_termination_listener(self, _listener: object) -> None: ...

    def remove_termination_listener(self, _listener: object) -> None: ...


class Server:
    """Connects when told to."""

    def __init__(self, size: int = 3) -> None:
        self.asked: list[asyncio.Future[Line]] = []
        self.lost = 0
        connect: Any = self._connect  # lines will do
        self.connections: Any = Connections(connect, size, self._note_lost)

    async def _connect(self) -> Line:
        future: asyncio.Future[Line] = asyncio.get_running_loop().create_future()
        self.asked.append(future)
        return await future

    def _note_lost(self) -> None:
        self.lost += 1

    async def take(self) -> asyncio.Task[Any]:
        task = asyncio.create_task(self.connections.take())
        await turns()
        return task


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def lent(server: Server) -> Any:
    """Have one that is lent."""
    task = await server.take()
    line = Line()
    server.asked[-1].set_result(line)
    assert await task is line
    return line


async def test_one_that_is_given_back_comes_before_one_that_is_being_made() -> None:
    server = Server()
    line = await lent(server)
    waiting = await server.take()
    assert len(server.asked) == 2, "one more is on its way"
    server.connections.give(line, whole=True)
    assert await waiting is line
    server.asked[1].set_result(second := Line())
    await turns()
    assert (server.connections.count, server.connections.lent) == (2, 1)
    assert await server.connections.take() is second


async def test_what_is_made_goes_to_who_has_waited_longest() -> None:
    server = Server(size=2)
    first, second, third = [await server.take() for _ in range(3)]
    assert len(server.asked) == 2
    server.asked[1].set_result(line := Line())
    assert await first is line and not second.done() and not third.done()
    server.asked[0].set_result(other := Line())
    assert await second is other
    server.connections.give(line, whole=True)
    assert await third is line


async def test_a_failure_is_raised_by_who_has_waited_longest() -> None:
    server = Server()
    first, second = await server.take(), await server.take()
    server.asked[1].set_exception(OSError("no route"))
    with pytest.raises(OSError, match="no route"):
        await first
    assert not second.done() and server.connections.count == 1
    server.asked[0].set_result(line := Line())
    assert await second is line


async def test_a_failure_that_nobody_waits_for_is_not_passed_over() -> None:
    server = Server()
    line = await lent(server)
    waiting = await server.take()
    server.connections.give(line, whole=True)
    await waiting
    server.asked[1].set_exception(OSError())
    await turns()
    assert (server.lost, server.connections.count) == (1, 1)


async def test_without_a_slot_one_waits_for_those_that_there_are() -> None:
    server = Server()
    line = await lent(server)
    waiting = await server.take()
    server.asked[1].set_exception(asyncpg.TooManyConnectionsError())
    await turns()
    assert not waiting.done()
    another = await server.take()
    assert len(server.asked) == 2, "no further one is tried for at once"
    server.connections.give(line, whole=True)
    assert await waiting is line
    server.connections.give(line, whole=True)
    assert await another is line


async def test_without_a_slot_and_without_any_it_is_said() -> None:
    server = Server()
    waiting = await server.take()
    server.asked[0].set_exception(asyncpg.TooManyConnectionsError())
    with pytest.raises(asyncpg.TooManyConnectionsError):
        await waiting


async def test_who_gives_up_waiting_takes_nothing_along() -> None:
    server = Server()
    waiting = await server.take()
    waiting.cancel()
    await turns()
    server.asked[0].set_result(line := Line())
    await turns()
    assert (server.connections.count, server.connections.lent) == (1, 0)
    assert await server.connections.take() is line
    late = await server.take()
    server.asked[1].set_result(second := Line())
    await asyncio.sleep(0)
    late.cancel()  # in the turn in which it is handed over
    await turns()
    assert server.connections.lent == 1 and await server.connections.take() is second


async def test_closing_ends_what_is_being_made() -> None:
    server = Server()
    waiting = await server.take()
    server.connections.close()
    await turns()
    assert server.asked[0].cancelled() and server.connections.count == 0
    waiting.cancel()


async def test_one_made_after_the_end_is_dropped() -> None:
    server = Server()
    waiting = await server.take()
    server.asked[0].set_result(line := Line())
    server.connections.close()
    await turns()
    assert line.closed or server.connections.count == 0
    waiting.cancel()
