"""Measure the replies of one system at one setting, with what is fitted once on human data.

Knows texts and which measure wants what; refuses to know systems, sweeps and intervals. Every text, human or machine,
is tokenised the same way, by the data's tokenizer. C test contexts.
"""

import contextlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from chatbot.tokenizer import TURN, Tokenizer
from training.corpus.dataset import PreparedDataset
from training.evaluation.cache import Cache, fingerprint
from training.evaluation.distribution import embed, embed_pairs, frechet_distance
from training.evaluation.drawing import Replies
from training.evaluation.dullness import are_stock
from training.evaluation.evaluators import Kind, Variant, Verdict, controls, judge
from training.evaluation.heldout import HeldOut, held_out
from training.evaluation.language_score import language_score
from training.evaluation.metrics import copy_rate, distinct_reply_share, self_bleu, top_reply_share
from training.evaluation.ngram import KneserNey
from training.evaluation.pairs import Pair
from training.evaluation.probe import spread_over
from training.evaluation.relevance import CANDIDATES, ContextMatcher, rank_contexts
from training.evaluation.report import ControlRow

Floats = npt.NDArray[np.float64]

VERSION: Final = 1
"""Raised when a measure changes: what an older Rejoinder measured is then not taken for it."""
LEARNT: Final = 100_000
"""Training replies that the forward language model counts."""
MATCHED: Final = 20_000
"""Training pairs that the matcher of contexts and replies learns from."""
_CONTROLS: Final = {
    "human_vs_human": ("accuracy, human against human", ".5: there is nothing to find"),
    "machine_vs_machine": ("accuracy, machine against machine", ".5: there is nothing to find"),
    "human_vs_random": ("accuracy, human replies against human replies to other contexts", "1, the further from .5 "
                        "the more relevance counts"),
    "machine_vs_random": ("accuracy, machine replies against human replies to other contexts", "1; at .5 fooling "
                          "the evaluator is worth nothing"),
}  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """What a fresh evaluator said."""

    accuracy: float | None
    """None, as the other numbers, where too few replies of equal length were left to judge."""
    auc: float | None
    adver_suc: float | None
    passed: Floats | None
    """[C] 1 where the reply was taken for human; None where not every test reply was judged."""


@dataclass(frozen=True)
class Swept:
    """What is measured at every setting, per test context where it is a mean over them."""

    judged: Judged
    forward: Floats
    """[C] natural log-probability of the reply, its end token counted, under a model of human replies."""
    forward_tokens: Floats
    """[C] tokens of the reply, its end token counted."""
    reciprocal_rank: Floats
    """[C] of the true context among 50."""
    self_bleu: float


@dataclass(frozen=True)
class Tabled:
    """What is measured at temperature 1 besides."""

    frechet_reply: float
    frechet_pair: float
    reverse: Floats
    """[C] natural log-probability of the human reply, its end token counted, under a model of the system's replies."""
    reverse_tokens: Floats
    """[C] tokens of the human reply, its end token counted."""
    dull: Floats
    """[C] 1 for a stock reply."""
    copied: Floats
    """[C] bigrams of the reply that its context holds, too."""
    bigrams: Floats
    """[C] all of them."""
    top_1: float
    top_10: float
    distinct_replies: float


class Yardsticks:
    """Everything fitted on human replies, made when first asked for."""

    def __init__(
        self,
        data: PreparedDataset,
        tokenizer: Tokenizer,
        valid: HeldOut,
        test: HeldOut,
        cache: Cache,
        *,
        seed: int,
        context_tokens: int,
        reply_tokens: int,
    ) -> None:
        self._data, self._tokenizer, self._cache = data, tokenizer, cache
        self._valid, self._test, self._seed = valid, test, seed
        self._limits = {"context_tokens": context_tokens, "reply_tokens": reply_tokens}
        self._human = fingerprint([valid.contexts, valid.replies, test.contexts, test.replies])

    @property
    def candidates(self) -> int:
        """Return among how many contexts the true one is looked for: 50, fewer where the test part has fewer."""
        others = len(self._test) - max(Counter(self._test.contexts).values())
        return min(CANDIDATES, others + 1)

    def ids(self, replies: Sequence[str]) -> list[list[int]]:
        """Return the token ids of replies, without end tokens."""
        return self._tokenizer.encode_batch(list(replies))

    def judge(self, replies: Replies, kind: Kind, variant: Variant = "plain") -> Judged:
        """Return what a fresh evaluator, trained on the validation part, says of the test replies."""

        def ask() -> dict[str, Any]:
            verdict = judge(kind, *self._sides(replies), tokenizer=self._tokenizer, seed=self._seed, variant=variant)
            passed = verdict.machine_passed.astype(float).tolist()
            return {**_numbers(verdict), "passed": passed if len(passed) == len(self._test) else None}

        answer = self._remembered("judged", replies, ask, kind=kind, variant=variant)
        passed = answer.pop("passed")
        return Judged(**answer, passed=None if passed is None else np.array(passed))

    def judge_human(self, kind: Kind) -> Judged:
        """Return what a fresh evaluator says of human replies when all it could learn is to tell human from human.

        The even pairs of each part are its human side, the odd ones stand in for a machine.
        """
        valid, test = self._valid.pairs(), self._test.pairs()

        def ask() -> dict[str, Any]:
            verdict = judge(
                kind, valid[::2], valid[1::2], test[::2], test[1::2], tokenizer=self._tokenizer, seed=self._seed
            )
            return _numbers(verdict)

        key = {"version": VERSION, "human": self._human, "seed": self._seed, "kind": kind}
        with _one_thread():
            return Judged(**self._cache.get("judged_human", key, ask), passed=None)

    def judge_slowly(self, replies: Replies, *, human: bool = False) -> Judged:
        """Return what the Transformer evaluator says of the test replies."""
        return self.judge_human("transformer") if human else self.judge(replies, "transformer")

    def sweep(self, replies: Replies, *, human: bool = False) -> Swept:
        """Measure what is measured at every setting; `human` says that the replies are the human ones."""

        def ask() -> dict[str, Any]:
            scored = self._with_ends(self.ids(replies.test))
            tokens = np.array([len(ids) for ids in scored])
            logs = np.add.reduceat(self._forward_model.log_probabilities(scored), np.cumsum(tokens) - tokens)
            contexts = self._test.contexts
            found = rank_contexts(
                self._matcher.scores, contexts, replies.test, seed=self._seed, candidates=self.candidates
            )
            return {
                "forward": logs.tolist(), "forward_tokens": tokens.tolist(),
                "reciprocal_rank": found.reciprocal.tolist(),
                "self_bleu": self_bleu(self.ids(replies.test)),
            }  # fmt: skip

        answer = self._remembered("swept", replies, ask)
        judged = self.judge_human("ngrams") if human else self.judge(replies, "ngrams")
        arrays = {name: np.array(answer[name], np.float64) for name in ("forward", "forward_tokens", "reciprocal_rank")}
        return Swept(judged, self_bleu=answer["self_bleu"], **arrays)

    def table(self, replies: Replies, learnt_tokens: int) -> Tabled:
        """Measure what is measured at temperature 1 only.

        The reverse language model learns from `learnt_tokens` tokens, the same number for every system.
        """

        def ask() -> dict[str, Any]:
            texts = replies.test
            vectors, pairs = embed(texts), embed_pairs(self._test.pairs(texts))
            distances = [
                half_against_half(own, human) for own, human in zip((vectors, pairs), self._human_vectors, strict=True)
            ]
            ids = self.ids(texts)
            # Fitted to replies to other contexts, so that the human row does not know its answers beforehand.
            reverse = language_score(
                self.ids(replies.valid),
                self.ids(self._test.replies),
                self._tokenizer.vocabulary_size,
                training_tokens=learnt_tokens,
            )
            return {
                "frechet_reply": distances[0], "frechet_pair": distances[1],
                "reverse": reverse.log_probability.tolist(), "reverse_tokens": reverse.tokens.tolist(),
                "dull": are_stock(texts).astype(float).tolist(),
                "copied": self._copied(ids).tolist(), "bigrams": [max(0.0, len(row) - 1.0) for row in ids],
                "top_1": top_reply_share(texts), "top_10": top_reply_share(texts, 10),
                "distinct_replies": distinct_reply_share(texts),
            }  # fmt: skip

        answer = self._remembered("tabled", replies, ask, learnt_tokens=str(learnt_tokens))
        values: dict[str, Any] = {name: np.array(v) if isinstance(v, list) else v for name, v in answer.items()}
        return Tabled(**values)

    def controls(self, replies: Replies, kind: Kind) -> list[ControlRow]:
        """Return what the evaluator makes of questions whose answers are known, with `replies` as the machine's."""

        def ask() -> dict[str, Any]:
            found = controls(kind, *self._sides(replies), tokenizer=self._tokenizer, seed=self._seed)
            accuracies = {name: getattr(found, name).accuracy for name in _CONTROLS}
            return {**accuracies, "reliability_error": found.reliability_error}

        answer = self._remembered("controls", replies, ask, kind=kind)
        return [
            *(ControlRow(kind, label, answer[name], expected) for name, (label, expected) in _CONTROLS.items()),
            ControlRow(kind, "reliability error", answer["reliability_error"], "0; tossing a coin has .25"),
        ]

    def _sides(self, replies: Replies) -> tuple[list[Pair], list[Pair], list[Pair], list[Pair]]:
        """Return the pairs an evaluator learns from, human and machine, and those it is asked about."""
        valid, test = self._valid, self._test
        return valid.pairs(), valid.pairs(replies.valid), test.pairs(), test.pairs(replies.test)

    def _remembered(self, folder: str, replies: Replies, ask: Any, **more: str) -> dict[str, Any]:
        key = {
            "version": VERSION, "human": self._human, "valid": fingerprint(replies.valid),
            "test": fingerprint(replies.test), "seed": self._seed, **more,
        }  # fmt: skip
        with _one_thread():
            return dict(self._cache.get(folder, key, ask))

    def _copied(self, ids: Sequence[Sequence[int]]) -> Floats:
        contexts = [[t for turn in self._with_ends(self.ids(context)) for t in turn] for context in self._test.contexts]
        shares = [copy_rate([reply], contexts=[context], n=2) for context, reply in zip(contexts, ids, strict=True)]
        return np.array([share * max(0, len(reply) - 1) for share, reply in zip(shares, ids, strict=True)])

    @staticmethod
    def _with_ends(rows: Sequence[Sequence[int]]) -> list[list[int]]:
        return [[*row, TURN] for row in rows]

    @cached_property
    def _human_vectors(self) -> tuple[Any, Any]:
        return embed(list(self._test.replies)), embed_pairs(self._test.pairs())

    @cached_property
    def _forward_model(self) -> KneserNey:
        train = self._data.split("train")
        rows = [train.reply(int(i))[: self._limits["reply_tokens"]].tolist() for i in spread_over(train, LEARNT)]
        # The data's ids are those of its texts; a reply that was cut ends here as everybody's do.
        return KneserNey.fit(
            self._with_ends([[i for i in row if i != TURN] for row in rows]), self._tokenizer.vocabulary_size
        )

    @cached_property
    def _matcher(self) -> ContextMatcher:
        train = held_out("train", self._data.split("train"), self._tokenizer, MATCHED, **self._limits)
        return ContextMatcher.fit(train.pairs(), self._seed)


def half_against_half(own: Floats, human: Floats) -> float:
    """Return the Frechet distance of half of the replies to the human ones of the other half, both ways on average.

    Embeddings [C, D]. So human replies have a distance like everybody's, over the same number of texts: the floor.
    """
    even, odd = slice(0, len(own) // 2 * 2, 2), slice(1, len(own) // 2 * 2, 2)
    return (frechet_distance(own[even], human[odd]) + frechet_distance(own[odd], human[even])) / 2


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Keep torch to one thread: evaluators are so small that a second one costs more than it does, and sums over
    several threads may differ in the last bit."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _numbers(verdict: Verdict) -> dict[str, float | None]:
    numbers = {"accuracy": verdict.accuracy, "auc": verdict.auc, "adver_suc": verdict.adver_suc}
    return {name: number if math.isfinite(number) else None for name, number in numbers.items()}
