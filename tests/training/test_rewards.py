"""Rewards: numbers worked out by hand, and the Monte-Carlo search against a naive one and exact expectations."""

import itertools
import math

import pytest
import torch

from chatbot.decoding import plain_sampling, write_replies
from chatbot.discriminator import final_logits
from chatbot.tokenizer import PAD, START, TURN
from tests.training.toys import (
    ARCHITECTURES,
    CPU,
    REPLY_TOKENS,
    Architecture,
    ContextState,
    ToldJudge,
    batch_of,
    copy_task,
    discriminator,
    draw,
    generator,
    sampled,
)
from training import rewards
from training.losses import reply_mask


def sign(logit: float) -> float:
    return 2 / (1 + math.exp(-logit)) - 1


def test_sequence_reward_is_clipped_and_lower_by_one_for_a_reply_that_never_ended() -> None:
    found = rewards.sequence_reward(
        torch.tensor([2.0, 9.0, -9.0, 2.0, 9.0]), torch.tensor([True, True, True, False, False]), clip=5.0
    )
    assert found.tolist() == [2.0, 5.0, -5.0, 1.0, 4.0]


def test_sequence_reward_keeps_the_logits_format() -> None:
    logits = torch.zeros(2, dtype=torch.bfloat16)
    assert rewards.sequence_reward(logits, torch.tensor([True, False]), clip=5.0).dtype == torch.bfloat16


def test_prefix_reward_is_the_probability_of_each_prefix_and_nothing_behind_the_end() -> None:
    logits = torch.tensor([[math.log(3), 0.0], [-math.log(4), 80.0]])
    found = rewards.prefix_reward(logits, torch.tensor([[True, True], [True, False]]))
    torch.testing.assert_close(found, torch.tensor([[0.75, 0.5], [0.2, 0.0]]))


def test_a_replys_one_reward_stands_at_all_its_tokens() -> None:
    assert rewards.widen(torch.tensor([1.0, -2.0]), 3).tolist() == [[1.0, 1.0, 1.0], [-2.0, -2.0, -2.0]]


def test_dense_reward_of_replies_of_a_single_token() -> None:
    found = rewards.dense_reward(torch.tensor([[2.0]]), torch.ones(1, 1, dtype=torch.bool), 0.75)
    torch.testing.assert_close(found, torch.tensor([[4 * sign(2)]]))


def test_dense_reward_by_hand() -> None:
    logits = torch.tensor([[1.0, -2.0, 0.5], [3.0, 70.0, 70.0]])
    mask = torch.tensor([[True, True, True], [True, False, False]])
    last = 2 * sign(0.5)  # earned now and, halved each time, for ever: 1 + 1/2 + 1/4 + ...
    middle = sign(-2) + 0.5 * last
    expected = torch.tensor([[sign(1) + 0.5 * middle, middle, last], [2 * sign(3), 0.0, 0.0]])
    torch.testing.assert_close(rewards.dense_reward(logits, mask, 0.5), expected)


def test_dense_reward_has_no_liking_for_short_replies_or_long_ones() -> None:
    for logit in (-1.5, 1.5):  # all prefixes alike: ending now or going on is worth the same
        mask = torch.tensor([[True, False, False], [True, True, True]])
        found = rewards.dense_reward(torch.full((2, 3), logit), mask, 0.5)
        torch.testing.assert_close(found, torch.full((2, 3), 2 * sign(logit)) * mask)


def test_dense_reward_without_discount_is_each_prefix_by_itself() -> None:
    logits = torch.tensor([[1.0, -2.0]])
    found = rewards.dense_reward(logits, torch.ones(1, 2, dtype=torch.bool), 0.0)
    torch.testing.assert_close(found, torch.tensor([[sign(1), sign(-2)]]))


def test_advantages_by_hand_weighted_standardised_and_clipped() -> None:
    mask = torch.tensor([[[True, True], [True, False]]])
    one = torch.tensor([[[4.0, 2.0], [0.0, 99.0]]])
    two = torch.tensor([[[1.0, 1.0], [-1.0, 99.0]]])
    flat = torch.full_like(one, 1.0)
    found = rewards.advantages([(1.0, one), (0.5, two)], [flat, torch.zeros_like(two)], mask, clip=1.2)
    spread = math.sqrt((9 + 1 + 1) / 3)
    expected = [[[1.2, 1 / spread + 0.5], [-1 / spread - 0.5, 0.0]]]  # the first, 3 / spread + .5, is clipped
    assert 3 / spread + 0.5 > 1.2
    torch.testing.assert_close(found, torch.tensor(expected))
    lowest = rewards.advantages([(9.0, -one)], [torch.zeros_like(one)], mask, clip=1.2)
    assert lowest.min().item() == pytest.approx(-1.2)


def test_rewards_that_hardly_differ_are_not_blown_up() -> None:
    mask = torch.ones(1, 2, 1, dtype=torch.bool)
    found = rewards.advantages([(1.0, torch.tensor([[[1e-6], [-1e-6]]]))], [torch.zeros(1, 2, 1)], mask, clip=3.0)
    torch.testing.assert_close(found, torch.tensor([[[1e-3], [-1e-3]]]))


def test_advantages_of_one_token_and_of_none() -> None:
    reward, zero = torch.tensor([[[3.0, 8.0]]]), torch.zeros(1, 1, 2)
    one = torch.tensor([[[True, False]]])
    assert rewards.advantages([(1.0, reward)], [zero], one, clip=9.0).tolist() == [[[1.0, 0.0]]]
    assert rewards.advantages([(1.0, reward)], [zero], torch.zeros_like(one), clip=9.0).eq(0).all()


def test_each_component_needs_its_baseline() -> None:
    one = torch.ones(1, 1, 1)
    with pytest.raises(ValueError, match="shorter"):
        rewards.advantages([(1.0, one), (1.0, one)], [one], one.bool(), clip=3.0)


def test_placebos_follow_the_random_state_and_are_made_where_they_are_asked_for() -> None:
    one, two = (rewards.placebo_reward("noise", 5, torch.Generator().manual_seed(3), CPU) for _ in range(2))
    assert torch.equal(one, two)
    for kind in ("constant", "noise"):
        found = rewards.placebo_reward(kind, 2, torch.Generator().manual_seed(3), torch.device("meta"))
        assert found.device.type == "meta"


def test_placebos_know_nothing() -> None:
    rng = torch.Generator().manual_seed(0)
    assert rewards.placebo_reward("constant", 3, rng, CPU).tolist() == [1.0, 1.0, 1.0]
    noise = rewards.placebo_reward("noise", 4000, rng, CPU)
    assert abs(float(noise.mean())) < 0.08
    assert abs(float(noise.std()) - 1) < 0.08


def test_seeds_follow_the_random_state_and_differ_from_each_other() -> None:
    rng = torch.Generator().manual_seed(0)
    one, two = rewards.draw_seeds(50, rng, CPU), rewards.draw_seeds(50, rng, CPU)
    assert len({*one.tolist(), *two.tolist()}) == 100
    assert torch.equal(rewards.draw_seeds(50, torch.Generator().manual_seed(0), CPU), one)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_monte_carlo_equals_reading_every_prefix_anew(architecture: Architecture) -> None:
    model, judge = generator(architecture).eval(), discriminator(architecture).eval()
    context = batch_of(copy_task()[:6]).context
    replies = draw(model, context)
    assert len(set(replies.lengths.tolist())) > 1
    state, judged = model.encode(context), judge.encode(context)
    found = rewards.monte_carlo_reward(model, judge, state, judged, replies, 3, torch.Generator().manual_seed(7))
    rng = torch.Generator().manual_seed(7)
    expected = torch.zeros_like(found)
    with torch.no_grad():
        for t in range(replies.tokens.shape[1]):
            going = [i for i, length in enumerate(replies.lengths.tolist()) if length > t + 1]
            seeds = rewards.draw_seeds(len(going) * 3, rng, CPU)
            for i, length in enumerate(replies.lengths.tolist()):
                own = replies.tokens[i : i + 1]
                if length == t + 1:
                    expected[i, t] = torch.sigmoid(final_logits(judge(judge.encode(context[i : i + 1]), own), own))
                if i in going:
                    at = going.index(i) * 3
                    probabilities = []
                    for seed in seeds[at : at + 3]:
                        fresh = model.encode(context[i : i + 1])
                        for token in [START, *own[0, :t].tolist()]:
                            _, fresh = model.step(fresh, torch.tensor([token]))
                        lanes = plain_sampling(1, seed[None], REPLY_TOKENS)
                        ended = write_replies(model, fresh, lanes, own[:, : t + 1]).tokens
                        logit = final_logits(judge(judge.encode(context[i : i + 1]), ended), ended)
                        probabilities.append(torch.sigmoid(logit))
                    expected[i, t] = torch.cat(probabilities).mean()
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_monte_carlo_comes_near_the_exact_expectation_over_all_endings() -> None:
    limit, vocabulary = 3, 6
    model = generator(vocabulary=vocabulary, reply_tokens=limit).eval()
    values = torch.tensor([0.0, 0.0, -0.5, 1.5, -2.0, 0.7])

    def opinion(_context: torch.Tensor, reply: torch.Tensor) -> torch.Tensor:
        return (values[reply] * torch.tensor([1.0, -2.0, 3.0])[: reply.shape[1]]).cumsum(1)

    judge, context = ToldJudge(opinion), torch.tensor([[3, 4, TURN]])
    reply = sampled([[3, 4, TURN]])
    with torch.no_grad():
        logits = model.score(model.encode(context), reply.tokens)
        found = rewards.monte_carlo_reward(
            model, judge, model.encode(context), ContextState(context), reply, 4000, torch.Generator().manual_seed(1)
        )

        def chances(prefix: list[int]) -> torch.Tensor:
            row = torch.tensor([[*prefix, TURN]])
            logits = model.score(model.encode(context), row)[0, len(prefix)].clone()
            logits[[PAD, START]] = -math.inf  # never written
            return torch.softmax(logits, 0)

        def worth(tokens: list[int]) -> float:
            row = torch.tensor([tokens])
            return float(torch.sigmoid(final_logits(opinion(context, row), row)))

        after_two = chances([3, 4])
        second = sum(float(after_two[x]) * worth([3, 4, x]) for x in range(2, vocabulary))
        after_one, first = chances([3]), 0.0
        for x, y in itertools.product(range(2, vocabulary), repeat=2):
            if x != TURN:
                first += float(after_one[x] * chances([3, x])[y]) * worth([3, x, y])
        first += float(after_one[TURN]) * worth([3, TURN])
    assert logits.shape == (1, 3, vocabulary)
    # A mean of 4,000 values in [0, 1] has a standard error of at most .008.
    assert found[0, 0].item() == pytest.approx(first, abs=0.03)
    assert found[0, 1].item() == pytest.approx(second, abs=0.03)
    assert found[0, 2].item() == pytest.approx(worth([3, 4, TURN]), abs=1e-6)
    assert abs(first - second) > 0.05


def test_the_last_token_earns_what_the_discriminator_thinks_of_the_reply_itself() -> None:
    model, judge = generator().eval(), discriminator().eval()
    context = batch_of(copy_task()[:3]).context
    replies = sampled([[3, TURN], [4, 5, 6, 7, 8], [TURN]])
    found = rewards.monte_carlo_reward(
        model, judge, model.encode(context), judge.encode(context), replies, 2, torch.Generator().manual_seed(0)
    )
    whole = torch.sigmoid(final_logits(judge(judge.encode(context), replies.tokens), replies.tokens))
    ends = found[torch.arange(3), replies.lengths - 1]
    torch.testing.assert_close(ends, whole.detach())
    assert found[~reply_mask(replies.tokens)].eq(0).all()


def test_a_search_in_parts_is_the_search_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, judge = generator().eval(), discriminator().eval()
    context = batch_of(copy_task()[:3]).context
    replies = sampled([[3, TURN], [4, 5, 6, 7, 8], [TURN]])  # 1, 4 and no prefixes to leave from

    def search() -> torch.Tensor:
        return rewards.monte_carlo_reward(
            model, judge, model.encode(context), judge.encode(context), replies, 2, torch.Generator().manual_seed(0)
        )

    at_once, sizes, roll_out = search(), [], rewards.roll_out
    monkeypatch.setattr(rewards, "most_branches", lambda found: 2 if found is model else 0)
    monkeypatch.setattr(rewards, "roll_out", lambda *given: sizes.append(len(given[3])) or roll_out(*given))
    torch.testing.assert_close(search(), at_once)
    assert sizes == [2, 8]
