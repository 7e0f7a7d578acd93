"""Plots as SVG that stands alone: no script, no font, no request."""

from __future__ import annotations

import math
import re
import sys
import xml.etree.ElementTree as ElementTree
from typing import TYPE_CHECKING, Any

import pygal
from pygal.style import Style

from loadtest.report.compare import OURS
from loadtest.report.terminal import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.measure.stats import Latency
    from loadtest.report.model import Series

# pygal adds a finder for its plug-ins to the import system, in a form that Python warns of up to 3.11 and ignores since.
# We use none of them.
sys.meta_path[:] = [finder for finder in sys.meta_path if type(finder).__module__ != "pygal"]

ACCENT, OTHER = "#2f6fed", "#9aa4b2"
_LINES = ("#2f6fed", "#e2703a", "#159a80", "#8a5cd6", "#c2913a", "#d1497a")
_WIDTH = 460
_SVG = "{http://www.w3.org/2000/svg}"
_COORDINATES = {"d", "x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height", "transform", "points"}
_LONG = re.compile(r"(\d+\.\d)\d+")
# Middle tones, so that one drawing reads on white and on black.
_STYLE: dict[str, Any] = {
    "background": "transparent",
    "plot_background": "transparent",
    "foreground": "#7b8594",
    "foreground_strong": "#7b8594",
    "foreground_subtle": "#7b859455",
    "font_family": "inherit",
    "label_font_size": 13,
    "major_label_font_size": 13,
    "value_font_size": 13,
    "legend_font_size": 13,
    "guide_stroke_dasharray": "2,3",
    "major_guide_stroke_dasharray": "2,3",
    "stroke_opacity": "1",
    "opacity": "1",
    "opacity_hover": ".85",
    "transition": "none",
}


def bars(values: Sequence[tuple[str, float]]) -> str:
    """Draw one bar for each server, ours in the accent's colour. The numbers stand with the names: they fit at any width."""
    chart = pygal.HorizontalBar(
        style=Style(**_STYLE, colors=(ACCENT,)), height=24 + 36 * len(values), show_legend=False, show_x_guides=False,
        show_y_guides=False, show_x_labels=False, spacing=6, range=(0, max(value for _, value in values) or 1), **_common(),
    )  # fmt: skip
    turned = list(reversed(values))  # the first stands at the bottom otherwise
    chart.x_labels = [f"{name}: {number(value)}" for name, value in turned]
    chart.add("", [{"value": value, "color": ACCENT if name == OURS else OTHER} for name, value in turned])
    return _svg(chart)


def latencies(lines: Sequence[tuple[str, Latency]]) -> str:
    """Draw percentiles; the axis of milliseconds is logarithmic."""
    values = [[max(value, 0.001) for _, value in latency.curve] for _, latency in lines]
    low, high = min(map(min, values)), max(map(max, values))
    chart = pygal.Line(
        style=Style(**_STYLE, colors=_LINES), height=280, logarithmic=True, legend_at_bottom=True, legend_at_bottom_columns=2,
        dots_size=2, stroke_style={"width": 3}, show_minor_x_labels=False, x_labels_major=["p0", "p50", "p90", "p99", "p99.99"],
        truncate_legend=-1, show_legend=len(lines) > 1, y_labels=steps(low, high), range=(low, high), **_common(),
    )  # fmt: skip
    chart.x_labels = [f"p{percentile:g}" for percentile, _ in lines[0][1].curve]
    for (name, _), line in zip(lines, values, strict=True):
        chart.add(name, line)
    return _svg(chart)


def steps(low: float, high: float) -> list[float]:
    """Return marks for a logarithmic axis, 1 2 5 10 20 …, thinned out to a handful. Both bounds are positive."""
    first = math.floor(math.log10(low))
    marks = [factor * 10.0**power for power in range(first, math.ceil(math.log10(high)) + 1) for factor in (1, 2, 5)]
    inside = [mark for mark in marks if low <= mark <= high]
    if len(inside) > 7:
        inside = [mark for mark in inside if math.isclose(math.log10(mark), round(math.log10(mark)))]
    return inside or [low, high]


def over_time(series: Series) -> str:
    """Draw a value over seconds."""
    top = max(value for _, value in series.points)
    chart = pygal.XY(
        style=Style(**_STYLE, colors=(ACCENT,)), height=220, show_legend=False, show_dots=False, stroke_style={"width": 3},
        x_value_formatter=lambda at: f"{at:.0f} s", range=(0, top * 1.1 or 1), show_x_guides=False,
        x_labels_major_count=5, **_common(),
    )  # fmt: skip
    last = series.points[-1][0]
    chart.x_labels = [round(last * part / 4) for part in range(5)]
    chart.add(series.label, series.points)
    return _svg(chart)


def _common() -> dict[str, Any]:
    return {
        "js": [], "explicit_size": False, "width": _WIDTH, "margin": 6, "truncate_label": -1, "value_formatter": number,
        "disable_xml_declaration": True,
    }  # fmt: skip


def _svg(chart: Any) -> str:
    tree = chart.render_tree()
    for parent in list(tree.iter()):
        for child in list(parent):
            if child.tag == f"{_SVG}script" or child.tag == "script" or not isinstance(child.tag, str):
                parent.remove(child)
    for element in tree.iter():
        for name in _COORDINATES & element.attrib.keys():  # to a tenth of a pixel: half the size
            element.set(name, _LONG.sub(r"\1", element.get(name)))
    ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
    return ElementTree.tostring(tree, encoding="unicode")
