"""Losses against numbers worked out by hand, torch's own and exact expectations."""

import math

import pytest
import torch
from torch.nn import functional

from chatbot.tokenizer import PAD, TURN
from tests.training.toys import ARCHITECTURES, Architecture, batch_of, copy_task, generator, padded
from training import losses


def test_a_reply_ends_with_its_first_end_token_whatever_stands_behind_it() -> None:
    cut, ended, twice = [5, 6, 7, 8], [5, TURN, PAD, PAD], [5, TURN, 7, TURN]
    reply = torch.tensor([ended, twice, cut, [TURN, TURN, 5, PAD], [5, 6, PAD, PAD]])
    expected = [[1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]]
    assert losses.reply_mask(reply).long().tolist() == expected


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_token_log_probabilities_are_those_of_the_full_softmax_and_zero_outside(architecture: Architecture) -> None:
    model = generator(architecture)
    batch = batch_of([([3, 4], [5]), ([6], [7, 8, 3])])
    found = losses.token_log_probabilities(model, model.encode(batch.context), batch.reply)
    logits = model.score(model.encode(batch.context), batch.reply)
    full = torch.log_softmax(logits, dim=-1).gather(2, batch.reply[..., None]).squeeze(-1)
    mask = losses.reply_mask(batch.reply)
    torch.testing.assert_close(found[mask], full[mask])
    assert found[~mask].eq(0).all()
    assert (~mask).any()


def test_negative_log_likelihood_is_the_cross_entropy_of_the_unpadded_tokens() -> None:
    model = generator()
    batch = batch_of([*copy_task()[:5], ([3], [4])])
    mask = losses.reply_mask(batch.reply)
    values = losses.token_log_probabilities(model, model.encode(batch.context), batch.reply)
    logits = model.score(model.encode(batch.context), batch.reply)
    expected = functional.cross_entropy(logits[mask], batch.reply[mask])
    torch.testing.assert_close(losses.negative_log_likelihood(values, mask), expected)


def test_policy_gradient_by_hand() -> None:
    logs = torch.tensor([[-1.0, -2.0], [-0.5, -9.0]], requires_grad=True)
    worth = torch.tensor([[2.0, -1.0], [4.0, 100.0]], requires_grad=True)
    mask = torch.tensor([[True, True], [True, False]])
    loss = losses.policy_gradient(logs, worth, mask)
    assert loss.item() == pytest.approx(-((2 * -1) + (-1 * -2) + (4 * -0.5)) / 3)
    loss.backward()
    torch.testing.assert_close(logs.grad, torch.tensor([[-2 / 3, 1 / 3], [-4 / 3, 0.0]]))
    assert worth.grad is None


def three_words() -> tuple[torch.Tensor, torch.Tensor]:
    own = torch.tensor([0.2, -1.0, 1.1], dtype=torch.float64, requires_grad=True)
    other = torch.log_softmax(torch.tensor([1.0, 0.3, -0.5], dtype=torch.float64), 0)
    return own, other


def test_kl_estimate_is_the_exact_kl_in_expectation_and_never_negative() -> None:
    logits, other = three_words()
    own = torch.log_softmax(logits, 0)
    each = torch.stack([losses.kl_estimate(p[None], q[None], torch.ones(1)) for p, q in zip(own, other, strict=True)])
    exact = (own.exp() * (own - other)).sum()
    torch.testing.assert_close((own.exp() * each).sum(), exact)
    assert (each >= 0).all()
    assert losses.kl_estimate(own, own, torch.ones(3)).item() == 0


def test_the_gradient_of_kl_estimate_is_that_of_the_reverse_direction_and_leads_back_to_the_reference() -> None:
    logits, other = three_words()
    own = torch.log_softmax(logits, 0)
    each = torch.stack([losses.kl_estimate(p[None], q[None], torch.ones(1)) for p, q in zip(own, other, strict=True)])
    (found,) = torch.autograd.grad((own.detach().exp() * each).sum(), logits, retain_graph=True)
    (expected,) = torch.autograd.grad((other.exp() * (other - own)).sum(), logits)
    torch.testing.assert_close(found, expected)
    with torch.no_grad():
        closer = torch.log_softmax(logits - 0.1 * found, 0)
        distance = (own.exp() * (own - other)).sum()
        assert (closer.exp() * (closer - other)).sum() < distance


def test_kl_estimate_leaves_out_what_the_mask_leaves_out() -> None:
    own, other = torch.tensor([[-1.0, -1.0]]), torch.tensor([[-2.0, -50.0]])
    mask = torch.tensor([[True, False]])
    assert losses.kl_estimate(own, other, mask).item() == pytest.approx(math.exp(-1) + 1 - 1)


def test_prefix_cross_entropy_weighs_replies_alike_however_long() -> None:
    logits = torch.tensor([[0.0, 2.0, 9.0], [-1.0, 77.0, 77.0]])
    labels = torch.tensor([0.9, 0.0])
    mask = torch.tensor([[True, True, False], [True, False, False]])

    def bce(logit: float, label: float) -> float:
        p = 1 / (1 + math.exp(-logit))
        return -label * math.log(p) - (1 - label) * math.log(1 - p)

    expected = ((bce(0, 0.9) + bce(2, 0.9)) / 2 + bce(-1, 0)) / 2
    assert losses.prefix_cross_entropy(logits, labels, mask).item() == pytest.approx(expected)
    # Three machines' replies weigh together as much as the one human's.
    thrice = [0, 1, 1, 1]
    assert losses.prefix_cross_entropy(logits[thrice], labels[thrice], mask[thrice]).item() == pytest.approx(expected)


def test_prefix_cross_entropy_of_a_prefix_that_tells_nothing_is_least_near_zero() -> None:
    labels = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0])
    logit = torch.zeros(1, requires_grad=True)
    losses.prefix_cross_entropy(logit.expand(5, 1), labels, torch.ones(5, 1, dtype=torch.bool)).backward()
    assert logit.grad is not None
    assert logit.grad.item() == pytest.approx(0.0, abs=1e-7)


def test_pairwise_preference_by_hand() -> None:
    found = losses.pairwise_preference(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]))
    assert found.item() == pytest.approx((math.log(1 + math.exp(-1)) + math.log(1 + math.exp(2))) / 2)


def test_losses_of_no_tokens_are_zero_and_not_nan() -> None:
    nothing, mask = torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool)
    assert losses.negative_log_likelihood(nothing, mask) == 0
    assert losses.policy_gradient(nothing, nothing, mask) == 0
    assert losses.kl_estimate(nothing, nothing, mask) == 0
    assert padded([[1], [1, 2]]).tolist() == [[1, 0], [1, 2]]
