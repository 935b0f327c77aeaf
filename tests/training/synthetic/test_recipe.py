"""Our recipe: D's known form, and a gradient that needs no samples of actions."""

import pytest
import torch

from training.synthetic.likelihood import LikelihoodSettings, maximum_likelihood
from training.synthetic.lstm import SequenceModel, sequence_nll
from training.synthetic.recipe import (
    DensityRatioGAN,
    RecipeSettings,
    all_actions_policy_gradient,
    prefix_logits,
)


def language(vocabulary: int, length: int, scale: float, seed: int) -> SequenceModel:
    model = SequenceModel(vocabulary, length, 8, 8)
    model.initialise(scale, torch.Generator().manual_seed(seed))
    return model.eval()


def test_the_gradient_is_that_of_the_reverse_divergence() -> None:
    """Sum over actions of pi (log phi - log pi - mean) is minus KL(pi || phi) as far as gradients go."""
    own = torch.tensor([[0.3, -1.0, 0.5], [2.0, 0.1, 0.0]], requires_grad=True)
    twin = own.detach().clone().requires_grad_()
    judged = torch.tensor([[1.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    all_actions_policy_gradient(own, judged).backward()  # type: ignore[no-untyped-call]
    logs = torch.log_softmax(twin, 1)
    divergence = (logs.exp() * (logs - torch.log_softmax(judged, 1))).sum(1).mean()
    divergence.backward()
    torch.testing.assert_close(own.grad, twin.grad)


def test_what_the_judge_prefers_becomes_likelier() -> None:
    own = torch.zeros(1, 3, requires_grad=True)
    all_actions_policy_gradient(own, torch.tensor([[2.0, 0.0, 0.0]])).backward()  # type: ignore[no-untyped-call]
    assert own.grad is not None
    assert own.grad[0, 0] < 0 < own.grad[0, 1]


def test_nothing_is_learnt_from_a_judge_that_knows_no_more() -> None:
    own = torch.randn(4, 5, requires_grad=True)
    all_actions_policy_gradient(own, own.detach() + 3.0).backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(own.grad, torch.zeros(4, 5))


def test_a_prefixs_logit_is_its_log_ratio() -> None:
    phi, generator = language(6, 3, 1.0, 0), language(6, 3, 1.0, 1)
    sequences = torch.tensor([[1, 4, 2]])
    with torch.no_grad():
        logits = prefix_logits(phi, generator.log_probabilities(sequences), sequences)
        steps = phi.log_probabilities(sequences) - generator.log_probabilities(sequences)
    assert logits[0].tolist() == pytest.approx([float(steps[0, : t + 1].sum()) for t in range(3)], abs=1e-5)


def test_the_judges_gradient_does_not_reach_the_generator() -> None:
    phi, generator = language(6, 3, 1.0, 0), language(6, 3, 1.0, 1)
    rows = torch.tensor([[1, 4, 2]])
    prefix_logits(phi, generator.log_probabilities(rows), rows).sum().backward()  # type: ignore[no-untyped-call]
    assert generator.output.weight.grad is None
    assert phi.output.weight.grad is not None


def test_the_generator_moves_to_a_judge_that_knows_the_truth_and_a_placebo_does_not() -> None:
    oracle, rng = language(20, 5, 1.5, 3), torch.Generator().manual_seed(0)
    reals = oracle.draw(200, rng)
    found = {}
    for name in ("judge", "placebo"):
        torch.manual_seed(0)
        generator = language(20, 5, 0.1, 4)
        maximum_likelihood(
            generator, reals, reals, LikelihoodSettings(epochs=10, batch=20), torch.Generator().manual_seed(1), _silent
        )
        phi = language(20, 5, 1.5, 3) if name == "judge" else SequenceModel(20, 5, 8, 8)
        if name == "placebo":
            phi.load_state_dict(generator.state_dict())  # knows what the generator knows
        settings = RecipeSettings(rounds=150, batch=32, learning_rate=0.01, judge_every=0, teacher_forcing=0.0)
        DensityRatioGAN(generator, phi, reals, reals, settings, rng).run(lambda number, model, metrics: None)
        found[name] = float(sequence_nll(oracle, generator.draw(2000, rng)).mean())
    assert found["judge"] < found["placebo"] - 0.1


def test_the_judge_learns_to_tell_real_from_fake() -> None:
    oracle, rng = language(12, 4, 2.0, 5), torch.Generator().manual_seed(0)
    generator, phi = language(12, 4, 0.1, 6), language(12, 4, 0.1, 7)
    game = DensityRatioGAN(
        generator, phi, oracle.draw(500, rng), oracle.draw(500, rng), RecipeSettings(judge_rate=0.01), rng
    )
    before = game.judge_loss()
    for _ in range(60):
        game.teach_judge()
    assert game.judge_loss() < before - 0.1


def _silent(epoch: int, model: SequenceModel) -> None:
    pass
