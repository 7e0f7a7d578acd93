"""Reports say what was measured, and nothing else."""

from __future__ import annotations

import pathlib
import xml.etree.ElementTree as ElementTree

import pytest

from loadtest import bench
from loadtest.measure.stats import Histogram
from loadtest.peers.names import PEERS
from loadtest.report import html, markdown, plots
from loadtest.report.compare import FLOOR, NATS, NODE, OURS, Case, Figures
from loadtest.report.model import MEANINGS, Result, Run, Series
from loadtest.report.targets import Target, Verdict, judge
from loadtest.report.terminal import number
from loadtest.scenarios.names import SCENARIOS


def result(peer: str, scenario: str, numbers: dict[str, float], **parameters: int) -> Result:
    return Result(scenario, peer, "1.0", parameters, numbers)


def run_of(*results: Result) -> Run:
    return Run({"processor": "one"}, "python -m loadtest bench", 7, list(results))


def a_run() -> Run:
    histogram = Histogram()
    histogram.add_ns(range(1_000_000, 50_000_000, 1_000_000))
    ours = [
        result(OURS, "connect", {"connect_cpu_us": cost, "memory_kib": 3.0}, connections=2000) for cost in (100.0, 140.0, 120.0)
    ]
    ours[0].latency = histogram.summary()
    ours[0].series = [Series("CPU of the server", "% of a core", [(0.0, 1.0), (1.0, 3.5)])]
    return run_of(*ours, result(NODE, "connect", {"connect_cpu_us": 200.0, "memory_kib": 20.0}, connections=2000))


def test_repetitions_become_their_median() -> None:
    figures = Figures(a_run())
    one = figures.get(OURS, Case("connect", 2000), "connect_cpu_us")
    assert one is not None
    assert (one.median, one.low, one.high, one.runs) == (120.0, 100.0, 140.0, 3)
    assert figures.ratio("connect", "connect_cpu_us", NODE) == pytest.approx(0.6)
    assert figures.ratio("connect", "connect_cpu_us", NATS) is None


def test_sizes_are_not_mixed() -> None:
    figures = Figures(
        run_of(
            *(
                result(OURS, "fanout", {"burst_cpu_us": cost}, members=size)
                for size, cost in ((100, 9.0), (1000, 1.0), (10_000, 5.0))
            ),
            result(NATS, "fanout", {"burst_cpu_us": 2.0}, members=1000),
        )
    )
    assert figures.ratio("fanout", "burst_cpu_us", NATS) == 0.5
    verdicts = {verdict.target.text: verdict for verdict in judge(figures)}
    assert verdicts["cost per delivery in bursts, 100 → 10,000 members: highest over lowest"].measured == 9.0


@pytest.mark.parametrize(
    ("goal", "at_most", "measured", "reached", "text"),
    [
        (10.0, True, 10.0, True, "reached"),
        (10.0, True, 15.0, False, "missed by 50%"),
        (4000.0, False, 5000.0, True, "reached"),
        (4000.0, False, 3000.0, False, "missed by 25%"),
        (1.0, True, None, None, "not measured"),
    ],
)
def test_a_target_says_by_how_much_it_was_missed(
    goal: float, at_most: bool, measured: float | None, reached: bool | None, text: str
) -> None:
    verdict = Verdict(Target("x", goal, "", lambda _figures: None, at_most), measured)
    assert (verdict.reached, verdict.text) == (reached, text)


def test_a_smaller_storm_does_not_count_for_the_target() -> None:
    verdicts = judge(Figures(run_of(result(OURS, "storm", {"storm_s": 1.0}, connections=500))))
    assert {verdict.measured for verdict in verdicts} == {None}


def test_targets_name_numbers_that_scenarios_give() -> None:
    numbers = dict.fromkeys(MEANINGS, 1.0)
    sizes = [{"members": 100}, {"members": 1000}, {"members": 10_000}, {"connections": 2000}, {"connections": 10_000}]
    results = [
        result(peer, scenario, numbers, **size) for peer in (OURS, NODE, NATS, FLOOR) for scenario in SCENARIOS for size in sizes
    ]
    assert all(verdict.measured == 1.0 for verdict in judge(Figures(run_of(*results))))


def test_a_run_reads_back_from_its_json() -> None:
    run = a_run()
    assert Run.from_json(run.to_json()) == run


def test_the_page_needs_nothing_else_and_escapes_what_it_shows() -> None:
    run = a_run()
    run.results[0].shown = ["loss: <b>7</b>"]
    page = html.page(run)
    outside = page.replace("http://www.w3.org/2000/svg", "")
    assert "http" not in outside
    assert "<script" not in page
    assert "<b>7</b>" not in page
    assert "&lt;b&gt;7" in page
    assert "missed" not in page.partition("<h2>Targets")[2].partition("</tr>")[0]


def test_plots_are_svg() -> None:
    drawn = plots.bars([(OURS, 3.36), (NODE, 40.9)])
    assert ElementTree.fromstring(drawn).tag == "{http://www.w3.org/2000/svg}svg"
    assert "roomwire: 3.36" in drawn


@pytest.mark.parametrize(("low", "high"), [(0.2, 0.3), (1.0, 10.0), (0.5, 90_000.0), (3.0, 3.0)])
def test_marks_of_a_logarithmic_axis_lie_inside_and_are_few(low: float, high: float) -> None:
    marks = plots.steps(low, high)
    assert 1 <= len(marks) <= 8
    assert all(low <= mark <= high for mark in marks)


def test_tables_go_between_the_marks_and_again() -> None:
    page = f"before\n{markdown.BEGIN}\nold\n{markdown.END}\nafter\n"
    written = markdown.write_into(page, markdown.tables(a_run()))
    assert "old" not in written
    assert written.startswith("before\n")
    assert written.endswith("\nafter\n")
    assert "120 (100–140)" in written
    assert "200 · 1.67×" in written
    assert markdown.write_into(written, "new") == markdown.write_into(page, "new")
    with pytest.raises(markdown.NoPlace):
        markdown.write_into("no marks", "new")


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.06667, "0.067"), (3.361, "3.36"), (41.27, "41.3"), (1234567.8, "1,234,568")]
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_the_page_of_the_documentation_has_its_marks_and_names_every_scenario() -> None:
    page = (pathlib.Path(bench.__file__).parents[1] / "docs" / "performance.md").read_text()
    assert markdown.write_into(page, "x") != page
    assert [name for name in SCENARIOS if f"`{name}`" not in page] == []


def test_a_failed_check_fails_the_run() -> None:
    run = a_run()
    assert not run.failed
    run.results[-1].violations = {"loss": 1}
    assert run.failed


@pytest.mark.parametrize("plan", [bench.FULL, bench.QUICK])
def test_plans_name_what_there_is(plan: bench.Plan) -> None:
    assert set(plan.peers) <= set(PEERS)
    assert {step.scenario for step in (*plan.shared, *plan.alone)} <= set(SCENARIOS)
    installed = [PEERS[name]() for name in plan.peers]
    assert bench.steps_of(plan, installed) >= len(plan.peers) + len(plan.alone)


def test_what_a_release_up_to_0_2_measured_and_shows_is_read_under_todays_names(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_of(result("realtime", "connect", {"connect_cpu_us": 1.0}))
    assert [one.peer for one in Run.from_json(run.to_json()).results] == [OURS]
    page = 'realtime_loop_lag_seconds_bucket{le="0.1"} 2\nroomwire_deliveries_total 3\nmy_realtime_total 4\n'
    monkeypatch.setattr("loadtest.peers.base.get", lambda *_: page)
    shown = PEERS[OURS]().metrics()
    assert shown is not None
    assert (shown.buckets, shown.values) == (
        {"roomwire_loop_lag_seconds": {0.1: 2.0}},
        {"roomwire_deliveries_total": 3.0, "my_realtime_total": 4.0},
    )
