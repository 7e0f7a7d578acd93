"""The report: a table for the terminal, JSON, and one self-contained page with the timeline of each run."""

from __future__ import annotations

import html
import json
import math
import os
import pathlib
import platform
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from tests.cluster.lab.figures import Bucket
    from tests.cluster.lab.runner import Result

SHOWN = {
    "acked": "acked",
    "lost_connections": "connections lost",
    "cross_p99_before_s": "cross-node p99 before",
    "cross_p99_during_s": "during",
    "cross_p99_after_3s_s": "3 s after",
    "answer_max_s": "longest answer",
    "resume_p99_s": "resumed p99",
    "ready_again_s": "ready again",
}
_WIDTH, _LEFT, _RIGHT = 960, 52, 12
BEGIN = "<!-- figures: written by `make faults FAULTS='--write docs/reliability.md'` -->"
END = "<!-- end of the figures -->"
_FLOOR_S, _CEILING_S = 0.001, 100.0


def verdict(result: Result) -> str:
    """Say in a few words how it went."""
    if result.violations:
        return f"BROKEN: {len(result.violations)} violations"
    if result.over:
        return "over: " + ", ".join(f"{name} {seconds(name, value)}" for name, value in result.over.items())
    return "kept"


def seconds(name: str, value: float) -> str:
    """Write a figure with its unit."""
    if not name.endswith("_s") and math.isfinite(value):
        return f"{value:,.0f}"
    if math.isnan(value):
        return "not measured"
    if math.isinf(value):
        return "never"
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def rows(results: Iterable[Result]) -> list[list[str]]:
    """The table, its head first."""
    made = [["fault", *SHOWN.values(), "other figures", "promises"]]
    for result in results:
        other = [
            f"{name.removesuffix('_s').replace('_', ' ')} {seconds(name, result.figures[name])}"
            for name in (*result.limits, *result.scenario.felt)
            if name not in SHOWN and name in result.figures
        ]
        cells = [seconds(name, result.figures[name]) if name in result.figures else "" for name in SHOWN]
        made.append([result.scenario.title, *cells, ", ".join(other), verdict(result)])
    return made


def table(results: Iterable[Result]) -> str:
    """For the terminal."""
    cells = rows(results)
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)


def markdown(results: Sequence[Result]) -> str:
    """For docs/reliability.md."""
    head, *others = rows(results)
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    table = "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in others)])
    return f"{about(results)}\n\n{table}"


def about(results: Sequence[Result]) -> str:
    """Say under what conditions this was measured."""
    if not results:
        return "Nothing was run."
    size, seed = results[0].size, results[0].seed
    made = time.strftime("%Y-%m-%d", time.gmtime())
    return (
        f"{size.connections:,} connections, {size.rate:,.0f} messages/s, three nodes, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, seed {seed}, {made}"
    )


def write_into(page: str, text: str) -> str:
    """Return a page with new figures between its two marks. Raises ValueError: it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def write(folder: pathlib.Path, results: Sequence[Result]) -> None:
    """Write report.json, report.md and report.html."""
    (folder / "report.json").write_text(json.dumps([as_json(result) for result in results], indent=1) + "\n")
    (folder / "report.md").write_text(markdown(results) + "\n")
    (folder / "report.html").write_text(page(results))


def as_json(result: Result) -> dict[str, object]:
    return {
        "scenario": result.scenario.name,
        "title": result.scenario.title,
        "seed": result.seed,
        "connections": result.size.connections,
        "rate": result.size.rate,
        "violations": [violation._asdict() for violation in result.violations],
        "figures": {name: round(value, 4) if math.isfinite(value) else None for name, value in result.figures.items()},
        "limits": result.limits,
        "over": list(result.over),
        "periods": [
            {
                "name": one.name,
                "from_s": round(one.began_s - result.started_s, 3),
                "to_s": round(one.ended_s - result.started_s, 3),
            }
            for one in result.periods
        ],
        "buckets": [bucket._asdict() for bucket in result.buckets],
    }


# -- the page ---------------------------------------------------------------------------------

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --soft: #6b7280; --line: #d9dde5; --paper: #fff; --fault: #e4572e26;
  --fault-ink: #b23a17; --a: #2563eb; --b: #0d9488; --c: #d97706; --good: #15803d; --bad: #b91c1c }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9f0; --soft: #98a1b3; --line: #313848; --paper: #12161f;
  --fault: #f9735a2e; --fault-ink: #ff9d86; --a: #7aa7ff; --b: #4fd1c5; --c: #fbbf24; --good: #4ade80; --bad: #f87171 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 1000px; margin: 2rem auto;
  padding: 0 1rem }
h1 { font-size: 1.6rem; margin: 0 0 .2rem } h2 { font-size: 1.1rem; margin: 2.4rem 0 .2rem } p { color: var(--soft); margin: 0 }
.scroll { overflow-x: auto; margin-top: 1.2rem } table { border-collapse: collapse; font-size: .82rem; width: 100% }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top }
th { color: var(--soft); font-weight: 600 } td { font-variant-numeric: tabular-nums }
.kept { color: var(--good); font-weight: 600 } .broken { color: var(--bad); font-weight: 600 }
svg { width: 100%; height: auto; display: block; margin-top: .5rem } text { font: 11px system-ui, sans-serif; fill: var(--soft) }
.fault { fill: var(--fault) } .name { fill: var(--fault-ink) } .axis { stroke: var(--line); fill: none }
.line { fill: none; stroke-width: 1.6; stroke-linejoin: round } .a { stroke: var(--a) } .b { stroke: var(--b) }
.c { stroke: var(--c) } .key-a { fill: var(--a) } .key-b { fill: var(--b) } .key-c { fill: var(--c) }
ul { padding-left: 1.1rem; color: var(--bad) }
"""


def page(results: Sequence[Result]) -> str:
    """One page that needs nothing else."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>Fault laboratory</title><style>{_STYLE}</style><h1>Fault laboratory</h1>",
        f"<p>{html.escape(about(results))}</p>",
        f"<div class=scroll>{_table(results)}</div>",
        *(_section(result) for result in results),
        "</html>",
    ]
    return "\n".join(parts)


def _table(results: Sequence[Result]) -> str:
    head, *others = rows(results)
    lines = ["<table><tr>" + "".join(f"<th>{html.escape(cell)}" for cell in head) + "</tr>"]
    for row, result in zip(others, results, strict=True):
        kind = "kept" if verdict(result) == "kept" else "broken"
        link = f"<a href='#{result.scenario.name}'>{html.escape(row[0])}</a>"
        cells = [link, *(html.escape(cell) for cell in row[1:-1])]
        lines.append("<tr>" + "".join(f"<td>{cell}" for cell in cells) + f"<td class={kind}>{html.escape(row[-1])}</tr>")
    return "\n".join([*lines, "</table>"])


def _section(result: Result) -> str:
    kind = "kept" if verdict(result) == "kept" else "broken"
    wrong = "".join(f"<li>{html.escape(one.kind)}: {html.escape(one.text)}" for one in result.violations[:20])
    counts = ", ".join(
        f"{result.figures[name]:,.0f} {name}" for name in ("messages", "acked", "tries", "unknown", "failed", "deliveries")
    )
    return (
        f"<h2 id={result.scenario.name}>{html.escape(result.scenario.title)} · "
        f"<span class={kind}>{html.escape(verdict(result))}</span></h2><p>{counts}, seed {result.seed}</p>"
        f"{f'<ul>{wrong}</ul>' if wrong else ''}{timeline(result)}"
    )


def timeline(result: Result) -> str:
    """Draw the faults, the latencies and the counts of a run over its time."""
    buckets = result.buckets
    end_s = buckets[-1].at_s + 0.5

    def x(at_s: float) -> float:
        return _LEFT + at_s / end_s * (_WIDTH - _LEFT - _RIGHT)

    parts = [f"<svg viewBox='0 0 {_WIDTH} 330' role=img aria-label='timeline of {html.escape(result.scenario.title)}'>"]
    last_end, row = -1.0, 0
    for period in sorted(result.periods, key=lambda one: one.began_s):
        left, right = x(period.began_s - result.started_s), x(period.ended_s - result.started_s)
        parts.append(f"<rect class=fault x={left:.1f} y=26 width={max(1.5, right - left):.1f} height=276 />")
        row = (row + 1) % 2 if left < last_end else 0
        name = period.name
        anchor = "end" if left > _WIDTH * 0.75 else "start"
        parts.append(f"<text class=name x={left:.1f} y={11 + 11 * row} text-anchor={anchor}>{html.escape(name)}</text>")
        last_end = left + 6.2 * len(name)
    parts += _latencies(buckets, x, 34, 160)
    parts += _counts(buckets, x, 186, 300)
    for at_s in _ticks(end_s):
        parts.append(f"<text x={x(at_s):.1f} y=316 text-anchor=middle>{at_s:g} s</text>")
    return "".join([*parts, "</svg>"])


def _latencies(buckets: Sequence[Bucket], x: Callable[[float], float], top: float, bottom: float) -> list[str]:
    def y(latency_s: float) -> float:
        share = math.log10(min(max(latency_s, _FLOOR_S), _CEILING_S) / _FLOOR_S) / math.log10(_CEILING_S / _FLOOR_S)
        return bottom - share * (bottom - top)

    parts = []
    for at_s, text in ((0.001, "1 ms"), (0.01, "10 ms"), (0.1, "100 ms"), (1, "1 s"), (10, "10 s"), (100, "100 s")):
        parts.append(f"<path class=axis d='M{_LEFT} {y(at_s):.1f}H{_WIDTH - _RIGHT}'/>")
        parts.append(f"<text x={_LEFT - 6} y={y(at_s) + 4:.1f} text-anchor=end>{text}</text>")
    for kind, pick in (("c", "max_s"), ("b", "p99_s"), ("a", "p50_s")):
        points = [(x(one.at_s + 0.25), y(getattr(one, pick)) if one.p50_s >= 0 else None) for one in buckets]
        parts.append(f"<path class='line {kind}' d='{_path(points)}'/>")
    return [*parts, _key(top + 2, (("a", "delivery p50"), ("b", "p99"), ("c", "max")))]


def _counts(buckets: Sequence[Bucket], x: Callable[[float], float], top: float, bottom: float) -> list[str]:
    parts = [f"<path class=axis d='M{_LEFT} {bottom:.1f}H{_WIDTH - _RIGHT}'/>"]
    shown: tuple[tuple[str, str, Callable[[Bucket], float]], ...] = (
        ("a", "acked/s", lambda one: one.acked * 2),
        ("b", "delivered/s", lambda one: one.delivered * 2),
        ("c", "connections", lambda one: one.live),
    )
    key = []
    for kind, name, value in shown:
        most = max(1.0, *(value(one) for one in buckets))
        points: list[tuple[float, float | None]] = [
            (x(one.at_s + 0.25), bottom - value(one) / most * (bottom - top - 12)) for one in buckets
        ]
        parts.append(f"<path class='line {kind}' d='{_path(points)}'/>")
        key.append((kind, f"{name} (top: {most:,.0f})"))
    return [*parts, _key(top, key)]


def _key(y: float, entries: Iterable[tuple[str, str]]) -> str:
    parts, at = [], float(_LEFT + 8)
    for kind, text in entries:
        parts.append(
            f"<rect class=key-{kind} x={at:.0f} y={y:.0f} width=10 height=3 /><text x={at + 14:.0f} y={y + 6:.0f}>{text}</text>"
        )
        at += 30 + 6.4 * len(text)
    return "".join(parts)


def _path(points: Iterable[tuple[float, float | None]]) -> str:
    """Join points to lines; where there is none, the line ends."""
    parts, drawing = [], False
    for x, y in points:
        if y is None:
            drawing = False
            continue
        parts.append(f"{'L' if drawing else 'M'}{x:.1f} {y:.1f}")
        drawing = True
    return "".join(parts)


def _ticks(end_s: float) -> list[float]:
    step_s = next(step for step in (1, 2, 5, 10, 20, 50, 100, 200, 500) if end_s / step <= 12)
    return [float(at) for at in range(0, int(end_s) + 1, step_s)]
