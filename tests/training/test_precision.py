"""Number formats: a wish is followed, `auto` decides, and steps in bf16 stay finite."""

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
    discriminator,
    generator,
    seqgan,
    split_of,
)
from training.batches import Batches
from training.config import MLEConfig
from training.evaluation.probe import held_out_nll
from training.objectives.mle import MaximumLikelihood
from training.precision import autocast, choose_precision


def test_a_wish_is_followed_and_auto_decides() -> None:
    assert choose_precision("fp32", CPU) == "fp32"
    assert choose_precision("bf16", CPU) == "bf16"
    assert choose_precision("auto", CPU) in ("fp32", "bf16")


def test_bf16_is_the_format_of_products_inside_autocast_only() -> None:
    left = torch.ones(2, 2)
    with autocast("bf16", CPU):
        assert (left @ left).dtype == torch.bfloat16
    with autocast("fp32", CPU):
        assert (left @ left).dtype == torch.float32


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_maximum_likelihood_learns_in_bf16_with_weights_in_fp32(architecture: Architecture) -> None:
    model = generator(architecture, width=32)
    batches = Batches(split_of(copy_task()), 36, DATA, 0, CPU)
    learning = MaximumLikelihood(model, batches, MLEConfig(learning_rate=1e-2, warmup=0), "bf16")
    losses = [learning.step(0.0)["nll"] for _ in range(30)]
    assert all(map(torch.isfinite, torch.tensor(losses)))
    assert losses[-1] < 0.7 * losses[0]
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    scored = [batch_of(copy_task())]
    assert held_out_nll(model, scored, "bf16") == pytest.approx(held_out_nll(model, scored), rel=0.05)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("credit", ["step", "mc"])
def test_a_step_of_conditional_seqgan_in_bf16_is_finite_and_moves_everything(
    architecture: Architecture, credit: str
) -> None:
    model = generator(architecture)
    before = copy.deepcopy(model.state_dict())
    objective = seqgan(
        model, discriminator(architecture), copy_task(), credit=credit, rollouts=2, kl=0.02, teacher_forcing=0.5,
        learning_rate=1e-3,
    )  # fmt: skip
    objective.precision = objective.discrimination.precision = "bf16"
    metrics = objective.step(0.0)
    assert all(map(torch.isfinite, map(torch.tensor, metrics.values())))
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name
