"""The Counting task by hand, and its experiment in small."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chatbot.generator.trunk import TrunkConfig
from chatbot.tokenizer import PAD, TURN
from training.config import AdversarialConfig, DiscriminatorConfig, MLEConfig
from training.synthetic.counting import FIRST, contexts_of, questions, right_answers, score, split_of
from training.synthetic.counting_bench import (
    CountingOptions,
    CountingWorld,
    counting_experiment,
    discrimination,
    run_seed,
    summarise,
    table,
)


def row(*numbers: int, ended: bool = True) -> list[int]:
    ids = [FIRST + number for number in numbers] + ([TURN] if ended else [])
    return ids + [PAD] * (5 - len(ids))


def test_every_digit_can_be_picked() -> None:
    assert right_answers((8, 3, 5)) == [(0, 8, 2), (1, 3, 1), (2, 5, 0)]


@given(st.lists(st.integers(0, 9), min_size=1, max_size=10))
def test_right_answers_are_as_many_as_digits_and_count_to_the_length(digits: list[int]) -> None:
    answers = right_answers(tuple(digits))
    assert len(set(answers)) == len(digits)
    assert all(before + 1 + after == len(digits) and digits[before] == digit for before, digit, after in answers)


def test_the_score_is_exact() -> None:
    """Of six answers four are right: precision 2/3. Of the three right ones (0, 8, 2) and (2, 5, 0) are found: 2/3."""
    rows = [row(0, 8, 2), row(0, 8, 2), row(2, 5, 0), row(2, 5, 0), row(1, 8, 1), row(0, 8, 2, ended=False)]
    found = score([(8, 3, 5)], torch.tensor([rows]))
    assert found.precision == pytest.approx(2 / 3)
    assert found.coverage == pytest.approx(2 / 3)


def test_what_stands_behind_the_end_does_not_count() -> None:
    rows = torch.tensor([[[FIRST, FIRST + 8, FIRST + 2, TURN, FIRST + 9], row(0, 8, 2, 2)]])
    assert score([(8, 3, 5)], rows).precision == 0.5


def test_pairs_are_questions_with_one_right_answer_each() -> None:
    rng = np.random.default_rng(0)
    asked = questions(50, 3, 6, rng)
    assert len(set(asked)) == 50
    assert {len(question) for question in asked} == {3, 4, 5, 6}
    split = split_of(asked, rng)
    contexts = contexts_of(asked)
    for i, question in enumerate(asked):
        answer = [int(token) - FIRST for token in split.reply(i)[:-1]]
        assert tuple(answer) in right_answers(question)
        assert split.context(i, 99).tolist() == [token for token in contexts[i].tolist() if token != PAD]


TINY = CountingOptions(
    pairs=400,
    asked=40,
    shortest=2,
    longest=3,
    answers=6,
    trunk=TrunkConfig("recurrent", 48, 1, 1, 4, 96, 0.0),
    mle=MLEConfig(steps=600, batch=32, learning_rate=5e-3, warmup=10, evaluate_every=50),
    discriminator=DiscriminatorConfig(steps=5, batch=16, evaluate_every=5),
    adversarial=AdversarialConfig(steps=3, contexts=8, samples=4, evaluate_every=2),
    temperatures=(0.5,),
)


def test_every_system_takes_part_and_likelihood_learns_the_task() -> None:
    found = {seed: run_seed(TINY, seed, lambda line: None) for seed in (0, 1)}
    assert list(found[0]) == [
        "mle",
        "mle at temperature 0.5",
        "mle continued",
        "adversarial",
        "placebo",
        "placebo noise",
    ]
    untaught = run_seed(replace(TINY, mle=replace(TINY.mle, steps=1)), 0, lambda line: None)
    assert found[0]["mle"].precision > untaught["mle"].precision + 0.1
    rows = {entry["system"]: entry for entry in summarise(found)}
    assert rows["mle"]["precision_gain"]["values"] == [0.0, 0.0]
    expected = np.mean([run["adversarial"].precision for run in found.values()])
    assert rows["adversarial"]["precision"]["mean"] == pytest.approx(float(expected), abs=1e-4)


def test_d_learns_what_a_right_answer_is_from_answers_to_other_questions() -> None:
    """With questions of one length in each batch it would not: a mismatched answer would then count right."""
    judging = replace(CountingOptions().discriminator, steps=250, batch=64, learning_rate=5e-3, evaluate_every=250)
    options = replace(CountingOptions(), pairs=4000, asked=200, shortest=2, longest=5, discriminator=judging)
    world = CountingWorld(options, 0)
    generator, judge = world.start()
    found = discrimination(world, generator, judge, judging)
    assert found["d_human_taken_for_human"] > 0.9
    assert found["d_mismatched_taken_for_human"] < 0.6


def test_the_rows_are_written_and_shown(tmp_path: Path) -> None:
    small = replace(TINY, mle=replace(TINY.mle, steps=2), adversarial=replace(TINY.adversarial, steps=1))
    rows = counting_experiment(small, range(1), tmp_path / "new" / "counting.json", lambda line: None)
    written = json.loads((tmp_path / "new" / "counting.json").read_text())
    assert written["rows"] == rows
    assert written["options"]["pairs"] == 400
    assert "placebo noise" in table(rows)
