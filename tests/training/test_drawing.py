"""Tokens drawn straight from hidden states: those that inversion of the softmax gives."""

import pytest
import torch
from torch import nn

from training.drawing import TokenDrawer, draw_tokens


def layer(vocabulary: int, scale: float) -> nn.Linear:
    output = nn.Linear(6, vocabulary)
    with torch.no_grad():
        for parameter in output.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(vocabulary)) * scale)
    return output


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize(("scale", "safe"), [(0.5, True), (30.0, False)])
@pytest.mark.parametrize("vocabulary", [1, 63, 64, 65, 200])
def test_a_drawer_draws_what_inversion_draws(vocabulary: int, scale: float, safe: bool, temperature: float) -> None:
    output = layer(vocabulary, scale)
    rng = torch.Generator().manual_seed(1)
    hidden, uniform = torch.rand(1500, 6, generator=rng) * 2 - 1, torch.rand(1500, 3, generator=rng)
    uniform[:2, 0] = torch.tensor([0.0, 1 - 2**-24])
    with torch.no_grad():
        drawer = TokenDrawer(output, temperature, largest_state=1.0)
        assert drawer.safe == safe
        drawn = drawer(hidden, uniform)
        expected = torch.stack([draw_tokens(output(hidden) / temperature, points) for points in uniform.T], 1)
    assert int(drawn.max()) < vocabulary
    # A point between two tokens may fall to either: float32 sums do not round alike.
    assert float((drawn != expected).float().mean()) < 1e-3


def test_a_drawers_tokens_are_distributed_as_the_softmax() -> None:
    output = layer(40, 1.0)
    hidden = torch.tensor([[0.5, -0.5, 0.2, 0.9, -0.1, 0.3]])
    uniform = torch.rand(1, 100_000, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        drawn = TokenDrawer(output, 1.0, largest_state=1.0)(hidden, uniform)
        chances = torch.softmax(output(hidden), 1)[0]
    counts = torch.bincount(drawn[0], minlength=40)
    likely = chances > 1e-4
    chi_squared = ((counts - 100_000 * chances).square() / (100_000 * chances))[likely].sum()
    assert float(chi_squared) < 73  # 39 degrees of freedom: above 72.1 once in a thousand
    assert float(counts[~likely].sum()) < 100
