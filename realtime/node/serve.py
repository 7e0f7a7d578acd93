"""Runs one node as a process: the embedded engines, migrations, listening, signals, the drain."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
from functools import partial
from typing import TYPE_CHECKING

import uvloop
from aiohttp import web

from realtime import redis_url as redis_url_form
from realtime.address import address_key, within
from realtime.config import ConfigError, data_path
from realtime.errors import RealtimeError
from realtime.gateway.doorway import DoorLimits, Doorway
from realtime.gateway.http_lines import HttpLines
from realtime.node import engines, garbage, listening, master_key, starting
from realtime.node.app import Node
from realtime.store import migrate as migrations
from realtime.store.pool import Database
from realtime.store.provision import Urls, provision, roles
from realtime.store.starting import CannotStart
from realtime.store.wrapping import Unreadable
from realtime.surface.rest.protocol import Protocol
from realtime.telemetry import logs

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence

    from realtime.config import Config
    from realtime.extensions.siblings import Place

logger = logging.getLogger(__name__)

_KEEP_ALIVE_S = 75.0
DESCRIPTORS = 1 << 20  # wanted; more than that nobody needs, and some systems say 2^30
DESCRIPTORS_KEPT = 100  # for the bus, logs, files that are served, calls between workers
_REDIS_S = 2.0
BACKLOG = 4096  # of connections not yet accepted: after a restart everybody comes back at once


def run(config: Config) -> int:
    """Run one node until SIGTERM or SIGINT; return the exit status."""
    logs.configure(config.log_level, config.log_format)
    starting.stoppable()
    with (
        listening.bound(config.host, config.port) as sockets,
        embedded(config) as found,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        return runner.run(_alone(config, *found, sockets))


def migrate(config: Config) -> int:
    """Bring the schema up to date; return the exit status."""
    logs.configure(config.log_level, config.log_format)
    starting.stoppable()
    with embedded(config, redis=False) as (superuser_url, _):
        return asyncio.run(_migrate_alone(config, superuser_url))


async def _migrate_alone(config: Config, superuser_url: str) -> int:
    stop = stop_signals(again=lambda: os._exit(1))
    found = await starting.patiently(lambda: _migrated(config, superuser_url), stop, config.start_wait_s)
    if found is None:
        return 1  # what had begun was rolled back
    print("\n".join(found[1]) if found[1] else "The schema is up to date.")
    return 0


def told(command: Callable[[], int]) -> int:
    """Run a command and return its exit status; a failure that has a sentence is told as it.

    Returns:
        2 when a setting, an engine or the database is wrong, 75 when what is wrong may pass, 1 for other failures.
    """
    try:
        return command()
    except (starting.Stopped, KeyboardInterrupt):
        return 0
    except (ConfigError, engines.EngineError, Unreadable) as error:
        print(f"roomwire: {error}", file=sys.stderr)
        return 2
    except CannotStart as error:
        print(f"roomwire: {error.message}", file=sys.stderr)
        return starting.EX_TEMPFAIL if error.passing else 2
    except RealtimeError as error:
        print(f"roomwire: {error.message}", file=sys.stderr)
        return starting.EX_TEMPFAIL if error.retryable else 1


@contextlib.contextmanager
def embedded(config: Config, *, redis: bool = True) -> Iterator[tuple[str, str]]:
    """Start the embedded engines that the settings give no URL for.

    Yields:
        The superuser's URL of the embedded PostgreSQL (empty: not embedded), and the URL of Redis.
    """
    wanted: list[engines.Engine] = []
    superuser_url, redis_url = "", config.redis_url
    needs_redis = redis and not config.redis_url
    if redis and config.redis_url:
        try:
            redis_url_form.parse(config.redis_url)
        except ValueError as error:
            raise ConfigError(f"ROOMWIRE_REDIS_URL: {error}.") from None  # its cause may hold the password
    if config.database_url and not needs_redis:
        yield superuser_url, redis_url
        return
    data = engines.DataDirectory(data_path(config))
    try:
        if not config.database_url:
            postgres = engines.Postgres(data.path, connections=config.workers * config.database_pool_size + 20)
            superuser_url = postgres.dsn
            wanted.append(postgres)
        if needs_redis:
            server = engines.Redis(data.path)
            redis_url = server.url
            wanted.append(server)
        engines.start_all(wanted)
        try:
            yield superuser_url, redis_url
        finally:
            engines.stop_all(wanted)
    finally:
        data.close()


@contextlib.contextmanager
def postgresql(config: Config) -> Iterator[tuple[str, bool]]:
    """Reach PostgreSQL for a command, also while a server runs on the embedded one.

    Yields:
        The superuser's URL of the embedded PostgreSQL (empty: not embedded), and whether a server runs on it.

    Raises:
        EngineError: the embedded one cannot be started or reached.
    """
    with contextlib.ExitStack() as stack:
        try:
            found, running = stack.enter_context(embedded(config, redis=False))[0], False
        except engines.DataDirectoryInUse:
            found, running = engines.running_dsn(data_path(config)), True
        yield found, running


@contextlib.asynccontextmanager
async def database(config: Config) -> AsyncIterator[Database]:
    """Open the database for a command, as the application role; also while a server runs on the embedded one.

    Raises:
        EngineError: the embedded one cannot be started or reached.
        Unavailable.
    """
    with postgresql(config) as (superuser_url, running):
        # A server that runs has migrated, and may be of another release than this program.
        urls = await roles(superuser_url) if running else await migrated(config, superuser_url)
        found = Database(urls.application, size=2)
        await found.open()
        try:
            yield found
        finally:
            await found.close()


def own_urls(config: Config) -> Urls:
    """Return where the two roles connect on a PostgreSQL of one's own."""
    return Urls(config.migrate_database_url or config.database_url, config.database_url)


async def migrated(config: Config, superuser_url: str) -> Urls:
    """Return where the two roles connect, to a database whose schema is up to date.

    Raises:
        ConfigError: it cannot be migrated.
        CannotStart: PostgreSQL cannot be used.
    """
    urls, applied = await _migrated(config, superuser_url)
    if applied:
        logger.info("the database was prepared by %d migrations, up to %s", len(applied), applied[-1])
    return urls


async def _migrated(config: Config, superuser_url: str) -> tuple[Urls, list[str]]:
    if superuser_url:
        urls = await provision(superuser_url)
    else:
        urls = own_urls(config)
    try:
        return urls, await migrations.apply(urls.owner)
    except migrations.MigrationError as error:
        raise ConfigError(f"The database cannot be migrated: {error}.") from error


async def redis_takes(config: Config) -> None:
    """Raise ConfigError when Redis answers and refuses the URL. One that does not answer is no reason not to serve."""
    words = await redis_url_form.refusal(config.redis_url, _REDIS_S) if config.redis_url else ""
    if words:
        raise ConfigError(f"ROOMWIRE_REDIS_URL: Redis cannot be used with this URL; {words}.")


async def _alone(config: Config, superuser_url: str, redis_url: str, sockets: list[socket.socket]) -> int:
    # Asked twice: whoever is waiting does not want to; PostgreSQL and Redis end with us.
    stop = stop_signals(again=lambda: os._exit(1))
    await redis_takes(config)
    urls = await starting.patiently(lambda: migrated(config, superuser_url), stop, config.start_wait_s)
    if urls is not None:
        await serve(config, urls.application, redis_url, stop, lambda: announce(config.host, sockets), sockets)
    return 0


def stop_signals(again: Callable[[], None]) -> asyncio.Event:
    """Return what SIGTERM and SIGINT set; `again` is called for every one after the first."""
    stop = asyncio.Event()

    def stopped() -> None:
        if stop.is_set():
            again()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped)
    return stop


async def serve(
    config: Config,
    database_url: str,
    redis_url: str,
    stop: asyncio.Event,
    ready: Callable[[], None],
    sockets: Sequence[socket.socket],
    place: Place | None = None,
) -> None:
    """Serve until `stop` is set, then drain.

    Args:
        ready: Called once the node takes connections.
        sockets: Bound; the node listens there.
        place: Among the workers that share the port.

    Raises:
        CannotStart: PostgreSQL cannot be used, also after `start_wait_s`.
        ConfigError: another program began to listen there, or the master key file cannot be used.
        Unreadable: the database's secrets were encrypted with another master key.
    """
    master_keys = master_key.load(config)
    if master_keys is None:
        logger.warning(
            "secrets in the database are kept in plain: name a file with a master key in ROOMWIRE_MASTER_KEY_FILE "
            "(`openssl rand -base64 32` makes one)"
        )
    async with contextlib.AsyncExitStack() as stack:

        async def opened() -> Node:
            node = Node(config, database_url, redis_url, place, master_keys)
            logs.configure(config.log_level, config.log_format, node.name)
            asyncio.get_running_loop().set_exception_handler(node.loops.unhandled)
            await stack.enter_async_context(node.open())
            return node

        node = await starting.patiently(opened, stop, config.start_wait_s)
        if node is None:
            return
        await stack.enter_async_context(doors_open(node, config.host, config.port, shutdown_s=5, sockets=sockets))
        garbage.settle()
        collecting = node.loops.start("garbage.collect", garbage.Collector().collect, every_s=garbage.EVERY_S)
        ready()
        await stop.wait()
        logger.info("stopping: %d connections are told to reconnect elsewhere", len(node.gateway))
        asyncio.get_running_loop().call_later(config.drain_s, _overdue, config.drain_s)
        collecting.cancel()
        await node.drain(config.drain_s)


@contextlib.asynccontextmanager
async def doors_open(
    node: Node, host: str, port: int, *, shutdown_s: float, sockets: Sequence[socket.socket] = ()
) -> AsyncIterator[int]:
    """Take connections, and end those that are left afterwards.

    Args:
        node: Open.
        shutdown_s: For requests that are being answered when the block is left.
        sockets: Bound to that port already.

    Yields:
        The port.

    Raises:
        ConfigError: it cannot listen there.
    """
    runner = web.AppRunner(node.web, access_log=None, handle_signals=False, shutdown_timeout=shutdown_s)
    await runner.setup()
    assert runner.server is not None  # setup made it
    loop = asyncio.get_running_loop()
    http = partial(Protocol, runner.server, loop, node.config.max_head_bytes, _KEEP_ALIVE_S)
    lines = node.gate.lines = HttpLines(http, node.config.stall_s, loop)
    doorway = Doorway(node.gateway.engine, lines, door_limits(node.config, raised_descriptors(node.config)), lines)
    async with contextlib.AsyncExitStack() as leaving:
        leaving.push_async_callback(runner.cleanup)
        leaving.callback(lines.close)
        leaving.callback(doorway.close)
        if node.siblings is not None:
            node.siblings.open(lines)
            leaving.push_async_callback(node.siblings.close)
        if not sockets:
            sockets = leaving.enter_context(listening.bound(host, port))
        for one in sockets:
            try:
                server = await loop.create_server(doorway, sock=one, backlog=BACKLOG)
            except OSError as error:
                raise listening.cannot_listen(host, listening.port_of(sockets), error) from error
            leaving.callback(server.close)
        yield listening.port_of(sockets)


def raised_descriptors(config: Config) -> int:
    """Raise the limit of open descriptors as far as the system allows, say it when that is too few, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):  # a system with another limit above: the soft one stays
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = DESCRIPTORS if soft == resource.RLIM_INFINITY else soft
    if found < config.connections_per_node + DESCRIPTORS_KEPT:
        logger.warning(
            "This process may open %d files, too few for %d connections: raise the limit (ulimit -n, LimitNOFILE=), or lower "
            "ROOMWIRE_CONNECTIONS_PER_NODE.", found, config.connections_per_node,
        )  # fmt: skip
    return found


def door_limits(config: Config, descriptors: int) -> DoorLimits:
    """Return how many TCP connections the process takes: some descriptors are kept for all else that it opens."""
    proxies = config.proxies
    kept = min(DESCRIPTORS_KEPT + config.database_pool_size, descriptors // 2)
    return DoorLimits(
        per_address=2 * config.connections_per_address + 100,
        per_node=descriptors - kept,
        counts_as=lambda address: None if not address or within(address, proxies) else address_key(address),
    )


def _overdue(drain_s: float) -> None:
    """End although something is not finished (PostgreSQL hangs): nobody waits longer, and what was acked is safe."""
    logger.error("not finished %.0f s after SIGTERM: ending now", drain_s)
    logging.shutdown()
    os._exit(1)


def announce(host: str, sockets: Sequence[socket.socket]) -> None:
    """Say where the server is."""
    print(listening.announcement(host, sockets), file=sys.stderr, flush=True)
