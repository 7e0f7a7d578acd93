"""Plain counters against the library's own: the same page."""

from __future__ import annotations

import random

from prometheus_client import CollectorRegistry, Counter, Histogram, exposition

from realtime.telemetry.counts import Counts, Durations

BOUNDS_S = (0.001, 0.01, 0.1, 1, 2.5)


def page(registry: CollectorRegistry) -> list[str]:
    lines = exposition.generate_latest(registry).decode().splitlines()
    return [line for line in lines if "_created" not in line]


def test_a_counter_is_written_as_the_library_writes_it() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    counts = Counts("jobs", "Jobs done.", ["kind", "outcome"], registry=ours)
    library = Counter("jobs", "Jobs done.", ["kind", "outcome"], registry=theirs)
    for key, number in ((("a", "ok"), 2), (('quote"', "back\\slash"), 1), (("a", "ok"), 1)):
        counts.add(key, number)
        library.labels(*key).inc(number)
    assert page(ours) == page(theirs)
    assert 'jobs_total{kind="a",outcome="ok"} 3.0' in page(ours)


def test_a_histogram_is_written_as_the_library_writes_it() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    durations = Durations("work_seconds", "Time of work.", "kind", BOUNDS_S, registry=ours)
    library = Histogram("work_seconds", "Time of work.", ["kind"], buckets=BOUNDS_S, registry=theirs)
    choose = random.Random(7)
    seconds = [*BOUNDS_S, 0.0, 1e9, *(choose.expovariate(5) for _ in range(500))]
    for at, one in enumerate(seconds):
        kind = "ab"[at % 2]
        durations.observe(kind, one)
        library.labels(kind).observe(one)
    assert page(ours) == page(theirs)


def test_what_never_happened_has_a_name_and_no_samples() -> None:
    registry = CollectorRegistry()
    Counts("jobs", "Jobs done.", ["kind"], registry=registry)
    Durations("work_seconds", "Time of work.", "kind", BOUNDS_S, registry=registry)
    assert page(registry) == [
        "# HELP jobs_total Jobs done.",
        "# TYPE jobs_total counter",
        "# HELP work_seconds Time of work.",
        "# TYPE work_seconds histogram",
    ]
