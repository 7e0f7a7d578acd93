"""Counters and histograms for what happens tens of thousands of times a second: plain numbers, turned into Prometheus' form
when somebody reads them. One thread alone may count. A labelled counter of the library costs 1.8 µs each time, these 0.2 to 0.4.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric


class Counts(Collector):
    """A counter.

    Args:
        name: Without the suffix `_total`.
        labels: Their names; values must come from a bounded set.
    """

    def __init__(self, name: str, documentation: str, labels: Sequence[str], *, registry: CollectorRegistry) -> None:
        self._name = name
        self._documentation = documentation
        self._labels = labels
        self._values: dict[tuple[str, ...], int] = {}
        registry.register(self)

    def add(self, key: tuple[str, ...], number: int = 1) -> None:
        """Count; `key` has a value for each label."""
        self._values[key] = self._values.get(key, 0) + number

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labels)
        for key, number in self._values.items():
            family.add_metric(key, number)
        yield family

    def describe(self) -> Iterator[Metric]:
        yield CounterMetricFamily(self._name, self._documentation, labels=self._labels)


class Durations(Collector):
    """A histogram of seconds by one label.

    Args:
        bounds_s: Upper bounds of the buckets, ascending; one for all the rest is added.
    """

    def __init__(
        self, name: str, documentation: str, label: str, bounds_s: Sequence[float], *, registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._label = label
        self._bounds_s = tuple(bounds_s)
        self._counts: dict[str, list[int]] = {}
        self._sums_s: dict[str, float] = {}
        registry.register(self)

    def observe(self, key: str, seconds: float) -> None:
        """Count one duration; `key` is the label's value, from a bounded set."""
        counts = self._counts.get(key)
        if counts is None:
            counts = self._counts[key] = [0] * (len(self._bounds_s) + 1)
            self._sums_s[key] = 0.0
        counts[bisect_left(self._bounds_s, seconds)] += 1
        self._sums_s[key] += seconds

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(self._name, self._documentation, labels=[self._label])
        names = [str(float(bound)) for bound in self._bounds_s] + ["+Inf"]
        for key, counts in self._counts.items():
            family.add_metric([key], list(zip(names, accumulate(counts), strict=True)), self._sums_s[key])
        yield family

    def describe(self) -> Iterator[Metric]:
        yield HistogramMetricFamily(self._name, self._documentation, labels=[self._label])
