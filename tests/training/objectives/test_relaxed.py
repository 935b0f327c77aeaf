"""What the three relaxed systems have in common: the generator follows D's gradient, nothing is lost on resuming."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.tokenizer import START, TURN
from tests.training.toys import (
    ARCHITECTURES,
    Architecture,
    VectorJudge,
    batch_of,
    copy_task,
    discriminator,
    generator,
    players,
)
from training.config import GanConfig, GumbelConfig, WganConfig
from training.objectives.gan import GenerativeAdversarial
from training.objectives.gumbel import GumbelSoftmaxGAN
from training.objectives.relaxed import Players
from training.objectives.wgan import WassersteinGAN
from training.relaxation import softmax
from training.systems import AdversarialObjective

ASK = [([3], [7])] * 16

System = Callable[[Players, torch.Generator], AdversarialObjective]
SYSTEMS: dict[str, System] = {
    "gan": lambda game, rng: GenerativeAdversarial(game, GanConfig()),
    "gan, non-saturating": lambda game, rng: GenerativeAdversarial(game, GanConfig("non-saturating")),
    "wgan": lambda game, rng: WassersteinGAN(game, WganConfig(), rng),
    "wgan, div": lambda game, rng: WassersteinGAN(game, WganConfig("div"), rng),
    "gumbel": lambda game, rng: GumbelSoftmaxGAN(game, GumbelConfig(), rng),
    "gumbel, soft": lambda game, rng: GumbelSoftmaxGAN(game, GumbelConfig(straight_through=False), rng),
}


def put_together(system: str, learner: Seq2SeqGenerator, judge: nn.Module, **settings: Any) -> AdversarialObjective:
    pairs = settings.pop("pairs", ASK)
    return SYSTEMS[system](players(learner, judge, pairs, **settings), torch.Generator().manual_seed(0))


@torch.no_grad()
def first_word(model: Seq2SeqGenerator) -> Tensor:
    model.eval()
    context = batch_of(ASK[:1]).context
    logits, _ = model.step(model.encode(context), torch.tensor([START]))
    return torch.softmax(logits[0], -1)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("liked", [4, 7])
@pytest.mark.parametrize("system", SYSTEMS)
def test_one_step_makes_likelier_what_the_discriminator_likes(
    system: str, liked: int, architecture: Architecture
) -> None:
    def opinion(soft: Tensor) -> Tensor:
        return (4 * soft[:, :1, liked] - 2).expand(soft.shape[:2])

    model = generator(architecture)
    before = first_word(model)
    objective = put_together(
        system, model, VectorJudge(opinion), contexts=16, learning_rate=1e-3, discriminator_steps=0
    )
    objective.step(0.0)
    after = first_word(model)
    assert after[liked] > before[liked]


@pytest.mark.parametrize("short", [True, False])
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_length_is_learnt_too(system: str, short: bool) -> None:
    def opinion(soft: Tensor) -> Tensor:
        return torch.arange(soft.shape[1]).expand(soft.shape[:2]) * (-2.0 if short else 2.0)

    model = generator()
    before = first_word(model)
    objective = put_together(
        system, model, VectorJudge(opinion), contexts=16, learning_rate=1e-3, discriminator_steps=0
    )
    for _ in range(4):
        objective.step(0.0)
    assert bool(first_word(model)[TURN] > before[TURN]) is short


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("system", SYSTEMS)
def test_every_parameter_of_both_players_learns_from_the_game_alone(system: str, architecture: Architecture) -> None:
    model, judge = generator(architecture), discriminator(architecture)
    before = [copy.deepcopy(player.state_dict()) for player in (model, judge)]
    objective = put_together(
        system, model, judge, pairs=copy_task(), discriminator_steps=1, learning_rate=1e-3, contexts=32
    )
    for _ in range(3):
        objective.step(0.5)
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())
    for player, old in zip((model, judge), before, strict=True):
        for name, value in player.state_dict().items():
            if (player, name) == (judge, "head.bias") and system.startswith("wgan"):
                continue  # a difference of a critic's values knows no constant
            assert not torch.equal(value, old[name]), name


@pytest.mark.parametrize("system", SYSTEMS)
def test_without_teacher_forcing_human_replies_change_only_d(system: str) -> None:
    found = []
    for word in (4, 7):
        model = generator(dropout=0.1)
        put_together(system, model, discriminator(), pairs=[([3], [word])] * 16, discriminator_steps=0).step(0.5)
        found.append(copy.deepcopy(model.state_dict()))
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())


@pytest.mark.parametrize("system", SYSTEMS)
def test_teacher_forcing_alone_learns_the_human_reply(system: str) -> None:
    def indifferent(soft: Tensor) -> Tensor:
        return 0 * soft.sum(-1)

    model = generator()
    settings = {"discriminator_steps": 0, "teacher_forcing": 0.5, "teacher_forcing_end": 0.1, "learning_rate": 1e-2}
    objective = put_together(system, model, VectorJudge(indifferent), **settings)
    losses = [objective.step(i / 40)["nll"] for i in range(40)]
    assert losses[-1] < 0.3 * losses[0]
    assert first_word(model).argmax() == 7


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_softened_game_halves_the_generators_rate(system: str) -> None:
    objective = put_together(system, generator(), discriminator(), learning_rate=1e-3)
    assert objective.step(0.0)["learning_rate"] == 1e-3
    objective.soften()
    assert objective.step(0.0)["learning_rate"] == 5e-4


@pytest.mark.parametrize("system", SYSTEMS)
def test_saved_and_taken_up_again_it_goes_on_as_if_nothing_had_happened(system: str) -> None:
    def build() -> tuple[AdversarialObjective, torch.Generator, list[nn.Module]]:
        model, judge = generator(seed=2, dropout=0.1), discriminator()
        rng = torch.Generator().manual_seed(0)
        game = players(model, judge, copy_task(), teacher_forcing=0.5, learning_rate=1e-3)
        return SYSTEMS[system](game, rng), rng, [model, judge]

    one, rng, models = build()
    for _ in range(3):
        one.step(0.1)
    kept = copy.deepcopy([one.state_dict(), *(model.state_dict() for model in models)])
    states = rng.get_state(), torch.get_rng_state()
    expected = [one.step(0.5) for _ in range(3)]
    two, again, others = build()
    two.load_state_dict(kept[0])
    for model, weights in zip(others, kept[1:], strict=True):
        model.load_state_dict(weights)
    again.set_state(states[0])
    torch.set_rng_state(states[1])
    assert [two.step(0.5) for _ in range(3)] == expected
    for model, other in zip(models, others, strict=True):
        for name, value in model.state_dict().items():
            assert torch.equal(value, other.state_dict()[name]), name


def test_the_gradient_through_d_is_that_of_one_reply_in_its_vectors() -> None:
    # The first vector counts with the probability of ending there and with all the rest: verdict = 3 x_4 + 4 x_5.
    def opinion(soft: Tensor) -> Tensor:
        return (3 * soft[:, :1, 4] + 4 * soft[:, :1, 5]).expand(soft.shape[:2])

    game = players(generator(), VectorJudge(opinion), ASK, contexts=8)
    for size in (1.0, 0.5):
        metrics = game.update_generator(softmax, lambda v, size=size: -size * v.mean(), 0.0)
        assert metrics["gradient_norm_through_d"] == pytest.approx(size * 5, rel=1e-4)
