"""One Prometheus page out of the pages of several processes that share a port. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import exposition
from prometheus_client.core import Metric
from prometheus_client.parser import text_string_to_metric_families

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LABEL = "worker"


class _Families:
    """What the exposition wants of a registry."""

    def __init__(self, families: Mapping[str, Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families.values()


def page(pages: Mapping[int, bytes]) -> bytes:
    """Put a label `worker` on every sample and write the samples of one family together.

    Args:
        pages: By the worker's index. One that is missing is missing on the page.
    """
    families: dict[str, Metric] = {}
    for index, text in sorted(pages.items()):
        for family in text_string_to_metric_families(text.decode()):
            whole = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                whole.samples.append(sample._replace(labels={LABEL: str(index), **sample.labels}))
    return exposition.generate_latest(_Families(families))
