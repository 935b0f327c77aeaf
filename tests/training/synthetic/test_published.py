"""SeqGAN as published, and its discriminator: layouts, rewards, directions."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional

from benchmarks.plain_seqgan import PlainDiscriminator, PlainGenerator, PlainSeqGAN
from training.drawing import draw_tokens
from training.precision import autocast
from training.synthetic.cnn import ConvolutionalDiscriminator
from training.synthetic.lstm import SequenceModel
from training.synthetic.published import PublishedSeqGAN, Schedule, Score, monte_carlo, roll_out

VOCABULARY, LENGTH = 11, 6


def models(seed: int = 0) -> tuple[SequenceModel, ConvolutionalDiscriminator]:
    torch.manual_seed(seed)
    generator = SequenceModel(VOCABULARY, LENGTH, 5, 8)
    generator.initialise(0.3, torch.Generator().manual_seed(seed))
    return generator, ConvolutionalDiscriminator(VOCABULARY, LENGTH, embedding=7)


def game(judged: bool = True, **changes: float) -> PublishedSeqGAN:
    generator, judge = models()
    rng = torch.Generator().manual_seed(1)
    reals = torch.randint(0, 4, (128, LENGTH), generator=rng)  # real language has four words
    schedule = Schedule(**{"rounds": 2, "rollouts": 4, "pretraining": 1, "judge_sets": 1, **changes})  # type: ignore[arg-type]
    return PublishedSeqGAN(generator, judge if judged else None, reals, reals.clone(), schedule, "fp32", rng)


def scoring(opinion: Callable[[torch.Tensor], torch.Tensor]) -> Score:
    """Return a score that knows each sequence by itself."""

    def score(sequences: torch.Tensor, ended: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return opinion(sequences), opinion(ended.flatten(0, 2)).view(ended.shape[:3])

    return score


def test_windows_are_the_convolutions_and_so_are_their_gradients() -> None:
    _, judge = models()
    tokens = torch.randint(0, VOCABULARY, (5, LENGTH))
    embedded = judge.embedding(tokens).detach().requires_grad_()
    twin = embedded.detach().clone().requires_grad_()
    from training.synthetic.cnn import _Windows

    for width, layer in zip(judge.widths, judge.convolutions, strict=True):
        assert isinstance(layer, torch.nn.Linear)
        ours = layer(_Windows.apply(embedded, width))  # type: ignore[no-untyped-call]
        kernel = layer.weight.view(-1, width, 7).transpose(1, 2)
        theirs = functional.conv1d(twin.transpose(1, 2), kernel, layer.bias).transpose(1, 2)
        torch.testing.assert_close(ours, theirs)
        weights = torch.randn(ours.shape, generator=torch.Generator().manual_seed(width))
        (ours * weights).sum().backward()
        (theirs * weights).sum().backward()
    torch.testing.assert_close(embedded.grad, twin.grad)


def test_filters_longer_than_the_sequences_are_left_out() -> None:
    _, judge = models()
    assert judge.widths == [1, 2, 3, 4, 5, 6]
    assert judge(torch.zeros(3, LENGTH, dtype=torch.long)).shape == (3,)


def test_the_highway_begins_by_letting_features_through() -> None:
    _, judge = models()
    assert float(torch.sigmoid(judge.gate.bias.detach()).max()) < 0.15


def test_every_sample_and_step_gets_its_own_known_reward() -> None:
    """A judge that reads the first token: prefix t of sample i is worth it, whatever the rollouts go on with."""
    generator, _ = models()
    sequences = torch.randint(0, VOCABULARY, (9, LENGTH), generator=torch.Generator().manual_seed(2))
    rewards = monte_carlo(
        generator, scoring(lambda rows: rows[:, 0].float()), sequences, 3, torch.Generator().manual_seed(0)
    )
    assert torch.equal(rewards, sequences[:, :1].float().expand(-1, LENGTH))


def test_a_step_is_worth_the_mean_of_what_may_follow() -> None:
    """The judge reads the last token; before it the value is the chance-weighted mean, at it the token itself."""
    generator, _ = models()
    sequences = torch.randint(0, VOCABULARY, (4, LENGTH), generator=torch.Generator().manual_seed(3))
    rng = torch.Generator().manual_seed(4)
    rewards = monte_carlo(generator, scoring(lambda rows: (rows[:, -1] == 1).float()), sequences, 4000, rng)
    with torch.no_grad():
        logits = generator.output(generator.hidden(sequences))[:, -1]
    expected = torch.softmax(logits, 1)[:, 1]
    torch.testing.assert_close(rewards[:, -2], expected, atol=0.025, rtol=0)
    assert torch.equal(rewards[:, -1], (sequences[:, -1] == 1).float())


def test_one_samples_reward_does_not_depend_on_the_others() -> None:
    generator, judge = models()
    judge.eval()
    sequences = torch.randint(0, VOCABULARY, (6, LENGTH), generator=torch.Generator().manual_seed(5))
    changed = sequences.clone()
    changed[1:] = 0
    one, other = (
        monte_carlo(
            generator, scoring(lambda rows: torch.sigmoid(judge(rows))), rows, 2, torch.Generator().manual_seed(6)
        )[0]
        for rows in (sequences, changed)
    )
    torch.testing.assert_close(one, other)


def test_the_placebo_rewards_everything_alike() -> None:
    assert torch.equal(game(judged=False).rewards(torch.zeros(2, LENGTH, dtype=torch.long)), torch.ones(2, LENGTH))


def test_a_round_raises_what_the_judge_rewards() -> None:
    play = game(judge_sets=0, learning_rate=0.02)
    play.score = scoring(lambda rows: (rows == 2).float().mean(1))  # type: ignore[method-assign]
    before = float((play.generator.draw(2000, play.rng) == 2).float().mean())
    for _ in range(25):
        play.round()
    assert float((play.generator.draw(2000, play.rng) == 2).float().mean()) > before + 0.1


def test_the_rollout_policy_follows_with_a_lag() -> None:
    play = game(judged=False)
    before = copy.deepcopy(play.rollout_policy)
    play.round()
    new, old, first = play.generator, play.rollout_policy, before
    torch.testing.assert_close(old.embedding.weight, new.embedding.weight)
    torch.testing.assert_close(old.output.weight, 0.8 * first.output.weight + 0.2 * new.output.weight)


def test_the_judge_learns_what_real_language_is() -> None:
    play = game(judge_rate=3e-3)
    for _ in range(4):
        play.teach_judge()
    shares = play.judge_accuracy()
    assert shares["held_out_taken_for_real"] > 0.9
    assert shares["fakes_taken_for_real"] < 0.2


def test_the_game_is_watched_from_before_its_first_round() -> None:
    seen: list[int] = []
    game(rounds=3, evaluate_every=2).run(lambda number, model, metrics: seen.append(number))
    assert seen == [-1, 0, 2, 3]


@pytest.mark.parametrize("judged", [True, False])
def test_a_game_goes_on_where_it_was_cut_off(judged: bool) -> None:
    """After every set and round: the same weights and the same measurements as without the cut."""

    def played(cut: int | None) -> tuple[list[tuple[int, dict[str, float]]], torch.Tensor]:
        torch.manual_seed(0)
        seen: list[tuple[int, dict[str, float]]] = []
        play = game(judged, pretraining=2, rounds=2, evaluate_every=1)
        state: list[dict[str, Any]] = []

        def stop() -> None:
            state.append(copy.deepcopy(play.state_dict()))
            if len(state) == cut:
                raise KeyboardInterrupt

        try:
            play.run(lambda number, model, metrics: seen.append((number, metrics)), stop)
        except KeyboardInterrupt:
            torch.manual_seed(99)
            play = game(judged, pretraining=2, rounds=2, evaluate_every=1)
            play.load_state_dict(state[-1])
            play.run(lambda number, model, metrics: seen.append((number, metrics)))
        return seen, play.generator.output.weight.detach().clone()

    seen, weights = played(None)
    for cut in range(1, 5 if judged else 3):
        again, others = played(cut)
        assert again == seen
        assert torch.equal(others, weights)


@pytest.mark.parametrize("judged", [True, False])
def test_a_game_is_its_seeds(judged: bool) -> None:
    weights = []
    for _ in range(2):
        torch.manual_seed(0)
        play = game(judged)
        play.run(lambda number, model, metrics: None)
        weights.append(play.generator.output.weight.detach().clone())
    assert torch.equal(*weights)


def test_rollouts_of_all_prefixes_at_once_are_those_of_each_prefix_read_anew() -> None:
    generator, _ = models()
    count, rollouts = 5, 3
    sequences = torch.randint(0, VOCABULARY, (count, LENGTH), generator=torch.Generator().manual_seed(7))
    rng = torch.Generator().manual_seed(8)
    noise = [torch.rand(LENGTH - 1 - t, count, rollouts, generator=rng) for t in range(LENGTH - 1)]
    with torch.no_grad():
        found = roll_out(generator.eval(), sequences, noise)
        for t in range(LENGTH - 1):
            for row in range(count):
                for number in range(rollouts):
                    written = sequences[row, : t + 1].tolist()
                    for uniform in noise[t][:, row, number]:
                        read = torch.tensor([[0, *written]])
                        logits = generator.output(generator.advance(read, None)[0][:, -1])
                        written.append(int(draw_tokens(logits, uniform[None])))
                    assert found[t, row, number].tolist() == written


def test_endings_are_judged_as_each_would_be_by_itself() -> None:
    for embedding, length in ((7, LENGTH), (16, 20)):
        judge = ConvolutionalDiscriminator(VOCABULARY, length, embedding).eval()
        sequences = torch.randint(0, VOCABULARY, (4, length), generator=torch.Generator().manual_seed(9))
        ended = sequences[:, None].expand(-1, 3, -1).repeat(length - 1, 1, 1, 1)
        for t in range(length - 1):
            ended[t, :, :, t + 1 :] = torch.randint(0, VOCABULARY, (4, 3, length - 1 - t))
        with torch.no_grad():
            expected = judge(ended.flatten(0, 2)).view(ended.shape[:3])
        torch.testing.assert_close(judge.judge_endings(sequences, ended), expected)
        with autocast("bf16", torch.device("cpu")):
            rough = judge.judge_endings(sequences, ended)
        torch.testing.assert_close(rough, expected, atol=0.05, rtol=0.05)


def test_a_search_in_parts_is_the_search_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    play = game()
    sequences = torch.randint(0, VOCABULARY, (6, LENGTH), generator=torch.Generator().manual_seed(5))
    play.rng.manual_seed(0)
    whole = play.rewards(sequences)
    monkeypatch.setattr("training.synthetic.published._LANES", 40)
    play.rng.manual_seed(0)
    torch.testing.assert_close(play.rewards(sequences), whole)


def test_the_plain_reference_is_the_same_estimator() -> None:
    """The benchmark's reference and ours agree: the same D on the same sequences, and the same mean reward."""
    torch.manual_seed(0)
    length = 6
    ours, theirs = SequenceModel(VOCABULARY, length, 8, 8), PlainGenerator(VOCABULARY, length, 8)
    theirs.load_state_dict(ours.state_dict())
    judge, plain = ConvolutionalDiscriminator(VOCABULARY, length), PlainDiscriminator(VOCABULARY, length)
    state = judge.state_dict()
    for index, width in enumerate(judge.widths):
        name = f"convolutions.{index}.weight"
        state[name] = state[name].view(len(state[name]), 1, width, 64)
    plain.load_state_dict(state)
    sequences = torch.randint(0, VOCABULARY, (3, length), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(plain.eval()(sequences), judge.eval()(sequences))
        for head in (judge.head, plain.head):  # an opinion that differs from sequence to sequence
            head.weight.mul_(20)
    schedule = Schedule(batch=3, rollouts=600)
    play = PublishedSeqGAN(ours, judge, sequences, sequences, schedule, "fp32", torch.Generator().manual_seed(2))
    reference = PlainSeqGAN(theirs, plain, 600)
    torch.testing.assert_close(play.rewards(sequences), reference.rewards(sequences), atol=0.05, rtol=0)
