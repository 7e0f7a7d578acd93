"""A run as one page that needs nothing else: no script, no request, light and dark, wide and narrow."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from loadtest.report import plots
from loadtest.report.compare import OURS, Case, Figures
from loadtest.report.model import MEANINGS, Run
from loadtest.report.targets import Verdict, judge
from loadtest.report.terminal import measured, number, quiet, title, wanted

if TYPE_CHECKING:
    from collections.abc import Iterable

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5c6675; --line: #e3e7ee; --paper: #f6f7fa; --card: #fff;
  --good: #12805c; --bad: #b4421b; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e7ebf2; --soft: #98a3b3; --line: #2a313c; --paper: #12161c; --card: #1a2028;
    --good: #45c795; --bad: #f0875d; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
main { max-width: 1160px; margin: 0 auto; padding: 28px 16px 60px; }
h1 { font-size: 1.7rem; margin: 0 0 4px; letter-spacing: -.01em; }
h2 { font-size: 1.15rem; margin: 40px 0 12px; }
h3 { font-size: .95rem; margin: 0; font-weight: 600; }
p { margin: 4px 0; color: var(--soft); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 12px; padding: 14px 16px; min-width: 0; }
.grid { display: grid; gap: 14px; grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); }
.card p { font-size: .82rem; }
.card svg { display: block; width: 100%; height: auto; margin-top: 8px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 7px 10px 7px 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
tr:last-child td { border-bottom: 0; }
td.n { text-align: right; white-space: nowrap; }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; } .none { color: var(--soft); }
.banner { margin: 18px 0 0; padding: 12px 16px; border-radius: 12px; border: 1px solid currentColor; font-weight: 600; }
@media (max-width: 560px) {
  .targets tr { display: block; padding: 8px 0; border-bottom: 1px solid var(--line); }
  .targets tr:first-child { display: none; }
  .targets td { display: inline; border: 0; padding: 0 8px 0 0; text-align: left; }
  .targets td:first-child { display: block; }
}
"""
_BARS = {
    "connect": ("connect_cpu_us", "memory_kib"),
    "request": ("request_cpu_us", "pipelined_cpu_us"),
    "fanout": ("lone_cpu_us", "burst_cpu_us"),
}


def page(run: Run) -> str:
    """Return the whole page."""
    figures = Figures(run)
    parts = [_head(run, figures), _verdicts(judge(figures)), _comparison(figures), _latency(figures), _time(run), _all(figures)]
    return (
        "<!doctype html>\n<html lang=en><head><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>Load test</title><style>{_STYLE}</style></head><body><main>{''.join(parts)}</main></body></html>\n"
    )


def _head(run: Run, figures: Figures) -> str:
    facts = " · ".join(f"{name} {value}" for name, value in run.machine.items())
    servers = " · ".join(f"{peer}: {version}" for peer, version in figures.versions.items())
    absent = "".join(f"<p>Not measured: {escape(name)}: {escape(why)}</p>" for name, why in run.absent.items())
    wrong = [line for result in run.results for line in result.shown]
    if wrong:
        banner = f"<div class='banner bad'>Violations<br>{'<br>'.join(escape(line) for line in wrong[:20])}</div>"
    else:
        banner = "<div class='banner good'>Nothing lost, nothing doubled, everything in order.</div>"
    return (
        f"<h1>Load test</h1><p>{escape(facts)}</p><p>{escape(servers)}</p>"
        f"<p>{escape(quiet(run))}</p><p><code>{escape(run.command)}</code>, seed {run.seed}</p>{absent}{banner}"
    )


def _verdicts(verdicts: list[Verdict]) -> str:
    shown = [one for one in verdicts if one.measured is not None]
    if not shown:
        return ""
    rows = [
        f"<tr><td>{escape(one.target.text)}</td><td class=n>{escape(wanted(one))}</td><td class=n>{escape(measured(one))}</td>"
        f"<td class={'good' if one.reached else 'bad'}>{escape(one.text)}</td></tr>"
        for one in shown
    ]
    head = "<tr><th>figure</th><th>target</th><th>measured</th><th></th></tr>"
    return f"<h2>Targets</h2><div class='card scroll'><table class=targets>{head}{''.join(rows)}</table></div>"


def _comparison(figures: Figures) -> str:
    cards = []
    for case in figures.cases:
        peers = figures.peers_of(case)
        if len(peers) < 2:
            continue
        for name in _BARS.get(case.scenario, ()):
            known = [(peer, one.median) for peer in peers if (one := figures.get(peer, case, name)) is not None]
            if known:
                meaning = MEANINGS[name]
                cards.append(_card(f"{meaning.label}, {meaning.unit}", f"{title(case)}: {meaning.text}", plots.bars(known)))
    return _section("Against the others (less is better)", cards)


def _latency(figures: Figures) -> str:
    cards = []
    for case in figures.cases:
        lines = [(peer, figures.latency[peer, case]) for peer in figures.peers_of(case) if (peer, case) in figures.latency]
        if lines:
            cards.append(_card(title(case), "milliseconds by percentile", plots.latencies(lines)))
    return _section("Latency", cards)


def _time(run: Run) -> str:
    cards = [
        _card(f"{series.label}, {series.unit}", f"{result.scenario}: {result.peer}", plots.over_time(series))
        for result in run.results
        for series in result.series
        if len(series.points) > 1
    ]
    return _section("Over time", cards)


def _all(figures: Figures) -> str:
    return "<h2>All numbers</h2><div class=grid>" + "".join(_numbers(figures, case) for case in figures.cases) + "</div>"


def _numbers(figures: Figures, case: Case) -> str:
    peers = figures.peers_of(case)
    rows = []
    for name in figures.names(case):
        meaning = MEANINGS[name]
        for peer in peers:
            one = figures.get(peer, case, name)
            if one is not None:
                who = (
                    ""
                    if len(peers) == 1
                    else f"<br><span class=none>{escape(peer)}</span>"
                    if peer != OURS
                    else f"<br>{escape(peer)}"
                )
                rows.append(
                    f"<tr><td>{escape(meaning.label)}{who}</td><td class=n>{number(one.median)} {escape(meaning.unit)}</td></tr>"
                )
    return f"<div class=card><h3>{escape(title(case))}</h3><div class=scroll><table>{''.join(rows)}</table></div></div>"


def _card(heading: str, text: str, drawing: str) -> str:
    return f"<div class=card><h3>{escape(heading)}</h3><p>{escape(text)}</p>{drawing}</div>"


def _section(heading: str, cards: Iterable[str]) -> str:
    inside = "".join(cards)
    return f"<h2>{escape(heading)}</h2><div class=grid>{inside}</div>" if inside else ""
