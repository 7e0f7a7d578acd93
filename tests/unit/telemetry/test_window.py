"""What a metric counted since the last look, reckoned by hand."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram

from realtime.telemetry.counts import Counts, Durations
from realtime.telemetry.window import Window


def test_a_counter_grows_from_one_look_to_the_next() -> None:
    counter = Counter("jobs", "Jobs.", ["kind"], registry=CollectorRegistry())
    counter.labels("a").inc(5)
    window, of_b = Window(counter), Window(counter, kind="b")
    counter.labels("a").inc(2)
    counter.labels("b").inc(1)
    assert (window.growth(), of_b.growth()) == (3, 1)
    assert window.growth() == 0


def test_the_sum_of_a_histogram_is_a_counter() -> None:
    sizes = Histogram("sizes", "Sizes.", buckets=(1, 10), registry=CollectorRegistry())
    window = Window(sizes)
    sizes.observe(3)
    sizes.observe(20)
    assert window.growth() == 23


def test_a_quantile_is_of_what_came_since() -> None:
    times = Durations("times", "Times.", "event", (0.1, 0.2, 0.4), registry=CollectorRegistry())
    times.observe("send", 5)
    window = Window(times, event="send")
    assert window.quantile(0.99) is None
    for _ in range(98):
        times.observe("send", 0.05)
        times.observe("other", 3)
    times.observe("send", 0.3)
    times.observe("send", 0.3)
    assert window.quantile(0.5) == pytest.approx(0.1 * 49 / 98 + 0.1 / 98, abs=0.001)
    times.observe("send", 0.3)
    assert window.quantile(0.5) == pytest.approx(0.3), "along a straight line from 0.2 to 0.4"
    times.observe("send", 9)
    assert window.quantile(0.99) == 0.4, "beyond the last bound"


def test_counts_are_windows_too() -> None:
    counts = Counts("requests", "Requests.", ["event", "outcome"], registry=CollectorRegistry())
    window = Window(counts)
    counts.add(("send", "ok"), 4)
    assert window.growth() == 4
