"""Losses against numbers worked out by hand, torch's own and exact expectations."""

import math
from collections.abc import Callable

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


def test_the_projection_gets_whole_blocks_of_64_rows_and_only_real_tokens_come_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = generator()
    batch = batch_of([([3, 4], [5]), ([6], [7, 8, 3])])  # 2 and 4 tokens with their ends
    rows, project = [], model.project
    monkeypatch.setattr(model, "project", lambda hidden: rows.append(len(hidden)) or project(hidden))
    assert losses.reply_logits(model, model.encode(batch.context), batch.reply).shape == (6, 9)
    assert rows == [64]


def test_log_probabilities_are_made_where_the_replies_are() -> None:
    model = generator()
    batch = batch_of([([3], [5])])
    state = model.encode(batch.context)
    with torch.device("meta"):  # where torch puts what is not told where to be
        found = losses.token_log_probabilities(model, state, batch.reply)
    assert found.device.type == "cpu"


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


def test_losses_are_means_over_tokens() -> None:
    own, other = torch.tensor([[-1.0, -2.0, -3.0]]), torch.tensor([[-2.0, -2.0, -2.0]])
    two, one = torch.tensor([[True, True, False]]), torch.tensor([[False, False, True]])
    assert losses.negative_log_likelihood(own, two).item() == pytest.approx(1.5)
    assert losses.negative_log_likelihood(own, one).item() == pytest.approx(3.0)
    assert losses.policy_gradient(own, other, one).item() == pytest.approx(-6.0)
    # The log-ratios q - p are -1, 0 and 1: 1/e, 0 and e - 2.
    assert losses.kl_estimate(own, other, two).item() == pytest.approx(math.exp(-1) / 2)
    assert losses.kl_estimate(own, other, one).item() == pytest.approx(math.e - 2)


def test_prefix_cross_entropy_weighs_replies_alike_however_long() -> None:
    logits = torch.tensor([[0.0, 2.0, 9.0], [-1.0, 77.0, 77.0]])
    labels = torch.tensor([0.9, 0.0])
    mask = torch.tensor([[True, True, False], [True, False, False]])

    def bce(logit: float, label: float) -> float:
        p = 1 / (1 + math.exp(-logit))
        return -label * math.log(p) - (1 - label) * math.log(1 - p)

    # A human label of .9 gives the machine's replies weight 2 * .9 - 1 = .8.
    expected = ((bce(0, 0.9) + bce(2, 0.9)) / 2 + 0.8 * bce(-1, 0)) / 1.8
    assert losses.prefix_cross_entropy(logits, labels, mask).item() == pytest.approx(expected)
    # Three machines' replies weigh together as much as one.
    thrice = [0, 1, 1, 1]
    assert losses.prefix_cross_entropy(logits[thrice], labels[thrice], mask[thrice]).item() == pytest.approx(expected)


@pytest.mark.parametrize("human", [1.0, 0.9, 0.7])
@pytest.mark.parametrize("machines", [1, 4])
def test_prefix_cross_entropy_of_a_prefix_that_tells_nothing_is_least_at_zero(human: float, machines: int) -> None:
    labels = torch.tensor([human] + machines * [0.0], dtype=torch.float64)
    logit = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    shown = logit.expand(len(labels), 1)
    losses.prefix_cross_entropy(shown, labels, torch.ones(len(labels), 1, dtype=torch.bool)).backward()
    assert logit.grad is not None
    assert logit.grad.item() == pytest.approx(0.0, abs=1e-12)


def test_pairwise_preference_by_hand() -> None:
    found = losses.pairwise_preference(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0]))
    assert found.item() == pytest.approx((math.log(1 + math.exp(-1)) + math.log(1 + math.exp(2))) / 2)


def test_losses_of_no_tokens_are_zero_and_not_nan() -> None:
    nothing, mask = torch.zeros(1, 2), torch.zeros(1, 2, dtype=torch.bool)
    assert losses.negative_log_likelihood(nothing, mask) == 0
    assert losses.policy_gradient(nothing, nothing, mask) == 0
    assert losses.kl_estimate(nothing, nothing, mask) == 0
    assert padded([[1], [1, 2]]).tolist() == [[1, 0], [1, 2]]


# Losses of the relaxed games.


def log1p_exp(x: float) -> float:
    return math.log(1 + math.exp(x))


def test_discrimination_loss_by_hand() -> None:
    found = losses.discrimination_loss(torch.tensor([2.0, 0.0]), torch.tensor([-1.0, 3.0, 0.0]))
    expected = (log1p_exp(-2) + math.log(2)) / 2 + (log1p_exp(-1) + log1p_exp(3) + math.log(2)) / 3
    assert found.item() == pytest.approx(expected)


def test_the_generators_two_losses_have_the_same_direction_and_only_minimax_saturates() -> None:
    logits = torch.tensor([-20.0, 0.0, 3.0], requires_grad=True)
    minimax, other = losses.minimax_loss(logits), losses.non_saturating_loss(logits)
    # log(1 - D) at the three: almost 0, log .5, log(1 - .9526); -log D: 20, log 2, .0486.
    assert minimax.item() == pytest.approx(-(0 + math.log(2) + log1p_exp(3)) / 3, abs=1e-6)
    assert other.item() == pytest.approx((20 + math.log(2) + log1p_exp(-3)) / 3, abs=1e-6)
    (slope,) = torch.autograd.grad(minimax, logits)
    d = torch.sigmoid(logits.detach())
    torch.testing.assert_close(slope, -d / 3)
    assert slope[0].abs() < 1e-8
    (slope,) = torch.autograd.grad(other, logits)
    torch.testing.assert_close(slope, (d - 1) / 3)
    assert slope[0] == pytest.approx(-1 / 3)


def test_js_estimate_of_a_blind_a_perfect_and_the_best_discriminator() -> None:
    nothing = torch.zeros(5)
    assert losses.js_estimate(nothing, nothing).item() == pytest.approx(0.0, abs=1e-6)
    assert losses.js_estimate(nothing + 40, nothing - 40).item() == pytest.approx(math.log(2))
    assert losses.js_estimate(nothing - 1, nothing + 1) < 0
    # Human replies are a, a, a, b; machine's are b, b, b, a: the best D says 3/4 of a and 1/4 of b, so its logits are
    # +-log 3, and JS = sum over both of 3/8 log(3/2) + 1/8 log(1/2) = .130812.
    logit = math.log(3)
    human = torch.tensor([logit, logit, logit, -logit])
    exact = 2 * (3 / 8 * math.log(3 / 2) + 1 / 8 * math.log(1 / 2))
    assert losses.js_estimate(human, -human).item() == pytest.approx(exact)


def test_wasserstein_estimate_is_the_difference_of_means() -> None:
    assert losses.wasserstein_estimate(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 0.0, 1.5])).item() == 1.5


def test_penalties_of_critics_with_known_slopes() -> None:
    three_four, unit = torch.tensor([[[3.0], [4.0]]]), torch.tensor([[[0.6], [-0.8]]])
    assert losses.gradient_penalty(three_four).item() == pytest.approx(10 * (5 - 1) ** 2)
    assert losses.gradient_penalty(unit).item() == pytest.approx(0.0, abs=1e-6)
    square = torch.tensor([[[1.0, 2.0], [2.0, 4.0]]])  # 1 + 4 + 4 + 16 = 5 squared, over both axes
    assert losses.gradient_penalty(square, weight=3.0).item() == pytest.approx(3 * (5 - 1) ** 2)
    assert losses.divergence_penalty(square, weight=3.0, power=2.0).item() == pytest.approx(3 * 5**2)
    both = torch.cat((three_four, unit))
    assert losses.gradient_penalty(both).item() == pytest.approx(10 * 16 / 2)
    assert losses.divergence_penalty(three_four).item() == pytest.approx(2 * 5**6)
    assert losses.divergence_penalty(both).item() == pytest.approx(2 * (5**6 + 1) / 2)


@pytest.mark.parametrize("penalty", [losses.gradient_penalty, losses.divergence_penalty])
def test_a_critic_without_any_slope_gets_a_finite_gradient(penalty: Callable[[torch.Tensor], torch.Tensor]) -> None:
    flat = torch.zeros(2, 3, 4, requires_grad=True)
    penalty(flat).backward()
    assert flat.grad is not None
    assert torch.isfinite(flat.grad).all()


@pytest.mark.parametrize("count", [1, 7, 200])
def test_chosen_log_probabilities_are_torchs_with_their_gradient(count: int) -> None:
    rng = torch.Generator().manual_seed(count)
    raw, chosen = 20 * torch.randn(count, 11, generator=rng), torch.randint(0, 11, (count,), generator=rng)
    weights, found = torch.randn(count, generator=rng), []
    for way in (losses.chosen_log_probabilities, lambda x, y: -functional.cross_entropy(x, y, reduction="none")):
        logits = raw.clone().requires_grad_()
        values = way(logits, chosen)
        (values * weights).sum().backward()
        found.append((values.detach(), logits.grad))
    torch.testing.assert_close(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1])


def test_a_token_without_any_chance_has_a_finite_log_probability() -> None:
    values = losses.chosen_log_probabilities(torch.tensor([[300.0, 0.0, 0.0]]), torch.tensor([1]))
    assert values.tolist() == [pytest.approx(-300.0)]


def test_log_probabilities_of_half_precision_logits_are_float32_and_their_gradient_is_in_the_logits_format() -> None:
    logits = torch.tensor([[1.0, 2.0, -3.0], [0.5, 0.0, 0.25]], dtype=torch.bfloat16, requires_grad=True)
    chosen = torch.tensor([2, 0])
    values = losses.chosen_log_probabilities(logits, chosen)
    expected = -functional.cross_entropy(logits.detach().float(), chosen, reduction="none")
    assert values.dtype == torch.float32
    torch.testing.assert_close(values.detach(), expected)
    values.sum().backward()
    assert logits.grad is not None
    assert logits.grad.dtype == torch.bfloat16


def test_rows_are_passed_over_in_the_parts_that_a_cache_keeps() -> None:
    assert torch.get_num_threads() == 1
    assert losses._parts(torch.empty(130, 3)) == [slice(0, 64), slice(64, 128), slice(128, 192)]
    # Elsewhere 2^27 values at once: 128 rows of 2^20, and one row of more than that.
    assert losses._parts(torch.empty(130, 2**20, device="meta")) == [slice(0, 128), slice(128, 256)]
    assert losses._parts(torch.empty(2, 2**28, device="meta")) == [slice(0, 1), slice(1, 2)]
