"""Wilson's interval, votes still needed, and the table of pairs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from app.statistics.battles import Battles
from app.statistics.pairs import pair_table
from app.statistics.proportions import binomial_p, votes_needed, wilson


def test_wilson_by_hand() -> None:
    # 8 of 10, z = 1.959964: centre (0.8 + 0.19207) / 1.384146 = 0.716738, reach 0.226563.
    assert wilson(8, 10) == pytest.approx((0.490162, 0.943318), abs=1e-6)


@given(st.integers(0, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy_and_stays_possible(counts: tuple[int, int]) -> None:
    found = wilson(*counts)
    if not counts[1]:
        assert found is None
        return
    expected = stats.binomtest(*counts).proportion_ci(method="wilson")
    assert found == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= found.low <= counts[0] / counts[1] <= found.high <= 1


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="5 successes of 3"):
        wilson(5, 3)
    with pytest.raises(ValueError, match="-1 successes of 3"):
        wilson(-1, 3)
    for share in (0.5, -0.01, 1.01):
        with pytest.raises(ValueError, match=f"share of {share}.*not one half"):
            votes_needed(share)


@pytest.mark.parametrize("trials", [1, 3, 7, 10, 29, 123])
def test_the_ends_of_none_and_all_are_exact(trials: int) -> None:
    none, every = wilson(0, trials), wilson(trials, trials)
    assert none is not None
    assert every is not None
    assert (none.low, every.high) == (0.0, 1.0)
    # z^2 / (n + z^2), Wilson's other end.
    z = 1.959964
    assert none.high == pytest.approx(z * z / (trials + z * z), abs=1e-6)
    assert every.low == pytest.approx(1 - none.high)


def test_wilson_at_another_level() -> None:
    expected = stats.binomtest(8, 10).proportion_ci(method="wilson", confidence_level=0.8)
    assert wilson(8, 10, level=0.8) == pytest.approx((expected.low, expected.high))


def test_votes_needed_are_the_known_ones() -> None:
    # About 200 decisive votes for 60 %, about 790 for 55 %.
    assert (votes_needed(0.6), votes_needed(0.55)) == (194, 783)
    assert votes_needed(0.4) == 194
    rng = np.random.default_rng(2)
    seen = np.mean([binomial_p(int(rng.binomial(194, 0.6)), 194) < 0.05 for _ in range(2000)])
    assert seen == pytest.approx(0.8, abs=0.04)


def test_votes_needed_by_hand() -> None:
    # Shares without any variance: (1.96 / 2 / 0.5)^2 = 3.84 votes.
    assert (votes_needed(0.0), votes_needed(1.0)) == (4, 4)
    # At 90 % and with a power of one half: (1.645 / 2 / 0.1)^2 = 67.6.
    assert votes_needed(0.6, level=0.9, power=0.5) == 68


def test_a_pair_counts_both_ways_round_and_says_what_is_missing() -> None:
    battles = Battles(
        n_systems=3,
        a=np.array([0, 0, 1, 1, 0]),
        b=np.array([1, 1, 0, 0, 1]),
        points_of_a=np.array([1.0, 0.5, 0.0, 1.0, 1.0]),
        rater=np.zeros(5, np.int64),
        context=np.arange(5),
    )
    first, second, third = pair_table(battles)
    assert (first.a, first.b, first.wins, first.losses, first.ties) == (0, 1, 3, 1, 1)
    assert (first.share, first.missing) == (0.75, (190, 779))
    assert first.interval == wilson(3, 4)
    # 3 or more, or 1 or fewer, of 4: (1 + 4 + 4 + 1) / 16.
    assert first.p == pytest.approx(10 / 16)
    for nothing in (second, third):
        assert (nothing.wins, nothing.share, nothing.interval, nothing.p, nothing.missing) == (
            *(0, None, None, None),
            (194, 783),
        )


def test_enough_votes_are_missing_none() -> None:
    points = np.repeat([1.0, 0.0], 100)
    everything = np.arange(200)
    [pair] = pair_table(Battles(2, np.zeros(200, np.int64), np.ones(200, np.int64), points, everything, everything))
    assert (pair.share, pair.missing) == (0.5, (0, 583))
