"""Token buckets alone: the burst, the rate, and how many keys are remembered."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.limits import Buckets, Rate, TokenBucket, retry_ms


def test_a_bucket_grants_its_burst_at_once_and_then_its_rate() -> None:
    bucket = TokenBucket(2.0, 3, 100.0)
    assert [bucket.take(100.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert [bucket.take(now_s) for now_s in (100.5, 100.75, 101.0, 101.25)] == [0.0, 0.25, 0.0, 0.25]


def test_the_wait_that_is_told_is_long_enough_and_no_longer() -> None:
    bucket = TokenBucket(0.1, 1, 0.0)
    bucket.take(0.0)
    wait_s = bucket.take(4.0)
    assert wait_s == pytest.approx(6.0)
    assert bucket.take(4.0 + wait_s - 0.001) > 0
    assert bucket.take(4.0 + wait_s + 0.001) == 0.0


def test_a_refusal_takes_nothing() -> None:
    bucket = TokenBucket(1.0, 1, 0.0)
    bucket.take(0.0)
    for _ in range(1_000):
        assert bucket.take(0.0) == pytest.approx(1.0)
    assert bucket.take(1.0) == 0.0


def test_a_long_rest_gives_the_burst_back_and_not_more() -> None:
    bucket = TokenBucket(5.0, 2, 0.0)
    bucket.take(0.0)
    assert [bucket.take(1_000_000.0) for _ in range(3)][:2] == [0.0, 0.0]
    assert bucket.take(1_000_000.0) > 0


@settings(deadline=None, max_examples=100)
@given(
    st.floats(0.1, 100),
    st.integers(1, 50),
    st.lists(st.floats(0, 2), min_size=1, max_size=60),
)
def test_in_any_stretch_of_time_no_more_is_granted_than_the_burst_and_the_rate(
    rate_per_s: float, burst: int, pauses: list[float]
) -> None:
    bucket, now_s, granted = TokenBucket(rate_per_s, burst, 0.0), 0.0, list[float]()
    for pause in pauses:
        now_s += pause
        wait_s = bucket.take(now_s)
        assert 0 <= wait_s <= 1 / rate_per_s + 1e-9
        if wait_s == 0:
            granted.append(now_s)
    for first, begin_s in enumerate(granted):
        for last in range(first, len(granted)):
            assert last - first + 1 <= burst + (granted[last] - begin_s) * rate_per_s + 1e-6


@settings(deadline=None, max_examples=50)
@given(st.floats(0.1, 100), st.integers(1, 20), st.integers(1, 30))
def test_who_waits_as_long_as_told_is_granted_every_time(rate_per_s: float, burst: int, times: int) -> None:
    bucket, now_s = TokenBucket(rate_per_s, burst, 0.0), 0.0
    for _ in range(burst + times):
        wait_s = bucket.take(now_s)
        if wait_s:
            now_s += wait_s + 1e-6
            assert bucket.take(now_s) == 0.0


def test_keys_have_buckets_of_their_own() -> None:
    buckets = Buckets(1.0, 1)
    assert [buckets.take(key, 0.0) for key in ("a", "b", ("a", "b"), "a")] == [0.0, 0.0, 0.0, 1.0]


def test_a_key_that_is_forgotten_has_its_burst_again() -> None:
    buckets = Buckets(1.0, 1)
    buckets.take("a", 0.0)
    buckets.forget("a")
    buckets.forget("never seen")
    assert len(buckets) == 0
    assert buckets.take("a", 0.0) == 0.0


def test_a_token_that_is_given_back_can_be_taken_again() -> None:
    buckets = Buckets(1.0, 2)
    assert [buckets.take("a", 0.0) for _ in range(3)] == [0.0, 0.0, 1.0]
    buckets.give_back("a")
    assert [buckets.take("a", 0.0) for _ in range(2)] == [0.0, 1.0]


def test_beyond_the_bound_the_key_used_longest_ago_is_forgotten() -> None:
    buckets = Buckets(0.001, 1, at_most=3)
    for key in ("a", "b", "c"):
        buckets.take(key, 0.0)
    assert buckets.take("a", 0.0) > 0  # used again: "b" is the oldest now
    buckets.take("d", 0.0)
    assert len(buckets) == 3
    assert buckets.take("a", 0.0) > 0
    assert buckets.take("c", 0.0) > 0
    assert buckets.take("d", 0.0) > 0
    assert buckets.take("b", 0.0) == 0.0


def test_any_number_of_keys_costs_a_bounded_amount() -> None:
    buckets = Buckets(1.0, 1, at_most=10)
    for number in range(1_000):
        buckets.take(number, float(number))
        assert len(buckets) <= 10


class Holder:
    full_s = 0.0


def test_a_rate_grants_each_holder_what_a_bucket_of_its_own_would() -> None:
    rate, first, second = Rate(2.0, 3), Holder(), Holder()
    bucket = TokenBucket(2.0, 3, 100.0)
    for now_s in (100.0, 100.0, 100.0, 100.0, 100.5, 100.75, 101.0, 101.25, 200.0):
        assert rate.take(first, now_s) == pytest.approx(bucket.take(now_s))
    assert [rate.take(second, 200.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_what_is_given_back_for_a_key_that_is_forgotten_does_no_harm() -> None:
    buckets = Buckets(1.0, 2, at_most=1)
    buckets.take("a", 0.0)
    buckets.take("b", 0.0)
    buckets.give_back("a")
    assert len(buckets) == 1


def test_a_pause_is_told_in_whole_milliseconds_that_are_long_enough() -> None:
    assert [retry_ms(wait_s) for wait_s in (1e-9, 0.0004, 0.5, 1.2345)] == [1, 1, 501, 1235]
