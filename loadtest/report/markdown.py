"""A run as tables for the documentation, put between two marks of a page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from loadtest.report.compare import OURS, Case, Figures
from loadtest.report.model import MEANINGS, Run
from loadtest.report.targets import Verdict, judge
from loadtest.report.terminal import measured, number, quiet, title, wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

BEGIN = "<!-- figures: written by `python -m loadtest report` -->"
END = "<!-- end of the figures -->"


class NoPlace(Exception):
    """The page does not have the two marks."""


def write_into(page: str, tables: str) -> str:
    """Return a page with new tables between its marks.

    Raises:
        NoPlace: it has none.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NoPlace(f"the page needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


def tables(run: Run) -> str:
    """Return all tables of a run."""
    figures = Figures(run)
    parts = [_machine(run, figures), "### Targets", _targets(judge(figures))]
    for case in figures.cases:
        parts += [f"### {title(case)}", _case(figures, case)]
    return "\n\n".join([*parts, "### What each number means", _meanings(figures)])


def _machine(run: Run, figures: Figures) -> str:
    lines = [f"| {name} | {value} |" for name, value in run.machine.items()]
    lines += [f"| {peer} | {version} |" for peer, version in figures.versions.items()]
    lines += [f"| {peer} | not measured: {why} |" for peer, why in run.absent.items()]
    lines.append(f"| quiet | {quiet(run)} |")
    lines.append(f"| command | `{run.command}` (seed {run.seed}) |")
    wrong = sum(sum(result.violations.values()) for result in run.results)
    lines.append(f"| lost, doubled, out of order | {wrong or 'nothing'} |")
    return "\n".join(["| | |", "|---|---|", *lines])


def _targets(verdicts: Sequence[Verdict]) -> str:
    rows = [f"| {one.target.text} | {wanted(one)} | {measured(one)} | {one.text} |" for one in verdicts]
    return "\n".join(["| figure | target | measured | |", "|---|---:|---:|---|", *rows])


def _case(figures: Figures, case: Case) -> str:
    peers = figures.peers_of(case)
    head = "| | " + " | ".join(peers) + " |"
    rows = []
    for name in figures.names(case):
        cells = [_cell(figures, peer, case, name) for peer in peers]
        meaning = MEANINGS[name]
        unit = f", {meaning.unit}" if meaning.unit else ""
        rows.append(f"| {meaning.label}{unit} | " + " | ".join(cells) + " |")
    return "\n".join([head, "|---|" + "---:|" * len(peers), *rows])


def _cell(figures: Figures, peer: str, case: Case, name: str) -> str:
    """Write a median with its spread, and for a peer how many times ours that is."""
    one = figures.get(peer, case, name)
    if one is None:
        return "–"
    spread = f" ({number(one.low)}–{number(one.high)})" if one.runs > 1 else ""
    ours = figures.get(OURS, case, name)
    ratio = f" · {number(one.median / ours.median)}×" if peer != OURS and ours is not None and ours.median else ""
    return f"{number(one.median)}{spread}{ratio}"


def _meanings(figures: Figures) -> str:
    measured_names = dict.fromkeys(name for case in figures.cases for name in figures.names(case))
    rows = [f"| {MEANINGS[name].label} | {MEANINGS[name].unit} | {MEANINGS[name].text} |" for name in measured_names]
    return "\n".join(["| number | unit | meaning |", "|---|---|---|", *rows])
