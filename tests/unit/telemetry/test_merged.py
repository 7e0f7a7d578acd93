"""Pages of several workers as one page."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families

from realtime.telemetry import merged
from realtime.telemetry.metrics import Metrics


def test_every_sample_of_every_worker_is_there_once_under_its_label() -> None:
    pages: dict[int, bytes] = {}
    for index in (3, 0):
        metrics = Metrics()
        metrics.closed.labels("client").inc(index + 1)
        metrics.requested('a"\\b', "ok", 0.003)
        metrics.flushed(7, 0.003)
        pages[index] = metrics.render()[0]
    whole = list(text_string_to_metric_families(merged.page(pages).decode()))
    assert len({family.name for family in whole}) == len(whole), "a family stands in one place"
    for index, text in pages.items():
        for family in text_string_to_metric_families(text.decode()):
            [same] = [one for one in whole if one.name == family.name]
            assert (same.type, same.documentation) == (family.type, family.documentation)
            own = [sample for sample in same.samples if sample.labels["worker"] == str(index)]
            assert [(one.name, {**one.labels, "worker": str(index)}, one.value) for one in family.samples] == [
                (one.name, one.labels, one.value) for one in own
            ]
