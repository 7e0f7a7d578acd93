"""Waiting for a sign of life: what counts is time in which the one who waits ran itself."""

from __future__ import annotations

from realtime.node.patience import Patience


def test_it_runs_out_after_its_time_without_a_sign() -> None:
    patience = Patience(15, 100.0)
    assert not any(patience.over(100.0 + second) for second in range(1, 15))
    assert patience.over(115.0)


def test_a_sign_begins_it_anew() -> None:
    patience = Patience(3, 0.0)
    for second in range(1, 100):
        patience.sign()
        assert not patience.over(float(second))


def test_a_freeze_of_the_one_who_waits_is_nobody_elses_silence() -> None:
    patience = Patience(15, 0.0)
    assert not patience.over(1.0)
    assert not patience.over(3600.0), "an hour in which nobody ran"
    assert not any(patience.over(3600.0 + second) for second in range(1, 12))
    assert patience.over(3612.0), "whoever is silent afterwards is found all the same"


def test_a_clock_that_jumps_back_costs_nothing() -> None:
    patience = Patience(2, 100.0)
    assert not patience.over(50.0)
    assert not patience.over(51.0)
    assert patience.over(52.0)


def test_a_sign_may_change_how_long_to_wait_from_then_on() -> None:
    patience = Patience(60, 0.0)
    patience.sign(2)
    assert not patience.over(1.0)
    assert patience.over(2.0)
