"""The composition root: every part is made here by hand, opened and closed in order."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
from typing import TYPE_CHECKING

from realtime import __version__, tasks
from realtime.extensions.loading import load
from realtime.extensions.siblings import Place, Siblings
from realtime.gateway.server import Ended, Gateway
from realtime.gateway.transport import READ_TIMES
from realtime.limits import Rate
from realtime.log.feeds import Hooks as FeedHooks
from realtime.messages.history import History
from realtime.node import sections, settings
from realtime.node.health import Availability, Readiness
from realtime.node.kinds import KINDS
from realtime.node.leaving import Leaving
from realtime.node.nodes import Incoming, Outgoing, Parts
from realtime.node.operations import served
from realtime.node.status import SAMPLE_S, Board, Reading
from realtime.rooms.people import People
from realtime.rooms.people_store import PeopleStore
from realtime.rooms.service import Rooms
from realtime.rooms.store import Quotas
from realtime.runtime import Runtime
from realtime.store import migrate
from realtime.store.starting import CannotStart
from realtime.surface.door import Door
from realtime.surface.rest.app import Watch, mount
from realtime.surface.socket.acks import Acks
from realtime.surface.socket.departures import Departures
from realtime.surface.socket.dispatch import Dispatch
from realtime.surface.socket.dispatch import Settings as DispatchSettings
from realtime.surface.socket.hub import Hub
from realtime.surface.socket.live import Live
from realtime.tasks import Loops
from realtime.telemetry import loop_lag, merged
from realtime.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from realtime.auth.passwords import Passwords
    from realtime.config import Config
    from realtime.log.kinds import Kinds
    from realtime.operations import Served
    from realtime.store.wrapping import MasterKeys

logger = logging.getLogger(__name__)

_ERASE_S = 2.0  # between two looks for texts to erase; nobody can read them meanwhile
_ERASE_PAUSE_S = 0.02
_NUMBER_S = 300.0  # before each walk through all rooms: what nodes of the version before write is numbered then
_NUMBER_PAUSE_S = 0.02


class Node:
    """One node: all its parts, wired. Each is made of those above it; what comes back from below it arrives when it is opened.

    Args:
        config: The settings.
        database_url: Of the application role.
        redis_url: Of the bus.
        place: Among the workers that share its port; None when it has the port alone.
        master_keys: What secrets in the database are encrypted with; None: they stay in plain.
        kinds: Of events.
        operations: Joins all operations to the services that serve them.
    """

    def __init__(
        self,
        config: Config,
        database_url: str,
        redis_url: str,
        place: Place | None = None,
        master_keys: MasterKeys | None = None,
        kinds: Kinds = KINDS,
        operations: Callable[[Mapping[str, object]], tuple[Served, ...]] = served,
    ) -> None:
        self.config = config
        self.metrics = metrics = Metrics()
        self.id = config.node_id or os.urandom(4).hex()
        self.name = self.id if place is None else f"{self.id}/{place.index}"  # workers may share an id
        self.run = f"{self.id}.{os.urandom(4).hex()}"
        self.loops = Loops(failed=lambda task: metrics.task_failures.labels(task).inc())
        runtime = Runtime(self.loops)

        # The database, the bus, and who is connected here.
        availability = Availability(metrics, runtime.clock)
        stored = sections.storage(config, database_url, availability, metrics)
        self.database, self._log, self._judged = stored.database, stored.log, kinds.judged
        self.keys = sections.key_ring(config, stored, master_keys, runtime)
        self.bus = sections.bus(config, redis_url, self.keys, metrics, runtime)
        self.hub = Hub()
        outgoing = Outgoing(self.bus, self.hub)
        self.leaving = Leaving(self.hub, config.drain_s)

        # Accounts, presence, the log, rooms.
        people = sections.accounting(config, redis_url, stored, self.keys, outgoing, self.hub, runtime)
        self.accounts, self.administration, self.ended = people.accounts, people.administration, people.ended
        self.authenticator = people.authenticator
        self.presence = sections.presence(config, redis_url, self.run, stored, self.bus, outgoing, runtime)
        self.consumers = sections.consumers(self.run, stored, metrics, runtime)
        hooks = FeedHooks(metrics.delivered, metrics.repaired_from_store, self.leaving.begin, self.consumers.wake)
        delivery = sections.delivery(config, stored, self.bus, kinds, hooks, metrics, runtime)
        self.feeds, self.writer = delivery.feeds, delivery.writer
        departures = Departures(self.hub, self.feeds, self.presence, outgoing.expelled)
        quotas = Quotas(config.rooms_per_user, config.rooms_owned_per_user)
        self.rooms = Rooms(stored.rooms, self.feeds, runtime.new_id, outgoing.room_added, departures.everywhere, quotas)
        availability.when_back(self.feeds.compare_soon)
        availability.when_back(self.ended.read_soon)
        self.outbound, self.sandbox = sections.outbound(config, metrics), sections.sandbox(config, metrics)

        # What callers can ask.
        self.board = Board(self.name, self.run, __version__, metrics, outgoing.shown, runtime.clock, runtime.wall)
        self.budgets = settings.budgets(config)
        authenticate = self.authenticator.authenticate
        door = Door(authenticate, self.administration.require, self.budgets)
        acks = Acks(runtime.clock, metrics.requested)
        limits = settings.limits(config)
        live = Live(authenticate, self.feeds, self.presence, delivery.codec, self.bus.publish_signal, limits, acks)
        asked = operations(
            {
                "accounts": self.accounts,
                "users": stored.users,
                "presence": self.presence,
                "people": People(PeopleStore(self.database)),
                "rooms": self.rooms,
                "writer": self.writer,
                "history": History(stored.log, self.rooms.readable, kinds.encode),
                "live": live,
                "board": self.board,
                "administration": self.administration,
            }
        )

        # How they ask.
        requests = Rate(config.request_rate, config.request_burst)
        told = DispatchSettings(self.id, limits, config.connections_per_user, requests)
        self.dispatch = Dispatch(asked, door, acks, self.hub, self.feeds, self.presence, told)
        self.extensions = load(config.extension_names, config.unsent_limit_bytes)
        if self.extensions is not None:
            self.extensions.join(self.run, self.bus.publish_extension)
        self.gateway = Gateway(
            settings.gateway(config, place),
            self.dispatch,
            closed=self._closed,
            extensions=self.extensions,
            requests=requests,
        )
        self.siblings = self._siblings(place) if place else None
        self.web, self.gate = sections.application(config, self.gateway, self.siblings)
        self.readiness = Readiness(self.database, self.bus, self.loops)
        watch = Watch(self.readiness.health, self._metrics_page, metrics.observed)
        mount(self.web, asked, kinds, door, watch, settings.rest(config))

        # What other nodes send.
        parts = Parts(self.feeds, self.presence, self.ended, self.hub, departures, self.board, self.extensions)
        self._incoming = Incoming(parts, outgoing)
        self._read_metrics(people.passwords)

    def _siblings(self, place: Place) -> Siblings:
        most_bytes = READ_TIMES * self.config.max_packet_bytes
        return Siblings(place, self.gateway.engine.handle, lambda: self.metrics.render()[0], most_bytes)

    def _read_metrics(self, passwords: Passwords) -> None:
        """Have what parts know of themselves read with each scrape."""
        metrics = self.metrics
        metrics.built(migrate.files()[-1][0].removesuffix(".sql"))
        metrics.read(metrics.connections, lambda: len(self.hub))
        metrics.read(metrics.users, lambda: self.hub.users)
        metrics.read(metrics.rooms, lambda: len(self.feeds))
        metrics.read(metrics.subscriptions, lambda: self.feeds.subscriptions)
        metrics.read(metrics.feeds_waiting, lambda: self.feeds.waiting)
        metrics.read(metrics.writer_waiting, lambda: self.writer.waiting)
        metrics.read(metrics.passwords_waiting, lambda: passwords.waiting)
        metrics.read(metrics.bus_waiting, lambda: self.bus.waiting)
        metrics.read(metrics.bus_unheard, lambda: self.bus.unheard)
        metrics.read(metrics.bus_silent, lambda: self.bus.silent_nodes)
        metrics.read(metrics.outbound_busy, lambda: self.outbound.busy)
        metrics.read(metrics.sandbox_processes, lambda: self.sandbox.alive)
        metrics.read(metrics.sandbox_waiting, lambda: self.sandbox.waiting)
        metrics.read(metrics.tasks_in_trouble, lambda: len(self.loops.troubles()))
        metrics.read_each(
            metrics.sessions,
            {
                "polling": lambda: self.gateway.engine.polling,
                "websocket": lambda: len(self.gateway) - self.gateway.engine.polling,
            },
        )
        metrics.read_each(
            metrics.database_connections, {"idle": lambda: self.database.idle, "in_use": lambda: self.database.in_use}
        )

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open every part in order; close them in reverse."""
        async with contextlib.AsyncExitStack() as stack:
            for part in (self.database, self.keys, self.accounts):  # the bus seals with the keys
                await part.open()
                stack.push_async_callback(part.close)
            await self.bus.open(self._incoming)
            stack.push_async_callback(self.bus.close)
            await self.presence.open()
            stack.push_async_callback(self.presence.close)
            stack.push_async_callback(self.outbound.close)
            stack.push_async_callback(self.sandbox.close)
            if lacking := await self._log.without_rule(self._judged):
                raise CannotStart(
                    f"The database has no rule for events of the kind {', '.join(lacking)}: migrate.", passing=False
                )
            await self.feeds.look()
            self.feeds.open()
            stack.push_async_callback(self.feeds.close)
            await self.consumers.open()
            stack.push_async_callback(self.consumers.close)
            stack.push_async_callback(self.leaving.close)
            stack.push_async_callback(self.writer.close)
            stack.callback(self.gateway.close)
            stack.callback(self.sample, gone=True)
            self.sample()
            watching = [
                self.loops.start("telemetry.loop_lag", functools.partial(loop_lag.look, self.metrics.loop_lag.observe)),
                self.loops.start("status.sample", self._sample, every_s=SAMPLE_S),
                self.loops.start("log.erase", self._erase, every_s=_ERASE_S),
                self.loops.start("log.number", self._number, every_s=_NUMBER_S),
            ]
            stack.push_async_callback(tasks.end, watching)
            yield

    async def drain(self, within_s: float) -> None:
        """Refuse new connections, tell each when to come back, and close it a moment after that."""
        self.readiness.draining = True
        self.gateway.refuse_new()
        await self.leaving.send_away(within_s)
        self.gateway.close_some(len(self.gateway))  # who has not authenticated yet

    def sample(self, *, gone: bool = False) -> None:
        """Show the other nodes how this one is. `gone`: it ends."""
        polling = self.gateway.engine.polling
        now = Reading(
            checks=self.readiness.checks(),
            websocket=len(self.gateway) - polling,
            polling=polling,
            users=self.hub.users,
            rooms=len(self.feeds),
            subscriptions=self.feeds.subscriptions,
            writer_waiting=self.writer.waiting,
        )
        self.board.sample(now, gone=gone)

    async def _sample(self) -> None:
        self.sample()

    async def _erase(self) -> None:
        """Erase what is left of deleted messages, a part at a time: others write and read meanwhile."""
        while not self.database.away and await self._log.erase():
            self.loops.progress()
            await asyncio.sleep(_ERASE_PAUSE_S)

    async def _number(self) -> None:
        """Give their numbers to messages that have none, a part at a time: others write and read meanwhile."""
        after, _ = await self._log.number(None)
        while after is not None and not self.database.away:
            self.loops.progress()
            await asyncio.sleep(_NUMBER_PAUSE_S)
            after, _ = await self._log.number(after)

    def _closed(self, ended: Ended) -> None:
        reason = ended.reason.value
        self.metrics.closed.labels(reason).inc()
        self.board.closed(reason, ended.transport, ended.connection, ended.user)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug(
                "a connection ended",
                extra={
                    "reason": reason,
                    "transport": ended.transport,
                    "connection": ended.connection,
                    "user": ended.user,
                },
            )

    async def _metrics_page(self) -> tuple[bytes, str]:
        own, content_type = self.metrics.render()
        return (own if self.siblings is None else merged.page(await self.siblings.pages())), content_type
