"""Bradley-Terry strengths: against `choix`, against themselves, and where none exist."""

import evalica
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.statistics.battles import POINTS_OF_A, Battles, number_clusters, points_by_cluster, points_table
from app.statistics.strengths import fit_many, fit_strengths, in_largest_component, is_strongly_connected, reaches

tables = st.integers(2, 6).flatmap(
    lambda n: st.lists(st.integers(0, 40), min_size=n * n, max_size=n * n).map(
        lambda cells: np.array(cells, np.float64).reshape(n, n) / 2 * (1 - np.eye(n))
    )
)


def test_two_systems_by_hand() -> None:
    # 3 points against 1, and a pseudo-tie of each with the average player between them. By symmetry the strengths are
    # +d/2 and -d/2 with the average at 0: 3 + 1/2 = 4 s(d) + s(d/2), where s is the logistic function.
    strong, weak = fit_strengths(np.array([[0.0, 3.0], [1.0, 0.0]]))
    d = strong - weak
    assert 4 / (1 + np.exp(-d)) + 1 / (1 + np.exp(-d / 2)) == pytest.approx(3.5, abs=1e-9)
    assert strong + weak == pytest.approx(0, abs=1e-12)


def test_without_systems_there_are_no_strengths() -> None:
    assert fit_strengths(np.zeros((0, 0))).shape == (0,)


def test_what_cannot_be_fitted_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    tables = np.array([[[0.0, 30.0], [1.0, 0.0]]] * 3)
    with pytest.raises(ValueError, match="with a prior only"):
        fit_many(tables, prior=0.0)
    monkeypatch.setattr("app.statistics.strengths._STEPS", 1)
    with pytest.raises(ValueError, match="3 of 3 tables did not converge in 1 steps"):
        fit_many(tables)


def test_choix_agrees_without_a_prior() -> None:
    choix = pytest.importorskip("choix")
    rng = np.random.default_rng(1)
    points = rng.integers(1, 30, (5, 5)).astype(np.float64) * (1 - np.eye(5))
    assert fit_strengths(points, prior=0) == pytest.approx(choix.opt_pairwise(5, _as_pairs(points)), abs=1e-5)


def test_choix_agrees_with_the_prior_as_one_more_player() -> None:
    choix = pytest.importorskip("choix")
    # Half a win each way against player 5 is the pseudo-tie. One system never lost, and one met nobody.
    points = np.array([[0, 4, 5, 0, 0], [2, 0, 3, 0, 0], [1, 3, 0, 0, 0], [6, 0, 0, 0, 0], [0, 0, 0, 0, 0]], np.float64)
    doubled = np.zeros((6, 6))
    doubled[:5, :5] = 2 * points
    doubled[5, :5] = doubled[:5, 5] = 1
    expected = choix.opt_pairwise(6, _as_pairs(doubled))[:5]
    assert fit_strengths(points) == pytest.approx(expected - expected.mean(), abs=1e-5)


@settings(deadline=None, max_examples=60)
@given(tables)
def test_both_ways_of_fitting_agree(points: np.ndarray) -> None:
    assert fit_many(points[None])[0] == pytest.approx(fit_strengths(points), abs=1e-6)


def test_many_tables_are_fitted_each_by_itself() -> None:
    # Against the average player each table stands elsewhere: their own means must be taken off, not that of all.
    points = np.array(
        [[[0, 40, 40], [0, 0, 10], [0, 10, 0]], [[0, 1, 0], [1, 0, 0], [0, 0, 0]], [[0, 0, 0]] * 3], float
    )
    found = fit_many(points)
    assert found == pytest.approx(np.stack([fit_strengths(table) for table in points]), abs=1e-6)
    assert found.mean(axis=1) == pytest.approx(np.zeros(3), abs=1e-12)
    assert found[2] == pytest.approx(np.zeros(3))


@pytest.mark.parametrize("prior", [0.0, -1.0])
def test_many_tables_need_a_prior(prior: float) -> None:
    with pytest.raises(ValueError, match=r"^many tables are fitted with a prior only"):
        fit_many(np.ones((1, 2, 2)), prior)


@settings(deadline=None, max_examples=60)
@given(tables)
def test_fitted_points_are_the_points_that_were_won(points: np.ndarray) -> None:
    strengths = fit_many(points[None])[0]
    met = points + points.T
    chance = 1 / (1 + np.exp(strengths[None, :] - strengths[:, None]))
    # The pseudo-ties are 0.5 points for each; the average player stands where they are all together fair.
    pulled = points.sum(axis=1) - (met * chance).sum(axis=1) + 0.5
    average = strengths - np.log(pulled / (1 - pulled))
    assert average == pytest.approx(np.full(len(points), average.mean()), abs=1e-5)


def test_evalica_alone_has_no_answer_where_nobody_loses_to_anybody() -> None:
    # The trap that the prior and the check are there for.
    alone = evalica.bradley_terry(["a", "b"], ["b", "c"], [evalica.Winner.X, evalica.Winner.X])
    assert set(alone.scores.to_numpy().tolist()) == {1e-6}
    points = np.array([[0.0, 1, 0], [0, 0, 1], [0, 0, 0]])
    assert not is_strongly_connected(points)
    with pytest.raises(ValueError, match="not strongly connected"):
        fit_strengths(points, prior=0)
    assert np.diff(fit_strengths(points)).max() < -0.1


def test_reaching_goes_through_others() -> None:
    # 0 beat 1, 1 beat 2, 2 tied with 3.
    points = np.zeros((4, 4))
    points[0, 1] = points[1, 2] = 1
    points[2, 3] = points[3, 2] = 0.5
    assert reaches(points).astype(int).tolist() == [[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert in_largest_component(points).tolist() == [False, False, True, True]
    assert in_largest_component(np.stack([points, np.ones((4, 4))])).all(axis=1).tolist() == [False, True]


def test_a_chain_of_ten_is_followed_to_its_end() -> None:
    chain = np.eye(10, k=1)
    assert (reaches(chain) == np.triu(np.ones((10, 10)))).all()
    assert is_strongly_connected(chain + np.eye(10, k=-9))
    assert not is_strongly_connected(chain)


def test_points_of_each_cluster_by_itself() -> None:
    two = Battles(2, *(np.array(v) for v in ([0, 1, 0], [1, 0, 1], [1.0, 1.0, 0.5], [0, 0, 1], [0, 1, 2])))
    assert points_by_cluster(two, two.rater).tolist() == [[[0, 1], [1, 0]], [[0, 0.5], [0.5, 0]]]
    none = two.among([1])
    assert points_by_cluster(none, none.rater).shape == (0, 1, 1)


def test_a_tie_is_half_a_point_for_both() -> None:
    assert {answer: 1 - points for answer, points in POINTS_OF_A.items()} == {
        "a": 0,
        "b": 1,
        "tie": 0.5,
        "both_bad": 0.5,
    }
    battles = Battles(
        n_systems=3,
        a=np.array([0, 1, 2]),
        b=np.array([1, 0, 0]),
        points_of_a=np.array([1.0, 0.5, 0.0]),
        rater=np.array([0, 0, 1]),
        context=np.array([0, 1, 0]),
    )
    assert points_table(battles).tolist() == [[0, 1.5, 1], [0.5, 0, 0], [0, 0, 0]]
    inner = battles.among([2, 0])
    assert (inner.n_systems, inner.a.tolist(), inner.b.tolist(), inner.rater.tolist()) == (2, [0], [1], [0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b": [0, 0]}, "itself"),
        ({"b": [1, 7]}, "outside 0 to 2"),
        ({"b": [1, 3]}, "outside 0 to 2"),
        ({"a": [-1, 2]}, "outside 0 to 2"),
        ({name: [[1, 0]] for name in ("a", "b", "points_of_a", "rater", "context")}, "shapes"),
        ({"points_of_a": [1.0, 0.3]}, "0, 0.5 or 1"),
        ({"rater": [0]}, "shapes"),
    ],
)
def test_impossible_battles_are_refused(change: dict[str, list[float]], message: str) -> None:
    arrays = {"a": [0, 2], "b": [1, 1], "points_of_a": [1.0, 0.0], "rater": [0, 0], "context": [0, 0], **change}
    with pytest.raises(ValueError, match=message):
        Battles(3, **{name: np.array(values) for name, values in arrays.items()})


def test_clusters_are_numbered_as_they_appear() -> None:
    assert number_clusters(np.array(["z", "a", "z", "m", "a"])).tolist() == [0, 1, 0, 2, 1]


def _as_pairs(points: np.ndarray) -> list[tuple[int, int]]:
    assert (points == points.round()).all()
    return [(i, j) for i, j in np.argwhere(points > 0).tolist() for _ in range(int(points[i, j]))]
