"""Opens connections to PostgreSQL: of several hosts to the one that takes writes, each in the state that statements rely on.

Nothing of a session is left to what a role, a database or a server was configured to. It is set by SET and not as start-up
parameters: poolers refuse those that they do not know.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
from asyncpg.connect_utils import SessionAttribute

from realtime import tasks
from realtime.store import hosts
from realtime.store.starting import CannotStart

if TYPE_CHECKING:
    from collections.abc import Mapping

    from realtime.store.connections import Connection

STAGGER_S = 0.3
"""How long a host has before the next one is tried beside it."""
RELIED_ON: Mapping[str, str] = {
    # READ COMMITTED: a statement sees what committed while it waited for a lock (`append_entries`).
    "default_transaction_isolation": "read committed",
    "default_transaction_deferrable": "off",
    "search_path": "public, pg_temp",
    "timezone": "UTC",
    "datestyle": "ISO, MDY",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "standard_conforming_strings": "on",
    "transform_null_equals": "off",
    # A policy on a table of ours would hide rows in silence; so the statement fails.
    "row_security": "off",
}
SERVING: Mapping[str, str] = {
    "application_name": "roomwire",
    "idle_in_transaction_session_timeout": "10000",
    "jit": "off",
    # Every query of ours is an index look-up. On a new database plans are made over empty tables, where a scan looks
    # cheap, and prepared statements keep them until statistics come: up to a minute later.
    "enable_seqscan": "off",
}
_DURABLE = (
    # An ack means committed. `local`, `remote_write` and `remote_apply` are the operator's choice of where.
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'"
)


class Connector:
    """Makes connections to one PostgreSQL, whatever host of the URL takes writes.

    Args:
        url: With one host, or several.
        settings: Of each session, beside those that are relied on.
    """

    def __init__(self, url: str, settings: Mapping[str, str]) -> None:
        self.url = url
        self._urls: list[str] | None = None
        self._settings = {**RELIED_ON, **settings}

    async def connect(self, within_s: float) -> Connection:
        """Connect. A host that hangs holds up nobody: the next one is tried beside it, and the one that took writes last
        is tried first.

        Raises:
            TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError, ValueError: as asyncpg; of several hosts,
                the first one's.
        """
        if self._urls is None:
            self._urls = hosts.each(self.url)
        async with asyncio.timeout(within_s):
            if len(self._urls) == 1:
                return await self._open(self._urls[0], within_s)
            connection, url = await self._race(self._urls, within_s)
        self._urls = [url, *(other for other in self._urls if other != url)]
        return connection

    async def _race(self, urls: list[str], within_s: float) -> tuple[Connection, str]:
        """Return the first connection to a host that takes writes, and its URL."""
        tried: dict[asyncio.Task[Connection], str] = {}
        left = list(urls)
        pending: set[asyncio.Task[Connection]] = set()
        won: asyncio.Task[Connection] | None = None
        try:
            while won is None and (left or pending):
                if left:
                    url = left.pop(0)
                    task = asyncio.get_running_loop().create_task(self._open(url, within_s))
                    tried[task] = url
                    pending.add(task)
                done, pending = await asyncio.wait(
                    pending, timeout=STAGGER_S if left else None, return_when=asyncio.FIRST_COMPLETED
                )
                won = next((task for task in done if task.exception() is None), None)
        finally:
            await tasks.end(pending)
            for task in tried:
                if task is not won and not task.cancelled() and task.exception() is None:
                    task.result().terminate()
        if won is None:
            raise _telling([task.exception() for task in tried])
        return won.result(), tried[won]

    async def _open(self, url: str, within_s: float) -> Connection:
        connection = await asyncpg.connect(url, timeout=within_s, target_session_attrs=SessionAttribute.read_write)
        try:
            await connection.execute(self._statement(connection.get_server_version().major))
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _statement(self, major: int) -> str:
        settings = {**self._settings, **({"idle_session_timeout": "0"} if major >= 14 else {})}
        parts = [f"SET {name} = {value if name == 'search_path' else _quoted(value)}" for name, value in settings.items()]
        return "; ".join([*parts, _DURABLE])


def _quoted(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _telling(errors: list[BaseException | None]) -> BaseException:
    """Return the error that says most: what a server answered, rather than that there was none."""
    found = [error for error in errors if error is not None]
    found.sort(key=lambda error: not isinstance(error, asyncpg.PostgresError))
    return found[0]


async def check(connection: Connection, connector: Connector, within_s: float) -> None:
    """Look whether a database is one that the server can work with. Made once, at the start.

    Raises:
        CannotStart: it is not; with a sentence.
    """
    row = await connection.fetchrow(
        "SELECT pg_backend_pid() AS pid, current_database() AS name, current_setting('server_encoding') AS encoding, "
        "current_setting('default_transaction_read_only') AS read_only"
    )
    assert row is not None  # a SELECT without FROM
    if row["encoding"] != "UTF8":
        raise CannotStart(
            f"The database {row['name']} has the encoding {row['encoding']}, which cannot hold every text. Make one with "
            "CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and move what is there with pg_dump.",
            passing=False,
        )
    if row["pid"] != connection.get_server_pid():  # somebody between us answers for the server
        await _refuse_shared(connection, connector, within_s)
    await _refuse_hidden(connection)


async def _refuse_shared(connection: Connection, connector: Connector, within_s: float) -> None:
    """Refuse a pooler that lends one session of the server to several of its clients.

    What one client sets is then seen by another one, or is gone for itself.
    """
    mark = "realtime.session"
    sentence = (
        "The pooler in front of PostgreSQL lends a session to others between two transactions (PgBouncer's pool_mode transaction "
        "or statement). The server prepares statements and sets time limits for its sessions: use pool_mode = session, or "
        "connect to PostgreSQL itself."
    )
    try:
        other = await connector.connect(min(within_s, 2.0))
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
        return  # there is no second session: so this one is not shared
    try:
        async with asyncio.timeout(within_s):
            for number in range(5):
                await connection.execute(f"SELECT set_config('{mark}', 'ours {number}', false)")
                await other.execute("BEGIN")
                theirs = await other.fetchval(f"SELECT current_setting('{mark}', true)")
                ours = await connection.fetchval(f"SELECT current_setting('{mark}', true)")
                await other.execute("ROLLBACK")
                if theirs or ours != f"ours {number}":
                    raise CannotStart(sentence, passing=False)
            await connection.execute(f"RESET {mark}")
    except (asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        raise CannotStart(sentence, passing=False) from error
    finally:
        other.terminate()


async def _refuse_hidden(connection: Connection) -> None:
    hidden = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') "
        "AND relrowsecurity AND row_security_active(oid) ORDER BY relname"
    )
    if hidden:
        names = ", ".join(row["relname"] for row in hidden)
        raise CannotStart(
            f"Row security hides rows of {names} from the server. Switch it off (ALTER TABLE … DISABLE ROW LEVEL SECURITY), or "
            "give the role BYPASSRLS.",
            passing=False,
        )
