"""How far a set of texts is from another one as a whole: the Frechet distance between embeddings of both.

The embedding is hashed character n-grams under a fixed random projection: no model, no download, any language. It sees
spelling, words and phrases; it refuses to know what they mean. Distances under it compare with each other only.
`N` texts, `D` numbers of an embedding.
"""

import functools
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from training.evaluation.feature_hashing import flatten, ngram_hashes
from training.evaluation.pairs import Pair

Floats = npt.NDArray[np.float64]

DIMENSIONS: Final = 64
BUCKETS: Final = 2**13
LONGEST_N: Final = 4
"""Characters of the longest n-gram."""
_PROJECTION_SEED: Final = 20_170_123  # any number: every embedding must have the same
_CHUNK: Final = 1024


def embed(texts: Sequence[str]) -> Floats:
    """Return an embedding of each text, [N, D]; the same text has the same one always and everywhere.

    Signed hashed counts of the character 1- to 4-grams, with a space before and behind the text; their square roots,
    for a letter is not ten times as telling because it stands there ten times; l2-normalised; projected.

    Paper: Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning"; Achlioptas 2003,
    "Database-friendly Random Projections".
    """
    found = [_hashed(texts[i : i + _CHUNK]) @ _projection() for i in range(0, len(texts), _CHUNK)]
    return np.concatenate(found) if found else np.zeros((0, DIMENSIONS))


def embed_pairs(pairs: Sequence[Pair]) -> Floats:
    """Return the embedding of each context, its turns in lines, beside that of the reply: [N, 2 D].

    Weak: over two thousand real pairs, exchanging all replies does not move this distance beyond its own noise;
    `relevance` is what tells replies that fit. And two sides with the same contexts are nearer to each other than two
    halves of the human pairs: compare like with like.
    """
    contexts = embed(["\n".join(pair.context) for pair in pairs])
    return np.concatenate((contexts, embed([pair.reply for pair in pairs])), axis=1)


def frechet_distance(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Return the squared Frechet distance of the Gaussians with the means and covariances of `a` and `b`, both [N, D].

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a^1/2 C_b C_a^1/2)^1/2), at least 0. It falls as N grows, for the covariances
    are estimated: compare only distances over the same N, and see what one half of the human texts has to the other.
    Raises ValueError when the shapes differ or N < 2.

    Paper: Dowson and Landau 1982, "The Frechet Distance between Multivariate Normal Distributions"; for text, Semeniuta
    et al. 2018, "On Accurate Evaluation of GANs for Language Generation".
    """
    one, two = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if one.ndim != 2 or one.shape != two.shape or len(one) < 2:
        raise ValueError(f"embeddings of shapes {one.shape} and {two.shape}, expected the same and at least two texts")
    gap = one.mean(axis=0) - two.mean(axis=0)
    first, second = (np.atleast_2d(np.cov(side, rowvar=False)) for side in (one, two))
    root = _root(first)
    shared = np.linalg.eigvalsh(root @ second @ root)
    distance = gap @ gap + np.trace(first) + np.trace(second) - 2 * np.sqrt(np.maximum(shared, 0)).sum()
    return max(0.0, float(distance))


def _root(covariance: Floats) -> Floats:
    """Return the symmetric square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(covariance)
    root: Floats = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root


def _hashed(texts: Sequence[str]) -> Floats:
    """Return the normalised rows of hashed counts: [N, BUCKETS]."""
    symbols, lengths = flatten([[ord(character) for character in f" {text} "] for text in texts])
    counts = np.zeros(len(texts) * BUCKETS)
    for order in range(1, LONGEST_N + 1):
        rows, hashes = ngram_hashes(symbols, lengths, order, salt=0)
        places = rows * BUCKETS + (hashes % np.uint64(BUCKETS)).astype(np.int64)
        signs = np.where(hashes >> np.uint64(63), 1.0, -1.0)
        counts += np.bincount(places, weights=signs, minlength=len(counts))
    rooted = (np.sign(counts) * np.sqrt(np.abs(counts))).reshape(len(texts), BUCKETS)
    # A text whose every count cancels out would have no length; it stays at the origin.
    return np.asarray(rooted / np.maximum(np.linalg.norm(rooted, axis=1, keepdims=True), 1e-12))


@functools.cache
def _projection() -> Floats:
    """Return the projection, [BUCKETS, D], which keeps lengths on average."""
    signs = np.random.default_rng(_PROJECTION_SEED).integers(0, 2, (BUCKETS, DIMENSIONS))
    projection: Floats = (2.0 * signs - 1.0) / np.sqrt(DIMENSIONS)
    return projection
