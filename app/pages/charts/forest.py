"""A forest plot: a point with its interval for each row, on one scale."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from app.pages.charts.scale import Scale

_ROW: Final = 46
_AXIS: Final = 30


@dataclass(frozen=True)
class Estimate:
    """One row; without an interval only the point is drawn."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None


def forest_plot(rows: Sequence[Estimate], title: str, *, reference: float | None = None) -> Markup:
    """Return the plot as SVG, which takes the width that there is; labels stand above their intervals.

    `reference` is where a line is drawn, such as 0 for no difference. Raises ValueError without rows.
    """
    if not rows:
        raise ValueError("a forest plot needs rows")
    ends = [end for row in rows for end in (row.value, row.low, row.high) if end is not None]
    scale = Scale.around([*ends, reference] if reference is not None else ends)
    height = _ROW * len(rows) + _AXIS
    parts = [
        Markup('<svg class="chart forest" width="100%" height="{}" role="img" aria-label="{}">').format(height, title)
    ]
    for tick in scale.ticks:
        x = scale.percent(tick)
        parts.append(Markup('<line class="grid" x1="{0}%" x2="{0}%" y1="0" y2="{1}"/>').format(x, height - _AXIS + 5))
        anchor = "start" if x < 4 else "end" if x > 96 else "middle"
        parts.append(
            Markup('<text class="tick" x="{}%" y="{}" text-anchor="{}">{}</text>').format(
                x, height - 6, anchor, scale.label(tick)
            )
        )
    if reference is not None:
        x = scale.percent(reference)
        parts.append(
            Markup('<line class="reference" x1="{0}%" x2="{0}%" y1="0" y2="{1}"/>').format(x, height - _AXIS + 5)
        )
    for number, row in enumerate(rows):
        y = number * _ROW
        parts.append(Markup('<text class="label" x="0" y="{}">{}</text>').format(y + 15, row.label))
        middle = y + 30
        if row.low is not None and row.high is not None:
            low, high = scale.percent(row.low), scale.percent(row.high)
            parts.append(
                Markup('<line class="interval" x1="{0}%" x2="{1}%" y1="{2}" y2="{2}"/>').format(low, high, middle)
            )
            parts += [
                Markup('<line class="interval" x1="{0}%" x2="{0}%" y1="{1}" y2="{2}"/>').format(
                    end, middle - 4, middle + 4
                )
                for end in (low, high)
            ]
        parts.append(Markup('<circle class="point" cx="{}%" cy="{}" r="5"/>').format(scale.percent(row.value), middle))
    parts.append(Markup("</svg>"))
    return Markup("").join(parts)


def is_drawable(value: float | None) -> bool:
    """Say whether a value can stand in a plot."""
    return value is not None and math.isfinite(value)
