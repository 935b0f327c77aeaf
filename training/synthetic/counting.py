"""The Counting task (Tuan and Lee 2019): many right answers to every question, and each answer is right or wrong.

To a sequence of digits x_1 .. x_N any (k - 1, x_k, N - k) is right: how many digits stand before one of them, the
digit, how many stand after it. Knows the task only; nothing of models or training.

N digits of a question, Q questions, M answers drawn to each, T answer tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from chatbot.tokenizer import PAD, TURN
from training.corpus.dataset import Split

DIGITS = 10
FIRST = 3
"""The id of digit 0; those below are reserved."""
VOCABULARY = FIRST + DIGITS
ANSWER_TOKENS = 5
"""Three, the end token, and one more: an answer may also be wrong by going on."""

Question = tuple[int, ...]


def questions(count: int, shortest: int, longest: int, rng: np.random.Generator) -> list[Question]:
    """Return `count` different questions of `shortest` to `longest` digits, all lengths equally often."""
    found: dict[Question, None] = {}
    while len(found) < count:
        length = int(rng.integers(shortest, longest + 1))
        found.setdefault(tuple(rng.integers(0, DIGITS, length).tolist()))
    return list(found)


def right_answers(question: Question) -> list[tuple[int, int, int]]:
    """Return the N right answers, which are all different."""
    return [(k, digit, len(question) - 1 - k) for k, digit in enumerate(question)]


def split_of(asked: Sequence[Question], rng: np.random.Generator) -> Split:
    """Return one pair for each question: the question, and one of its right answers drawn at random."""
    turns = []
    for question in asked:
        answer = right_answers(question)[int(rng.integers(len(question)))]
        turns += [[FIRST + digit for digit in question] + [TURN], [FIRST + number for number in answer] + [TURN]]
    replies = np.arange(len(asked)) * 2 + 1
    return Split(
        np.array([token for turn in turns for token in turn], np.uint16),
        np.cumsum([0, *map(len, turns)]).astype(np.int64),
        np.arange(0, 2 * len(asked) + 1, 2, dtype=np.int64),
        np.stack([replies - 1, replies], axis=1).astype(np.int64),
    )


def contexts_of(asked: Sequence[Question]) -> Tensor:
    """Return the questions as contexts [Q, longest + 1], PAD on the right."""
    width = max(map(len, asked)) + 1
    rows = [[FIRST + digit for digit in question] + [TURN] for question in asked]
    return torch.tensor([row + [PAD] * (width - len(row)) for row in rows])


@dataclass(frozen=True)
class Score:
    """How good and how many-sided answers are."""

    precision: float
    """Share of the answers that are right."""
    coverage: float
    """Share of a question's right answers found among M drawn, mean over questions."""


def score(asked: Sequence[Question], answers: Tensor) -> Score:
    """Return the exact score of answers [Q, M, T] to the questions: precision, and the set of right answers found."""
    right, shares = 0, []
    for question, rows in zip(asked, answers.tolist(), strict=True):
        possible = set(right_answers(question))
        found = [answer for row in rows if (answer := _read(row)) in possible]
        right += len(found)
        shares.append(len(set(found)) / len(possible))
    return Score(right / (answers.shape[0] * answers.shape[1]), sum(shares) / len(shares))


def _read(row: Sequence[int]) -> tuple[int, ...] | None:
    """Return the numbers of an answer up to its end token; without one it is none."""
    if TURN not in row:
        return None
    return tuple(token - FIRST for token in row[: row.index(TURN)])
