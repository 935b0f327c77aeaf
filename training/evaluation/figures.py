"""Which figures a report has, and what is in each: captions, colours, legend.

Knows the report; drawing is `plots`'s. A system keeps its colour through all figures.
"""

from collections.abc import Iterator
from html import escape
from typing import Final

from training.evaluation.measures import CURVED, measure
from training.evaluation.plots import MARKERS, SERIES, PlottedCurve, plot_curves, plot_differences
from training.evaluation.report import Report, Row, Value
from training.evaluation.systems import HUMAN, SHUFFLED

Titled = tuple[str, str, str]
"""Title, explanation, SVG."""

_MARKED: Final = (0.5, 1.0)
"""Temperatures written at the points of the curves."""
_WIDE: Final = 20
"""The greatest of some logged values by the least, above which they are drawn on a logarithmic axis."""
_SHAPES: Final = {
    "o": '<circle cx="16" cy="8" r="4.5"/>',
    "s": '<rect x="12" y="4" width="8" height="8"/>',
    "D": '<path d="M16 2.5 21.5 8 16 13.5 10.5 8z"/>',
    "^": '<path d="M16 2.5 21 12.5H11z"/>',
    "v": '<path d="M16 13.5 21 3.5H11z"/>',
    "P": '<path d="M14 3h4v3h3v4h-3v3h-4v-3h-3V6h3z"/>',
    "X": '<path d="m12.5 3 3.5 3.5L19.5 3 21 4.5 17.5 8 21 11.5 19.5 13 16 9.5 12.5 13 11 11.5 14.5 8 11 4.5z"/>',
    "*": '<path d="m16 2 1.8 4.2 4.5.4-3.4 3 1 4.4-3.9-2.3-3.9 2.3 1-4.4-3.4-3 4.5-.4z"/>',
}


def colours(report: Report) -> dict[str, int]:
    """Return the colour of each system, counted from 0, in the order of the report."""
    return {curve.system: index for index, curve in enumerate(report.curves)}


def legend(report: Report, *, runs: bool = False) -> str:
    """Return an HTML list of the names beside their lines and markers: systems, or training runs."""
    names = [run.run for run in report.training] if runs else list(colours(report))
    items = []
    for index, name in enumerate(names):
        shape = _SHAPES[MARKERS[index % len(MARKERS)]]
        colour = f"var(--series-{index % SERIES + 1})"
        mark = (
            f'<svg viewBox="0 0 32 16" aria-hidden="true" fill="{colour}" stroke="none">'
            f'<path d="M0 8H32" stroke="{colour}" stroke-width="2.5"/>{"" if runs else shape}</svg>'
        )
        items.append(f"<li>{mark}{escape(name)}</li>")
    return f'<ul class="legend">{"".join(items)}</ul>'


def curve_figures(report: Report) -> Iterator[Titled]:
    """Give one figure for each measure of quality: quality against distinct-2 over the temperatures."""
    for name in CURVED:
        each = measure(name)
        curves = []
        for system, colour in colours(report).items():
            points = next(curve.points for curve in report.curves if curve.system == system)
            shown = [p for p in points if _known(p, name) and _known(p, "distinct_2")]
            if not shown:
                continue
            curves.append(
                PlottedCurve(
                    colour,
                    [_number(p.values["distinct_2"]) for p in shown],
                    [_number(p.values[name]) for p in shown],
                    [_around(p.values["distinct_2"]) for p in shown],
                    [_around(p.values[name]) for p in shown],
                    [f"{p.setting.temperature:g}" if p.setting.temperature in _MARKED else "" for p in shown],
                )
            )
        levels = [
            (_number(report.summary(system)[name]), system)
            for system in (HUMAN, SHUFFLED)
            if name in report.summary(system) and report.summary(system)[name].value is not None
        ]
        text = f"{each.meaning}. Numbers at points: temperatures. Whiskers: 95 % intervals."
        yield (
            each.label,
            text[0].upper() + text[1:],
            plot_curves(curves, "distinct-2: more diverse →", _axis(name), title=f"{each.label} against distinct-2",
                        levels=levels),
        )  # fmt: skip


def comparison_figures(report: Report) -> Iterator[Titled]:
    """Give one figure for each measure of quality: differences from the baseline at equal diversity."""
    for name in CURVED:
        groups = [
            PlottedCurve(
                colours(report)[row.system],
                [point.distinct_2 for point in row.points],
                [_number(point.difference) for point in row.points],
                (),
                [_around(point.difference) for point in row.points],
            )
            for row in report.comparisons
            if row.measure == name and row.points
        ]
        if groups:
            label = measure(name).label
            yield (
                label,
                "System minus baseline; above zero the system is better.",
                plot_differences(groups, "distinct-2", "difference", title=f"{label}: difference from the baseline"),
            )


def training_figures(report: Report) -> Iterator[Titled]:
    """Give one figure for each logged metric that tells how training went."""
    metrics = sorted({name for run in report.training for name in run.series}, key=_place)
    for name in metrics:
        curves = [
            PlottedCurve(index, [x for x, _ in run.series[name]], [y for _, y in run.series[name]])
            for index, run in enumerate(report.training)
            if run.series.get(name)
        ]
        stage, _, metric = name.partition(": ")
        title = metric.replace("_", " ").replace("valid ", "validation ")
        values = [y for curve in curves for y in curve.y]
        yield (
            title[0].upper() + title[1:],
            f"Stage: {stage}.",
            plot_curves(curves, "step", title, title=f"{title} over training ({stage})",
                        log=min(values) > 0 and max(values) > _WIDE * min(values)),
        )  # fmt: skip


def _place(name: str) -> tuple[int, str]:
    order = ("perplexity", "distinct_2", "reward", "d_accuracy", "gradient_norm")
    return next((i for i, part in enumerate(order) if part in name), len(order)), name


def _axis(name: str) -> str:
    return {"adver_suc": "taken for human", "relevance": "relevance (MRR)", "forward": "log-probability per token"}[
        name
    ]


def _known(row: Row, name: str) -> bool:
    return name in row.values and row.values[name].value is not None


def _number(value: Value) -> float:
    return float("nan") if value.value is None else value.value


def _around(value: Value) -> tuple[float, float]:
    middle = _number(value)
    return (middle if value.low is None else value.low, middle if value.high is None else value.high)
