"""Which IP addresses a URL that somebody else named may lead to. Pure.

`ipaddress.is_global` is not asked: it changes between releases of Python, and it calls addresses global that carry another one
inside (`64:ff9b::7f00:1`, `2002:7f00:1::`). The tables follow the IANA special-purpose address registries (RFC 6890, 2026-11).
"""

from __future__ import annotations

import functools
import ipaddress
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
    Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in (
        "169.254.169.254",  # most clouds
        "169.254.170.2",  # roles of containers on AWS
        "169.254.170.23",
        "168.63.129.16",  # Azure; it looks like any public address
        "100.100.100.200",  # Alibaba; it lies in the shared space
        "192.0.0.192",  # Oracle
        "fd00:ec2::254",  # AWS
        "fd00:ec2::23",
        "fd20:ce::254",  # Google
    )
)
_SPECIAL_V4 = tuple(
    (ipaddress.IPv4Network(text), kind)
    for text, kind in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_SPECIAL_V6 = tuple(
    (ipaddress.IPv6Network(text), kind)
    for text, kind in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("64:ff9b:1::/48", "private"),  # NAT64 of one's own (RFC 8215)
        ("100::/64", "reserved"),
        ("2001::/23", "reserved"),  # Teredo, benchmarking, ORCHID
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
    )
)
_UNICAST_V6 = ipaddress.IPv6Network("2000::/3")
_NAT64 = tuple(ipaddress.IPv6Network(text) for text in ("64:ff9b::/96", "64:ff9b:1::/48"))
_LAST_32_BITS = 0xFFFF_FFFF


@functools.lru_cache(maxsize=1024)  # 6 to 18 µs an address; judged at the resolver and again at the socket
def refusal(address: Address, allowed: tuple[Network, ...] = ()) -> str:
    """Say why a URL that somebody else named may not lead to an address.

    Args:
        address: As it would be dialled. One that carries another address inside is judged by both.
        allowed: Networks of the operator's own that may be reached. An address that hands out credentials to the machine is
            allowed only by a network of that one address: nobody means it when they list a /8.

    Returns:
        A word for its kind (`loopback`, `private`, `metadata`, …); empty: it may be reached.
    """
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return "zone"  # RFC 4007: it means an interface of this machine
        if address.ipv4_mapped is not None:
            return refusal(address.ipv4_mapped, allowed)  # the system dials IPv4
    return _kind(address, allowed) or next((word for one in _inside(address) if (word := refusal(one, allowed))), "")


def _kind(address: Address, allowed: Sequence[Network]) -> str:
    if address in _METADATA:
        return "" if any(address in one for one in allowed if one.prefixlen == one.max_prefixlen) else "metadata"
    if any(address in one for one in allowed):
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return next((kind for network, kind in _SPECIAL_V4 if address in network), "")
    special = next((kind for network, kind in _SPECIAL_V6 if address in network), "")
    if special or address in _UNICAST_V6 or address in _NAT64[0]:
        return special
    return "reserved"


def _inside(address: Address) -> Iterator[Address]:
    """Yield the IPv4 addresses to which a router may pass on what is sent to an IPv6 address."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    if any(address in network for network in _NAT64):  # RFC 6052 §2.1; of RFC 8215 the form with 96 bits
        yield ipaddress.IPv4Address(int(address) & _LAST_32_BITS)
    if address.sixtofour is not None:  # RFC 3056 §2
        yield address.sixtofour
    if address.teredo is not None:  # RFC 4380 §4: the server and the client
        yield from address.teredo
    if int(address) >> 32 & 0xFDFF_FFFF == 0x0000_5EFE:  # ISATAP, RFC 5214 §6.1
        yield ipaddress.IPv4Address(int(address) & _LAST_32_BITS)
