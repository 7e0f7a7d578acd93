"""From the settings of the operator to those of each part."""

from __future__ import annotations

import pathlib
import time
from importlib import resources
from typing import TYPE_CHECKING

from realtime.address import client_address
from realtime.auth.service import Settings as AccountSettings
from realtime.budgets import Allowance, Budget, Budgets
from realtime.gateway.admission import AdmissionLimits
from realtime.gateway.engine import EngineConfig
from realtime.gateway.server import GatewayConfig
from realtime.gateway.sids import SEPARATOR
from realtime.log.feeds import Settings as FeedSettings
from realtime.surface.rest.app import Settings as RestSettings
from realtime.surface.rest.probes import Readers
from realtime.wire import socket
from realtime.wire.types import MAX_BODY_CHARS

if TYPE_CHECKING:
    from realtime.config import Config
    from realtime.extensions.siblings import Place

_REJOINS_S = 100.0
_WEB = pathlib.Path(str(resources.files("realtime"))) / "web"


def accounts(config: Config) -> AccountSettings:
    """Bounds of accounts and their tokens."""
    return AccountSettings(
        refresh_ttl_s=config.refresh_token_ttl_s,
        login_rate_per_min=config.login_rate_per_min,
        address_login_rate_per_min=config.address_login_rate_per_min,
        register_rate_per_min=config.register_rate_per_min,
    )


def feeds(config: Config) -> FeedSettings:
    """What feeds remember."""
    return FeedSettings(
        memory_events=config.feed_memory_events,
        memory_bytes=config.feed_memory_bytes,
        memory_total_bytes=config.feeds_memory_bytes,
        resume_events=config.resume_max_events,
    )


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


def gateway(config: Config, place: Place | None = None) -> GatewayConfig:
    """Bounds of connections."""
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


def rest(config: Config) -> RestSettings:
    """Bounds of the REST surface."""
    return RestSettings(
        cors_origins=config.origins,
        trusted=config.proxies,
        readers=Readers(config.scrapers, config.metrics_token, config.proxies),
        max_body_bytes=config.max_packet_bytes,
        static=_WEB,
        base_path=config.base_path,
    )
