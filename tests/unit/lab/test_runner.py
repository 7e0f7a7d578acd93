"""A run is judged by what was measured, and what was not measured is no success."""

from __future__ import annotations

import math

import pytest

from tests.cluster.lab import report
from tests.cluster.lab.runner import Result, Run, Scenario, Size


async def nothing(_run: Run) -> None:
    """Do no harm."""


def result(**figures: float) -> Result:
    scenario = Scenario("a_fault", "a fault", nothing, {"resume_p99_s": 10.0}, {"lost_connections": 1.0})
    usual = {"acked_lost": 0.0, "doubled": 0.0, "ready_again_s": 0.1, "resume_p99_s": 2.0, "lost_connections": 5.0}
    return Result(scenario, Size(), 1, [], usual | figures, [], [], 0.0)


def test_figures_within_their_limits_are_kept() -> None:
    assert result().over == {} and report.verdict(result()) == "kept"


def test_figures_above_their_limits_are_named() -> None:
    assert result(resume_p99_s=10.1).over == {"resume_p99_s": 10.1}
    assert result(resume_p99_s=math.inf).over == {"resume_p99_s": math.inf}
    assert result(acked_lost=1.0).over == {"acked_lost": 1.0}
    assert result(ready_again_s=11.0).over == {"ready_again_s": 11.0}


def test_a_figure_that_was_not_measured_is_not_kept() -> None:
    one = result()
    del one.figures["resume_p99_s"]
    assert list(one.over) == ["resume_p99_s"]
    assert report.verdict(one) == "over: resume_p99_s not measured"


def test_a_fault_that_nobody_felt_shows_nothing() -> None:
    assert result(lost_connections=0.0).over == {"lost_connections": 0.0}


def test_a_table_takes_the_place_of_the_one_before() -> None:
    page = f"Words.\n\n{report.BEGIN}\n\nold\n\n{report.END}\nMore words.\n"
    made = report.write_into(page, report.markdown([result()]))
    assert made.startswith("Words.") and made.endswith("More words.\n") and "old" not in made
    assert "| a fault |" in made and "| kept |" in made and "seed 1" in made
    with pytest.raises(ValueError, match="needs the lines"):
        report.write_into("no marks", "")
