"""Reads a Prometheus page: counters by name, and quantiles of what a histogram gained between two readings. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_SAMPLE = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)")
_LE = re.compile(r'le="([^"]+)"')


@dataclass(frozen=True, slots=True)
class Page:
    """Sums over labels, and buckets of histograms."""

    values: dict[str, float] = field(default_factory=dict)
    buckets: dict[str, dict[float, float]] = field(default_factory=dict)

    def get(self, name: str) -> float | None:
        return self.values.get(name)


def parse(text: str) -> Page:
    """Read the text format, version 0.0.4. Labels other than `le` are summed over."""
    page = Page()
    for line in text.splitlines():
        found = _SAMPLE.match(line)
        if found is None:
            continue
        name, labels, value = found[1], found[2] or "", float(found[3])
        bound = _LE.search(labels)
        if name.endswith("_bucket") and bound is not None:
            buckets = page.buckets.setdefault(name.removesuffix("_bucket"), {})
            at = float(bound[1])
            buckets[at] = buckets.get(at, 0.0) + value
        else:
            page.values[name] = page.values.get(name, 0.0) + value
    return page


def gained(before: Page, after: Page, name: str) -> float | None:
    """Return by how much a value grew; None where the server does not show it."""
    new = after.get(name)
    return None if new is None else new - (before.get(name) or 0.0)


def quantile(before: Page, after: Page, histogram: str, wanted: float) -> float | None:
    """Return the upper bound of the bucket that holds a quantile of what came between two readings.

    Args:
        wanted: From 0 to 1.

    Returns:
        The bound, infinite for the last bucket; None when nothing came.
    """
    new, old = after.buckets.get(histogram, {}), before.buckets.get(histogram, {})
    counts = sorted((bound, count - old.get(bound, 0.0)) for bound, count in new.items())
    if not counts or counts[-1][1] <= 0:
        return None
    rank = wanted * counts[-1][1]
    return next(bound for bound, count in counts if count >= rank)
