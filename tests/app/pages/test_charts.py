"""Charts: where things stand, worked out by hand, and that text stays text."""

import re

import pytest

from app.pages.charts.forest import Estimate, forest_plot
from app.pages.charts.scale import Scale


@pytest.mark.parametrize(
    ("values", "low", "high", "step"),
    [
        ([0.0, 1.0], 0.0, 1.0, 0.5),  # a quarter is no round number, so half
        ([-0.7, 1.3], -1.0, 1.5, 0.5),
        ([3.2, 4.1], 3.0, 4.5, 0.5),
        ([100.0, 900.0], 0.0, 1000.0, 200.0),
        ([2.0], 1.5, 2.5, 0.5),  # one value alone stands in the middle
    ],
)
def test_a_scale_ends_at_round_numbers(values: list[float], low: float, high: float, step: float) -> None:
    scale = Scale.around(values)
    assert (scale.low, scale.high, scale.step) == pytest.approx((low, high, step))
    assert scale.ticks[0] == pytest.approx(low)
    assert scale.ticks[-1] == pytest.approx(high)


def test_labels_are_as_long_as_the_step_needs() -> None:
    scale = Scale(-1.0, 1.0, 0.5)
    assert [scale.label(tick) for tick in scale.ticks] == ["-1.0", "-0.5", "0.0", "0.5", "1.0"]
    assert Scale(0, 40_000, 10_000).label(20_000) == "20k"
    assert scale.label(-0.0) == "0.0"


@pytest.mark.parametrize("values", [[], [float("nan")], [float("inf"), 1.0]])
def test_what_cannot_be_drawn_is_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        Scale.around(values)


def test_a_forest_plot_draws_points_and_intervals_where_they_stand() -> None:
    rows = [Estimate("a<b>", 0.0, -1.0, 1.0), Estimate("c", 0.5)]
    svg = str(forest_plot(rows, 'title "x"', reference=0.0))
    assert re.findall(r'cx="([\d.]+)%"', svg) == ["50.0", "75.0"]  # the scale goes from -1 to 1
    assert svg.count('class="interval"') == 3  # one line with its two ends; the second row has none
    assert 'x1="0.0%" x2="100.0%"' in svg
    assert "a&lt;b&gt;" in svg
    assert "<b>" not in svg
    assert "title &#34;x&#34;" in svg
    assert "style=" not in svg


def test_a_forest_plot_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="needs rows"):
        forest_plot([], "nothing")
