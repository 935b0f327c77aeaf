"""Baselines: expected numbers, and that subtracting them leaves the gradient's expectation as it is."""

import pytest
import torch

from training.baselines import MovingAverage, leave_one_out


def test_leave_one_out_is_the_mean_of_the_others_of_the_context_at_the_token() -> None:
    values = torch.tensor([[[1.0, 1.0], [2.0, 5.0], [6.0, 90.0]], [[0.0, 7.0], [4.0, 90.0], [8.0, 90.0]]])
    mask = torch.tensor([[[1, 1], [1, 1], [1, 0]], [[1, 1], [1, 0], [1, 0]]]).bool()
    found = leave_one_out(values, mask)
    assert found[0, :, 0].tolist() == [4.0, 3.5, 1.5]
    assert found[0, :2, 1].tolist() == [5.0, 1.0]
    assert found[0, 2, 1].item() == 3.0  # ended before: nothing is learnt here, but no infinity may stand here either
    assert found[1, :, 0].tolist() == [6.0, 4.0, 2.0]
    assert found[1, 0, 1].item() == 7.0  # nobody to compare with: its own value, so an advantage of nothing


def test_the_reward_of_whole_replies_is_compared_with_all_others_however_early_they_ended() -> None:
    values = torch.tensor([[[1.0, 1.0], [2.0, 2.0], [6.0, 6.0]]])
    found = leave_one_out(values, torch.ones(1, 3, 2, dtype=torch.bool))
    assert found[0].tolist() == [[4.0, 4.0], [3.5, 3.5], [1.5, 1.5]]


def test_leave_one_out_does_not_bias_the_gradient_and_makes_it_quieter() -> None:
    logits = torch.tensor([0.3, -0.4, 0.9], dtype=torch.float64)
    worth = torch.tensor([5.0, 6.0, 8.0], dtype=torch.float64)
    chances = torch.softmax(logits, 0)
    exact = chances * (worth - (chances * worth).sum())  # gradient of the expected worth
    rng = torch.Generator().manual_seed(0)
    drawn = torch.multinomial(chances.expand(20_000, 3), 4, replacement=True, generator=rng)  # 20,000 contexts, K = 4
    rewards = worth[drawn][..., None]
    advantage = rewards - leave_one_out(rewards, torch.ones_like(rewards, dtype=torch.bool))
    score = torch.nn.functional.one_hot(drawn, 3) - chances
    with_baseline, without = (advantage * score).flatten(0, 1), (rewards * score).flatten(0, 1)
    torch.testing.assert_close(with_baseline.mean(0), exact, atol=0.02, rtol=0)
    assert with_baseline.var(0).sum() < 0.2 * without.var(0).sum()


def test_the_moving_average_is_the_mean_of_past_batches() -> None:
    average = MovingAverage(decay=0.75)
    mask = torch.tensor([[True, True], [True, False]])
    first = average.value(torch.tensor([[1.0, 3.0], [5.0, 99.0]]), mask)
    assert first.tolist() == [[3.0, 3.0], [3.0, 3.0]]
    second = average.value(torch.full((2, 2), 7.0), mask)
    assert second[0, 0].item() == 3.0  # what came before, so the batch does not baseline itself
    assert average.value(torch.zeros(2, 2), mask)[0, 0].item() == 4.0  # .75 * 3 + .25 * 7


def test_a_moving_average_goes_on_where_it_was_saved() -> None:
    average, other = MovingAverage(), MovingAverage()
    mask = torch.ones(1, 1, dtype=torch.bool)
    average.value(torch.full((1, 1), 2.0), mask)
    other.load_state_dict(average.state_dict())
    assert other.value(torch.full((1, 1), 12.0), mask).item() == 2.0
    assert other.value(torch.zeros(1, 1), mask).item() == pytest.approx(
        3.0
    )  # .9 * 2 + .1 * 12, where nothing else is said


def test_the_moving_average_of_one_value_and_of_none() -> None:
    average = MovingAverage()
    nothing = torch.zeros(1, 2, dtype=torch.bool)
    assert average.value(torch.full((1, 2), 5.0), nothing).tolist() == [[0.0, 0.0]]
    one = torch.tensor([[True, False]])
    assert MovingAverage().value(torch.full((1, 2), 5.0), one).tolist() == [[5.0, 5.0]]
