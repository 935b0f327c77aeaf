"""Maximum likelihood: it learns a toy task outright, and its learning rate goes as told."""

import copy

import pytest
import torch

from tests.training.toys import (
    ARCHITECTURES,
    CPU,
    DATA,
    Architecture,
    batch_of,
    copy_task,
    exact_share,
    generator,
    greedy,
    same,
    split_of,
)
from training.batches import Batches
from training.config import MLEConfig
from training.objectives.mle import MaximumLikelihood


def objective(architecture: Architecture = "recurrent", batch: int = 36, dropout: float = 0.0) -> MaximumLikelihood:
    model = generator(architecture, width=32, dropout=dropout)
    config = MLEConfig(learning_rate=1e-2, warmup=4)
    return MaximumLikelihood(model, Batches(split_of(copy_task()), batch, DATA, 0, CPU), config, "fp32")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_toy_task_is_learnt_to_over_95_percent(architecture: Architecture) -> None:
    learning = objective(architecture)
    for step in range(150):
        learning.step(step / 150)
    batch = batch_of(copy_task())
    assert same(greedy(learning.generator, batch.context).tokens, batch.reply) > 0.95
    assert exact_share(learning.generator, copy_task()) > 0.95


def test_the_rate_rises_over_the_warmup_and_falls_with_progress() -> None:
    learning = objective()
    rates = [learning.step(progress)["learning_rate"] for progress in (0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 1.0)]
    assert rates == pytest.approx([2.5e-3, 5e-3, 7.5e-3, 1e-2, 1e-2, 5e-3, 0.0])


def test_softening_halves_the_rate_from_then_on() -> None:
    learning = objective()
    for _ in range(5):
        learning.step(0.0)
    learning.soften()
    learning.soften()
    assert learning.step(0.0)["learning_rate"] == pytest.approx(2.5e-3)


def test_what_is_logged_counts_tokens_and_epochs() -> None:
    learning = objective(batch=18)
    first, second = learning.step(0.0), learning.step(0.0)
    assert first["tokens"] == 18 * 3
    assert (first["epochs"], second["epochs"]) == (0.5, 1.0)


def test_saved_and_taken_up_again_it_goes_on_as_if_nothing_had_happened() -> None:
    one, two = objective(batch=8, dropout=0.2), objective(batch=8, dropout=0.2)
    for _ in range(6):
        one.step(0.1)
    one.soften()
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    two.generator.load_state_dict(one.generator.state_dict())
    state = torch.get_rng_state()
    expected = [one.step(0.2) for _ in range(3)]
    torch.set_rng_state(state)
    assert [two.step(0.2) for _ in range(3)] == expected
