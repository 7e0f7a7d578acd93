"""Distributions, /proc and Prometheus pages."""

from __future__ import annotations

import os
import time

import pytest

from loadtest.measure import machine, process, prometheus
from loadtest.measure.stats import Histogram, figure


def test_percentiles_are_right_to_three_digits() -> None:
    histogram = Histogram()
    histogram.add_ns(number * 1_000_000 for number in range(1, 1001))
    summary = histogram.summary()
    assert summary is not None
    assert summary.count == 1000
    assert summary.mean == pytest.approx(500.5, rel=1e-3)
    for wanted in (50.0, 90.0, 99.0, 99.9):
        assert summary.percentile(wanted) == pytest.approx(wanted * 10, rel=2e-3)


def test_histograms_of_several_processes_add_up() -> None:
    low, high = Histogram(), Histogram()
    low.add_ns([1_000_000] * 99)
    high.add_ns([500_000_000])
    summary = Histogram([low.encode(), high.encode()]).summary()
    assert summary is not None
    assert summary.count == 100
    assert summary.percentile(50.0) == pytest.approx(1.0, rel=1e-3)
    assert summary.percentile(100.0) == pytest.approx(500.0, rel=1e-3)


def test_nothing_recorded_is_no_distribution() -> None:
    assert Histogram().summary() is None


def test_repeated_runs_give_their_median_and_spread() -> None:
    one = figure([3.0, 1.0, 10.0])
    assert (one.median, one.low, one.high, one.runs) == (3.0, 1.0, 10.0, 3)
    with pytest.raises(ValueError, match="no run"):
        figure([])


def test_a_line_of_stat_is_read_whatever_the_name_of_the_process() -> None:
    tick = os.sysconf("SC_CLK_TCK")
    line = f"77 (a) b (c) S 5 77 77 0 -1 4194560 1 2 3 4 {2 * tick} {tick} {4 * tick} {tick} 20 0 1 0 100"
    assert process.parse_stat(line) == (77, "a) b (c", 5, 3.0, 5.0)


def test_own_cpu_and_memory_are_seen() -> None:
    before = process.cpu(os.getpid())
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert process.cpu(os.getpid()).since(before).server_s >= 0.05
    assert process.memory_kib(os.getpid()) > 1000


def test_own_work_is_not_counted_as_others() -> None:
    others, begun = machine.Others(process.Cpu(0.0, 0.0)), time.monotonic()
    end = time.process_time() + 0.2
    while time.process_time() < end:
        pass
    own_share = 0.2 / (time.monotonic() - begun) / (os.cpu_count() or 1)
    assert 0 <= others.share(process.Cpu(0.0, 0.0)) <= 1 - own_share + 0.1


def test_private_pages_are_summed() -> None:
    assert process.parse_private_kib("Rss: 9 kB\nPrivate_Clean:  3 kB\nPrivate_Dirty:  4 kB\nShared_Dirty: 5 kB\n") == 7


BEFORE = """
# HELP x Text.
# TYPE x counter
x_total{event="a"} 5.0
x_total{event="b"} 1.0
lag_bucket{le="0.01"} 10.0
lag_bucket{le="0.1"} 10.0
lag_bucket{le="+Inf"} 10.0
"""
AFTER = """
x_total{event="a"} 7.0
x_total{event="b"} 4.0
lag_bucket{le="0.01"} 108.0
lag_bucket{le="0.1"} 110.0
lag_bucket{le="+Inf"} 110.0
"""


def test_counters_are_summed_over_their_labels() -> None:
    before, after = prometheus.parse(BEFORE), prometheus.parse(AFTER)
    assert prometheus.gained(before, after, "x_total") == 5.0
    assert prometheus.gained(before, after, "y_total") is None


def test_a_quantile_is_of_what_came_in_between() -> None:
    before, after = prometheus.parse(BEFORE), prometheus.parse(AFTER)
    assert prometheus.quantile(before, after, "lag", 0.5) == 0.01
    assert prometheus.quantile(before, after, "lag", 0.99) == 0.1
    assert prometheus.quantile(after, after, "lag", 0.99) is None
