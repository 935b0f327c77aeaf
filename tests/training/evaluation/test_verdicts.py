"""A verdict says what the numbers say, and no more."""

import pytest

from training.evaluation.intervals import Interval
from training.evaluation.sweep import Comparison, MatchedPoint
from training.evaluation.verdicts import caution, sentence


def comparison(*differences: tuple[float, float, float], apart: bool = False) -> Comparison:
    points = tuple(MatchedPoint(0.5, 0.4, 0.4, Interval(*values)) for values in differences)
    return Comparison("GAN", "MLE", None if apart else (0.4, 0.6), points, Interval(0, 0, 0))


BETTER, WORSE, SAME = (0.03, 0.01, 0.05), (-0.04, -0.06, -0.02), (0.01, -0.02, 0.04)


@pytest.mark.parametrize(
    ("name", "found", "expected"),
    [
        (
            "adver_suc",
            comparison(BETTER, BETTER, BETTER, SAME, SAME),
            "Replies of GAN are taken for human more often than those of MLE, by +1.0 points to +3.0 points: "
            "at 3 of 5 points of equal diversity the 95 % interval is above zero.",
        ),
        (
            "relevance",
            comparison(WORSE, WORSE, WORSE, WORSE, SAME),
            "Replies of GAN fit their contexts less than those of MLE, by -0.040 to +0.010: "
            "at 4 of 5 points of equal diversity the 95 % interval is below zero.",
        ),
        (
            "adver_suc",
            comparison(BETTER, BETTER, SAME, SAME, WORSE),
            "No difference between GAN and MLE is shown: better at 2, worse at 1 of 5 points of equal diversity, "
            "3 are needed (by -4.0 points to +3.0 points).",
        ),
    ],
)
def test_sentences(name: str, found: Comparison, expected: str) -> None:
    assert sentence(found, name) == expected


def test_systems_that_are_never_equally_diverse_are_not_compared() -> None:
    assert sentence(comparison(apart=True), "adver_suc").startswith("Nothing can be said: the replies of GAN and MLE")


def test_few_seeds_are_warned_of() -> None:
    assert "one training seed:" in caution(1)
    assert "2 training seeds:" in caution(2)
    assert caution(3) == ""
