"""Gumbel-softmax GAN: the temperature's way, and a reply that D likes is learnt from samples."""

import pytest
import torch
from torch import Tensor

from tests.training.toys import (
    ARCHITECTURES,
    Architecture,
    VectorJudge,
    batch_of,
    discriminator,
    draw,
    generator,
    players,
)
from training.config import GumbelConfig
from training.objectives.gumbel import GumbelSoftmaxGAN

ASK = [([3], [7])] * 16


def test_the_temperature_is_annealed_over_the_stage() -> None:
    game = players(generator(), discriminator(), ASK)
    objective = GumbelSoftmaxGAN(game, GumbelConfig(2.0, 0.5), torch.Generator().manual_seed(0))
    assert [objective.step(progress)["temperature"] for progress in (0.0, 0.5, 1.0)] == pytest.approx([2.0, 1.0, 0.5])


@pytest.mark.parametrize("straight_through", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_d_reads_one_hot_vectors_only_if_straight_through(architecture: Architecture, straight_through: bool) -> None:
    read: list[Tensor] = []

    def opinion(soft: Tensor) -> Tensor:
        read.append(soft.detach())
        return soft[..., 4]

    game = players(generator(architecture), VectorJudge(opinion), ASK, discriminator_steps=0)
    GumbelSoftmaxGAN(game, GumbelConfig(straight_through=straight_through), torch.Generator().manual_seed(0)).step(0.0)
    (soft,) = read
    assert bool(((soft == 0) | (soft == 1)).all()) is straight_through


@pytest.mark.parametrize("straight_through", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_bandit_is_learnt_from_relaxed_samples(architecture: Architecture, straight_through: bool) -> None:
    def opinion(soft: Tensor) -> Tensor:
        return (6 * soft[:, :1, 5] - 3).expand(soft.shape[:2])

    model = generator(architecture)
    game = players(model, VectorJudge(opinion), ASK, contexts=16, discriminator_steps=0, learning_rate=3e-3)
    objective = GumbelSoftmaxGAN(
        game, GumbelConfig(straight_through=straight_through), torch.Generator().manual_seed(0)
    )
    context = batch_of(ASK * 20).context
    before = float((draw(model, context).tokens[:, 0] == 5).float().mean())
    for i in range(80):
        objective.step(i / 80)
    after = float((draw(model, context).tokens[:, 0] == 5).float().mean())
    assert before < 0.2
    assert after > 0.9
