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
from training.losses import token_log_probabilities
from training.objectives.mle import MaximumLikelihood
from training.precision import agreement, autocast, bf16_speed, choose_precision


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


def test_bf16_agrees_with_fp32_on_a_batch_and_a_broken_format_does_not() -> None:
    model, batch = generator(width=32), batch_of(copy_task())

    def loss() -> torch.Tensor:
        return -token_log_probabilities(model, model.encode(batch.context), batch.reply).mean()

    found = agreement(model, loss, "bf16", CPU)
    assert found.close
    assert 0 < found.gradient < 0.05
    assert all(parameter.grad is None for parameter in model.parameters())
    assert agreement(model, loss, "fp32", CPU).gradient == 0
    tried = []

    def noisy() -> torch.Tensor:
        tried.append(1)
        return loss() * (5 if len(tried) == 1 else 1)

    assert not agreement(model, noisy, "bf16", CPU).close
    assert bf16_speed() > 0


def test_a_batch_in_parts_takes_the_same_step() -> None:
    weights = []
    for parts in (1, 5):
        model = generator()
        batches = Batches(split_of(copy_task()), 36, DATA, 0, CPU)
        MaximumLikelihood(model, batches, MLEConfig(parts=parts, learning_rate=1e-3, warmup=0), "fp32").step(0.0)
        weights.append(model.trunk.embedding.weight.detach().clone())
    torch.testing.assert_close(*weights, atol=1e-5, rtol=1e-4)
