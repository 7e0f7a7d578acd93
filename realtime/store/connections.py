"""At most so many connections to PostgreSQL, each lent to one operation at a time.

asyncpg's own pool resets a connection with a query after each use, cancels statements by opening one more connection for
each, and waits for that when it takes a connection back: a hung server then costs twice the time-out. Nothing here changes
the state of a connection, so nothing is reset; and what is not known to be whole is dropped instead of being mended.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

IDLE_S = 300.0
_FULL_S = 1.0
"""How long no further connection is tried for after the server had no slot left."""


class Connections:
    """The connections of a node. The one used last is lent first, so that those not needed grow old and go.

    Args:
        connect: Makes one.
        size: How many there may be.
        lost: Called when one ends that was not dropped here.
    """

    def __init__(self, connect: Callable[[], Awaitable[Connection]], size: int, lost: Callable[[], None]) -> None:
        self._connect = connect
        self._size = size
        self._lost = lost
        self._idle: deque[tuple[Connection, float]] = deque()
        self._count = 0  # lent, idle, and being made
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._making: set[asyncio.Task[None]] = set()
        self._full_until_s = 0.0
        self._closed = False

    @property
    def count(self) -> int:
        """How many there are, with those being made."""
        return self._count

    @property
    def lent(self) -> int:
        """How many are in use or being made."""
        return self._count - len(self._idle)

    def take_idle(self) -> Connection | None:
        """Borrow one that nobody uses, if there is one that is open."""
        while self._idle:
            connection, _ = self._idle.pop()
            if not connection.is_closed():
                return connection
            self._count -= 1
        return None

    async def take(self) -> Connection:
        """Borrow a connection; wait for one when all are lent. Raises what connecting raises."""
        while True:
            connection = self.take_idle()
            if connection is not None:
                return connection
            if self._count < self._size and not (self._count and _now_s() < self._full_until_s):
                self._grow()
            connection = await self._wait()
            if connection is not None:
                return connection

    def _grow(self) -> None:
        """Make one more, for whoever has waited longest then: connecting takes several round trips, and mostly one that is lent
        is given back before.
        """
        self._count += 1
        task = asyncio.get_running_loop().create_task(self._make())
        self._making.add(task)
        task.add_done_callback(self._making.discard)

    async def _make(self) -> None:
        try:
            connection = await self._connect()
        except Exception as error:  # noqa: BLE001 - raised by whoever waits
            self._count -= 1
            self._failed(error)
        except BaseException:
            self._count -= 1
            raise
        else:
            connection.add_termination_listener(self._ended)
            self.give(connection, whole=True)

    def _failed(self, error: Exception) -> None:
        if isinstance(error, asyncpg.TooManyConnectionsError):
            self._full_until_s = _now_s() + _FULL_S
            if self._count:
                return  # whoever waits gets one of those that there are
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_exception(error)
                return
        self._lost()  # nobody needs it any more, but it may mean something

    def _ended(self, connection: object) -> None:
        """The server, or the network, ended a connection. One that is lent is counted out when it is given back."""
        before = len(self._idle)
        self._idle = deque(one for one in self._idle if one[0] is not connection)
        self._count -= before - len(self._idle)
        self._lost()

    async def _wait(self) -> Connection | None:
        future: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        try:
            return await future
        except asyncio.CancelledError:
            if future.cancelled() or not future.done():
                with contextlib.suppress(ValueError):  # woken and cancelled in one turn
                    self._waiting.remove(future)
            elif future.exception() is None and (handed := future.result()) is not None:
                self.give(handed, whole=True)
            else:
                self._wake(None)
            raise

    def give(self, connection: Connection, *, whole: bool) -> None:
        """Take a connection back.

        Args:
            whole: Its last answer was read to the end, and no transaction is open. If not, it is dropped: its next answer
                could belong to somebody else.
        """
        if not whole or self._closed or connection.is_closed():
            self.drop(connection)
            self._count -= 1
            self._wake(None)
            return
        if not self._wake(connection):
            self._idle.append((connection, _now_s()))
            self._let_go_of_old()

    def add(self, connection: Connection) -> None:
        """Take in a connection that was made elsewhere, if there is room for it."""
        connection.add_termination_listener(self._ended)
        self._count += 1
        self.give(connection, whole=self._count <= self._size)

    def drop_idle(self) -> None:
        """Drop what nobody uses: the server is away, and what is left of its connections cannot be trusted."""
        while self._idle:
            connection, _ = self._idle.pop()
            self.drop(connection)
            self._count -= 1

    def close(self) -> None:
        """Drop what nobody uses now, and the rest as it is given back."""
        self._closed = True
        for task in self._making:
            task.cancel()
        self.drop_idle()

    def drop(self, connection: Connection) -> None:
        """End a connection without waiting for anything. The server finishes or times out what it was asked."""
        connection.remove_termination_listener(self._ended)
        connection.terminate()

    def _wake(self, connection: Connection | None) -> bool:
        """Hand a connection, or the chance to make one, to who has waited longest."""
        while self._waiting:
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(connection)
                return True
        return False

    def _let_go_of_old(self) -> None:
        oldest, since_s = self._idle[0]
        if len(self._idle) > 1 and since_s < _now_s() - IDLE_S:
            self._idle.popleft()
            self.drop(oldest)
            self._count -= 1


def _now_s() -> float:
    return asyncio.get_running_loop().time()
