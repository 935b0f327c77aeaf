"""Nothing in learning has changed: the steps against plain ones, and what they lead to, within the noise of seeds."""

import copy
import statistics
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.plain_seqgan import PlainDiscriminator, PlainGenerator, PlainSeqGAN
from chatbot.decoding import plain_sampling, write_replies
from chatbot.generator.interface import State
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import TrunkConfig
from chatbot.tokenizer import PAD, START
from training import losses, rewards
from training.config import AdversarialConfig, DiscriminatorConfig, MLEConfig
from training.synthetic.cnn import ConvolutionalDiscriminator
from training.synthetic.counting_bench import CountingOptions, CountingWorld, adversarial, likelihood, measure
from training.synthetic.likelihood import likelihood_step
from training.synthetic.lstm import SequenceModel, sequence_nll
from training.synthetic.published import PublishedSeqGAN, Schedule

VOCABULARY, LENGTH, SIZE, ROLLOUTS = 13, 5, 8, 3
SEEDS = range(3)


def twins(seed: int) -> tuple[PublishedSeqGAN, PlainSeqGAN, Tensor, SequenceModel]:
    """Return our players and plain ones with the same weights and no dropout, real sequences, and their oracle."""
    torch.manual_seed(seed)
    oracle = SequenceModel(VOCABULARY, LENGTH, SIZE, SIZE)
    oracle.initialise(1.5, torch.Generator().manual_seed(100))
    reals = oracle.draw(512, torch.Generator().manual_seed(seed))
    ours, judge = SequenceModel(VOCABULARY, LENGTH, SIZE, SIZE), ConvolutionalDiscriminator(VOCABULARY, LENGTH, 64, 0.0)
    generator, plain_judge = PlainGenerator(VOCABULARY, LENGTH, SIZE), PlainDiscriminator(VOCABULARY, LENGTH)
    generator.load_state_dict(ours.state_dict())
    plain_judge.dropout = nn.Dropout(0.0)
    state = judge.state_dict()
    for index, width in enumerate(judge.widths):
        name = f"convolutions.{index}.weight"
        state[name] = state[name].view(len(state[name]), 1, width, 64)
    plain_judge.load_state_dict(state)
    schedule = Schedule(batch=32, rollouts=ROLLOUTS, rollout_lag=0.0)  # the plain one's rollout policy is G
    play = PublishedSeqGAN(ours, judge, reals, reals, schedule, "fp32", torch.Generator().manual_seed(seed))
    return play, PlainSeqGAN(generator, plain_judge, ROLLOUTS), reals, oracle


def assert_same_weights(ours: nn.Module, plain: nn.Module) -> None:
    other = plain.state_dict()
    for name, tensor in ours.state_dict().items():
        torch.testing.assert_close(tensor, other[name].view(tensor.shape), atol=2e-4, rtol=1e-3, msg=name)


def moved(after: Tensor, before: Tensor) -> float:
    return float((after - before).abs().max().detach())


def test_a_step_of_likelihood_is_the_plain_one() -> None:
    play, plain, reals, _ = twins(0)
    before = copy.deepcopy(play.generator)
    for rows in torch.split(reals[:192], 64):
        likelihood_step(play.generator, play.optimizer, rows, play.schedule.clip, "fp32")
        plain.likelihood_step(rows)
    assert_same_weights(play.generator, plain.generator)
    assert moved(play.generator.output.weight, before.output.weight) > 0.01


def test_a_step_of_the_judge_is_the_plain_one() -> None:
    play, plain, reals, _ = twins(1)
    assert play.discriminator is not None
    before = copy.deepcopy(play.discriminator)
    fakes = torch.randint(0, VOCABULARY, reals.shape, generator=torch.Generator().manual_seed(0))
    labels = (torch.arange(64) < 32).float()
    play.discriminator.train()
    for number in range(3):
        own = slice(32 * number, 32 * number + 32)
        sequences = torch.cat((reals[own], fakes[own]))
        play.judge_step(sequences, labels)
        plain.discriminator_step(sequences, labels)
    assert_same_weights(play.discriminator, plain.discriminator)
    assert moved(play.discriminator.gate.weight, before.gate.weight) > 1e-4


def test_a_step_of_the_generator_is_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the same samples with the same rewards; that these are distributed alike is told by test_published."""
    play, plain, reals, _ = twins(2)
    before = copy.deepcopy(play.generator)
    values = torch.rand(32, LENGTH, generator=torch.Generator().manual_seed(3))
    monkeypatch.setattr(play.generator, "draw", lambda count, rng: reals[:count])
    monkeypatch.setattr(plain.generator, "sample", lambda count: reals[:count])
    for player in (play, plain):
        monkeypatch.setattr(player, "rewards", lambda sequences: values)
    for _ in range(3):
        play.teach_generator()
        plain.generator_step(32)
    assert_same_weights(play.generator, plain.generator)
    assert moved(play.generator.output.weight, before.output.weight) > 0.01


def against_oracle(seed: int, plainly: bool) -> tuple[float, float]:
    """Play a short game; return nats per token that the oracle gives to what G writes, before and after."""
    play, plain, reals, oracle = twins(seed)
    judge, rng = play.discriminator, torch.Generator().manual_seed(seed + 50)
    assert judge is not None

    def written() -> float:
        if plainly:
            play.generator.load_state_dict(plain.generator.state_dict())
        return float(sequence_nll(oracle, play.generator.draw(4000, rng)).mean())

    untaught = written()
    for _ in range(24):
        rows = reals[torch.randint(0, len(reals), (64,), generator=rng)]
        if plainly:
            plain.likelihood_step(rows)
        else:
            likelihood_step(play.generator, play.optimizer, rows, play.schedule.clip, "fp32")
    labels = (torch.arange(64) < 32).float()
    for _ in range(10):
        for _ in range(4):
            human = reals[torch.randint(0, len(reals), (32,), generator=rng)]
            if plainly:
                plain.discriminator_step(torch.cat((human, plain.generator.sample(32))), labels)
            else:
                judge.train()
                play.judge_step(torch.cat((human, play.generator.draw(32, play.rng))), labels)
        if plainly:
            plain.generator_step(32)
        else:
            play.teach_generator()
    return untaught, written()


def assert_alike(ours: list[float], plain: list[float], gain: float) -> None:
    """Fail where the means differ by more than three standard errors, or where training moved them by no more."""
    error = (statistics.variance(ours) / len(ours) + statistics.variance(plain) / len(plain)) ** 0.5
    assert abs(statistics.mean(ours) - statistics.mean(plain)) < 3 * error, (ours, plain)
    assert gain > 3 * error, (gain, error)


def test_a_game_against_the_oracle_ends_where_the_plain_one_ends() -> None:
    torch.manual_seed(0)
    found = {plainly: [against_oracle(seed, plainly) for seed in SEEDS] for plainly in (False, True)}
    ours, plain = ([after for _, after in found[plainly]] for plainly in (False, True))
    assert_alike(ours, plain, statistics.mean(before - after for before, after in found[False]))


def each_by_itself(
    generator: Seq2SeqGenerator, state: State, replies: Tensor, owner: Tensor, known: Tensor, seeds: Tensor
) -> Tensor:
    """Return what `roll_out` returns, reading every prefix anew and alone."""
    limit, ended = generator.reply_tokens, []
    for row, length, seed in zip(owner.tolist(), known.tolist(), seeds, strict=True):
        own, fresh = replies[row : row + 1], state.select(torch.tensor([row]))
        for token in [START, *own[0, : length - 1].tolist()]:
            _, fresh = generator.step(fresh, torch.tensor([token]))
        written = write_replies(generator, fresh, plain_sampling(1, seed[None], limit), own[:, :length]).tokens
        ended.append(functional.pad(written, (0, limit - written.shape[1]), value=PAD))
    return torch.cat(ended)


def counting(seed: int) -> tuple[float, float]:
    """Return the precision of likelihood alone, and of what eight steps with Monte-Carlo search make of it."""
    world = CountingWorld(COUNTING, seed)
    generator, judge = world.start()
    likelihood(world, generator, COUNTING.mle, 0)
    start = copy.deepcopy(generator)
    untaught = measure(start, world.test, COUNTING.answers).precision
    adversarial(world, generator, start, judge, COUNTING.adversarial)
    return untaught, measure(generator, world.test, COUNTING.answers).precision


COUNTING = replace(
    CountingOptions(),
    pairs=400,
    asked=60,
    shortest=2,
    longest=3,
    answers=20,
    trunk=TrunkConfig("recurrent", 16, 1, 1, 2, 32, 0.0),
    judge=TrunkConfig("recurrent", 16, 1, 1, 2, 32, 0.0),
    mle=MLEConfig(steps=60, batch=32, learning_rate=1e-2, warmup=5, evaluate_every=30),
    discriminator=DiscriminatorConfig(steps=5, batch=16, evaluate_every=5, skip_above=1.0),
    adversarial=AdversarialConfig(
        steps=8, contexts=6, samples=3, credit="mc", rollouts=2, learning_rate=1e-3, evaluate_every=6
    ),
)


def test_counting_ends_where_plain_steps_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """With torch's own cross-entropy, and a search that reads every prefix anew."""
    ours = [counting(seed) for seed in SEEDS]
    searched = 0

    def search(*arguments: Tensor) -> Tensor:
        nonlocal searched
        searched += 1
        return each_by_itself(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(rewards, "roll_out", search)
    monkeypatch.setattr(
        losses, "chosen_log_probabilities", lambda x, y: -functional.cross_entropy(x.float(), y, reduction="none")
    )
    plain = [counting(seed) for seed in SEEDS]
    assert searched >= 8 * len(SEEDS)
    for (untaught, precision), (same, other) in zip(ours, plain, strict=True):
        assert abs(untaught - same) < 0.05  # the same seeds: rounding apart, the same training
        assert abs(precision - other) < 0.05
    spread = statistics.stdev(precision for _, precision in ours)
    means = (statistics.mean(precision for _, precision in found) for found in (ours, plain))
    assert abs(next(means) - next(means)) < max(spread, 0.01)
