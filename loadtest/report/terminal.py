"""A run as tables in the terminal."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from loadtest.report.compare import OURS, Case, Figures
from loadtest.report.model import MEANINGS
from loadtest.report.targets import Verdict, judge

if TYPE_CHECKING:
    from rich.console import Console

    from loadtest.report.model import Result, Run


def show(run: Run, console: Console) -> None:
    """Print each result as a table, then what was wrong."""
    for result in run.results:
        console.print(Text(f"\n{result.scenario}: {result.peer} ({result.version})", style="bold"))
        console.print(Text(", ".join(f"{name} {value}" for name, value in result.parameters.items()), style="dim"))
        console.print(_table(result))
        if result.others is not None:
            console.print(
                Text(
                    f"  other programs took {result.others:.0%} of the machine", style="dim" if result.others < 0.1 else "yellow"
                )
            )
        for note in result.notes:
            console.print(Text(f"  {note}", style="dim"))
    _wrong(run, console)


def _wrong(run: Run, console: Console) -> None:
    for name, why in run.absent.items():
        console.print(Text(f"not measured: {name}: {why}", style="yellow"))
    wrong = sum(sum(result.violations.values()) for result in run.results)
    for result in run.results:
        for line in result.shown:
            console.print(Text(f"✗ {result.scenario}, {result.peer}: {line}", style="red"))
    if wrong:
        console.print(Text(f"{wrong} violations: something was lost, doubled, out of order or refused", style="bold red"))
    else:
        console.print(Text("nothing lost, nothing doubled, everything in order", style="green"))


def compare(run: Run, console: Console) -> None:
    """Print repeated runs side by side, ours first, with ratios, and the targets."""
    figures = Figures(run)
    for case in figures.cases:
        peers = figures.peers_of(case)
        table = Table(title=title(case), box=box.SIMPLE, title_justify="left", title_style="bold")
        table.add_column("")
        for peer in peers:
            table.add_column(peer, justify="right")
        for name in figures.names(case):
            label = f"{MEANINGS[name].label}, {MEANINGS[name].unit}".rstrip(", ")
            table.add_row(label, *(_cell(figures, peer, case, name) for peer in peers))
        console.print(table)
    console.print(Text("× is how many times ours", style="dim"))
    table = Table(title="targets", box=box.SIMPLE, title_justify="left", title_style="bold")
    table.add_column("")
    for head in ("target", "measured"):
        table.add_column(head, justify="right")
    table.add_column("")
    for one in judge(figures):
        style = {True: "green", False: "red", None: "dim"}[one.reached]
        table.add_row(one.target.text, wanted(one), measured(one), Text(one.text, style=style))
    console.print(table)
    console.print(Text(quiet(run), style="dim"))
    _wrong(run, console)


def quiet(run: Run) -> str:
    """Say how much of the machine the run had for itself."""
    shares = [result.others for result in run.results if result.others is not None]
    if not shares:
        return "what else the machine did is not known"
    return f"other programs took {statistics.median(shares):.0%} of the machine (at most {max(shares):.0%}) while it ran"


def _cell(figures: Figures, peer: str, case: Case, name: str) -> str:
    one, ours = figures.get(peer, case, name), figures.get(OURS, case, name)
    if one is None:
        return "–"
    ratio = f"\n{number(one.median / ours.median)}×" if peer != OURS and ours is not None and ours.median else ""
    return number(one.median) + ratio


def title(case: Case) -> str:
    """Name a case."""
    sizes = {"fanout": "members", "chat": "members a room"}
    return f"{case.scenario}, {case.size:,} {sizes.get(case.scenario, 'connections')}" if case.size else case.scenario


def measured(verdict: Verdict) -> str:
    """Write what was measured, with its unit."""
    return "–" if verdict.measured is None else f"{number(verdict.measured)} {verdict.target.unit}".strip()


def wanted(verdict: Verdict) -> str:
    """Write what was to be reached."""
    sign = "≤" if verdict.target.at_most else "≥"
    return f"{sign} {number(verdict.target.goal)} {verdict.target.unit}".strip()


def number(value: float) -> str:
    """Write a number with three digits that say something."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3f}"


def _table(result: Result) -> Table:
    table = Table(show_header=False, box=box.SIMPLE)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("")
    for key, value in result.numbers.items():
        meaning = MEANINGS[key]
        table.add_row(meaning.label, number(value), meaning.unit)
    if result.latency is not None:
        for percentile, value in result.latency.at:
            table.add_row("maximum" if percentile == 100 else f"p{percentile:g}", number(value), "ms")
    return table
