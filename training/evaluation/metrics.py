"""What replies look like as a set: diversity, copying, length; and the two ratios that training watches.

Pure functions. A reply is a sequence of tokens without its end token: ids, words, or the characters of a string.
`R` replies. Knows no model, tokenizer or torch.
"""

import itertools
import math
from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

Reply = Sequence[Hashable] | npt.NDArray[np.integer]


def distinct_n(replies: Sequence[Reply], n: int, limit_tokens: int | None = None) -> float:
    """Return the number of different n-grams in R replies divided by the number of their tokens, 0 to 1.

    N-grams do not cross replies. The value falls as text grows: to compare systems, pass as `limit_tokens` the
    smallest token count among them, and the first so many tokens are taken. Raises ValueError without replies, and
    when the replies hold fewer tokens than `limit_tokens`.

    Paper: Li et al. 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models" (it divides by
    tokens; others divide by n-grams, which gives larger numbers on short replies).
    """
    taken = _take(replies, limit_tokens)
    tokens = sum(len(reply) for reply in taken)
    return len(set(_all_ngrams(taken, n))) / tokens if tokens else 0.0


def entropy_n(replies: Sequence[Reply], n: int = 4, limit_tokens: int | None = None) -> float:
    """Return the entropy in nats of the n-grams of R replies (Ent-4 with n = 4); 0 where no reply is n tokens long.

    `limit_tokens` and errors as in `distinct_n`.

    Paper: Zhang et al. 2018, "Generating Informative and Diverse Conversational Responses via Adversarial
    Information Maximization".
    """
    counts = Counter(_all_ngrams(_take(replies, limit_tokens), n)).values()
    total = sum(counts)
    return math.fsum(count / total * math.log(total / count) for count in counts)


def top_reply_share(replies: Sequence[Reply], k: int = 1) -> float:
    """Return the share of R replies that are one of the `k` most frequent ones. Raises ValueError without replies."""
    counts = Counter(_hashable(reply) for reply in _some(replies))
    return sum(count for _, count in counts.most_common(k)) / len(replies)


def distinct_reply_share(replies: Sequence[Reply]) -> float:
    """Return the number of different replies divided by R. Raises ValueError without replies."""
    return len({_hashable(reply) for reply in _some(replies)}) / len(replies)


def mean_length(replies: Sequence[Reply]) -> float:
    """Return the mean number of tokens in R replies. Raises ValueError without replies."""
    return sum(len(reply) for reply in _some(replies)) / len(replies)


def repeated_ngram_share(replies: Sequence[Reply], n: int = 3) -> float:
    """Return the share of all n-grams that stood earlier in the same reply; 0 where no reply is n tokens long.

    Raises ValueError without replies.

    Paper: Welleck et al. 2020, "Neural Text Generation with Unlikelihood Training" (seq-rep-n), taken over the
    n-grams of all replies together, because most replies are too short to have a share of their own.
    """
    total = repeated = 0
    for reply in _some(replies):
        grams = list(_ngrams(_hashable(reply), n))
        total += len(grams)
        repeated += len(grams) - len(set(grams))
    return repeated / total if total else 0.0


def copy_rate(replies: Sequence[Reply], *, contexts: Sequence[Reply], n: int = 2) -> float:
    """Return the share of the n-grams of R replies that stand in the reply's own context; 0 without any n-gram.

    Counted over all replies together, each occurrence by itself. A context is one row of tokens: what joins its turns
    should be no token of a reply. Raises ValueError without replies, or with another number of contexts.
    """
    if len(contexts) != len(_some(replies)):
        raise ValueError(f"{len(contexts)} contexts for {len(replies)} replies")
    total = copied = 0
    for reply, context in zip(replies, contexts, strict=True):
        there = set(_ngrams(_hashable(context), n))
        grams = list(_ngrams(_hashable(reply), n))
        total += len(grams)
        copied += sum(gram in there for gram in grams)
    return copied / total if total else 0.0


def self_bleu(
    replies: Sequence[Reply], n: int = 4, *, hypotheses: int = 200, references: int = 200, seed: int = 0
) -> float:
    """Return the mean BLEU-n, 0 to 1, of replies with other replies as references: 1 where all say the same.

    A random choice of `hypotheses` replies, each against the same random choice of `references` replies but for
    itself. It grows with the number of references: compare only values over the same one. BLEU is that of a
    sentence: the orders that it is long enough for, the closest length, and .1 for the count of an order without a
    match (0 where nothing matches); an empty reply has 1 when another one is empty, else 0. Raises ValueError for
    fewer than two replies.

    Paper: Zhu et al. 2018, "Texygen"; Papineni et al. 2002, "Bleu"; smoothing of Chen and Cherry 2014, "A Systematic
    Comparison of Smoothing Techniques for Sentence-Level BLEU" (method 1).
    """
    rows = [_hashable(reply) for reply in replies]
    if len(rows) < 2 or hypotheses < 1 or references < 2:
        raise ValueError(
            f"{len(rows)} replies, {hypotheses} hypotheses and {references} references: self-BLEU needs two"
        )
    rng = np.random.default_rng(seed)
    asked, against = (rng.permutation(len(rows))[:count].tolist() for count in (hypotheses, references))
    known = _References([rows[i] for i in against], n)
    return math.fsum(known.bleu(rows[i], against.index(i) if i in against else None) for i in asked) / len(asked)


class _References:
    """References for BLEU, of which any one can be left out."""

    def __init__(self, rows: Sequence[tuple[Hashable, ...]], n: int) -> None:
        self._lengths = [len(row) for row in rows]
        self._n = n
        self._most: dict[tuple[Hashable, ...], tuple[int, int, int]] = {}
        """The most that an n-gram occurs in one reference, which one that is, and the most in another one."""
        for owner, row in enumerate(rows):
            for gram, count in Counter(_up_to(row, n)).items():
                most, first, second = self._most.get(gram, (0, -1, 0))
                if count > most:
                    self._most[gram] = (count, owner, most)
                elif count > second:
                    self._most[gram] = (most, first, count)

    def bleu(self, row: tuple[Hashable, ...], left_out: int | None) -> float:
        """Return the BLEU of `row` with all references but the one `left_out`."""
        lengths = [length for i, length in enumerate(self._lengths) if i != left_out]
        if not row:
            return float(0 in lengths)
        orders = min(self._n, len(row))
        matched = [0] * orders
        for gram, count in Counter(_up_to(row, orders)).items():
            most, owner, second = self._most.get(gram, (0, -1, 0))
            matched[len(gram) - 1] += min(count, second if owner == left_out else most)
        if not any(matched):
            return 0.0
        closest = min(lengths, key=lambda length: (abs(length - len(row)), length))
        brevity = min(0.0, 1 - closest / len(row))
        precisions = [math.log((match or 0.1) / (len(row) - order)) for order, match in enumerate(matched)]
        return math.exp(brevity + math.fsum(precisions) / orders)


def discriminator_accuracy(real_logits: npt.ArrayLike, fake_logits: npt.ArrayLike) -> float:
    """Return the mean of the share of real replies above zero and the share of fake ones below it.

    Both one-dimensional, of any lengths: each side counts one half. A logit of exactly zero is half right, so that
    a discriminator that knows nothing scores one half. Raises ValueError when a side is empty.
    """
    real, fake = np.asarray(real_logits, np.float64), np.asarray(fake_logits, np.float64)
    if not real.size or not fake.size:
        raise ValueError(f"{real.size} real and {fake.size} fake logits: accuracy needs both")
    return float(np.heaviside(real, 0.5).mean() + np.heaviside(-fake, 0.5).mean()) / 2


def perplexity(log_probability: float, tokens: int) -> float:
    """Return exp of the mean negative log-probability (natural) of a token; infinite where that overflows.

    `log_probability` is the sum over all `tokens`. Raises ValueError when there are none.
    """
    if tokens < 1:
        raise ValueError("perplexity needs at least one token")
    try:
        return math.exp(-log_probability / tokens)
    except OverflowError:
        return math.inf


def _some(replies: Sequence[Reply]) -> Sequence[Reply]:
    if not len(replies):
        raise ValueError("no replies to measure")
    return replies


def _hashable(reply: Reply) -> tuple[Hashable, ...]:
    """Return the tokens as a tuple of plain values; an array's ids become Python's own integers."""
    return tuple(reply.tolist()) if isinstance(reply, np.ndarray) else tuple(reply)


def _take(replies: Sequence[Reply], limit_tokens: int | None) -> list[tuple[Hashable, ...]]:
    """Return the replies up to `limit_tokens` in all; the one that crosses the limit is cut."""
    rows = [_hashable(reply) for reply in _some(replies)]
    if limit_tokens is None:
        return rows
    tokens = sum(len(row) for row in rows)
    if not 0 < limit_tokens <= tokens:
        raise ValueError(f"{limit_tokens} tokens asked for, the replies hold {tokens}")
    before = itertools.accumulate((len(row) for row in rows), initial=0)
    return [row[: max(0, limit_tokens - start)] for row, start in zip(rows, before, strict=False)]


def _ngrams(reply: tuple[Hashable, ...], n: int) -> Iterator[tuple[Hashable, ...]]:
    if n < 1:
        raise ValueError(f"{n}-grams: n is at least 1")
    return (reply[i : i + n] for i in range(len(reply) - n + 1))


def _up_to(reply: tuple[Hashable, ...], n: int) -> Iterator[tuple[Hashable, ...]]:
    """Yield the n-grams of all orders up to `n`."""
    return itertools.chain.from_iterable(_ngrams(reply, order) for order in range(1, n + 1))


def _all_ngrams(replies: Iterable[tuple[Hashable, ...]], n: int) -> Iterator[tuple[Hashable, ...]]:
    return itertools.chain.from_iterable(_ngrams(reply, n) for reply in replies)
