"""Line charts and scatter plots: several named series over one pair of axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from app.pages.charts.scale import Scale

COLOURS: Final = 5
"""Series that the style sheet tells apart; further ones begin again."""
_LEFT: Final = 44
_BOTTOM: Final = 26
_MOST_POINTS: Final = 400


@dataclass(frozen=True)
class Series:
    """Points (x, y) with a name."""

    name: str
    points: Sequence[tuple[float, float]]


def line_chart(series: Sequence[Series], title: str, *, height: int = 190, dots: bool = False) -> Markup:
    """Return the series as SVG, which takes the width that there is; with `dots` every point is marked.

    Raises ValueError when there is no point.
    """
    xs = Scale.around([x for one in series for x, _ in one.points], ticks=4)
    ys = Scale.around([y for one in series for _, y in one.points], ticks=4)
    inner = height - _BOTTOM - 8
    parts = [
        Markup('<svg class="chart lines" width="100%" height="{}" role="img" aria-label="{}">').format(height, title)
    ]
    for tick in ys.ticks:
        y = round(8 + inner * (1 - ys.percent(tick) / 100), 1)
        parts.append(Markup('<line class="grid" x1="{}" x2="100%" y1="{}" y2="{}"/>').format(_LEFT, y, y))
        parts.append(
            Markup('<text class="tick" x="{}" y="{}" text-anchor="end">{}</text>').format(
                _LEFT - 6, y + 4, ys.label(tick)
            )
        )
    # Two SVGs inside: one as wide as what is left beside the labels, and in it one stretched to hundredths of it.
    parts.append(
        Markup('<svg x="{}" y="8" width="calc(100% - {}px)" height="{}" overflow="visible">').format(
            _LEFT, _LEFT + 8, height - 8
        )
    )
    for tick in xs.ticks:
        x = xs.percent(tick)
        parts.append(
            Markup('<text class="tick" x="{}%" y="{}" text-anchor="{}">{}</text>').format(
                x, inner + 20, "end" if x > 96 else "middle", xs.label(tick)
            )
        )
    parts.append(
        Markup(
            '<svg width="100%" height="{}" viewBox="0 0 100 100" preserveAspectRatio="none" overflow="visible">'
        ).format(inner)
    )
    for number, one in enumerate(series):
        places = [f"{xs.percent(x)},{round(100 - ys.percent(y), 2)}" for x, y in _thinned(one.points)]
        parts.append(
            Markup('<polyline class="curve series-{}" points="{}"/>').format(1 + number % COLOURS, " ".join(places))
        )
    parts.append(Markup("</svg>"))
    for number, one in enumerate(series):
        if dots or len(one.points) == 1:
            parts += [
                Markup('<circle class="point series-{}" cx="{}%" cy="{}" r="4"/>').format(
                    1 + number % COLOURS, xs.percent(x), round(inner * (1 - ys.percent(y) / 100), 1)
                )
                for x, y in one.points
            ]
    parts.append(Markup("</svg></svg>"))
    return Markup("").join(parts)


def _thinned(points: Sequence[tuple[float, float]]) -> Sequence[tuple[float, float]]:
    """Return at most so many points as a screen can show, the last one among them."""
    step = -(-len(points) // _MOST_POINTS)
    return points if step <= 1 else [*points[::step], points[-1]]
