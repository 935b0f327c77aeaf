"""What an n-gram model of one side's replies makes of the other side's: fluency one way, coverage the other way.

Forward: machine replies under a model of human ones. Low for broken language, and highest for the dull. Reverse: human
replies under a model of machine ones. Low where the machine does not say what people say. Neither alone is quality.
Knows replies as token ids without their end token, which is added and counted here: a reply cut short counts as ended.
`R` replies, `V` vocabulary.

Paper: Zhao et al. 2018, "Adversarially Regularized Autoencoders" (reverse perplexity); Cifka et al. 2018, "Eval all,
trust a few, do wrong to none" (forward and reverse).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chatbot.tokenizer import TURN
from training.evaluation.ngram import KneserNey

Reply = Sequence[int] | npt.NDArray[np.integer]


@dataclass(frozen=True)
class LanguageScore:
    """Log-probabilities of R replies."""

    log_probability: npt.NDArray[np.float64]
    """[R] of each whole reply, nats."""
    tokens: npt.NDArray[np.int64]
    """[R] tokens of each, the end counted: never zero."""

    @property
    def mean(self) -> float:
        """Return the mean log-probability of a token in nats: never positive, the higher the better expected."""
        return float(self.log_probability.sum() / self.tokens.sum())


def language_score(
    learnt: Sequence[Reply],
    scored: Sequence[Reply],
    vocabulary_size: int,
    *,
    training_tokens: int | None = None,
    order: int = 3,
) -> LanguageScore:
    """Return what an interpolated Kneser-Ney model of the replies `learnt` makes of each of `scored`.

    Forward score: `learnt` human and `scored` the machine's; reverse: the other way round. A model of more text is
    better: pass as `training_tokens` the same number for every system (see `tokens_of`), and the first so many tokens
    are learnt from. Raises ValueError when there are fewer, and without replies on either side.
    """
    if not len(scored):
        raise ValueError("no replies to score")
    model = KneserNey.fit(_cut([_ended(reply) for reply in learnt], training_tokens), vocabulary_size, order)
    rows = [_ended(reply) for reply in scored]
    tokens = np.array([len(row) for row in rows], np.int64)
    return LanguageScore(np.add.reduceat(model.log_probabilities(rows), np.cumsum(tokens) - tokens), tokens)


def tokens_of(replies: Sequence[Reply]) -> int:
    """Return how many tokens a model could learn from, end tokens counted."""
    return sum(len(reply) + 1 for reply in replies)


def _ended(reply: Reply) -> list[int]:
    return [*map(int, reply), TURN]


def _cut(rows: list[list[int]], tokens: int | None) -> list[list[int]]:
    """Return the rows up to `tokens` in all; the one that crosses the limit is cut."""
    if tokens is None:
        return rows
    held = sum(map(len, rows))
    if not 0 < tokens <= held:
        raise ValueError(f"{tokens} training tokens asked for, the replies hold {held}")
    kept: list[list[int]] = []
    left = tokens
    for row in rows:
        if not left:
            break
        kept.append(row[:left])
        left -= len(kept[-1])
    return kept
