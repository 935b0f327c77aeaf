"""What the models' pages draw of a run and of a report: only what is there, and no more points than a screen shows."""

import re

import pytest

from app.pages.charts.curves import Series, line_chart
from app.pages.models.run_files import RunFiles, Sample
from app.pages.models.view import Compared, compare_samples, quality_figure, scored, training_figures

WORDS = {"curve_reward": "Reward", "quality_relevance": "relevance", "quality_title": "{quality} against distinct-2"}


def test_a_run_is_drawn_metric_by_metric_a_series_for_each_stage() -> None:
    curves = {
        "reward": {"adversarial": [(10.0, 0.2), (20.0, 0.5)], "mle": []},
        "valid_nll": {"mle": [(0.0, 4.0), (10.0, 3.0)], "adversarial": [(20.0, 3.5)]},
        "g_loss": {"mle": [(0.0, 4.0)]},  # one point is no curve
        "of_no_interest": {"mle": [(0.0, 1.0), (1.0, 2.0)]},
    }
    figures = training_figures(RunFiles(curves=curves), WORDS)
    assert [(figure.title, figure.series) for figure in figures] == [
        ("valid_nll", ["mle", "adversarial"]),
        ("Reward", ["adversarial"]),
    ]
    assert figures[0].chart.count("<polyline") == 2
    assert figures[0].chart.count("<circle") == 1, "a stage of one point is a dot"
    assert figures[1].chart.count("<circle") == 0


def test_long_series_are_thinned_to_what_a_screen_shows_and_keep_their_end() -> None:
    svg = str(line_chart([Series("a", [(float(i), float(i)) for i in range(1000)])], "a"))
    [places] = re.findall(r'points="([^"]+)"', svg)
    points = places.split()
    assert len(points) == 335  # every third, and the last
    [end] = re.findall(r"^([\d.]+),", points[-1])
    assert float(end) == pytest.approx(99.9)
    with pytest.raises(ValueError, match="finite"):
        line_chart([Series("a", [])], "nothing")


def row(distinct: object, **quality: object) -> dict[str, object]:
    return {"values": {"distinct_2": {"value": distinct}, **{name: {"value": v} for name, v in quality.items()}}}


def test_quality_is_drawn_by_the_first_measure_that_the_report_has() -> None:
    rows = [row(0.5, relevance=0.3), row(0.2, relevance=0.4), row(float("nan"), relevance=0.1), row(0.1), "no row", {}]
    report = {"curves": [{"system": "mle", "points": rows}, {"system": "empty"}]}
    figure = quality_figure(report, WORDS)
    assert figure is not None
    assert (figure.title, figure.series) == ("relevance against distinct-2", ["mle"])
    assert figure.chart.count("<circle") == 2


@pytest.mark.parametrize("report", [None, {}, {"curves": "none"}, {"curves": []}, {"curves": [{"points": [{}]}]}])
def test_a_report_without_curves_has_no_figure(report: dict[str, object] | None) -> None:
    assert quality_figure(report, WORDS) is None


def test_checkpoints_are_compared_where_both_replied() -> None:
    samples = {
        "mle 10": [Sample("hi / hello", "hey", "yes"), Sample("bye", "bye", "no")],
        "mle 20": [Sample("hi / hello", "hey", "well")],
    }
    assert compare_samples(samples, "mle 10", "mle 20") == [Compared(["hi", "hello"], "hey", "yes", "well")]
    assert compare_samples(samples, "mle 10", "none") == []


def test_a_model_stands_beside_what_people_say_of_the_same_weights() -> None:
    board = {"systems": [{"weights_sha256": "a", "name": "one"}, {"weights_sha256": "b", "name": "other"}]}
    found = scored("m", "a", {"valid_nll": 0.0, "valid_mean_length": 7.5}, board)
    assert (found.perplexity, found.length, found.distinct_1) == (1.0, 7.5, None)
    assert [system["name"] for system in found.human] == ["one"]
    assert scored("m", "c", {"valid_nll": 99.0}, board).perplexity is None, "more than can be said"
