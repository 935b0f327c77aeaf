"""What the models' pages show: which curves, which points of a report, which scores people gave. Reads no file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from markupsafe import Markup

from app.pages.charts.curves import Series, line_chart
from app.pages.models.run_files import RunFiles, Sample

CURVES: Final = (
    "valid_nll",
    "valid_distinct_2",
    "reward",
    "d_accuracy",
    "valid_mean_length",
    "valid_top_reply_share",
    "g_loss",
    "gradient_norm",
)
"""What is drawn of a run, in this order, where it was logged."""
QUALITIES: Final = ("adver_suc", "relevance", "auc", "forward")
"""Measures of quality that a report may hold, of which the first is drawn against distinct-2."""


@dataclass(frozen=True)
class Figure:
    """A chart with its title and the names of its series."""

    title: str
    chart: Markup
    series: list[str]


@dataclass(frozen=True)
class Compared:
    """One context with what two checkpoints replied."""

    context: list[str]
    human: str
    first: str
    second: str


@dataclass(frozen=True)
class Scored:
    """A model's own metrics beside what people say of the same weights."""

    name: str
    perplexity: float | None
    distinct_1: float | None
    distinct_2: float | None
    length: float | None
    human: list[Mapping[str, Any]]


def training_figures(run: RunFiles, words: Mapping[str, str]) -> list[Figure]:
    """Return the curves of a run, a series for each stage."""
    figures = []
    for name in CURVES:
        stages = run.curves.get(name, {})
        series = [Series(stage or name, points) for stage, points in stages.items() if points]
        if series and any(len(one.points) > 1 for one in series):
            title = words.get(f"curve_{name}", name)
            figures.append(Figure(title, line_chart(series, title), [one.name for one in series]))
    return figures


def quality_figure(report: Mapping[str, Any] | None, words: Mapping[str, str]) -> Figure | None:
    """Return quality against diversity over the temperatures of a report, a series for each system, if it has any."""
    if report is None or not isinstance(report.get("curves"), list):
        return None
    for quality in QUALITIES:
        series = []
        for curve in report["curves"]:
            points = sorted(point for row in curve.get("points", []) if (point := _point(row, quality)) is not None)
            if points:
                series.append(Series(str(curve.get("system")), points))
        if series:
            label = words.get(f"quality_{quality}", quality)
            title = words["quality_title"].format(quality=label)
            return Figure(title, line_chart(series, title, height=320, dots=True), [one.name for one in series])
    return None


def compare_samples(samples: Mapping[str, Sequence[Sample]], first: str, second: str) -> list[Compared]:
    """Return the contexts that both checkpoints replied to, in the first one's order."""
    others = {sample.context: sample for sample in samples.get(second, [])}
    return [
        Compared(sample.context.split(" / "), sample.human, sample.reply, others[sample.context].reply)
        for sample in samples.get(first, [])
        if sample.context in others
    ]


def scored(name: str, digest: str, metrics: Mapping[str, float], board: Mapping[str, Any]) -> Scored:
    """Return a model's metrics beside the board's entries about its weights."""
    nll = metrics.get("valid_nll")
    return Scored(
        name=name,
        perplexity=math.exp(nll) if nll is not None and nll < 50 else None,
        distinct_1=metrics.get("valid_distinct_1"),
        distinct_2=metrics.get("valid_distinct_2"),
        length=metrics.get("valid_mean_length"),
        human=[system for system in board["systems"] if system["weights_sha256"] == digest],
    )


def _point(row: Any, quality: str) -> tuple[float, float] | None:
    values = row.get("values") if isinstance(row, dict) else None
    found = []
    for name in ("distinct_2", quality):
        value = values.get(name) if isinstance(values, dict) else None
        number = value.get("value") if isinstance(value, dict) else None
        if not isinstance(number, int | float) or not math.isfinite(number):
            return None
        found.append(float(number))
    return found[0], found[1]
