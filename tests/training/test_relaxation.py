"""Replies as distributions: one-hot ones are tokens, relaxed ones are differentiable, and an ended reply has ended."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from chatbot.discriminator import final_logits
from chatbot.tokenizer import PAD, START, TURN
from tests.chatbot.tiny import assert_follows
from tests.training.toys import (
    ARCHITECTURES,
    REPLY_TOKENS,
    VOCABULARY,
    Architecture,
    batch_of,
    copy_task,
    discriminator,
    generator,
    greedy,
    padded,
)
from training.relaxation import (
    annealed,
    ending_weights,
    gumbel_softmax,
    lengthen,
    one_hot,
    softmax,
    verdict,
    write_relaxed,
)

CONTEXT = batch_of([([3, 4], [5]), ([6], [7])]).context


def likeliest(logits: Tensor) -> Tensor:
    return functional.one_hot(logits.argmax(-1), logits.shape[-1]).float()


def rng(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# One-hot vectors are tokens.


@torch.no_grad()
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_one_hot_vectors_are_written_and_read_like_tokens(architecture: Architecture) -> None:
    model = generator(architecture).eval()
    context = batch_of(copy_task()).context
    found = greedy(model, context).tokens
    written = write_relaxed(model, context, likeliest)
    torch.testing.assert_close(written[:, : found.shape[1]], one_hot(found, VOCABULARY))


@torch.no_grad()
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_verdict_on_one_hot_vectors_is_that_on_the_tokens(architecture: Architecture) -> None:
    judge = discriminator(architecture).eval()
    reply = padded([[5, 6, TURN], [TURN], [5, 6, 7, 8, 3]])
    context = CONTEXT[[0, 1, 0]]
    expected = final_logits(judge(judge.encode(context), reply), reply)
    found = verdict(judge, context, one_hot(reply, VOCABULARY))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nothing_behind_the_end_changes_the_verdict(architecture: Architecture) -> None:
    judge = discriminator(architecture).eval()
    soft = torch.softmax(torch.randn(2, REPLY_TOKENS, VOCABULARY, generator=rng()), -1)
    soft[:, 2] = functional.one_hot(torch.tensor(TURN), VOCABULARY)
    other = soft.clone()
    other[:, 3:] = torch.softmax(torch.randn(2, REPLY_TOKENS - 3, VOCABULARY, generator=rng(1)), -1)
    assert torch.equal(verdict(judge, CONTEXT, soft), verdict(judge, CONTEXT, other))
    other[:, 1] = other[:, 3]
    assert not torch.allclose(verdict(judge, CONTEXT, soft), verdict(judge, CONTEXT, other))


def test_a_human_reply_goes_on_saying_turn() -> None:
    assert one_hot(padded([[5, TURN], [6, 7, 8]]), VOCABULARY).argmax(-1).tolist() == [[5, TURN, TURN], [6, 7, 8]]
    longer = lengthen(one_hot(padded([[5, TURN]]), VOCABULARY), 4)
    assert longer.argmax(-1).tolist() == [[5, TURN, TURN, TURN]]
    assert (longer.sum(-1) == 1).all()


def test_ending_weights_by_hand() -> None:
    soft = torch.zeros(2, 3, VOCABULARY)
    soft[0, :, TURN] = torch.tensor([0.5, 0.2, 0.3])
    soft[1, :, TURN] = torch.tensor([0.0, 1.0, 0.7])
    torch.testing.assert_close(ending_weights(soft), torch.tensor([[0.5, 0.1, 0.4], [0.0, 1.0, 0.0]]))


@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=12))
def test_ending_weights_are_probabilities(ends: list[float]) -> None:
    soft = torch.zeros(1, len(ends), VOCABULARY)
    soft[0, :, TURN] = torch.tensor(ends)
    weights = ending_weights(soft)
    assert (weights >= 0).all()
    assert weights.sum().item() == pytest.approx(1.0, abs=1e-5)


# What the generator writes.


@torch.no_grad()
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_vectors_are_distributions_without_pad_and_start_and_feed_on_each_other(architecture: Architecture) -> None:
    model = generator(architecture).eval()
    written = write_relaxed(model, CONTEXT, softmax)
    assert written.shape == (2, REPLY_TOKENS, VOCABULARY)
    torch.testing.assert_close(written.sum(-1), torch.ones(2, REPLY_TOKENS))
    assert not written[..., [PAD, START]].any()
    logits, state = model.step(model.encode(CONTEXT), torch.tensor([START, START]))
    expected = []
    for t in range(2):
        expected.append(torch.zeros(2, VOCABULARY))
        expected[t][:, 2:] = torch.softmax(logits[:, 2:], -1)
        # The mean of the embeddings, each with its probability.
        mean = (written[:, t, :, None] * model.trunk.embed(torch.arange(VOCABULARY))).sum(1)
        hidden, state = model.trunk.read_step(state, mean)
        logits = model.project(hidden)
    torch.testing.assert_close(written[:, :2], torch.stack(expected, 1), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_writing_stops_where_every_reply_has_ended() -> None:
    model = generator().eval()
    model.bias[TURN] = 50.0
    assert write_relaxed(model, CONTEXT, softmax).shape == (2, 1, VOCABULARY)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_gradient_goes_back_through_time_as_differences_do(architecture: Architecture) -> None:
    model, judge = generator(architecture).eval(), discriminator(architecture).eval()
    taste = torch.randn(REPLY_TOKENS, VOCABULARY, generator=rng())

    def value() -> Tensor:
        written = write_relaxed(model, CONTEXT, softmax)
        return (written * taste).sum() + verdict(judge, CONTEXT, written).sum()

    value().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        direction, step = torch.randn(parameter.shape, generator=rng()), 3e-3
        with torch.no_grad():
            parameter += step * direction
            above = value()
            parameter -= 2 * step * direction
            below = value()
            parameter += step * direction
        expected = float((parameter.grad * direction).sum())
        assert float(above - below) / (2 * step) == pytest.approx(expected, rel=0.05, abs=5e-3), name


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_keeping_gradients_changes_no_value(architecture: Architecture) -> None:
    model = generator(architecture).eval()
    with torch.no_grad():
        plain = write_relaxed(model, CONTEXT, softmax)
    assert torch.equal(write_relaxed(model, CONTEXT, softmax), plain)


# Gumbel-softmax.

LOGITS = torch.tensor([1.5, 0.0, -0.5, 0.7, -torch.inf])


@pytest.mark.parametrize("straight_through", [False, True])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 5.0])
def test_the_largest_entry_follows_the_softmax_at_every_temperature(temperature: float, straight_through: bool) -> None:
    drawn = gumbel_softmax(LOGITS.expand(20_000, 5), temperature, straight_through, rng())
    torch.testing.assert_close(drawn.sum(-1), torch.ones(20_000))
    assert_follows(drawn.argmax(-1), torch.softmax(LOGITS, 0))


def test_the_colder_the_nearer_to_one_hot() -> None:
    largest = [
        float(gumbel_softmax(LOGITS.expand(2000, 5), temperature, False, rng()).amax(-1).mean())
        for temperature in (5.0, 1.0, 0.2, 0.02)
    ]
    assert largest == sorted(largest)
    assert largest[0] < 0.5
    assert largest[-1] > 0.98


def test_straight_through_is_one_hot_forwards_and_soft_backwards() -> None:
    taste = torch.tensor([1.0, -2.0, 0.5, 3.0])
    found = []
    for straight_through in (True, False):
        logits = torch.tensor([[0.5, 1.0, -1.0, 0.0]] * 50, requires_grad=True)
        drawn = gumbel_softmax(logits, 0.7, straight_through, rng())
        (drawn * taste).sum().backward()
        found.append((drawn.detach(), logits.grad))
    (hard, through), (soft, gradient) = found
    assert torch.equal(hard, functional.one_hot(soft.argmax(-1), 4).float())
    assert torch.equal(through, gradient)


def test_the_same_random_state_draws_the_same_sample() -> None:
    one, two, other = (gumbel_softmax(LOGITS[None], 1.0, False, rng(seed)) for seed in (3, 3, 4))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_the_temperature_falls_by_the_same_factor_in_every_step() -> None:
    assert [annealed(2.0, 0.5, progress) for progress in (0.0, 0.25, 0.5, 1.0)] == pytest.approx([2, 2**0.5, 1, 0.5])
    assert annealed(0.7, 0.7, 0.3) == pytest.approx(0.7)
