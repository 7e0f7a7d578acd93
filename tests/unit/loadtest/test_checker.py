"""The checker finds what is planted, and nothing else."""

from __future__ import annotations

import pytest

from loadtest.client.checker import Acks, Position, Violations


def position(at: int = 10) -> tuple[Violations, Position]:
    violations = Violations()
    one = Position(violations, "connection 0/0")
    one.subscribed(None, at, [])
    return violations, one


def test_events_in_order_are_fine() -> None:
    violations, one = position()
    one.delivered(11, 11)
    one.delivered(12, 20)
    assert not violations
    assert one.seq == 20


@pytest.mark.parametrize(
    ("deliveries", "kind"),
    [
        ([11, 13], "loss"),
        ([11, 11], "double or disorder"),
        ([12, 11], "loss"),
        ([11, 12, 13, 12], "double or disorder"),
        ([10], "double or disorder"),
    ],
)
def test_loss_doubles_and_disorder_are_found(deliveries: list[int], kind: str) -> None:
    violations, one = position()
    for seq in deliveries:
        one.delivered(seq, seq)
    assert violations.counts[kind] == 1


def test_what_came_too_early_is_found_when_it_comes_again_in_its_place() -> None:
    violations, one = position()
    for seq in (12, 11, 13):
        one.delivered(seq, seq)
    assert violations.counts == {"loss": 1, "double or disorder": 1}


def test_an_event_before_the_subscription_is_stray() -> None:
    violations = Violations()
    Position(violations, "connection 0/0").delivered(5, 5)
    assert violations.counts == {"stray": 1}


def test_a_resume_brings_all_that_was_missed() -> None:
    violations, one = position()
    assert one.subscribed(10, 13, [11, 12, 13]) == 3
    one.delivered(14, 14)
    assert not violations


@pytest.mark.parametrize("events", [[], [11, 12], [12, 13], [11, 12, 12, 13], [11, 13, 12]])
def test_a_partial_resume_is_found(events: list[int]) -> None:
    violations, one = position()
    one.subscribed(10, 13, events)
    assert violations.counts == {"resume": 1}


def test_a_reset_starts_at_the_head() -> None:
    violations, one = position()
    assert one.subscribed(10, 5000, None) == 0
    one.delivered(5001, 5001)
    assert not violations


@pytest.mark.parametrize(("seqs", "kind"), [([1, 2, 2], "ack twice"), ([1, 2, 4], "ack hole")])
def test_acks_that_cannot_be_are_found(seqs: list[int], kind: str) -> None:
    violations = Violations()
    acks = Acks(violations)
    for seq in seqs:
        acks.add("r", seq)
    acks.check_dense()
    assert violations.counts == {kind: 1}


def test_acks_may_come_in_any_order() -> None:
    violations = Violations()
    acks = Acks(violations)
    for seq in (7, 5, 6):
        acks.add("r", seq)
    acks.check_dense()
    assert not violations
    assert acks.heads() == {"r": 7}


def test_only_the_first_findings_are_kept_in_words() -> None:
    violations = Violations()
    for number in range(1000):
        violations.add("loss", str(number))
    assert violations.counts["loss"] == 1000
    assert len(violations.shown) == 20
