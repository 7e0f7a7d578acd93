"""What a metric counted since one last looked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client.registry import Collector


class Window:
    """Looks at a counter or a histogram again and again.

    Args:
        metric: A metric of the Prometheus client.
        labels: Which of its samples count; all without.
    """

    def __init__(self, metric: Collector, **labels: str) -> None:
        self._metric = metric
        self._labels = labels.items()
        self._before: dict[str, float] = self._read()

    def growth(self) -> float:
        """Return by how much the counter, or the sum of the histogram, has grown."""
        now, before = self._read(), self._before
        self._before = now
        return now.get("total", 0.0) - before.get("total", 0.0)

    def quantile(self, share: float) -> float | None:
        """Return the value that this share of the observations does not exceed, None without observations.

        Within a bucket it is estimated along a straight line, as `histogram_quantile` of PromQL does; what lies beyond the
        last bound counts as that bound.
        """
        now, before = self._read(), self._before
        self._before = now
        buckets = sorted((float(le), now[le] - before.get(le, 0.0)) for le in now if le != "total")
        count = buckets[-1][1] if buckets else 0.0
        if count <= 0:
            return None
        wanted, low, below = share * count, 0.0, 0.0
        for bound, up_to in buckets:
            if up_to >= wanted:
                if math.isinf(bound):
                    return low
                return low + (bound - low) * (wanted - below) / (up_to - below)
            low, below = bound, up_to
        return low

    def _read(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for family in self._metric.collect():
            for sample in family.samples:
                if self._labels <= sample.labels.items():
                    if sample.name.endswith(("_total", "_sum")):
                        found["total"] = found.get("total", 0.0) + sample.value
                    elif sample.name.endswith("_bucket"):
                        le = sample.labels["le"]
                        found[le] = found.get(le, 0.0) + sample.value
        return found
