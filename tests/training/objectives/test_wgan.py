"""Wasserstein GAN: slopes of critics that are known, what the penalties make of a critic, and a gradient that stays."""

import pytest
import torch
from torch import Tensor

from tests.training.toys import (
    ARCHITECTURES,
    VOCABULARY,
    Architecture,
    VectorJudge,
    ambiguous_task,
    copy_task,
    discriminator,
    generator,
    perfect_generator,
    players,
)
from training.config import DiscriminatorConfig, WganConfig
from training.losses import divergence_penalty, gradient_penalty
from training.objectives.wgan import WassersteinGAN, interpolate, slopes, twice_differentiable
from training.relaxation import lengthen, softmax

CRITIC = DiscriminatorConfig(learning_rate=2e-3, weight_decay=0.0)


def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def test_the_slope_of_a_linear_critic_is_its_weight() -> None:
    weight = torch.randn(3, VOCABULARY, generator=rng())

    def opinion(soft: Tensor) -> Tensor:
        return (soft * weight).sum((1, 2))[:, None].expand(soft.shape[:2])

    soft = torch.softmax(torch.randn(2, 3, VOCABULARY, generator=rng()), -1)
    found = slopes(VectorJudge(opinion), torch.zeros(2, 1, dtype=torch.long), soft)
    torch.testing.assert_close(found, weight.expand(2, 3, VOCABULARY), rtol=1e-4, atol=1e-5)
    assert gradient_penalty(found / weight.norm()).item() == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("penalty", [gradient_penalty, divergence_penalty])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_penalty_alone_reaches_every_parameter_and_its_gradient_is_right(
    architecture: Architecture, penalty: object
) -> None:
    assert callable(penalty)
    critic = discriminator(architecture)
    dealt = players(generator(architecture), critic, copy_task()).deal(softmax)
    points = interpolate(dealt, rng())

    def value() -> Tensor:
        with twice_differentiable():
            return penalty(slopes(critic, dealt.context, points))  # type: ignore[no-any-return] # it is a Tensor

    value().backward()
    for name, parameter in critic.named_parameters():
        if name == "head.bias":  # a constant has no slope
            assert parameter.grad is None or parameter.grad.abs().max() < 1e-5
            continue
        assert parameter.grad is not None, name
        assert parameter.grad.any(), name
        direction, step = torch.randn(parameter.shape, generator=rng()), 1e-3
        with torch.no_grad():
            parameter += step * direction
        above = float(value().detach())
        with torch.no_grad():
            parameter -= 2 * step * direction
        below = float(value().detach())
        with torch.no_grad():
            parameter += step * direction
        expected = float((parameter.grad * direction).sum())
        assert (above - below) / (2 * step) == pytest.approx(expected, rel=0.05, abs=0.05), name


def test_points_lie_on_the_lines_between_both_sides() -> None:
    dealt = players(generator(), discriminator(), copy_task()).deal(softmax)
    points = interpolate(dealt, rng())
    longest = dealt.machine.shape[1]
    assert dealt.human.shape[1] < longest  # so the human side says TURN at the end
    torch.testing.assert_close(points.sum(-1), torch.ones(points.shape[:2]))
    human, machine = lengthen(dealt.human, longest), dealt.machine
    way = human - machine
    shares = ((points - machine) * way).sum((1, 2)) / way.square().sum((1, 2))
    assert ((shares > 0) & (shares < 1)).all()
    assert shares.std() > 0.1  # each pair has its own
    torch.testing.assert_close(points, machine + shares[:, None, None] * way, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_gradient_penalty_holds_a_critic_at_slope_one_and_the_divergence_below(architecture: Architecture) -> None:
    found = {}
    for penalty in ("gp", "div"):
        game = players(
            perfect_generator(architecture), discriminator(architecture), ambiguous_task(), judging=CRITIC,
            discriminator_steps=120, contexts=16, learning_rate=0.0,
        )  # fmt: skip
        found[penalty] = WassersteinGAN(game, WganConfig(penalty), rng()).step(0.0)
    assert found["gp"]["critic_slope"] == pytest.approx(1.0, abs=0.15)
    assert 0.2 < found["div"]["critic_slope"] < 0.8
    for metrics in found.values():
        assert metrics["wasserstein"] > 0.1
        # With the same players the minimax loss ends with a few thousandths at most (test_gan.py).
        assert metrics["gradient_norm_through_d"] > 0.05
