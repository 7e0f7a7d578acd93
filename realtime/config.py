"""Settings: `ROOMWIRE_*` environment variables and the flags of `roomwire serve`, each declared once below."""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import pathlib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from realtime import consistency, origins

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PREFIX = "ROOMWIRE_"
OLD_PREFIX = "REALTIME_"
"""What the names of settings began with up to 0.2; read until 1.0."""
DATA_DIR, _OLD_DATA_DIR = ".roomwire", ".realtime"
PACKET_BYTES = 1 << 17
"""What the contract permits needs so much: 8,000 emoji that a client writes as JSON escapes are 96,000 bytes, the subscription
of 1,000 rooms is 126,000."""
UNSENT_BYTES = 1 << 19
"""The answer to that subscription, and a window of catching up (`rooms.catch_up`) behind it."""
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(?:(.*)@)?([^/?#@]*)([^?#]*)", re.DOTALL)
"""Scheme, user and password, hosts (a cluster has several), path. Up to the last @, so that no part of a password is shown."""

_PARSED = (
    ("trusted_proxies", "proxies"),
    ("metrics_networks", "scrapers"),
    ("cors_origins", "origins"),
    ("outbound_networks", "reachable"),
    ("outbound_ports", "outbound_port_numbers"),
)
"""Settings that are a list, and the properties that read them."""


class ConfigError(Exception):
    """A setting is wrong; the text is one sentence that says which and what it may be."""


def _setting(default: Any, meaning: str, unit: str = "", *, at_least: float | None = None, at_most: float | None = None,
             secret: bool = False, choices: tuple[str, ...] = ()) -> Any:  # fmt: skip
    facts = {"meaning": meaning, "unit": unit, "at_least": at_least, "at_most": at_most, "secret": secret, "choices": choices}
    return field(default=default, metadata=facts)


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting, with its default."""

    host: str = _setting("127.0.0.1", "address to listen on; * for all addresses of the machine, IPv4 and IPv6")
    port: int = _setting(8000, "TCP port to listen on; 0 for any free port", at_least=0, at_most=65535)
    workers: int = _setting(1, "processes that serve the port; each is a node and uses one core", at_least=1, at_most=64)
    data_dir: str = _setting(DATA_DIR, "where the embedded engines keep their files")
    database_url: str = _setting("", "PostgreSQL of the application role; empty: the embedded one", "URL", secret=True)
    migrate_database_url: str = _setting(
        "", "PostgreSQL of the owner role, for migrations; empty: database_url", "URL", secret=True
    )
    master_key_file: str = _setting(
        "",
        "file of the master keys that secrets in the database are encrypted with, one a line; empty: in the data directory with "
        "the embedded PostgreSQL, none with one's own",
    )
    redis_url: str = _setting("", "Redis for the bus and presence; empty: the embedded one", "URL", secret=True)
    redis_prefix: str = _setting(
        "rt", "prefix of every channel and key in Redis; clusters that share a Redis need different prefixes"
    )
    node_id: str = _setting(
        "", "this node's name in `ready`, logs and, for balancers, at the beginning of session ids; empty: random"
    )
    database_pool_size: int = _setting(10, "connections to PostgreSQL", at_least=2, at_most=1000)
    start_wait_s: float = _setting(
        30.0, "how long a start waits for PostgreSQL that is unavailable, starting or full", "s", at_least=0, at_most=86_400
    )
    statement_timeout_ms: int = _setting(4000, "time limit of one SQL statement", "ms", at_least=100, at_most=3_600_000)
    lock_timeout_ms: int = _setting(2000, "how long a statement may wait for a lock", "ms", at_least=50, at_most=3_600_000)
    token_issuer: str = _setting("realtime", "`iss` of access tokens")
    token_audience: str = _setting("realtime", "`aud` of access tokens")
    access_token_ttl_s: int = _setting(900, "lifetime of an access token", "s", at_least=10, at_most=900)
    token_grace_s: int = _setting(30, "how long a connection outlives its access token", "s", at_least=0, at_most=300)
    refresh_token_ttl_s: int = _setting(
        30 * 86400, "lifetime of a refresh token that is not used", "s", at_least=60, at_most=3650 * 86400
    )
    signing_key_rotation_s: float = _setting(
        30 * 86400, "age at which the key of access tokens is replaced", "s", at_least=3600, at_most=3650 * 86400
    )
    password_threads: int = _setting(2, "passwords checked at once (64 MiB each)", at_least=1, at_most=64)
    password_queue: int = _setting(32, "passwords that may wait for a thread; more get 503", at_least=1)
    login_rate_per_min: int = _setting(
        10, "failed sign-ins per address and account; after them each further attempt waits twice as long", "1/min", at_least=1
    )
    address_login_rate_per_min: int = _setting(30, "failed sign-ins per address, over all accounts", "1/min", at_least=1)
    register_rate_per_min: int = _setting(30, "registrations per address", "1/min", at_least=1)
    send_rate: int = _setting(50, "messages, edits and deletions per user", "1/s", at_least=1)
    send_burst: int = _setting(200, "and how many at once", at_least=1)
    send_bytes_per_day: int = _setting(
        256 << 20, "text of messages and edits per user, in a day and at once", "bytes", at_least=1 << 16
    )
    rooms_per_hour: int = _setting(120, "rooms that a user creates", "1/h", at_least=1)
    rooms_burst: int = _setting(1200, "and how many at once", at_least=1)
    memberships_per_min: int = _setting(
        60, "members that a user adds (also to a new room); the same for joins and leaves", "1/min", at_least=1
    )
    memberships_burst: int = _setting(1200, "and how many at once", at_least=1)
    rejoins_burst: int = _setting(10, "of these, joins and leaves of one room at once; the budget refills in 100 s", at_least=2)
    changes_per_min: int = _setting(
        60, "role changes, bans and removals per user; the same for the user's own settings and blocks", "1/min", at_least=1
    )
    changes_burst: int = _setting(200, "and how many at once", at_least=1)
    rooms_per_user: int = _setting(10_000, "rooms that a user is a member of", at_least=1)
    rooms_owned_per_user: int = _setting(2_000, "rooms that a user owns", at_least=1)
    signal_rate: int = _setting(10, "signals per room and connection", "1/s", at_least=1)
    connections_per_user: int = _setting(20, "live connections per user, on one node", at_least=1)
    connections_per_address: int = _setting(
        200, "live connections per address, on one node; other TCP connections: twice as many and 100 more", at_least=1
    )
    unread_limit_bytes: int = _setting(
        16 << 20, "unread answers to HTTP requests per user and address, on one node; beyond them requests are refused", "bytes",
        at_least=1 << 20,
    )  # fmt: skip
    connections_per_node: int = _setting(50_000, "live connections; more get 503", at_least=1)
    connect_rate: int = _setting(5000, "new connections; more get 503", "1/s", at_least=1)
    request_rate: int = _setting(100, "requests of any kind per connection", "1/s", at_least=1)
    request_burst: int = _setting(400, "and how many at once", at_least=1)
    frame_rate: int = _setting(
        4000, "frames and packets per connection (4 KiB count as one, a CONNECT as 100); what is beyond is read later", "1/s",
        at_least=1000,
    )  # fmt: skip
    subscriptions_per_connection: int = _setting(1000, "rooms that a connection may subscribe to", at_least=1)
    max_packet_bytes: int = _setting(
        PACKET_BYTES, "size of one packet or request body", "bytes", at_least=PACKET_BYTES, at_most=1 << 26
    )
    max_head_bytes: int = _setting(
        32768,
        "size of a request's head: its path and all its headers, cookies included",
        "bytes",
        at_least=8192,
        at_most=1 << 20,
    )
    connect_timeout_s: float = _setting(10.0, "time for a new connection to authenticate", "s", at_least=0.1, at_most=3600)
    ping_interval_s: float = _setting(25.0, "pause between heartbeats", "s", at_least=0.1, at_most=3600)
    ping_timeout_s: float = _setting(20.0, "how long the answer to a heartbeat may take", "s", at_least=0.1, at_most=3600)
    unsent_limit_bytes: int = _setting(
        1 << 20,
        "unsent bytes at which the connection of a slow reader is closed",
        "bytes",
        at_least=UNSENT_BYTES,
        at_most=1 << 30,
    )
    stall_s: float = _setting(
        10.0, "time without progress at which the connection of a slow reader is closed", "s", at_least=0.5, at_most=3600
    )
    writer_lanes: int = _setting(2, "commits in flight at once", at_least=1, at_most=64)
    writer_queue: int = _setting(10_000, "messages that may wait for a commit; more get `overloaded`", at_least=1)
    batch_max: int = _setting(500, "messages in one commit", at_least=1, at_most=5000)
    feed_memory_events: int = _setting(500, "newest events of a live room that are kept in memory", at_least=0)
    feed_memory_bytes: int = _setting(1 << 19, "and how many bytes of them at most", "bytes", at_least=0)
    feeds_memory_bytes: int = _setting(
        256 << 20, "and of all rooms together; the least active rooms are dropped first", "bytes", at_least=0
    )
    presence_room_members: int = _setting(
        100, "size of a room up to which presence shows each member; larger rooms show a number", at_least=0, at_most=1000
    )
    resume_max_events: int = _setting(1000, "missed events that a subscription returns; more: `reset`", at_least=1)
    extensions: str = _setting("", "functions that add Socket.IO namespaces, as module:function, joined by commas")
    base_path: str = _setting(
        "", "path such as /chat below which a proxy serves everything and which it leaves in requests; the root is served too"
    )
    cors_origins: str = _setting("", "other origins whose browser pages may connect, joined by commas; * for all")
    trusted_proxies: str = _setting("", "networks of proxies whose X-Forwarded-For is trusted, joined by commas", "CIDR")
    metrics_networks: str = _setting("", "networks that may read /metrics without a token, joined by commas; empty: none", "CIDR")
    metrics_token: str = _setting("", "bearer token that may read /metrics from anywhere; empty: none", secret=True)
    outbound_networks: str = _setting(
        "", "networks of your own that URLs named by others (webhooks, key sets, links) may lead to, joined by commas; "
        "public addresses always may, one that hands out credentials only if it stands here alone", "CIDR",
    )  # fmt: skip
    outbound_ports: str = _setting("80,443", "ports that such URLs may have, joined by commas")
    outbound_proxy: str = _setting(
        "", "HTTP proxy for such requests, which then decides where names may lead; empty: none, whatever the environment says",
        "URL", secret=True,
    )  # fmt: skip
    outbound_requests: int = _setting(64, "such requests at once; 4 of them to one host", at_least=1, at_most=1000)
    sandbox_processes: int = _setting(
        2, "small processes for bytes of others (pictures, pages, documents), on each node; none is started before it is needed",
        at_least=1, at_most=64,
    )  # fmt: skip
    sandbox_memory_bytes: int = _setting(
        512 << 20, "memory that each of them may map", "bytes", at_least=64 << 20, at_most=1 << 40
    )
    drain_s: float = _setting(25.0, "time to finish after SIGTERM", "s", at_least=1, at_most=3600)
    log_level: str = _setting("info", "how much is logged", choices=("debug", "info", "warning", "error"))
    log_format: str = _setting("auto", "console, json, or auto: console on a terminal", choices=("auto", "console", "json"))

    @property
    def extension_names(self) -> tuple[str, ...]:
        return _list(self.extensions)

    @property
    def origins(self) -> tuple[str, ...]:
        return origins.parse(_list(self.cors_origins))

    @property
    def proxies(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        return tuple(ipaddress.ip_network(text) for text in _list(self.trusted_proxies))

    @property
    def scrapers(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        return tuple(ipaddress.ip_network(text) for text in _list(self.metrics_networks))

    @property
    def reachable(self) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
        return tuple(ipaddress.ip_network(text) for text in _list(self.outbound_networks))

    @property
    def outbound_port_numbers(self) -> frozenset[int]:
        return frozenset(map(_port, _list(self.outbound_ports)))


def load(environment: Mapping[str, str], flags: Mapping[str, str | None]) -> Config:
    """Read the settings; a flag wins over the environment.

    Args:
        environment: Names that begin with `ROOMWIRE_` or `REALTIME_` count, and must all be known.
        flags: Field name to text, None for a flag that was not given.

    Raises:
        ConfigError: a name is unknown, a value does not fit, or a setting has two values under its two names.
    """
    fields = {one.name: one for one in dataclasses.fields(Config)}
    values: dict[str, Any] = {}
    for prefix in (OLD_PREFIX, PREFIX):
        for name, text in environment.items():
            if name.startswith(prefix):
                key = name.removeprefix(prefix).lower()
                if key not in fields:
                    raise ConfigError(f"{name} is not a setting; `roomwire config` lists them all.")
                values[key] = _parse(fields[key], text, PREFIX + key.upper())
    for old, new in renamed(environment).items():
        if environment.get(new, environment[old]) != environment[old]:
            raise ConfigError(f"{old} and {new} are both set, and differ: {old} is the old name of {new}. Remove one of them.")
    for key, given in flags.items():
        if given is not None:
            values[key] = _parse(fields[key], given, "--" + key.replace("_", "-"))
    if "data_dir" not in values and not os.path.lexists(DATA_DIR) and os.path.isdir(_OLD_DATA_DIR):
        values["data_dir"] = _OLD_DATA_DIR  # what a release up to 0.2 has made here
    if "base_path" in values:
        values["base_path"] = values["base_path"].rstrip("/")
    if "statement_timeout_ms" in values:  # the other's default follows
        values.setdefault("lock_timeout_ms", min(values["statement_timeout_ms"], fields["lock_timeout_ms"].default))
    config = Config(**values)
    for name, property_ in _PARSED:
        try:
            getattr(config, property_)  # parsed here, so that a wrong one stops the start
        except ValueError as error:
            raise ConfigError(f"{PREFIX}{name.upper()}: {error}.") from error
    for fault in consistency.faults(config):
        raise ConfigError(fault)
    return config


def renamed(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the new names of the settings that an environment has under their old ones, by the old."""
    return {name: PREFIX + name.removeprefix(OLD_PREFIX) for name in sorted(environment) if name.startswith(OLD_PREFIX)}


def without_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment for a child that gets its settings in another way."""
    return {name: value for name, value in environment.items() if not name.startswith((PREFIX, OLD_PREFIX))}


def describe(config: Config) -> Iterator[tuple[str, str, str, str, str]]:
    """Yield (variable, meaning, unit, default, value) for each setting; secrets are hidden."""
    for one in dataclasses.fields(config):
        value = str(getattr(config, one.name))
        if one.metadata["secret"]:
            value = _hide(value)
        yield PREFIX + one.name.upper(), one.metadata["meaning"], one.metadata["unit"], str(one.default), value


def _port(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise ValueError(f"{text!r} is no TCP port")
    return int(text)


def data_path(config: Config) -> pathlib.Path:
    return pathlib.Path(config.data_dir).expanduser()


def _parse(one: dataclasses.Field[Any], text: str, name: str) -> Any:
    facts = one.metadata
    kind: Any = type(one.default)
    shown = "this value" if facts["secret"] else repr(text)
    if kind is str:
        if facts["choices"] and text not in facts["choices"]:
            raise ConfigError(f"{name} is one of {', '.join(facts['choices'])}, not {shown}.")
        if facts["unit"] == "URL" and text and not _URL.match(text):
            raise ConfigError(f"{name} is a URL such as postgresql://user@host/database or redis://host:6379/0.")
        return text
    try:
        value = kind(text)
    except ValueError:
        raise ConfigError(f"{name} is a number{' of ' + facts['unit'] if facts['unit'] else ''}, not {shown}.") from None
    low, high = facts["at_least"], facts["at_most"]
    if (low is not None and value < low) or (high is not None and value > high) or value != value:
        bounds = f"at least {low}" if high is None else f"from {low} to {high}"
        raise ConfigError(f"{name} is {bounds}, not {shown}.")
    return value


def _hide(url: str) -> str:
    found = _URL.match(url)
    if found is None:
        return "(set)" if url else ""
    scheme, user, hosts, path = found.groups()
    name, colon, _ = (user or "").partition(":")
    return f"{scheme}://{name}{colon and ':***'}{'@' if user else ''}{hosts}{path}"


def _list(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
