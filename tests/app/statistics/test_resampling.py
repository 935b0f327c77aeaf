"""Tables of points drawn anew: their mean, their spread and what never changes, against drawing rows one by one."""

import numpy as np
import pytest

from app.statistics.battles import Battles, points_table
from app.statistics.resampling import drawn_tables, tables_of_drawn_battles

# Systems 0 and 1 met three times and once the other way round, 1 and 2 twice, 2 and 0 once.
BATTLES = Battles(
    n_systems=3,
    a=np.array([0, 0, 0, 1, 1, 2, 2]),
    b=np.array([1, 1, 1, 0, 2, 1, 0]),
    points_of_a=np.array([1.0, 1.0, 0.5, 1.0, 0.0, 0.5, 1.0]),
    rater=np.array([0, 0, 1, 1, 1, 2, 0]),
    context=np.array([0, 1, 2, 3, 4, 5, 6]),
)


def one_by_one(rows: np.ndarray) -> np.ndarray:
    """Return the table of the battles of these rows, which may come more than once."""
    table = np.zeros((3, 3))
    for row in rows:
        a, b, points = BATTLES.a[row], BATTLES.b[row], BATTLES.points_of_a[row]
        table[a, b] += points
        table[b, a] += 1 - points
    return table


def test_single_battles_drawn_are_rows_drawn_with_replacement() -> None:
    drawn = tables_of_drawn_battles(BATTLES, np.random.default_rng(1), 20_000)
    assert drawn.shape == (20_000, 3, 3)
    assert (drawn.sum(axis=(1, 2)) == 7).all()
    assert (drawn >= 0).all()
    rng = np.random.default_rng(2)
    expected = np.array([one_by_one(rng.integers(0, 7, 7)) for _ in range(20_000)])
    assert drawn.mean(axis=0) == pytest.approx(points_table(BATTLES), abs=0.05)
    assert drawn.var(axis=0) == pytest.approx(expected.var(axis=0), abs=0.08)
    # Who met whom goes together: what 0 won from 1 and 1 from 0.
    together = [np.cov(tables[:, 0, 1], tables[:, 1, 0])[0, 1] for tables in (drawn, expected)]
    assert together[0] == pytest.approx(together[1], abs=0.05)


def test_a_drawn_raters_battles_come_all_or_not_at_all() -> None:
    drawn = drawn_tables(BATTLES, BATTLES.rater, np.random.default_rng(1), 300)
    own = np.array([one_by_one(np.flatnonzero(BATTLES.rater == rater)) for rater in range(3)])
    possible = {
        tuple(own[[i, j, k]].sum(axis=0).reshape(-1)) for i in range(3) for j in range(3) for k in range(3)
    }  # fmt: skip
    assert len(drawn) == 300
    assert {tuple(table.reshape(-1)) for table in drawn} == possible
