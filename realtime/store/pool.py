"""PostgreSQL for the stores: bounded in connections and in time, and every failure told as one of our errors.

While it is known to be away every operation fails at once, and one probe at a time looks for its return.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from typing import TYPE_CHECKING, TypeVar

import asyncpg

from realtime import tasks
from realtime.errors import NotStorable, Unavailable
from realtime.store.connecting import SERVING, Connector, check
from realtime.store.connections import Connections
from realtime.store.sqlstate import Meaning, meaning
from realtime.store.starting import reason
from realtime.swings import Swings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

    from realtime.store.connections import Connection

logger = logging.getLogger(__name__)

T = TypeVar("T")

# What is no answer of the server: connection trouble, and time that ran out.
_NO_ANSWER = (OSError, asyncio.TimeoutError, asyncpg.InterfaceError, asyncpg.InternalClientError)
_TRIES = 4
"""Of a statement that was rolled back for the sake of another one, or met a connection without its state."""
_AGAIN_S = 0.01
"""Before the second try, and twice as long before each further one; jittered."""
_RULES = {"23", "44", "P0"}
"""Classes of errors that say which rule a row breaks: for the store that knows the rule."""
_OPEN_S = 8.0
_PROBE_S = 2.0
_PAUSE_S = (0.1, 1.0)
"""Between two probes, doubled each time and jittered, so that a fleet of nodes does not knock at once."""
_CLOSE_S = 5.0
_COMPLAIN_S = 60.0


class Refused(Unavailable):
    """PostgreSQL answered that it could not, for now; nothing was done."""

    default = "The database cannot do this for now; nothing was done. Retry with the same client_id."

    def __init__(self, sqlstate: str) -> None:
        super().__init__()
        self.sqlstate = sqlstate


class Database:
    """The connections of the application role.

    Args:
        dsn: Where, and as whom.
        size: Connections at most; one more while a probe looks whether the server is back.
        statement_timeout_ms: What one statement may take in the server. An operation, with the wait for a connection, has
            half a second more.
        lock_timeout_ms: What it may wait for a lock.
        health: Called with False when PostgreSQL goes away, and with True when it is back.
        used: Called with the seconds that each use of a connection took, the wait for it included.
        refused: Called with the SQLSTATE of each statement that PostgreSQL did not carry out for want of something: a lock,
            time, memory, room on its disk.
        warm: Statements, each with its arguments, that change nothing: run on a new connection before it is lent. Whoever is
            the first to use a statement on a connection waits for five round trips until it is prepared and its types are known.
    """

    def __init__(
        self,
        dsn: str,
        *,
        size: int = 10,
        statement_timeout_ms: int = 4_000,
        lock_timeout_ms: int = 2_000,
        health: Callable[[bool], None] = lambda _healthy: None,
        used: Callable[[float], None] = lambda _seconds: None,
        refused: Callable[[str], None] = lambda _sqlstate: None,
        warm: Sequence[tuple[object, ...]] = (),
    ) -> None:
        self._timeout_s = statement_timeout_ms / 1000 + 0.5
        self._connector = Connector(
            dsn,
            {**SERVING, "statement_timeout": str(statement_timeout_ms), "lock_timeout": str(lock_timeout_ms)},
        )
        self._health = health
        self._used = used
        self._refused = refused
        self._warm = warm
        self._complain_from_s: dict[str, float] = {}
        self._connections = Connections(self._connect_warm, size, self._doubt)
        self._running: set[asyncio.Task[object]] = set()
        self._probing: asyncio.Task[None] | None = None
        self._swings = Swings(self._say, lambda: asyncio.get_running_loop().time())
        self._open = False
        self._back_at_s = float("-inf")
        self.away = False
        """Whether PostgreSQL is known not to answer; then every operation is refused at once."""

    @property
    def in_use(self) -> int:
        """Connections that are lent or being made."""
        return self._connections.lent

    @property
    def idle(self) -> int:
        """Connections that nobody uses."""
        return self._connections.count - self._connections.lent

    async def open(self) -> None:
        """Connect, and look whether the database is one to work with.

        Raises:
            CannotStart: with what PostgreSQL said, and whether it may pass.
        """
        try:
            async with asyncio.timeout(_OPEN_S):
                connection = await self._connect()
                try:
                    await check(connection, self._connector, _PROBE_S)
                    await self._warm_up(connection)
                except BaseException:
                    connection.terminate()
                    raise
        except (*_NO_ANSWER, asyncpg.PostgresError, Unavailable, ValueError) as error:
            raise reason(error, self._connector.url) from None  # values of settings may stand in its cause
        self._connections.add(connection)
        self._open = True

    async def close(self) -> None:
        """Give running statements a moment, then close every connection."""
        self._open = False
        if self._running:
            await asyncio.wait(self._running, timeout=_CLOSE_S)
        await tasks.end([*self._running, self._probing])
        self._swings.close()
        self._connections.close()

    async def _connect(self) -> Connection:
        return await self._connector.connect(self._timeout_s)

    async def _connect_warm(self) -> Connection:
        connection = await self._connect()
        try:
            await self._warm_up(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    async def _warm_up(self, connection: Connection) -> None:
        for query, *args in self._warm:
            await connection.fetch(str(query), *args, timeout=self._timeout_s)

    # -- operations -------------------------------------------------------------------------------

    async def fetch(self, query: str, *args: object) -> list[asyncpg.Record]:
        """Run one statement and return its rows.

        Raises:
            Unavailable: when PostgreSQL did not answer in time; whether it was carried out is then not known.
            Refused: when it answered that it could not for now; nothing was done.
            NotStorable: when a value cannot be stored.
        """
        return await self._run(lambda connection: connection.fetch(query, *args), self._timeout_s)

    async def fetchrow(
        self, query: str, *args: object, within_s: float | None = None, lock_s: float | None = None
    ) -> asyncpg.Record | None:
        """Run one statement and return its first row, or None. Raises as `fetch`.

        Args:
            within_s: A shorter time than the usual one.
            lock_s: A shorter wait for a lock than the usual one; it costs three round trips more.
        """
        timeout_s = self._timeout_s if within_s is None else min(within_s, self._timeout_s)
        if lock_s is None:
            return await self._run(lambda connection: connection.fetchrow(query, *args), timeout_s)

        async def impatiently(connection: Connection) -> asyncpg.Record | None:
            await connection.execute(f"BEGIN; SET LOCAL lock_timeout = {int(lock_s * 1000)}")
            try:
                row = await connection.fetchrow(query, *args)
            except asyncpg.PostgresError:
                if not connection.is_closed():
                    await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")
            return row

        return await self._run(impatiently, timeout_s)

    async def execute(self, query: str, *args: object) -> None:
        """Run one statement for its effect. Raises as `fetch`."""
        await self._run(lambda connection: connection.execute(query, *args), self._timeout_s)

    async def _run(self, work: Callable[[Connection], Awaitable[T]], timeout_s: float) -> T:
        self._refuse()
        asked = False

        async def once(within_s: float) -> T:
            nonlocal asked
            async with self._borrowed(within_s) as connection:
                asked = True
                return await work(connection)

        async def operate() -> T:
            now = asyncio.get_running_loop().time
            until_s = now() + timeout_s
            pause_s = _AGAIN_S
            for _ in range(_TRIES - 1):
                try:
                    return await once(until_s - now())
                except Refused as refused:
                    if meaning(refused.sqlstate) not in (Meaning.AGAIN, Meaning.CONNECTION) or until_s - now() < 2 * pause_s:
                        raise
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
                pause_s *= 2
            return await once(until_s - now())

        # A task of its own: who is cancelled goes at once, the statement ends in its time, and its answer is read by nobody
        # else. To cancel it in the server would take a connection for each.
        task = asyncio.get_running_loop().create_task(operate())
        self._running.add(task)
        task.add_done_callback(self._done)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not asked:
                task.cancel()
            raise

    def _done(self, task: asyncio.Task[object]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # seen, even when nobody waits any more

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """Run a block of statements in one transaction, within the time of one; any exception rolls it back.

        Raises as `fetch`.
        """
        self._refuse()
        async with self._borrowed(self._timeout_s) as connection:
            await connection.execute("BEGIN")
            try:
                yield connection
            except Exception:
                # Not for a cancellation, which is also how time runs out: then the connection is dropped, and the server
                # rolls back by itself.
                if not connection.is_closed():
                    await connection.execute("ROLLBACK")
                raise
            await connection.execute("COMMIT")

    def _refuse(self) -> None:
        if not self._open:
            raise Unavailable("The store is closed.")
        if self.away:
            raise Unavailable("Storage is away; nothing was done. Retry with the same client_id.")

    @contextlib.asynccontextmanager
    async def _borrowed(self, timeout_s: float) -> AsyncIterator[Connection]:
        connection = None
        whole = False
        began_s = asyncio.get_running_loop().time()
        with self._translated(lambda: connection is not None, timeout_s):
            async with asyncio.timeout(timeout_s):
                connection = await self._connections.take()
                try:
                    yield connection
                    whole = True
                except asyncpg.PostgresError as error:
                    # Another server may be the primary by now, or this connection lost what was prepared on it.
                    lost = meaning(error.sqlstate) in (Meaning.AWAY, Meaning.CONNECTION)
                    whole = not lost and not connection.is_closed() and not connection.is_in_transaction()
                    raise
                except Exception:
                    whole = not connection.is_closed() and not connection.is_in_transaction()
                    raise
                finally:
                    self._connections.give(connection, whole=whole)
                    self._used(asyncio.get_running_loop().time() - began_s)

    @contextlib.contextmanager
    def _translated(self, connected: Callable[[], bool], timeout_s: float) -> Iterator[None]:
        try:
            yield
        except asyncpg.PostgresError as error:
            if not connected():
                self._doubt()  # whatever it says, it is not there for us
                raise Unavailable from error
            self._refuse_for(error)
            raise
        except _NO_ANSWER as error:
            # A server that lives would have cancelled the statement before all its time was over. Unless another one has taken
            # its place meanwhile.
            since_s = asyncio.get_running_loop().time() - timeout_s
            if (
                isinstance(error, TimeoutError)
                and connected()
                and timeout_s >= self._timeout_s * 0.99
                and since_s > self._back_at_s
            ):
                self._note_away(error)
            else:
                self._doubt()
            raise Unavailable from error

    def _refuse_for(self, error: asyncpg.PostgresError) -> None:
        """Raise what an error of a statement means, unless it is a fault of ours."""
        sqlstate = str(error.sqlstate)
        found = meaning(sqlstate)
        if found is Meaning.AWAY:
            self._doubt()
            raise Unavailable from error
        if found in (Meaning.CONNECTION, Meaning.AGAIN, Meaning.WANT):
            self._note_refused(error)
            raise Refused(sqlstate) from error
        if found is Meaning.VALUE and sqlstate[:2] not in _RULES:
            raise NotStorable(sqlstate=sqlstate) from None  # the value may stand in its text

    def _note_refused(self, error: asyncpg.PostgresError) -> None:
        sqlstate = str(error.sqlstate)
        self._refused(sqlstate)
        now_s = asyncio.get_running_loop().time()
        if now_s >= self._complain_from_s.get(sqlstate, 0.0):
            self._complain_from_s[sqlstate] = now_s + _COMPLAIN_S
            name = type(error).__name__
            logger.warning("PostgreSQL refuses statements: %s (SQLSTATE %s); said once a minute", name, sqlstate)

    # -- whether it is there ----------------------------------------------------------------------

    def _doubt(self) -> None:
        """Have a look whether PostgreSQL is there."""
        if self._probing is None and self._open:
            self._probing = asyncio.get_running_loop().create_task(self._probe())

    def _note_away(self, error: BaseException) -> None:
        if not self.away:
            self.away = True
            self._swings.turn(False, type(error).__name__)
            self._tell_health(False)
        self._connections.drop_idle()
        self._doubt()

    async def _probe(self) -> None:
        pause_s = _PAUSE_S[0]
        try:
            while (error := await self._knock_surely()) is not None:
                self._note_away(error)
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
                pause_s = min(2 * pause_s, _PAUSE_S[1])
        finally:
            self._probing = None
        if self.away:
            self.away = False
            self._back_at_s = asyncio.get_running_loop().time()
            self._swings.turn(True)
            self._tell_health(True)

    @staticmethod
    def _say(is_well: bool, why: str, swung: int) -> None:
        often = f"; it came and went {swung} times since this was last said" if swung > 1 else ""
        if is_well:
            logger.warning("PostgreSQL is back%s", often)
        else:
            logger.warning("PostgreSQL is away (%s): nothing can be sent or read until it is back%s", why, often)

    def _tell_health(self, healthy: bool) -> None:
        try:
            self._health(healthy)
        except Exception as error:  # noqa: BLE001 - else nobody would look for PostgreSQL any more
            tasks.report(asyncio.get_running_loop(), "what is told of PostgreSQL's health", error)

    async def _knock_surely(self) -> Exception | None:
        try:
            return await self._knock()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is looked for again
            tasks.report(asyncio.get_running_loop(), "the search for PostgreSQL", error)
            return error

    async def _knock(self) -> Exception | None:
        """Ask for a sign of life; return what was wrong."""
        while (connection := self._connections.take_idle()) is not None:
            wrong = await self._ask(connection)
            self._connections.give(connection, whole=wrong is None)
            if wrong is None or isinstance(wrong, (TimeoutError, asyncpg.ReadOnlySQLTransactionError)):
                return wrong
            # A connection that was cut says nothing about the server.
        try:
            async with asyncio.timeout(_PROBE_S):
                connection = await self._connect()
        except asyncpg.TooManyConnectionsError as error:
            # Others have all slots. Those that we have go on serving.
            return None if self._connections.count else error
        except Exception as error:  # noqa: BLE001 - whatever it is, it is not there for us: a password that changed, say
            return error
        wrong = await self._ask(connection)
        if wrong is None:
            self._connections.add(connection)
        else:
            connection.terminate()
        return wrong

    @staticmethod
    async def _ask(connection: Connection) -> Exception | None:
        try:
            async with asyncio.timeout(_PROBE_S):
                if await connection.fetchval("SELECT current_setting('transaction_read_only')") == "off":
                    return None
        except Exception as error:  # noqa: BLE001 - it is told, and judged by who asked
            return error
        return asyncpg.ReadOnlySQLTransactionError("a standby, or a primary that was made read-only")
