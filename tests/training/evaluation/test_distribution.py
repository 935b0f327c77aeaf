"""The Frechet distance of Gaussians that are known, and embeddings that tell texts apart."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.evaluation.distribution import DIMENSIONS, embed, embed_pairs, frechet_distance
from training.evaluation.pairs import Pair

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "tree", "and", "then", "slept", "today"]


def sentences(count: int, seed: int, words: list[str] = WORDS) -> list[str]:
    drawn = random.Random(seed)
    return [" ".join(drawn.choices(words, k=drawn.randint(3, 9))) for _ in range(count)]


def test_one_dimension_by_hand() -> None:
    # Means 0 and 3, variances 2 and 8: 9 + (sqrt 2 - sqrt 8)^2 = 9 + 2
    assert frechet_distance([[-1.0], [1.0]], [[1.0], [5.0]]) == pytest.approx(11.0)


def test_independent_dimensions_add_up() -> None:
    a = np.array([[1.0, 0], [-1, 0], [0, 3], [0, -3]])  # variances 2/3 and 6, no covariance
    b = np.array([[3.0, 2], [-1, 2], [1, 3], [1, 1]])  # means 1 and 2, variances 8/3 and 2/3
    expected = 1 + 4 + (np.sqrt(2 / 3) - np.sqrt(8 / 3)) ** 2 + (np.sqrt(6) - np.sqrt(2 / 3)) ** 2
    assert frechet_distance(a, b) == pytest.approx(expected)


@given(st.integers(0, 1000))
def test_laws(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = (rng.normal(0, 1, (12, 4)) @ rng.normal(0, 1, (4, 4)) + rng.normal(0, 1, 4) for _ in range(2))
    found = frechet_distance(a, b)
    # The trace of the root of a product is the sum of the roots of its eigenvalues, computed another way here.
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    roots = np.sqrt(np.maximum(np.linalg.eigvals(first @ second).real, 0))
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second) - 2 * roots.sum()
    assert found == pytest.approx(expected, abs=1e-6)
    assert found == pytest.approx(frechet_distance(b, a), abs=1e-8)
    turned = np.linalg.qr(rng.normal(0, 1, (4, 4)))[0]
    assert found == pytest.approx(frechet_distance(a @ turned, b @ turned), abs=1e-8)
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-8)


def test_both_sides_must_have_the_same_number_of_texts() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\) and \(4, 2\)"):
        frechet_distance(np.zeros((3, 2)), np.zeros((4, 2)))
    with pytest.raises(ValueError, match="at least two"):
        frechet_distance(np.zeros((1, 2)), np.zeros((1, 2)))


def test_embeddings_are_the_same_everywhere_and_of_length_about_one() -> None:
    found = embed(["hello there", "你好", "", "hello there"])
    assert found.shape == (4, DIMENSIONS)
    assert np.array_equal(found[0], found[3])
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=0.3)
    assert found[0, :3] == pytest.approx([-0.02251182, 0.22208238, -0.01434867], abs=1e-6)
    assert embed([]).shape == (0, DIMENSIONS)


def test_like_texts_are_near() -> None:
    a, b, c, d = embed(["I like your new car", "I like your new cat", "我们明天去北京", "我们明天去上海"])
    assert a @ b > 0.6 > 0.4 > abs(a @ c)
    assert c @ d > 0.4 > abs(b @ d)


@settings(deadline=None)
@given(st.lists(st.text(max_size=8), min_size=1, max_size=4))
def test_an_embedding_does_not_depend_on_its_neighbours(texts: list[str]) -> None:
    assert np.allclose(embed(texts), np.concatenate([embed([text]) for text in texts]))


def test_another_distribution_is_further_away_than_another_sample() -> None:
    human, again = embed(sentences(400, 1)), embed(sentences(400, 2))
    near = frechet_distance(human, again)
    assert frechet_distance(human, embed(sentences(400, 3, WORDS[:7]))) > 2 * near
    assert frechet_distance(human, embed(["I do not know"] * 400)) > 10 * near


def test_pairs_stand_side_by_side() -> None:
    found = embed_pairs([Pair(("hi", "you"), "yes")])
    assert np.array_equal(found[0, :DIMENSIONS], embed(["hi\nyou"])[0])
    assert np.array_equal(found[0, DIMENSIONS:], embed(["yes"])[0])
