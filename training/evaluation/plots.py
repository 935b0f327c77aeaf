"""Figures of a report as inline SVG: curves with intervals, differences with intervals, lines over steps.

Knows numbers and positions; no measure, no page. Colours are CSS variables of the page (`--series-1` and on, `--ink`,
`--muted`, `--line`), so a figure follows light and dark; names of systems stand in the page's own legend.
"""

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any, Final

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

SERIES: Final = 8
"""Colours that the page defines; a system after them takes the first one again."""
MARKERS: Final = "osD^vPX*"
SIZE: Final = (4.3, 3.2)
_INK, _MUTED, _LINE = "#010203", "#020304", "#030405"
_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "rejoinder",
    "font.size": 10,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _INK,
    "axes.titlecolor": _INK,
    "text.color": _INK,
    "xtick.color": _MUTED,
    "ytick.color": _MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "lines.linewidth": 1.8,
}


@dataclass(frozen=True)
class PlottedCurve:
    """Points (x, y) with their intervals (low, high), in order; `colour` counts from 0."""

    colour: int
    x: Sequence[float]
    y: Sequence[float]
    x_interval: Sequence[tuple[float, float]] = ()
    y_interval: Sequence[tuple[float, float]] = ()
    labels: Sequence[str] = ()
    """Written at points; "" for none."""
    joined: bool = True


def plot_curves(
    curves: Sequence[PlottedCurve],
    x_label: str,
    y_label: str,
    *,
    title: str,
    levels: Sequence[tuple[float, str]] = (),
    log: bool = False,
    size: tuple[float, float] = SIZE,
) -> str:
    """Return an SVG of the curves; `levels` are dashed horizontal lines with their (ASCII) names."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _canvas(size)
        for curve in curves:
            colour = series_colour(curve.colour)
            _whiskers(axes, curve, colour)
            axes.plot(
                curve.x,
                curve.y,
                color=colour,
                marker=MARKERS[curve.colour % len(MARKERS)] if len(curve.x) < 30 else "",
                markersize=5,
                linestyle="-" if curve.joined else "",
            )
            for x, y, label in zip(curve.x, curve.y, curve.labels, strict=False):
                if label:
                    offset = (6, 5)
                    axes.annotate(label, (x, y), offset, textcoords="offset points", color=colour, fontsize=8.5)
        for index, (level, name) in enumerate(levels):
            axes.axhline(level, color=_MUTED, linewidth=1, linestyle=(0, (4, 3)))
            left = index % 2  # two levels close together would write over each other
            place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
            axes.annotate(
                name,
                (1 - left, level),
                (4 * left, 3),
                ha="left" if left else "right",
                color=_MUTED,
                fontsize=8.5,
                **place,
            )
        if log:
            axes.set_yscale("log")
        else:
            axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.margins(x=0.07, y=0.08)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        return _svg(figure, title)


def plot_differences(
    groups: Sequence[PlottedCurve], x_label: str, y_label: str, *, title: str, size: tuple[float, float] = SIZE
) -> str:
    """Return an SVG of differences from zero, which is drawn as a line."""
    with matplotlib.rc_context(_STYLE):
        figure, axes = _canvas(size)
        axes.axhline(0, color=_INK, linewidth=1)
        everywhere = [x for group in groups for x in group.x]
        step = (max(everywhere) - min(everywhere)) / 70 if everywhere else 0.0
        for index, group in enumerate(groups):
            colour = series_colour(group.colour)
            aside = step * (index - (len(groups) - 1) / 2)  # beside each other, not over each other
            moved = replace(group, x=[x + aside for x in group.x])
            _whiskers(axes, moved, colour, width=2.2)
            axes.plot(moved.x, moved.y, color=colour, marker=MARKERS[group.colour % len(MARKERS)], linestyle="")
        axes.margins(x=0.08, y=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_locator(MaxNLocator(6))
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        return _svg(figure, title)


def series_colour(index: int) -> str:
    """Return the stand-in that becomes `var(--series-N)` in the SVG."""
    return f"#0a0b{index % SERIES + 1:02x}"


def _canvas(size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasSVG(figure)
    figure.patch.set_visible(False)
    axes = figure.add_subplot()
    axes.patch.set_visible(False)
    return figure, axes


def _whiskers(axes: Axes, curve: PlottedCurve, colour: str, width: float = 1.1) -> None:
    for axis, intervals in (("x", curve.x_interval), ("y", curve.y_interval)):
        if not intervals:
            continue
        middle = curve.x if axis == "x" else curve.y
        around = [
            [max(0.0, m - low) for m, (low, _) in zip(middle, intervals, strict=True)],
            [max(0.0, high - m) for m, (_, high) in zip(middle, intervals, strict=True)],
        ]
        shown: dict[str, Any] = {f"{axis}err": around}
        axes.errorbar(curve.x, curve.y, fmt="none", ecolor=colour, elinewidth=width, alpha=0.45, **shown)


def _svg(figure: Figure, title: str) -> str:
    """Return the figure as an <svg> element that scales, with CSS variables for colours and no fonts of its own."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<g) id="[^"]*"', r"\1", svg)
    for stand_in, name in ((_INK, "ink"), (_MUTED, "muted"), (_LINE, "line")):
        svg = svg.replace(stand_in, f"var(--{name})")
    svg = re.sub(r"#0a0b(\d\d)", lambda found: f"var(--series-{int(found[1], 16)})", svg)
    svg = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", svg)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    return svg.replace("<svg", f'<svg role="img" aria-label="{escape(title)}"', 1)
