"""The critic learns what is to be expected, and asks nothing of the generator."""

import copy

import pytest
import torch

from tests.training.toys import CPU
from training.critic import Critic


def test_at_first_nothing_is_expected() -> None:
    assert Critic(4, 2, 1e-3, CPU).value(torch.randn(3, 5, 4)).eq(0).all()


def test_the_error_is_that_of_the_masked_tokens_before_the_step() -> None:
    critic = Critic(4, 2, 0.0, CPU)
    returns = torch.tensor([[[1.0, 2.0], [9.0, 9.0]], [[3.0, 0.0], [0.0, 1.0]]])
    mask = torch.tensor([[True, False], [True, True]])
    # Nothing is expected: (1 + 4) + (9 + 0) + (0 + 1) over three tokens.
    assert critic.learn(torch.randn(2, 2, 4), returns, mask) == pytest.approx(15 / 3)


def test_one_token_alone_counts_whole() -> None:
    mask = torch.tensor([[True, False]])
    assert Critic(4, 1, 0.0, CPU).learn(torch.randn(1, 2, 4), torch.full((1, 2, 1), 3.0), mask) == pytest.approx(9.0)


def test_half_precision_around_it_changes_nothing() -> None:
    hidden, returns, mask = torch.randn(2, 3, 4), torch.randn(2, 3, 2), torch.ones(2, 3, dtype=torch.bool)
    plain, inside = Critic(4, 2, 1e-1, CPU), Critic(4, 2, 1e-1, CPU)
    inside.load_state_dict(copy.deepcopy(plain.state_dict()))
    for _ in range(3):
        by_hand = (plain.head(hidden) - returns).square().sum(-1).mean().item()
        expected = plain.learn(hidden, returns, mask)
        assert expected == pytest.approx(by_hand, rel=1e-5)
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            assert inside.learn(hidden, returns, mask) == pytest.approx(expected, rel=1e-5)
            found = inside.value(hidden)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, plain.value(hidden), rtol=1e-5, atol=1e-6)  # half precision: 1e-2


def test_what_the_states_tell_is_learnt_and_each_part_has_its_own_value() -> None:
    torch.manual_seed(0)
    critic = Critic(4, 2, 2e-2, CPU)
    hidden = torch.randn(64, 3, 4)
    returns = torch.stack((hidden[..., 0].tanh(), 5 - hidden[..., 1]), dim=-1)
    mask = torch.ones(64, 3, dtype=torch.bool)
    for _ in range(600):
        error = critic.learn(hidden, returns, mask)
    assert error < 0.1  # of a variance of 1.4
    assert (critic.value(hidden) - returns).abs().mean() < 0.25


def test_it_learns_what_no_straight_line_can_tell() -> None:
    torch.manual_seed(0)
    critic = Critic(4, 1, 2e-2, CPU)
    hidden = torch.rand(256, 1, 4) * 4 - 2
    returns = hidden[..., :1].abs()  # of variance 1/3, which is what the best straight line leaves
    mask = torch.ones(256, 1, dtype=torch.bool)
    for _ in range(300):
        error = critic.learn(hidden, returns, mask)
    assert error < 0.1


def test_hidden_states_and_returns_get_no_gradient() -> None:
    hidden, returns = (torch.randn(2, 3, size, requires_grad=True) for size in (4, 1))
    critic = Critic(4, 1, 1e-3, CPU)
    critic.learn(hidden, returns, torch.ones(2, 3, dtype=torch.bool))
    assert hidden.grad is None
    assert returns.grad is None
    assert not critic.value(hidden).requires_grad


def test_taken_up_again_it_goes_on_the_same() -> None:
    hidden, returns, mask = torch.randn(2, 3, 4), torch.randn(2, 3, 1), torch.ones(2, 3, dtype=torch.bool)
    one, two = Critic(4, 1, 1e-2, CPU), Critic(4, 1, 1e-2, CPU)
    one.learn(hidden, returns, mask)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    assert [one.learn(hidden, returns, mask) for _ in range(3)] == [two.learn(hidden, returns, mask) for _ in range(3)]
