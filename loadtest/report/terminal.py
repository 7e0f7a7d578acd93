"""A run as tables in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.table import Table
from rich.text import Text

from loadtest.report.model import MEANINGS

if TYPE_CHECKING:
    from rich.console import Console

    from loadtest.report.model import Result, Run


def show(run: Run, console: Console) -> None:
    """Print each result as a table, then what was wrong."""
    for result in run.results:
        console.print(Text(f"\n{result.scenario}: {result.peer} ({result.version})", style="bold"))
        console.print(Text(", ".join(f"{name} {value}" for name, value in result.parameters.items()), style="dim"))
        console.print(_table(result))
        for line in result.shown:
            console.print(Text(f"  ✗ {line}", style="red"))
        for note in result.notes:
            console.print(Text(f"  {note}", style="dim"))
    for name, why in run.absent.items():
        console.print(Text(f"not measured: {name}: {why}", style="yellow"))
    wrong = sum(sum(result.violations.values()) for result in run.results)
    if wrong:
        console.print(Text(f"{wrong} violations: something was lost, doubled, out of order or refused", style="bold red"))
    else:
        console.print(Text("nothing lost, nothing doubled, everything in order", style="green"))


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
