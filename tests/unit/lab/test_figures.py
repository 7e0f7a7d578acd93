"""The figures of a record, on records that one can reckon by hand."""

from __future__ import annotations

import math

import pytest

from tests.cluster.lab import figures
from tests.cluster.lab.record import Connection, Delivered, Period, Record, Sent, Subscribed


@pytest.fixture
def record() -> Record:
    """One message from n0, got on n0 after 10 ms and on n1 after 40 ms; another was tried twice."""
    made = Record(1, 100.0, finished_s=110.0)
    made.sent = [
        Sent(0, 1, "anna", "room", "a-1", 101.0, 101.02, "ok", 1),
        Sent(0, 2, "anna", "room", "a-2", 103.0),
        Sent(2, 1, "anna", "room", "a-2", 106.0, 106.5, "ok", 2, duplicate=True),
    ]
    made.connections = [
        Connection(0, 0, "anna", 100.0, "n0", 100.1, 100.2, closed_s=104.0),
        Connection(1, 1, "bert", 100.0, "n1", 100.1, 100.2),
        Connection(2, 0, "anna", 105.0, "n2", 105.1, 105.5),
    ]
    made.connections[0].items.append(Delivered("room", 101.01, 1, "a-1"))
    made.connections[1].items += [Delivered("room", 101.04, 1, "a-1"), Delivered("room", 103.1, 2, "a-2")]
    return made


def test_percentiles_are_values_that_occurred() -> None:
    assert figures.percentile([4, 1, 3, 2], 0.5) == 2
    assert figures.percentile(range(1, 101), 0.99) == 99
    assert math.isnan(figures.percentile([], 0.5))


def test_only_messages_tried_once_have_a_latency(record: Record) -> None:
    found = figures.deliveries(record)
    assert [round(one.latency_s, 3) for one in found] == [0.01, 0.04]
    assert [round(one, 3) for one in figures.cross_latencies(found, 100, 102)] == [0.04]
    assert figures.cross_latencies(found, 101.5, 110) == []


def test_whoever_stopped_reading_is_no_measure(record: Record) -> None:
    record.connections[1].stopped_s = 101.03
    assert [round(one.latency_s, 3) for one in figures.deliveries(record)] == [0.01]


def test_a_resume_is_measured_from_the_loss_to_the_next_subscription(record: Record) -> None:
    assert figures.resumes(record.connections, 103, 110) == [1.5]
    assert figures.resumes(record.connections, 105, 110) == []
    record.connections[2].subscribed_s = 0.0
    assert figures.resumes(record.connections, 103, 110) == [math.inf]


def test_figures_of_a_whole_run(record: Record) -> None:
    found = figures.figures(record, [Period("a fault", 102.0, 105.0)])
    assert found["messages"] == 2 and found["acked"] == 2 and found["tries"] == 3 and found["unknown"] == 1
    assert found["lost_connections"] == 1 and found["resume_max_s"] == 1.5
    assert found["answer_max_s"] == pytest.approx(0.5)
    assert found["cross_p99_before_s"] == pytest.approx(0.04)
    assert "cross_p99_during_s" not in found, "nothing was sent in it that was tried once"


def test_buckets_count_by_time(record: Record) -> None:
    made = figures.buckets(record, figures.deliveries(record))
    assert len(made) == 20
    assert [bucket.live for bucket in made[:2]] == [2, 2] and made[8].live == 1 and made[11].live == 2
    assert made[2].sent == made[2].acked == 1 and made[2].delivered == 2
    assert made[2].max_s == pytest.approx(0.04) and made[3].max_s == -1


def test_what_was_missed_counts_for_the_resume_and_not_as_live(record: Record) -> None:
    back = record.connections[2]
    back.items += [Subscribed("room", 105.5, 0, 0, False, [], behind=1), Delivered("room", 105.8, 1, "a-1")]
    assert [round(one.latency_s, 3) for one in figures.deliveries(record)] == [0.01, 0.04]
    assert [round(one, 3) for one in figures.resumes(record.connections, 103, 110)] == [1.8]
    back.items.pop()
    assert figures.resumes(record.connections, 103, 110) == [math.inf]
    back.closed_s = 106.0
    assert figures.resumes(record.connections, 103, 105) == [1.5]
