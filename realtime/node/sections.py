"""The sections of a node: each makes some parts, of those that are there already, and returns them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aiohttp import web

from realtime.auth.accounts import AccountStore
from realtime.auth.administration import Administration
from realtime.auth.authenticator import Authenticator
from realtime.auth.ended import EndedSessions
from realtime.auth.keys import KeyRing
from realtime.auth.passwords import Passwords
from realtime.auth.redis_attempts import RedisAttempts
from realtime.auth.service import Accounts, Stores
from realtime.auth.sessions import SessionStore
from realtime.auth.signing_keys import SigningKeyStore
from realtime.auth.throttle import Throttle
from realtime.auth.tokens import AccessTokens, Claims
from realtime.auth.users import UserStore
from realtime.bus.bus import Bus
from realtime.bus.bus import Hooks as BusHooks
from realtime.bus.bus import Settings as BusSettings
from realtime.gateway.gate import Gate
from realtime.gateway.socketio import event_frame, event_of
from realtime.limits import Buckets
from realtime.log.consumer_store import ConsumerStore
from realtime.log.consumers import LEASE_S, Consumers, Observer
from realtime.log.feeds import Feeds
from realtime.log.feeds import Hooks as FeedHooks
from realtime.log.frames import EventCodec
from realtime.log.store import NO_APPEND, EventStore
from realtime.log.writer import Writer
from realtime.node import settings
from realtime.outbound.client import Outbound
from realtime.outbound.urls import Rules
from realtime.presence import last_seen
from realtime.presence.lease import Lease
from realtime.presence.service import Presence
from realtime.presence.store import PresenceStore
from realtime.rooms import policy
from realtime.rooms.store import RoomStore
from realtime.sandbox.pool import Sandbox
from realtime.sandbox.pool import Settings as SandboxSettings
from realtime.store.pool import Database
from realtime.surface.rest import problems
from realtime.surface.rest.operations import USER

if TYPE_CHECKING:
    from realtime.config import Config
    from realtime.extensions.siblings import Siblings
    from realtime.gateway.server import Gateway
    from realtime.log.kinds import Kinds
    from realtime.node.health import Availability
    from realtime.node.nodes import Outgoing
    from realtime.runtime import Runtime
    from realtime.store.wrapping import MasterKeys
    from realtime.surface.socket.hub import Hub
    from realtime.telemetry.metrics import Metrics

_HTTP_PER_CONNECTION = 5.0  # requests a second that an address has for each connection that it may have: polls of busy rooms


# -- the database and what speaks to it ----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Storage:
    """PostgreSQL and the stores that more than one part uses."""

    database: Database
    users: UserStore
    rooms: RoomStore
    log: EventStore


def storage(config: Config, url: str, availability: Availability, metrics: Metrics) -> Storage:
    """Make the pool and the stores."""
    database = Database(
        url,
        size=config.database_pool_size,
        statement_timeout_ms=config.statement_timeout_ms,
        lock_timeout_ms=config.lock_timeout_ms,
        health=availability.turned,
        used=metrics.database_seconds.observe,
        refused=lambda sqlstate: metrics.database_refused.labels(sqlstate).inc(),
        warm=[NO_APPEND],
    )
    return Storage(database, UserStore(database), RoomStore(database), EventStore(database))


# -- the bus -------------------------------------------------------------------------------------------


def key_ring(config: Config, stored: Storage, master_keys: MasterKeys | None, runtime: Runtime) -> KeyRing:
    """Make the ring of keys that sign tokens and seal the bus."""
    return KeyRing(
        SigningKeyStore(stored.database, master_keys, alone=not config.database_url),
        config.signing_key_rotation_s,
        config.access_token_ttl_s + config.token_grace_s,
        runtime.loops,
    )


def bus(config: Config, redis_url: str, keys: KeyRing, metrics: Metrics, runtime: Runtime) -> Bus:
    """Make this node's end of the bus."""
    return Bus(
        BusSettings(redis_url, config.redis_prefix, extensions=bool(config.extension_names)),
        os.urandom(8),
        keys,
        BusHooks(
            refused=lambda reason: metrics.bus_refused.labels(reason).inc(),
            dropped=metrics.bus_dropped.inc,
            health=metrics.bus_healthy.set,
            deaf=metrics.bus_deaf.inc,
            round_trip=metrics.bus_round_trip.observe,
        ),
        runtime.loops,
    )


# -- accounts ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Accounting:
    """Who may sign in, and what admins do about it."""

    accounts: Accounts
    authenticator: Authenticator
    administration: Administration
    ended: EndedSessions
    passwords: Passwords


def accounting(
    config: Config, redis_url: str, stored: Storage, keys: KeyRing, outgoing: Outgoing, hub: Hub, runtime: Runtime
) -> Accounting:
    """Make the services of accounts."""
    stores = Stores(stored.users, AccountStore(stored.database), SessionStore(stored.database))
    passwords = Passwords(config.password_threads, config.password_queue)
    ended = EndedSessions(
        stores.sessions,
        config.access_token_ttl_s + config.token_grace_s,
        outgoing.session_over,
        hub.end_session,
        runtime.loops,
    )
    throttle = Throttle(RedisAttempts(redis_url, config.redis_prefix), runtime.wall)
    tokens = AccessTokens(Claims(config.token_issuer, config.token_audience), keys, config.access_token_ttl_s)
    return Accounting(
        Accounts(stores, passwords, tokens, ended, throttle, settings.accounts(config), runtime),
        Authenticator(tokens, ended, runtime.wall),
        Administration(stores.users, stores.accounts, passwords, ended.end),
        ended,
        passwords,
    )


# -- presence ------------------------------------------------------------------------------------------


def presence(
    config: Config, redis_url: str, run: str, stored: Storage, bus: Bus, outgoing: Outgoing, runtime: Runtime
) -> Presence:
    """Make presence. It names this run of the node, not the node: what a killed run left must not be taken for ours."""
    return Presence(
        run,
        Lease(redis_url, config.redis_prefix, run, bus.sealer, runtime.wall),
        PresenceStore(stored.database),
        outgoing.presence_changed,
        outgoing.chosen,
        config.presence_room_members,
        runtime,
    )


# -- the log -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Delivery:
    """The way into the log, and out of it to connections."""

    codec: EventCodec
    feeds: Feeds
    writer: Writer


def consumers(run: str, stored: Storage, metrics: Metrics, runtime: Runtime) -> Consumers:
    """Make what works through the log behind the writers."""
    store = ConsumerStore(stored.database, LEASE_S)
    return Consumers(store, [last_seen.CONSUMER], run, Observer(metrics.consumed, metrics.consumer_lag), runtime)


def delivery(
    config: Config, stored: Storage, bus: Bus, kinds: Kinds, hooks: FeedHooks, metrics: Metrics, runtime: Runtime
) -> Delivery:
    """Make the writer and the feeds."""
    codec = EventCodec(kinds, event_frame, event_of)
    feeds = Feeds(stored.rooms, stored.log, bus, codec, settings.feeds(config), policy.read, hooks, runtime)
    writer = Writer(
        stored.log,
        feeds.committed,
        flushed=metrics.flushed,
        lanes=config.writer_lanes,
        queue=config.writer_queue,
        batch=config.batch_max,
    )
    return Delivery(codec, feeds, writer)


# -- foreign URLs and bytes ----------------------------------------------------------------------------


def outbound(config: Config, metrics: Metrics) -> Outbound:
    """Make the door to URLs that somebody else named."""
    return Outbound(
        Rules(config.reachable, config.outbound_port_numbers),
        config.outbound_requests,
        proxy=config.outbound_proxy,
        observed=metrics.asked,
    )


def sandbox(config: Config, metrics: Metrics) -> Sandbox:
    """Make the processes that look at foreign bytes."""
    return Sandbox(
        SandboxSettings(config.sandbox_processes, config.sandbox_memory_bytes),
        observed=metrics.sandboxed,
        started=metrics.sandbox_starts.inc,
    )


# -- HTTP ----------------------------------------------------------------------------------------------


def application(config: Config, gateway: Gateway, siblings: Siblings | None) -> tuple[web.Application, Gate]:
    """Make the aiohttp application with the socket's routes, and the gate before it."""
    asked_per_s = _HTTP_PER_CONNECTION * config.connections_per_address
    per_address = Buckets(asked_per_s, 2 * asked_per_s)
    address = gateway.engine.config.client_address
    gate = Gate(address, per_address, config.unread_limit_bytes, problems.answer, lambda request: request.get(USER))
    app = web.Application(middlewares=[gate.middleware()])
    app.add_routes(siblings.routes(gateway.engine.config.paths) if siblings else gateway.routes())
    return app, gate
