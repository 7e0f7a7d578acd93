"""Whose address a request came from, and as what it counts against limits. Pure."""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
    Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def client_address(peer: str, x_forwarded_for: str | None, trusted_networks: Sequence[Network]) -> str:
    """Tell the address that limits count against.

    Every proxy appends whom it heard from, so the header is read from its end, for as long as the address that wrote
    the entry belongs to a trusted proxy. What stands further left was written by the client and proves nothing.

    Args:
        peer: The address of the TCP connection.
        x_forwarded_for: The values of all X-Forwarded-For headers, in order, joined by commas.
        trusted_networks: The proxies whose entries are believed.

    Returns:
        The address in canonical form; an IPv4 address that came mapped into IPv6 (RFC 4291 §2.5.5.2) as IPv4.
        A peer that is not an IP address (a Unix socket) comes back as it is.
    """
    current = _parse(peer)
    if current is None:
        return peer
    entries = x_forwarded_for.split(",") if x_forwarded_for and trusted_networks else []
    while entries and _trusted(current, trusted_networks):
        earlier = _parse(_without_port(entries.pop().strip()))
        if earlier is None:
            break  # a trusted proxy wrote something else ("unknown"): the proxy itself is the best that is known
        current = earlier
    return str(current)


@functools.lru_cache(maxsize=4096)  # 3 µs an IPv6 address; those that come again cost a look-up
def address_key(address: str) -> str:
    """Return what every limit of the server counts an address as. Two spellings of one address have one key.

    An IPv6 address counts as its /64: that is what one customer gets (RFC 6177), and nobody has more by hopping inside it.
    Where an IPv4 address stands in it (mapped, RFC 4291 §2.5.5.2; NAT64, RFC 6052 §2.1; 6to4, RFC 3056 §2) it counts as that one:
    a NAT64 brings all of IPv4 in one /64, and 6to4 gives each IPv4 address 65,536 of them.

    Args:
        address: As `client_address` returns it, or as it came. What is no IP address (a Unix socket) is its own key.
    """
    parsed = _parse(address)
    if parsed is None or parsed.version == 4:
        return address if parsed is None else str(parsed)
    if parsed in _NAT64:
        return str(ipaddress.IPv4Address(int(parsed) & 0xFFFF_FFFF))
    if parsed.sixtofour is not None:
        return str(parsed.sixtofour)
    return str(ipaddress.IPv6Address(int(parsed) >> 64 << 64)) + "/64"


def was_forwarded(headers: Container[str]) -> bool:
    """Tell whether a request says that it came through a proxy (RFC 7239, and what was there before it)."""
    return any(name in headers for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"))


def within(address: str, networks: Sequence[Network]) -> bool:
    """Tell whether an address in canonical form belongs to one of the networks."""
    parsed = _parse(address)
    return parsed is not None and _trusted(parsed, networks)


def _trusted(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


@functools.lru_cache(maxsize=1024)  # few proxies, and clients that come again: 4 µs a request
def _parse(text: str) -> Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])  # without a zone (RFC 4007 §11)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _without_port(entry: str) -> str:
    if entry.startswith("["):
        return entry[1:].partition("]")[0]
    host, colon, port = entry.rpartition(":")
    return host if colon and ":" not in host and port.isdigit() else entry
