"""Dropout: the right share is dropped, the mean stays, the gradient has the same mask."""

import pytest
import torch

from chatbot.generator.dropout import Dropout


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
def test_the_right_share_is_dropped_and_the_rest_scaled_up(p: float) -> None:
    torch.manual_seed(0)
    x = torch.ones(999, 333, requires_grad=True)
    out = Dropout(p)(x)
    kept = out.detach() != 0
    assert float(kept.float().mean()) == pytest.approx(1 - p, abs=0.003)  # 330,000 draws: six standard errors
    assert float(out.detach().mean()) == pytest.approx(1.0, abs=0.005)
    assert out.detach()[kept].unique().numel() == 1
    out.sum().backward()
    assert torch.equal(x.grad, out.detach())  # type: ignore[arg-type]


def test_neighbours_are_dropped_independently_although_they_share_a_number() -> None:
    torch.manual_seed(1)
    kept = (Dropout(0.5)(torch.ones(100_000, 4)) != 0).float()
    together = torch.corrcoef(kept.T)
    assert float((together - torch.eye(4)).abs().max()) < 0.02


def test_nothing_is_dropped_in_evaluation_or_at_zero() -> None:
    x = torch.randn(7)
    assert torch.equal(Dropout(0.9).eval()(x), x)
    assert torch.equal(Dropout(0.0)(x), x)
    assert Dropout(0.2)(x.bfloat16()).dtype == torch.bfloat16
