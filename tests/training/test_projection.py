"""Log-probabilities straight from hidden states: torch's own cross-entropy and its gradients, in every format."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from training import projection
from training.projection import projected_log_probabilities

VOCABULARY, SIZE = 37, 6


def layer(seed: int = 0, scale: float = 1.0) -> nn.Linear:
    output = nn.Linear(SIZE, VOCABULARY)
    with torch.no_grad():
        for parameter in output.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed)) * scale)
    return output


def rows(count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return hidden states, chosen tokens (some of them twice) and the slopes that arrive."""
    rng = torch.Generator().manual_seed(count)
    hidden = torch.randn(count, SIZE, generator=rng)
    return hidden, torch.randint(0, 5, (count,), generator=rng), torch.randn(count, generator=rng)


def plainly(output: nn.Linear, hidden: Tensor, chosen: Tensor, temperature: float) -> Tensor:
    return -functional.cross_entropy(output(hidden) / temperature, chosen, reduction="none")


def with_gradients(way: object, output: nn.Linear, count: int, temperature: float) -> list[Tensor]:
    hidden, chosen, slopes = rows(count)
    hidden.requires_grad_()
    output.zero_grad()
    values = way(output, hidden, chosen, temperature)  # type: ignore[operator]
    (values * slopes).sum().backward()
    found = [hidden.grad, output.weight.grad, output.bias.grad]
    return [values.detach(), *(tensor.clone() for tensor in found if tensor is not None)]


@pytest.mark.parametrize("temperature", [1.0, 0.5])
@pytest.mark.parametrize("scale", [0.3, 40.0])  # within the range of powers of two, and far beyond it
@pytest.mark.parametrize("count", [1, 7, 50])
def test_values_and_gradients_are_those_of_a_cross_entropy(
    count: int, scale: float, temperature: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projection, "_ROWS", 8)  # several parts, the last one shorter
    output = layer(scale=scale)
    ours = with_gradients(projected_log_probabilities, output, count, temperature)
    theirs = with_gradients(plainly, output, count, temperature)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-4 * float(other.abs().max()), rtol=1e-4)


def test_bf16_products_stay_within_their_rounding() -> None:
    output = layer(scale=0.3)
    exact = with_gradients(projected_log_probabilities, output, 50, 1.0)
    with torch.autocast("cpu", torch.bfloat16):
        rough = with_gradients(projected_log_probabilities, output, 50, 1.0)
    assert not torch.equal(rough[0], exact[0])  # it did take the other format
    for mine, other in zip(rough, exact, strict=True):
        assert mine.dtype == torch.float32
        assert float((mine - other).norm()) < 0.01 * float(other.norm())


def test_gradients_are_the_slopes_of_the_values() -> None:
    output = layer(scale=0.5).double()
    hidden, chosen, _ = rows(5)

    def of(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        moved = nn.Linear(SIZE, VOCABULARY).double()
        del moved.weight, moved.bias
        moved.weight, moved.bias = weight, bias  # type: ignore[assignment]
        return projected_log_probabilities(moved, hidden, chosen, 0.7)

    inputs = (hidden.double().requires_grad_(), output.weight, output.bias)
    assert torch.autograd.gradcheck(of, inputs)


def test_nothing_is_kept_where_nothing_is_learnt() -> None:
    output = layer()
    hidden, chosen, _ = rows(9)
    learning = projected_log_probabilities(output, hidden, chosen)
    with torch.no_grad():
        reading = projected_log_probabilities(output, hidden, chosen)
    assert not reading.requires_grad
    assert torch.equal(reading, learning)


def test_no_rows_have_no_values() -> None:
    hidden, chosen, _ = rows(0)
    assert projected_log_probabilities(layer(), hidden, chosen).shape == (0,)
