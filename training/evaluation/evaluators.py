"""Fresh evaluators: told human and machine replies, how well do they tell new ones apart? And how far to trust them?

Adversarial success says something only beside the controls: an evaluator that learns nothing takes half of all
replies for human. Knows kinds of evaluators by what they return, logits; no system, sweep or report.
`H` human and `M` machine test pairs.

Paper: Li et al. 2017, "Adversarial Learning for Neural Dialogue Generation"; Kannan and Vinyals 2016, "Adversarial
Evaluation of Dialogue Models".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from chatbot.tokenizer import Tokenizer
from training.evaluation.ngram_evaluator import ngram_logits
from training.evaluation.pairs import Pair, matched_indices, mismatched, normalise
from training.evaluation.transformer_evaluator import transformer_logits

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.int64]

Kind = Literal["ngrams", "transformer"]
Variant = Literal["plain", "normalised", "length_matched"]
"""As they are; without punctuation and case; only so many of each length as both sides have."""

Logits = Callable[[Sequence[Pair], Sequence[Pair], Sequence[Pair], Tokenizer, int], Floats]
_KINDS: Final[Mapping[Kind, Logits]] = MappingProxyType({"ngrams": ngram_logits, "transformer": transformer_logits})
SMALLEST_SIDE: Final = 2
"""Pairs of each side that an evaluator needs to learn from."""


@dataclass(frozen=True)
class Verdict:
    """What a fresh evaluator makes of test pairs."""

    accuracy: float
    """The mean of the shares of human and of machine replies that it is right about."""
    auc: float
    """The chance that it finds a human reply more human than a machine's."""
    adver_suc: float
    """The share of machine replies that it takes for human."""
    human_right: Bools
    """[H] which human replies it takes for human, in the order given."""
    machine_passed: Bools
    """[M] which machine replies it takes for human."""
    kept_human: Indices
    """[H] which of the human test pairs these are: all, but for length-matched ones."""
    kept_machine: Indices
    """[M]"""


@dataclass(frozen=True)
class Controls:
    """A kind of evaluator on questions whose answer is known."""

    human_vs_human: Verdict
    """Two halves of the human pairs, labelled at random: accuracy and AdverSuc should be .5."""
    machine_vs_machine: Verdict
    """The same of machine pairs."""
    human_vs_random: Verdict
    """Human pairs against the same contexts and replies, exchanged: should be told apart."""
    machine_vs_random: Verdict
    """Machine pairs against the same contexts with human replies to others (AdverSuc: of those): the relevance control.

    Where machine replies are as good as random ones, accuracy is .5 and fooling the evaluator is worth nothing.
    """

    @property
    def reliability_error(self) -> float:
        """Return the reliability error over the four."""
        return reliability_error(
            self.human_vs_human.accuracy,
            self.machine_vs_machine.accuracy,
            self.human_vs_random.accuracy,
            self.machine_vs_random.accuracy,
        )


def judge(
    kind: Kind,
    human_train: Sequence[Pair],
    machine_train: Sequence[Pair],
    human_test: Sequence[Pair],
    machine_test: Sequence[Pair],
    *,
    tokenizer: Tokenizer,
    seed: int,
    variant: Variant = "plain",
) -> Verdict:
    """Train an evaluator from nothing on the first two and return its verdict on the last two.

    A reply whose logit is above zero is taken for human. Of the larger side to learn from, a random choice as large as
    the smaller side is taken: the rarer side would be learnt by heart and everything else given to the other. A logit
    of exactly zero, knowing nothing, is decided by a fair coin from `seed`. Numbers are NaN where the length-matched
    sides are too small to learn from or be asked of. Otherwise raises ValueError for that.
    """
    trains, tests = [list(human_train), list(machine_train)], [list(human_test), list(machine_test)]
    kept = [np.arange(len(side)) for side in tests]
    rng = np.random.default_rng(seed)
    if variant == "normalised":
        trains, tests = ([[normalise(pair) for pair in side] for side in sides] for sides in (trains, tests))
    elif variant == "length_matched":
        kept = _matched(tests, tokenizer, rng)
        trains, tests = _choose(trains, _matched(trains, tokenizer, rng)), _choose(tests, kept)
    if min(map(len, trains)) < SMALLEST_SIDE or not min(map(len, tests)):
        if variant != "length_matched":
            raise ValueError(f"{[*map(len, trains)]} pairs to learn from, {[*map(len, tests)]} to be asked of")
        nothing = np.zeros(0, np.int64)
        return Verdict(np.nan, np.nan, np.nan, nothing > 0, nothing > 0, nothing, nothing)
    smaller = min(map(len, trains))
    chosen = [
        np.sort(rng.choice(len(side), smaller, replace=False)) if len(side) > smaller else np.arange(smaller)
        for side in trains
    ]
    trains = _choose(trains, chosen)
    logits = _KINDS[kind](trains[0], trains[1], [*tests[0], *tests[1]], tokenizer, seed)
    taken = np.where(logits == 0, rng.random(len(logits)) < 0.5, logits > 0)
    human_right, machine_passed = np.split(taken, [len(tests[0])])
    human_logits, machine_logits = np.split(logits, [len(tests[0])])
    return Verdict(
        accuracy=float(human_right.mean() + 1 - machine_passed.mean()) / 2,
        auc=area_under_curve(human_logits, machine_logits),
        adver_suc=float(machine_passed.mean()),
        human_right=human_right,
        machine_passed=machine_passed,
        kept_human=kept[0],
        kept_machine=kept[1],
    )


def controls(
    kind: Kind,
    human_train: Sequence[Pair],
    machine_train: Sequence[Pair],
    human_test: Sequence[Pair],
    machine_test: Sequence[Pair],
    *,
    tokenizer: Tokenizer,
    seed: int,
    variant: Variant = "plain",
) -> Controls:
    """Train four evaluators from nothing and return their verdicts on questions whose answer is known.

    Each side needs enough pairs to be halved, four to learn from and two to be asked of. Raises ValueError when it has
    not.
    """
    rng = np.random.default_rng(seed)

    def ask(one: Sequence[Pair], two: Sequence[Pair], three: Sequence[Pair], four: Sequence[Pair]) -> Verdict:
        return judge(kind, one, two, three, four, tokenizer=tokenizer, seed=seed, variant=variant)

    return Controls(
        human_vs_human=ask(*_halves(human_train, rng), *_halves(human_test, rng)),
        machine_vs_machine=ask(*_halves(machine_train, rng), *_halves(machine_test, rng)),
        human_vs_random=ask(human_train, mismatched(human_train, rng), human_test, mismatched(human_test, rng)),
        machine_vs_random=ask(machine_train, mismatched(human_train, rng), machine_test, mismatched(human_test, rng)),
    )


def reliability_error(
    human_vs_human: float, machine_vs_machine: float, human_vs_random: float, machine_vs_random: float
) -> float:
    """Return how far four accuracies are from what they should be, on average: 0 is a perfect evaluator.

    Should be: .5 where both sides are human, .5 where both are the machine's, and 1 where human or machine replies
    stand against random ones, that is, human replies to other contexts:
    (|hh - .5| + |mm - .5| + |1 - hr| + |1 - mr|) / 4. An evaluator that always tosses a coin has .25.

    Paper: after the evaluator reliability error of Li et al. 2017, "Adversarial Learning for Neural Dialogue
    Generation", which is the mean deviation from the right answer over four such scenarios, equally weighted. Their
    scenarios are of whole dialogues, ours of single replies, so values do not compare across papers.
    """
    deviations = (human_vs_human - 0.5, machine_vs_machine - 0.5, 1 - human_vs_random, 1 - machine_vs_random)
    return sum(map(abs, deviations)) / len(deviations)


def area_under_curve(positive: npt.ArrayLike, negative: npt.ArrayLike) -> float:
    """Return the chance that one of the positive scores is above one of the negative ones, ties counted half.

    Raises ValueError when a side is empty.

    Paper: Hanley and McNeil 1982, "The Meaning and Use of the Area under a Receiver Operating Characteristic Curve".
    """
    high, low = np.asarray(positive, np.float64), np.sort(np.asarray(negative, np.float64))
    if not high.size or not low.size:
        raise ValueError(f"{high.size} positive and {low.size} negative scores: the area needs both")
    below, not_above = np.searchsorted(low, high, "left"), np.searchsorted(low, high, "right")
    return float((below + not_above).mean() / 2 / low.size)


def _halves(pairs: Sequence[Pair], rng: np.random.Generator) -> tuple[list[Pair], list[Pair]]:
    """Return two random halves that share no pair."""
    order = rng.permutation(len(pairs))
    middle = len(pairs) // 2
    return [pairs[i] for i in order[:middle]], [pairs[i] for i in order[middle:]]


def _matched(sides: Sequence[Sequence[Pair]], tokenizer: Tokenizer, rng: np.random.Generator) -> list[Indices]:
    lengths = [np.array([len(tokenizer.encode(pair.reply)) for pair in side], np.int64) for side in sides]
    return list(matched_indices(lengths[0], lengths[1], rng))


def _choose(sides: Sequence[Sequence[Pair]], kept: Sequence[Indices]) -> list[list[Pair]]:
    return [[side[i] for i in indices] for side, indices in zip(sides, kept, strict=True)]
