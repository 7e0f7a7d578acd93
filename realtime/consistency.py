"""Settings that are each of the right form and can never work, alone or together. Pure.

A server that starts with one of them does something else than its operator meant, and nobody says so.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from realtime.config import Config

TOKEN_CHARS = 16
_NODE_ID = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch
_REDIS_PREFIX = re.compile(r"[A-Za-z0-9._:-]{1,64}").fullmatch
_CLAIM = re.compile(r"[!-~]{1,256}").fullmatch
_TOKEN = re.compile(r"[!-~]+").fullmatch  # what stands behind `Bearer ` in a header
_SEGMENT = re.compile(r"(?!\.+\Z)[A-Za-z0-9._~-]+").fullmatch
_PROXY = re.compile(r"http://[^/?#\s]+/?").fullmatch
_OWN_PATHS = {"api", "assets", "healthz", "metrics", "readyz", "socket.io"}
_DATABASE_SCHEMES = ("postgresql://", "postgres://")


def faults(config: Config) -> Iterator[str]:
    """Yield a sentence for each: the setting's name, and what it may be."""
    yield from _alone(config)
    yield from _networks("ROOMWIRE_TRUSTED_PROXIES", config.proxies)
    yield from _networks("ROOMWIRE_METRICS_NETWORKS", config.scrapers)
    yield from _networks("ROOMWIRE_OUTBOUND_NETWORKS", config.reachable)
    yield from _together(config)


def _alone(config: Config) -> Iterator[str]:
    if not config.data_dir.strip() or "\0" in config.data_dir:
        yield "ROOMWIRE_DATA_DIR names a folder; it may not be empty."
    for name, url in (
        ("ROOMWIRE_DATABASE_URL", config.database_url),
        ("ROOMWIRE_MIGRATE_DATABASE_URL", config.migrate_database_url),
    ):
        if url and not url.lower().startswith(_DATABASE_SCHEMES):
            yield f"{name} begins with postgresql://."
    if not _REDIS_PREFIX(config.redis_prefix):
        yield "ROOMWIRE_REDIS_PREFIX is 1 to 64 letters, digits, dots, colons, hyphens or underscores."
    if config.node_id and not _NODE_ID(config.node_id):
        yield "ROOMWIRE_NODE_ID is 1 to 64 letters, digits, dots, hyphens or underscores: it stands in URLs."
    for name, claim in (("ROOMWIRE_TOKEN_ISSUER", config.token_issuer), ("ROOMWIRE_TOKEN_AUDIENCE", config.token_audience)):
        if not _CLAIM(claim):
            yield f"{name} is 1 to 256 characters of ASCII without blanks; without one no token would be held to it."
    if 0 < len(config.metrics_token) < TOKEN_CHARS:
        yield f"ROOMWIRE_METRICS_TOKEN is at least {TOKEN_CHARS} characters long; `openssl rand -hex 32` makes one."
    elif config.metrics_token and not _TOKEN(config.metrics_token):
        yield "ROOMWIRE_METRICS_TOKEN is ASCII without blanks, or no header could carry it; `openssl rand -hex 32` makes one."
    if not config.outbound_port_numbers:
        yield "ROOMWIRE_OUTBOUND_PORTS names at least one port, such as 443."
    if config.outbound_proxy and not _PROXY(config.outbound_proxy):
        yield "ROOMWIRE_OUTBOUND_PROXY is a URL such as http://proxy.example.org:3128."
    if config.base_path and not _is_base_path(config.base_path):
        yield "ROOMWIRE_BASE_PATH is a path such as /chat, of letters, digits and ._~-, and none of our own paths."


def _is_base_path(text: str) -> bool:
    first, *others = text.split("/")
    return not first and bool(others) and all(map(_SEGMENT, others)) and others[0] not in _OWN_PATHS


def _networks(name: str, networks: Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> Iterator[str]:
    for one in networks:
        if isinstance(one, ipaddress.IPv6Network) and one.prefixlen >= 96 and one.network_address.ipv4_mapped is not None:
            inner = f"{one.network_address.ipv4_mapped}/{one.prefixlen - 96}"
            yield f"{name}: {one} never matches, since addresses of this form count as IPv4: write {inner}."


def _together(config: Config) -> Iterator[str]:
    if config.migrate_database_url and not config.database_url:
        yield "ROOMWIRE_MIGRATE_DATABASE_URL goes with ROOMWIRE_DATABASE_URL; without it the embedded one is used."
    if config.lock_timeout_ms > config.statement_timeout_ms:
        yield "ROOMWIRE_LOCK_TIMEOUT_MS is at most ROOMWIRE_STATEMENT_TIMEOUT_MS, which ends the statement with its waiting."
    if config.refresh_token_ttl_s < config.access_token_ttl_s:
        yield "ROOMWIRE_REFRESH_TOKEN_TTL_S is at least ROOMWIRE_ACCESS_TOKEN_TTL_S, or nobody could renew at its end."
    if config.writer_lanes > config.database_pool_size:
        yield "ROOMWIRE_WRITER_LANES is at most ROOMWIRE_DATABASE_POOL_SIZE: each commit in flight needs a connection."
    if config.max_packet_bytes > config.unsent_limit_bytes:
        yield "ROOMWIRE_MAX_PACKET_BYTES is at most ROOMWIRE_UNSENT_LIMIT_BYTES, or one answer could make a slow reader."
