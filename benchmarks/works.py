"""What is timed: this project's own steps and the reference's, on the same data and at the same sizes.

Two settings: `seqgan`, the field's standard one (vocabulary 5,000, length 20, batch 64, N 16, 32 units), and `dialogue`
(vocabulary 8,000, width 256, contexts of 64 and replies of 24 tokens, 64 contexts with 8 samples each).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from benchmarks.plain_dialogue import PlainDialogue, PlainTransformer
from benchmarks.plain_seqgan import PlainDiscriminator, PlainGenerator, PlainSeqGAN
from chatbot.discriminator import Discriminator
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import TrunkConfig
from chatbot.tokenizer import TURN
from training.batches import Batch, Batches, make_batch
from training.config import AdversarialConfig, DataConfig, DiscriminatorConfig, MLEConfig
from training.corpus.dataset import Split
from training.objectives.cseqgan import ConditionalSeqGAN
from training.objectives.discrimination import Discrimination, fresh_fakes
from training.objectives.mle import MaximumLikelihood
from training.objectives.policy import force
from training.precision import Precision
from training.synthetic.cnn import ConvolutionalDiscriminator
from training.synthetic.likelihood import likelihood_step
from training.synthetic.lstm import SequenceModel
from training.synthetic.oracle import LENGTH, SIZE, VOCABULARY
from training.synthetic.published import PublishedSeqGAN, Schedule

Steps = dict[str, Callable[[], object]]
"""One call of each work."""

BATCH, ROLLOUTS = 64, 16
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Dialogue:
    """The sizes of the setting `dialogue`."""

    vocabulary: int = 8000
    shape: TrunkConfig = field(default_factory=TrunkConfig)
    context_tokens: int = 64
    reply_tokens: int = 24
    contexts: int = 64
    samples: int = 8
    searched: int = 8
    """Contexts of a Monte-Carlo step, one sample each: the reference's would take hours with all."""
    rollouts: int = ROLLOUTS

    @property
    def data(self) -> DataConfig:
        """Return how pairs become batches."""
        return DataConfig(self.context_tokens, self.reply_tokens)


def seqgan_sequences(count: int) -> torch.Tensor:
    """Return random sequences [count, T]: what they say has no influence on how long a step takes."""
    return torch.randint(0, VOCABULARY, (count, LENGTH), generator=torch.Generator().manual_seed(0))


def plain_seqgan(rollouts: int = ROLLOUTS) -> Steps:
    """Return the reference's steps; its only credit is Monte-Carlo search."""
    torch.manual_seed(0)
    play = PlainSeqGAN(PlainGenerator(VOCABULARY, LENGTH, SIZE), PlainDiscriminator(VOCABULARY, LENGTH), rollouts)
    sequences, labels = seqgan_sequences(BATCH), (torch.arange(BATCH) % 2).float()
    return {
        "mle_step": lambda: play.likelihood_step(sequences),
        "generator_step_mc": lambda: play.generator_step(BATCH),
        "discriminator_step": lambda: play.discriminator_step(sequences, labels),
        "sampling": lambda: [play.generator.sample(BATCH) for _ in range(16)],
    }


def our_seqgan(precision: Precision, batch: int = BATCH, rollouts: int = ROLLOUTS, length: int = LENGTH) -> Steps:
    """Return our steps with the same models, and a step by the credit `step` with a causal D of the same width."""
    torch.manual_seed(0)
    generator = SequenceModel(VOCABULARY, length, SIZE, SIZE)
    judge = ConvolutionalDiscriminator(VOCABULARY, length)
    sequences, labels = seqgan_sequences(batch)[:, :length], (torch.arange(batch) % 2).float()
    rng, schedule = torch.Generator().manual_seed(0), Schedule(batch=batch, rollouts=rollouts)
    play = PublishedSeqGAN(generator, judge, sequences, sequences, schedule, precision, rng)
    shape = TrunkConfig("recurrent", SIZE, 1, 1, 1, 4 * SIZE, 0.1)
    sizes = Dialogue(VOCABULARY, shape, 1, length, batch // 8, 8)
    causal = our_dialogue(sizes, precision)
    return {
        "mle_step": lambda: likelihood_step(generator, play.optimizer, sequences, schedule.clip, precision),
        "generator_step": causal["generator_step"],
        "generator_step_mc": play.teach_generator,
        "discriminator_step": lambda: play.judge_step(sequences, labels),
        "sampling": lambda: generator.draw(16 * BATCH, rng),
    }


def pairs(sizes: Dialogue, count: int = 2048) -> Split:
    """Return random pairs; lengths are spread as in the packaged chit-chat corpus, replies of 17 tokens on average."""
    rng = np.random.default_rng(0)
    context = np.minimum(rng.gamma(4.0, 11.0, count).astype(int) + 2, sizes.context_tokens)
    reply = np.minimum(rng.gamma(2.2, 8.6, count).astype(int) + 2, sizes.reply_tokens)
    turns = np.stack((context, reply), axis=1).reshape(-1)
    ends = np.concatenate(([0], np.cumsum(turns))).astype(np.int64)
    tokens = rng.integers(3, sizes.vocabulary, ends[-1]).astype(np.uint16)
    tokens[ends[1:] - 1] = TURN
    numbers = np.arange(count, dtype=np.int64)
    dialogues = np.append(numbers * 2, 2 * count)
    return Split(tokens, ends, dialogues, np.stack((numbers * 2, numbers * 2 + 1), axis=1))


def one_batch(sizes: Dialogue, count: int, device: torch.device = CPU) -> Batch:
    """Return the first `count` pairs."""
    return make_batch(pairs(sizes), np.arange(count), sizes.data, device)


def plain_dialogue(sizes: Dialogue) -> Steps:
    """Return the reference's steps; each takes the next batch of shuffled pairs, as ours do."""
    torch.manual_seed(0)
    shapes = (sizes.vocabulary, sizes.context_tokens, sizes.reply_tokens)
    generator, judge = PlainTransformer(sizes.shape, *shapes), PlainTransformer(sizes.shape, *shapes)
    play = PlainDialogue(generator, judge, sizes.rollouts)
    batches = Batches(pairs(sizes), sizes.contexts, sizes.data, 0, CPU, by_length=False)
    few = one_batch(sizes, sizes.searched)

    def likelihood() -> None:
        batch = batches.next()
        play.likelihood_step(batch.context, batch.reply)

    def judging() -> None:
        batch = batches.next()
        context, reply = torch.cat((batch.context, batch.context)), torch.cat((batch.reply, batch.reply.roll(1, 0)))
        play.discriminator_step(context, reply, (torch.arange(len(reply)) < len(batch)).float())

    return {
        "mle_step": likelihood,
        "generator_step": lambda: play.generator_step(batches.next().context, sizes.samples),
        "generator_step_mc": lambda: play.generator_step(few.context, 1, by_rollouts=True),
        "discriminator_step": judging,
    }


def our_dialogue(sizes: Dialogue, precision: Precision, device: torch.device = CPU) -> Steps:
    """Return our steps: those of the recipes `mle` and `cseqgan`, without their reading of files.

    Where there are ranks, sizes are those of all of them together.
    """
    torch.manual_seed(0)
    shapes = (sizes.vocabulary, sizes.context_tokens, sizes.reply_tokens)
    generator = Seq2SeqGenerator(sizes.shape, *shapes).to(device)
    reference = Seq2SeqGenerator(sizes.shape, *shapes).to(device)
    reference.load_state_dict(generator.state_dict())
    judge = Discriminator(sizes.shape, *shapes).to(device)
    split, data = pairs(sizes), sizes.data
    rng = torch.Generator().manual_seed(0)
    likelihood = MaximumLikelihood(
        generator, Batches(split, sizes.contexts, data, 0, device), MLEConfig(batch=sizes.contexts), precision
    )
    judged_pairs = max(4, sizes.contexts * 4 // 5) // 4 * 4  # two ranks, or four, can share them
    discrimination = Discrimination(
        judge, generator, Batches(split, judged_pairs, data, 1, device, by_length=False),
        one_batch(sizes, 64, device), DiscriminatorConfig(), precision, rng,
    )  # fmt: skip
    config = AdversarialConfig(contexts=sizes.contexts, samples=sizes.samples, rollouts=sizes.rollouts)
    batches = Batches(split, sizes.contexts, data, 2, device, by_length=False)
    play = ConditionalSeqGAN(generator, reference, discrimination, batches, config, precision, rng)
    searching = replace(config, contexts=sizes.searched, samples=1, credit="mc", baseline="ema")
    search = ConditionalSeqGAN(generator, reference, discrimination, batches, searching, precision, rng)
    few = one_batch(sizes, sizes.searched, device)
    judged = discrimination.batches.next()
    fakes = fresh_fakes(generator, judged.context, rng, precision)

    def step(objective: ConditionalSeqGAN, batch: Batch) -> None:
        objective.update(batch, objective.reward(batch), 0.0)

    written = batches.next()
    replies = play.reward(written).sampled.tokens
    same = Batch(written.context.repeat_interleave(sizes.samples, 0), replies)

    def likelihood_of_same() -> None:
        likelihood.optimizer.zero_grad(set_to_none=True)
        force(generator, same, 1.0, precision)
        likelihood.optimizer.step()

    return {
        "mle_step": lambda: likelihood.step(0.5),
        "mle_step_512": likelihood_of_same,
        "generator_step": lambda: step(play, written),
        "generator_step_mc": lambda: step(search, few),
        "discriminator_step": lambda: discrimination.learn(judged, fakes),
    }


def tokens_of_mle(sizes: Dialogue) -> float:
    """Return the reply tokens of a step of maximum likelihood on average, end tokens counted."""
    split = pairs(sizes)
    return float(np.minimum(split.lengths()[1], sizes.reply_tokens).mean()) * sizes.contexts


def parameters_of(sizes: Dialogue) -> int:
    """Return how many parameters the generator has."""
    with torch.device("meta"):
        generator = Seq2SeqGenerator(sizes.shape, sizes.vocabulary, sizes.context_tokens, sizes.reply_tokens)
    return sum(parameter.numel() for parameter in generator.parameters())
