"""Human-or-machine: different, equivalent, and undecided are three things."""

import numpy as np
import pytest

from app.statistics.turing import against_chance, against_humans, pass_rate


def judgements(n: int, rate: float, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng([seed, n])
    return rng.random(n) < rate, np.arange(n) % 20, np.arange(n) % 100


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.mark.parametrize(
    ("n", "rate", "finding"), [(3000, 0.5, "equivalent"), (3000, 0.3, "different"), (60, 0.5, "undecided")]
)
def test_a_rate_against_chance(n: int, rate: float, finding: str) -> None:
    measured = pass_rate(*judgements(n, rate, 2), rng())
    found = against_chance(measured)
    assert (found.finding, found.difference) == (finding, measured.mean - 0.5)


@pytest.mark.parametrize(
    ("n", "machine", "human", "finding"),
    [(3000, 0.7, 0.72, "equivalent"), (3000, 0.5, 0.75, "different"), (60, 0.6, 0.62, "undecided")],
)
def test_a_system_against_humans(n: int, machine: float, human: float, finding: str) -> None:
    a, b = judgements(n, machine, 3), judgements(n, human, 4)
    taken, rater, context = (np.concatenate(columns) for columns in zip(a, b, strict=True))
    is_human = np.repeat([False, True], n)
    found = against_humans(taken, is_human, rater, context, rng())
    assert found.finding == finding
    assert found.difference == pytest.approx(a[0].mean() - b[0].mean())
    # Raters and contexts have no effect here, so the error is that of two independent shares.
    error = np.sqrt((machine * (1 - machine) + human * (1 - human)) / n)
    low, high = found.interval
    assert (high - low) / 2 == pytest.approx(2 * error, rel=0.4)


def test_raters_who_say_human_to_everything_do_not_blur_the_difference() -> None:
    # Each rater has a leaning of their own, which both rates share and their difference does not.
    random = np.random.default_rng(6)
    leaning = random.uniform(0.2, 0.8, 20)
    rater = np.arange(4000) % 20
    is_human = np.arange(4000) // 20 % 2 == 0
    taken = random.random(4000) < leaning[rater]
    context = np.arange(4000) // 40
    difference = against_humans(taken, is_human, rater, context, rng())
    alone = pass_rate(taken[~is_human], rater[~is_human], context[~is_human], rng())
    assert difference.finding == "equivalent"
    width = difference.interval.high - difference.interval.low
    assert width < 0.6 * (alone.interval().high - alone.interval().low)


def test_one_rater_decides_nothing() -> None:
    measured = pass_rate(np.array([True, False]), np.zeros(2), np.arange(2), rng())
    found = against_chance(measured)
    assert (found.difference, found.interval, found.finding) == (0.0, None, "undecided")


def test_the_error_of_a_difference_between_groups_of_different_sizes() -> None:
    # Everybody judged once, so the error is that of two independent shares: 0.6 of 80 and 0.9 of 320.
    taken = np.concatenate([np.arange(80) < 48, np.arange(320) < 288])
    everybody = np.arange(400)
    found = against_humans(taken, everybody >= 80, everybody, everybody, rng())
    assert found.difference == pytest.approx(-0.3)
    error = np.sqrt(0.6 * 0.4 / 80 + 0.9 * 0.1 / 320)
    assert (found.interval.high - found.interval.low) / 2 == pytest.approx(1.96 * error, rel=0.08)
    assert (found.interval.high + found.interval.low) / 2 == pytest.approx(-0.3)
    assert found.finding == "different"
    # 0.3 and 1.645 errors are 0.394.
    assert against_humans(taken, everybody >= 80, everybody, everybody, rng(), margin=0.42).finding == "equivalent"
    rate = pass_rate(taken, everybody, everybody, rng())
    # 0.84 is off one half by 0.34, and 1.645 of its errors are 0.03.
    assert [against_chance(rate, margin=margin).finding for margin in (0.38, 0.36)] == ["equivalent", "different"]


def test_both_kinds_are_needed() -> None:
    with pytest.raises(ValueError, match="both"):
        against_humans(np.ones(2, bool), np.ones(2, bool), np.arange(2), np.arange(2), rng())
