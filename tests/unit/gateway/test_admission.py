"""Who may open one more connection: counts by address and node, and what comes too fast."""

from __future__ import annotations

import pytest

from realtime import errors
from realtime.gateway.admission import Admission, AdmissionLimits

HERE, THERE = "192.0.2.1", "192.0.2.2"


def admission(per_address: int = 200, per_node: int = 1000, rate_per_s: float = 10_000) -> Admission:
    return Admission(AdmissionLimits(per_address, per_node, rate_per_s))


def test_an_address_has_so_many_connections_and_others_have_theirs() -> None:
    one = admission(per_address=15)
    for _ in range(15):
        one.open(HERE, 0)
        one.entered(HERE)
    with pytest.raises(errors.TooManyConnections) as refused:
        one.open(HERE, 0)
    assert (refused.value.status, refused.value.retryable, refused.value.retry_after_ms) == (429, True, 10_000)
    one.open(THERE, 0)
    one.closed(HERE, entered=True)
    one.open(HERE, 0)
    assert len(one) == 16


def test_half_of_an_address_may_be_strangers_so_that_the_silent_leave_room() -> None:
    one = admission(per_address=40)
    for _ in range(20):
        one.open(HERE, 0)
    with pytest.raises(errors.TooManyConnections):
        one.open(HERE, 0)
    one.entered(HERE)
    one.open(HERE, 0)
    one.closed(HERE, entered=False)
    one.closed(HERE, entered=True)
    one.open(HERE, 0)
    assert len(one) == 20


def test_small_limits_leave_room_for_a_page_that_opens_several_at_once() -> None:
    one = admission(per_address=10)
    for _ in range(10):
        one.open(HERE, 0)


def test_the_node_has_so_many_connections() -> None:
    one = admission(per_node=3)
    for number in range(3):
        one.open(f"192.0.2.{number}", 0)
    with pytest.raises(errors.Overloaded) as refused:
        one.open("192.0.2.9", 0)
    assert (refused.value.status, refused.value.retry_after_ms) == (503, 10_000)
    one.closed("192.0.2.1", entered=False)
    one.open("192.0.2.9", 0)


def test_an_address_that_opens_and_closes_without_end_has_to_wait() -> None:
    one = admission(per_address=50)

    def handshake(at_s: float) -> None:
        one.open(HERE, at_s)
        one.closed(HERE, entered=False)

    for _ in range(100):
        handshake(0)
    with pytest.raises(errors.RateLimited) as refused:
        handshake(0)
    assert refused.value.retry_after_ms is not None
    assert 0 < refused.value.retry_after_ms <= 201
    for second in range(1, 4):
        for _ in range(5):
            handshake(second)
    with pytest.raises(errors.RateLimited):
        handshake(3)


def test_a_storm_is_admitted_at_the_nodes_rate_and_nobody_is_counted_who_was_refused() -> None:
    one = admission(per_node=100_000, rate_per_s=100)
    admitted, waits = 0, []
    for number in range(1000):
        try:
            one.open(f"10.0.{number // 250}.{number % 250}", number / 1000)
            admitted += 1
        except errors.Overloaded as refused:
            waits.append(refused.retry_after_ms)
    assert 195 <= admitted <= 200, "one second's worth at once, and one second's worth over the second"
    assert all(wait is not None and wait <= 11 for wait in waits)
    assert len(one) == admitted


def test_the_addresses_of_one_ipv6_network_count_together() -> None:
    one = admission(per_address=10)
    for number in range(10):
        one.open(f"2001:db8:1:2::{number:x}", 0)
    for same in ("2001:db8:1:2:ffff::1", "2001:0DB8:0001:0002::a", "2001:db8:1:2::1%eth0"):
        with pytest.raises(errors.TooManyConnections):
            one.open(same, 0)
    one.open("2001:db8:1:3::1", 0)
    one.open("not:an:address", 0)
    assert len(one) == 12


def test_nothing_is_kept_of_who_has_gone() -> None:
    one = admission()
    for number in range(100):
        address = f"192.0.2.{number}"
        one.open(address, 0)
        if number % 2:
            one.entered(address)
        one.closed(address, entered=bool(number % 2))
    assert len(one) == 0
    assert not one._live and not one._half_open


def test_who_is_refused_for_the_node_s_sake_has_used_up_nothing() -> None:
    one = admission(per_address=10, rate_per_s=1)  # 20 handshakes at once
    one.open(THERE, 0)
    for _ in range(100):
        with pytest.raises(errors.Overloaded):
            one.open(HERE, 0)
    one.open(HERE, 1)
