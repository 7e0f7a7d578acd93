"""The composition root: every part is made here by hand, opened and closed in order."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import pathlib
import time
from importlib import resources
from typing import TYPE_CHECKING

from aiohttp import web

from realtime import __version__, errors, tasks
from realtime.address import client_address
from realtime.auth.accounts import AccountStore
from realtime.auth.administration import Administration
from realtime.auth.authenticator import Authenticator
from realtime.auth.ended import EndedSessions
from realtime.auth.keys import KeyRing
from realtime.auth.passwords import Passwords
from realtime.auth.redis_attempts import RedisAttempts
from realtime.auth.service import Accounts, Stores
from realtime.auth.service import Settings as AccountSettings
from realtime.auth.sessions import SessionStore
from realtime.auth.signing_keys import SigningKeyStore
from realtime.auth.throttle import Throttle
from realtime.auth.tokens import AccessTokens, Claims
from realtime.auth.users import UserStore
from realtime.budgets import Allowance, Budget, Budgets
from realtime.bus.bus import Bus
from realtime.bus.bus import Hooks as BusHooks
from realtime.bus.bus import Settings as BusSettings
from realtime.extensions.loading import load
from realtime.extensions.siblings import Place, Siblings
from realtime.gateway.admission import AdmissionLimits
from realtime.gateway.engine import EngineConfig
from realtime.gateway.gate import Gate
from realtime.gateway.server import Ended, Gateway, GatewayConfig
from realtime.gateway.session import CloseReason
from realtime.gateway.sids import SEPARATOR
from realtime.gateway.socketio import event_frame, event_of
from realtime.gateway.transport import READ_TIMES
from realtime.limits import Buckets, Rate
from realtime.log.consumer_store import ConsumerStore
from realtime.log.consumers import LEASE_S, Consumers, Observer
from realtime.log.feeds import Feeds
from realtime.log.feeds import Hooks as FeedHooks
from realtime.log.feeds import Settings as FeedSettings
from realtime.log.frames import EventCodec
from realtime.log.store import NO_APPEND, EventStore
from realtime.log.writer import Writer
from realtime.messages.history import History
from realtime.node.kinds import KINDS
from realtime.node.nodes import Nodes
from realtime.node.operations import served
from realtime.node.status import SAMPLE_S, Board, Reading
from realtime.outbound.client import Outbound
from realtime.outbound.urls import Rules
from realtime.presence import last_seen
from realtime.presence.lease import Lease
from realtime.presence.service import Presence
from realtime.presence.store import PresenceStore
from realtime.rooms import policy
from realtime.rooms.people import People
from realtime.rooms.people_store import PeopleStore
from realtime.rooms.service import Rooms
from realtime.rooms.store import Quotas, RoomStore
from realtime.runtime import Runtime, new_id
from realtime.sandbox.pool import Sandbox
from realtime.sandbox.pool import Settings as SandboxSettings
from realtime.store import migrate
from realtime.store.pool import Database
from realtime.store.starting import CannotStart
from realtime.surface.door import Door
from realtime.surface.rest import problems
from realtime.surface.rest.app import Settings as RestSettings
from realtime.surface.rest.app import Watch, mount
from realtime.surface.rest.operations import USER
from realtime.surface.rest.probes import Readers
from realtime.surface.socket.acks import Acks
from realtime.surface.socket.dispatch import Dispatch, room_added
from realtime.surface.socket.dispatch import Settings as DispatchSettings
from realtime.surface.socket.hub import Hub
from realtime.surface.socket.live import Live
from realtime.tasks import Loops
from realtime.telemetry import loop_lag, merged
from realtime.telemetry.metrics import Metrics
from realtime.wire import rest, socket
from realtime.wire.types import MAX_BODY_CHARS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from realtime.config import Config
    from realtime.log.kinds import Kinds
    from realtime.store.wrapping import MasterKeys

logger = logging.getLogger(__name__)

_HTTP_PER_CONNECTION = 5.0  # requests a second that an address has for each connection that it may have: polls of busy rooms
_DRAIN_PER_S = 1000  # connections that are sent to the other nodes
_DRAIN_MARGIN_S = 0.5  # for clients to go by themselves when they were told to
_REJOINS_S = 100.0
_HEALTH_S = 1.5  # for PostgreSQL's sign of life; the probe has 2 s
_ERASE_S = 2.0  # between two looks for texts to erase; nobody can read them meanwhile
_ERASE_PAUSE_S = 0.02
_NUMBER_S = 300.0  # before each walk through all rooms: what nodes of the version before write is numbered then
_NUMBER_PAUSE_S = 0.02
_WEB = pathlib.Path(str(resources.files("realtime"))) / "web"


class Node:
    """One node: all its parts, wired.

    Args:
        config: The settings.
        database_url: Of the application role.
        redis_url: Of the bus.
        place: Among the workers that share its port; None when it has the port alone.
        master_keys: What secrets in the database are encrypted with; None: they stay in plain.
        kinds: Of events.
    """

    def __init__(
        self,
        config: Config,
        database_url: str,
        redis_url: str,
        place: Place | None = None,
        master_keys: MasterKeys | None = None,
        kinds: Kinds = KINDS,
    ) -> None:
        self.config = config
        self.metrics = metrics = Metrics()
        self.id = config.node_id or os.urandom(4).hex()
        self.name = self.id if place is None else f"{self.id}/{place.index}"  # workers may share an id
        self._draining = False
        self._away_since_s: float | None = None
        self._sending_away: asyncio.Task[None] | None = None
        self.loops = Loops(failed=lambda task: metrics.task_failures.labels(task).inc())
        runtime = Runtime(self.loops)

        self.database = Database(
            database_url,
            size=config.database_pool_size,
            statement_timeout_ms=config.statement_timeout_ms,
            lock_timeout_ms=config.lock_timeout_ms,
            health=self._database_health,
            used=metrics.database_seconds.observe,
            refused=lambda sqlstate: metrics.database_refused.labels(sqlstate).inc(),
            warm=[NO_APPEND],
        )
        users, rooms = UserStore(self.database), RoomStore(self.database)
        self._log = log = EventStore(self.database)
        self._judged = kinds.judged

        self.keys = KeyRing(
            SigningKeyStore(self.database, master_keys, alone=not config.database_url),
            config.signing_key_rotation_s,
            config.access_token_ttl_s + config.token_grace_s,
            self.loops,
        )
        self.bus = Bus(
            BusSettings(redis_url, config.redis_prefix, extensions=bool(config.extension_names)),
            os.urandom(8),
            nodes := Nodes(lambda message: self.bus.publish_control(message)),
            self.keys,
            BusHooks(
                refused=lambda reason: metrics.bus_refused.labels(reason).inc(),
                dropped=metrics.bus_dropped.inc,
                health=self._bus_health,
                deaf=metrics.bus_deaf.inc,
                round_trip=metrics.bus_round_trip.observe,
            ),
            self.loops,
        )
        # Presence names this run of the node, not the node: what a killed run left must not be taken for ours.
        this_run = f"{self.id}.{os.urandom(4).hex()}"
        self.presence = Presence(
            this_run,
            Lease(redis_url, config.redis_prefix, this_run, self.bus.sealer, time.time),
            PresenceStore(self.database),
            nodes.presence_changed,
            nodes.chosen,
            config.presence_room_members,
            runtime,
        )
        self.outbound = Outbound(
            Rules(config.reachable, config.outbound_port_numbers),
            config.outbound_requests,
            proxy=config.outbound_proxy,
            observed=metrics.asked,
        )
        self.sandbox = Sandbox(
            SandboxSettings(config.sandbox_processes, config.sandbox_memory_bytes),
            observed=metrics.sandboxed,
            started=metrics.sandbox_starts.inc,
        )
        self.consumers = Consumers(
            ConsumerStore(self.database, LEASE_S),
            [last_seen.CONSUMER],
            this_run,
            Observer(metrics.consumed, metrics.consumer_lag),
            runtime,
        )
        codec = EventCodec(kinds, event_frame, event_of)
        self.feeds = Feeds(
            rooms,
            log,
            self.bus,
            codec,
            FeedSettings(
                memory_events=config.feed_memory_events,
                memory_bytes=config.feed_memory_bytes,
                memory_total_bytes=config.feeds_memory_bytes,
                resume_events=config.resume_max_events,
            ),
            policy.read,
            FeedHooks(metrics.delivered, metrics.repaired_from_store, self._restored, self.consumers.wake),
            runtime,
        )
        self.writer = Writer(
            log,
            self.feeds.committed,
            flushed=metrics.flushed,
            lanes=config.writer_lanes,
            queue=config.writer_queue,
            batch=config.batch_max,
        )
        self.rooms = Rooms(
            rooms,
            self.feeds,
            new_id,
            lambda user, room: nodes.tell(user, "room.added", room_added(room)),
            nodes.expel,
            Quotas(config.rooms_per_user, config.rooms_owned_per_user),
        )
        accounts, sessions = AccountStore(self.database), SessionStore(self.database)
        passwords = Passwords(config.password_threads, config.password_queue)
        self.ended = EndedSessions(
            sessions,
            config.access_token_ttl_s + config.token_grace_s,
            nodes.session_over,
            lambda session: self.dispatch.end_session(session),
            self.loops,
        )
        tokens = AccessTokens(Claims(config.token_issuer, config.token_audience), self.keys, config.access_token_ttl_s)
        self.authenticator = Authenticator(tokens, self.ended, time.time)
        self.accounts = Accounts(
            Stores(users, accounts, sessions),
            passwords,
            tokens,
            self.ended,
            Throttle(RedisAttempts(redis_url, config.redis_prefix), time.time),
            AccountSettings(
                refresh_ttl_s=config.refresh_token_ttl_s,
                login_rate_per_min=config.login_rate_per_min,
                address_login_rate_per_min=config.address_login_rate_per_min,
                register_rate_per_min=config.register_rate_per_min,
            ),
            runtime,
        )
        self.administration = Administration(users, accounts, passwords, self.ended.end)
        self.hub = Hub()
        self.board = Board(self.name, this_run, __version__, self._reading, metrics, nodes.shown, time.monotonic, time.time)
        self.budgets = budgets(config)
        requests = Rate(config.request_rate, config.request_burst)
        acks = Acks(time.monotonic, metrics.requested)
        live = Live(
            self.authenticator.authenticate,
            self.feeds,
            self.presence,
            codec,
            self.bus.publish_signal,
            limits(config),
            acks,
        )
        services = {
            "accounts": self.accounts,
            "users": users,
            "presence": self.presence,
            "people": People(PeopleStore(self.database)),
            "rooms": self.rooms,
            "writer": self.writer,
            "history": History(log, self.rooms.readable, kinds.encode),
            "live": live,
            "board": self.board,
            "administration": self.administration,
        }
        operations = served(services)
        door = Door(self.authenticator.authenticate, self.administration.require, self.budgets)
        told = DispatchSettings(self.id, limits(config), config.connections_per_user, requests)
        self.dispatch = Dispatch(operations, door, acks, self.hub, self.feeds, self.presence, told)
        nodes.feeds, nodes.dispatch, nodes.ended, nodes.presence = self.feeds, self.dispatch, self.ended, self.presence
        nodes.board = self.board
        self.extensions = load(config.extension_names, config.unsent_limit_bytes)
        self.gateway = Gateway(
            gateway_config(config, place),
            self.dispatch,
            closed=self._closed,
            extensions=self.extensions,
            requests=requests,
        )
        if self.extensions is not None:
            self.extensions.join(this_run, self.bus.publish_extension)
            nodes.extensions = self.extensions
        self.siblings = None
        if place:
            most_bytes = READ_TIMES * config.max_packet_bytes
            self.siblings = Siblings(place, self.gateway.engine.handle, lambda: metrics.render()[0], most_bytes)
        asked_per_s = _HTTP_PER_CONNECTION * config.connections_per_address
        address = gateway_config(config).engine.client_address
        per_address = Buckets(asked_per_s, 2 * asked_per_s)
        self.gate = Gate(address, per_address, config.unread_limit_bytes, problems.answer, lambda request: request.get(USER))
        self.web = web.Application(middlewares=[self.gate.middleware()])
        self.web.add_routes(self.siblings.routes(self.gateway.engine.config.paths) if self.siblings else self.gateway.routes())
        mount(
            self.web,
            operations,
            kinds,
            door,
            Watch(self._health, self._metrics_page, metrics.observed),
            RestSettings(
                cors_origins=config.origins,
                trusted=config.proxies,
                readers=Readers(config.scrapers, config.metrics_token, config.proxies),
                max_body_bytes=config.max_packet_bytes,
                static=_WEB,
                base_path=config.base_path,
            ),
        )
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
            for part in (self.database, self.keys, self.accounts, self.bus, self.presence):  # the bus seals with the keys
                await part.open()
                stack.push_async_callback(part.close)
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
            stack.push_async_callback(lambda: tasks.end([self._sending_away]))
            stack.push_async_callback(self.writer.close)
            stack.callback(self.gateway.close)
            stack.callback(self.board.sample, gone=True)
            self.board.sample()
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
        self._draining = True
        self.gateway.refuse_new()
        await self._send_away(within_s)
        self.gateway.close_some(len(self.gateway))  # who has not authenticated yet

    async def _send_away(self, within_s: float) -> None:
        now = asyncio.get_running_loop().time
        spread_s = min(within_s / 2, len(self.hub) / _DRAIN_PER_S)
        closing_from_s = now() + min(_DRAIN_MARGIN_S, within_s / 10)
        for after_s, peer in self.dispatch.drain(spread_s):
            early_s = closing_from_s + after_s - now()
            if not peer.closed and early_s > 0:
                await asyncio.sleep(early_s)
            if not peer.closed:
                peer.connection.close(CloseReason.DRAINING)

    def _restored(self) -> None:
        """Let every connection come back: what it was let in for, and what it holds, is of another history."""
        if self._sending_away is None or self._sending_away.done():
            self._sending_away = asyncio.get_running_loop().create_task(self._send_away(self.config.drain_s))

    async def _sample(self) -> None:
        """Show the other nodes how this one is."""
        self.board.sample()

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

    def _reading(self) -> Reading:
        polling = self.gateway.engine.polling
        return Reading(
            checks=self._checks("away" if self.database.away else "ok"),
            websocket=len(self.gateway) - polling,
            polling=polling,
            users=self.hub.users,
            rooms=len(self.feeds),
            subscriptions=self.feeds.subscriptions,
            writer_waiting=self.writer.waiting,
        )

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

    def _bus_health(self, healthy: bool) -> None:
        self.metrics.bus_healthy.set(healthy)
        if not healthy:
            self.presence.suspend()
            self.feeds.compare_soon()

    def _database_health(self, healthy: bool) -> None:
        self.metrics.database_healthy.set(healthy)
        now_s = time.monotonic()
        if healthy and self._away_since_s is not None:
            self.metrics.database_away.inc(now_s - self._away_since_s)
        self._away_since_s = None if healthy else now_s
        if healthy:
            # What was not answered may have been committed, and sessions may have been ended.
            self.feeds.compare_soon()
            self.ended.read_soon()

    async def _health(self) -> rest.Health:
        try:
            await self.database.fetchrow("SELECT 1", within_s=_HEALTH_S)
            checks = self._checks("ok")
        except errors.Unavailable:
            checks = self._checks("away")
        ready = all(state == "ok" for state in checks.values())
        return rest.Health(status="ok" if ready else "unready", checks=checks)

    def _checks(self, postgresql: str) -> dict[str, str]:
        tasks_state = "; ".join(f"{name} {trouble}" for name, trouble in self.loops.troubles().items()) or "ok"
        node = "draining" if self._draining else "ok"
        return {"node": node, "bus": self.bus.state, "postgresql": postgresql, "tasks": tasks_state}

    async def _metrics_page(self) -> tuple[bytes, str]:
        own, content_type = self.metrics.render()
        return (own if self.siblings is None else merged.page(await self.siblings.pages())), content_type


def budgets(config: Config) -> Budgets:
    """What a user may write on this node."""
    changes = Allowance(config.changes_burst, config.changes_per_min / 60)
    memberships = Allowance(config.memberships_burst, config.memberships_per_min / 60)
    allowances = {
        Budget.MESSAGES: Allowance(config.send_burst, config.send_rate),
        Budget.PRESENCE: Allowance(10, 1.0),
        Budget.ROOMS: Allowance(config.rooms_burst, config.rooms_per_hour / 3600),
        Budget.ADDS: memberships,
        Budget.JOINS: memberships,
        Budget.MODERATION: changes,
        Budget.SETTINGS: changes,
        Budget.ADMINISTRATION: changes,
    }
    same_room = Allowance(config.rejoins_burst, config.rejoins_burst / _REJOINS_S)
    return Budgets(allowances, same_room, config.send_bytes_per_day, time.monotonic)


def limits(config: Config) -> socket.Limits:
    """What a connection may do, as `ready` tells it."""
    return socket.Limits(
        body_chars=MAX_BODY_CHARS,
        packet_bytes=config.max_packet_bytes,
        subscriptions=config.subscriptions_per_connection,
        sends_per_s=config.send_rate,
        sends_burst=config.send_burst,
        signals_per_s=config.signal_rate,
        resume_events=config.resume_max_events,
    )


def gateway_config(config: Config, place: Place | None = None) -> GatewayConfig:
    proxies = config.proxies
    engine = EngineConfig(
        ping_interval_s=config.ping_interval_s,
        ping_timeout_s=config.ping_timeout_s,
        stall_s=config.stall_s,
        max_packet_bytes=config.max_packet_bytes,
        max_head_bytes=config.max_head_bytes,
        base_path=config.base_path,
        unsent_limit_bytes=config.unsent_limit_bytes,
        units_per_s=config.frame_rate,
        admission=AdmissionLimits(config.connections_per_address, config.connections_per_node, config.connect_rate),
        origins=config.origins,
        sid_tag=(config.node_id and config.node_id + SEPARATOR) + (place.tag if place else ""),
        client_address=lambda peer, forwarded: client_address(peer, forwarded, proxies),
        keep_environ=bool(config.extension_names),
    )
    return GatewayConfig(
        engine,
        connect_timeout_s=config.connect_timeout_s,
        token_grace_s=config.token_grace_s,
        attachments_limit_bytes=4 * config.max_packet_bytes,
    )
