"""Distributions of latency (HdrHistogram), and what repeated runs say together."""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hdrh.histogram import HdrHistogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LOWEST_US, _HIGHEST_US, _DIGITS = 1, 600_000_000, 3
PERCENTILES = (50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 100.0)
_CURVE = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 97.5, 99.0, 99.5, 99.9, 99.99, 100.0)


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution, in milliseconds.

    `at` holds (percentile, value); `curve` more of them, for plots.
    """

    count: int
    mean: float
    at: list[tuple[float, float]]
    curve: list[tuple[float, float]]

    def percentile(self, wanted: float) -> float:
        return dict(self.at)[wanted]


class Histogram:
    """Latencies from 1 µs to 10 minutes with three digits."""

    def __init__(self, encoded: Iterable[bytes] = ()) -> None:
        self._histogram = HdrHistogram(_LOWEST_US, _HIGHEST_US, _DIGITS)
        for one in encoded:
            self._histogram.decode_and_add(one)

    def add_ns(self, values: Iterable[int]) -> None:
        record = self._histogram.record_value
        for value in values:
            record(min(max(_LOWEST_US, value // 1000), _HIGHEST_US))

    def encode(self) -> bytes:
        """Return it as bytes that another process can add."""
        encoded: bytes = self._histogram.encode()
        return encoded

    def summary(self) -> Latency | None:
        """Return the distribution; None when nothing was recorded."""
        one = self._histogram
        if not one.total_count:
            return None

        def at(percentiles: Sequence[float]) -> list[tuple[float, float]]:
            return [(wanted, one.get_value_at_percentile(wanted) / 1000) for wanted in percentiles]

        return Latency(int(one.total_count), one.get_mean_value() / 1000, at(PERCENTILES), at(_CURVE))


@dataclass(frozen=True, slots=True)
class Figure:
    """One number from repeated runs: the median, and how far the runs lay apart."""

    median: float
    low: float
    high: float
    runs: int


def figure(values: Sequence[float]) -> Figure:
    """Sum repeated runs up.

    Raises:
        ValueError: there were none.
    """
    if not values:
        raise ValueError("no run gave this number")
    return Figure(statistics.median(values), min(values), max(values), len(values))
