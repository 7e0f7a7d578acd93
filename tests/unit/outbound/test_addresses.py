"""Which addresses a URL of others may lead to: every special one is refused, also when another address carries it inside."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from realtime.outbound.addresses import refusal

REFUSED = [
    ("0.0.0.0", "unspecified"),
    ("0.1.2.3", "unspecified"),
    ("10.0.0.1", "private"),
    ("100.64.0.1", "shared"),
    ("100.100.100.200", "metadata"),
    ("127.0.0.1", "loopback"),
    ("127.255.255.254", "loopback"),
    ("168.63.129.16", "metadata"),
    ("169.254.0.1", "link-local"),
    ("169.254.169.254", "metadata"),
    ("169.254.170.2", "metadata"),
    ("172.16.0.1", "private"),
    ("172.31.255.255", "private"),
    ("192.0.0.1", "reserved"),
    ("192.0.0.192", "metadata"),
    ("192.0.2.1", "documentation"),
    ("192.88.99.1", "reserved"),
    ("192.168.1.1", "private"),
    ("198.18.0.1", "benchmarking"),
    ("198.19.255.255", "benchmarking"),
    ("198.51.100.1", "documentation"),
    ("203.0.113.9", "documentation"),
    ("224.0.0.1", "multicast"),
    ("239.255.255.250", "multicast"),
    ("240.0.0.1", "reserved"),
    ("255.255.255.255", "reserved"),
    ("::", "unspecified"),
    ("::1", "loopback"),
    ("::7f00:1", "reserved"),  # IPv4-compatible, long withdrawn
    ("::ffff:0:7f00:1", "reserved"),  # translated (RFC 2765)
    ("::ffff:127.0.0.1", "loopback"),
    ("::ffff:169.254.169.254", "metadata"),
    ("::ffff:10.1.2.3", "private"),
    ("64:ff9b::7f00:1", "loopback"),
    ("64:ff9b::a9fe:a9fe", "metadata"),
    ("64:ff9b::10.0.0.1", "private"),
    ("64:ff9b:1::808:808", "private"),
    ("64:ff9b:1::7f00:1", "private"),
    ("100::1", "reserved"),
    ("2001::1", "reserved"),
    ("2001:0:7f00:1::", "reserved"),
    ("2001:2::1", "reserved"),
    ("2001:20::1", "reserved"),
    ("2001:db8::1", "documentation"),
    ("2002:7f00:1::", "loopback"),
    ("2002:a00:1::1", "private"),
    ("2002:a9fe:a9fe::", "metadata"),
    ("2606:4700::5efe:127.0.0.1", "loopback"),
    ("2606:4700::200:5efe:10.0.0.1", "private"),
    ("3fff::1", "documentation"),
    ("5f00::1", "reserved"),
    ("fc00::1", "private"),
    ("fd00:ec2::254", "metadata"),
    ("fd20:ce::254", "metadata"),
    ("fd12:3456:789a::1", "private"),
    ("fe80::1", "link-local"),
    ("fe80::1%eth0", "zone"),
    ("2606:4700::1%1", "zone"),
    ("fec0::1", "private"),
    ("ff02::1", "multicast"),
    ("4000::1", "reserved"),
]
PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0",
    "172.15.255.255", "172.32.0.0", "192.167.255.255", "198.17.255.255", "198.20.0.0", "223.255.255.255", "2606:4700::1111",
    "2a00:1450:4001::200e", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1", "2001:200::1", "2620:4f:8000::1",
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind"), REFUSED)
def test_an_address_that_is_not_public_is_refused_by_its_kind(text: str, kind: str) -> None:
    assert refusal(ipaddress.ip_address(text)) == kind


@pytest.mark.parametrize("text", PUBLIC)
def test_a_public_address_is_allowed(text: str) -> None:
    assert refusal(ipaddress.ip_address(text)) == ""


def allowed(address: str, *networks: str) -> bool:
    return not refusal(ipaddress.ip_address(address), tuple(ipaddress.ip_network(one) for one in networks))


def test_listed_networks_are_allowed_and_their_neighbours_are_not() -> None:
    assert allowed("10.20.0.1", "10.20.0.0/16")
    assert allowed("::ffff:10.20.0.1", "10.20.0.0/16")
    assert allowed("64:ff9b::10.20.0.1", "10.20.0.0/16")
    assert not allowed("10.21.0.1", "10.20.0.0/16")
    assert allowed("fd00:1::5", "fd00:1::/32")
    assert not allowed("fd00:2::5", "fd00:1::/32")


def test_a_listed_network_does_not_open_the_address_inside_another() -> None:
    assert not allowed("64:ff9b:1::7f00:1", "64:ff9b:1::/48")
    assert allowed("64:ff9b:1::808:808", "64:ff9b:1::/48")
    assert not allowed("2001:0:a00:1::", "2001::/32")


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("169.254.169.254", "169.254.0.0/16"),
        ("100.100.100.200", "100.64.0.0/10"),
        ("fd00:ec2::254", "fc00::/7"),
        ("168.63.129.16", "0.0.0.0/0"),
    ],
)
def test_an_address_that_hands_out_credentials_is_allowed_only_when_it_is_listed_alone(address: str, network: str) -> None:
    assert not allowed(address, network)
    assert allowed(address, network, address)


@given(st.integers(0, 2**32 - 1))
def test_what_carries_a_refused_address_inside_is_refused(number: int) -> None:
    inner = ipaddress.IPv4Address(number)
    carriers = [
        ipaddress.IPv6Address(0xFFFF_0000_0000 | number),
        ipaddress.IPv6Address((0x64_FF9B << 96) | number),
        ipaddress.IPv6Address((0x2002 << 112) | number << 80 | 1),
    ]
    assert [bool(refusal(one)) for one in carriers] == [bool(refusal(inner))] * 3


@given(st.one_of(st.integers(0, 2**32 - 1).map(ipaddress.IPv4Address), st.integers(0, 2**128 - 1).map(ipaddress.IPv6Address)))
def test_nothing_is_allowed_that_python_knows_to_be_special(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    special = (
        address.is_loopback or address.is_link_local or address.is_multicast or address.is_reserved or address.is_unspecified
    )
    if special or (address.is_private and not getattr(address, "ipv4_mapped", None)):
        assert refusal(address)
