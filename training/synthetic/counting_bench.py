"""The Counting experiment: maximum likelihood; from there adversarial steps, placebos, and more likelihood.

All of it is made of the project's ordinary parts, in memory. What is chosen (the best state of maximum likelihood and
of D) is chosen on validation pairs; the numbers are of test questions that nothing has seen.

Q questions, M answers drawn to each.
"""

import copy
import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from chatbot.decoding import Decoding, Lanes, write_replies
from chatbot.discriminator import Discriminator
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import TrunkConfig
from training.batches import Batch, Batches, make_batch
from training.config import AdversarialConfig, DataConfig, DiscriminatorConfig, MLEConfig
from training.evaluation.probe import held_out_nll
from training.objectives.cseqgan import ConditionalSeqGAN
from training.objectives.discrimination import Discrimination
from training.objectives.mle import MaximumLikelihood
from training.rewards import draw_seeds
from training.run import write_atomically
from training.synthetic.counting import (
    ANSWER_TOKENS,
    VOCABULARY,
    Question,
    Score,
    contexts_of,
    questions,
    score,
    split_of,
)
from training.synthetic.frontier import spread

CPU = torch.device("cpu")
Say = Callable[[str], None]
Reward = Literal["discriminator", "constant", "noise"]


@dataclass(frozen=True)
class CountingOptions:
    """Hold all that decides the numbers, seeds apart."""

    pairs: int = 10_000
    """To learn from; one answer to each of as many questions."""
    asked: int = 1000
    """Questions to choose by, and others to test on."""
    shortest: int = 3
    longest: int = 10
    answers: int = 20
    """Drawn to each question to measure: M."""
    trunk: TrunkConfig = field(default_factory=lambda: TrunkConfig("recurrent", 4, 1, 1, 2, 8, 0.0))
    """So small that likelihood ends with wrong answers; from a width of 6 on it finds the rule by itself."""
    judge: TrunkConfig = field(default_factory=lambda: TrunkConfig("recurrent", 64, 1, 1, 4, 128, 0.0))
    mle: MLEConfig = field(
        default_factory=lambda: MLEConfig(steps=15_000, batch=128, learning_rate=1e-2, warmup=50, evaluate_every=100)
    )
    """So long that as many steps as the adversarial ones, taken on top, change nothing."""
    discriminator: DiscriminatorConfig = field(
        default_factory=lambda: DiscriminatorConfig(
            # Most of the machine's answers are right: preferring the human's would teach noise. Answers to other
            # questions are what teaches the rule.
            steps=3600, batch=64, learning_rate=3e-3, weight_decay=0.0, pairwise=0.0, mismatched=1.0, extra_below=0.0
        )
    )  # fmt: skip
    adversarial: AdversarialConfig = field(
        default_factory=lambda: AdversarialConfig(
            steps=1800, contexts=32, samples=8, credit="final", learning_rate=1e-3, kl_target=0.05, teacher_forcing=0.1
        )
    )
    temperatures: tuple[float, ...] = (0.9, 0.8, 0.7)
    """At which the MLE model is measured besides: what cooling alone would reach."""


@dataclass
class CountingWorld:
    """One seed's pairs and questions."""

    options: CountingOptions
    seed: int

    def __post_init__(self) -> None:
        o, rng = self.options, np.random.default_rng((self.seed, 7))
        drawn = questions(o.pairs + 2 * o.asked, o.shortest, o.longest, rng)
        rng.shuffle(drawn)
        self.data = DataConfig(o.longest + 1, ANSWER_TOKENS)
        self.train = split_of(drawn[: o.pairs], rng)
        self.choose_by, self.test = drawn[o.pairs : o.pairs + o.asked], drawn[o.pairs + o.asked :]
        self.valid = make_batch(split_of(self.choose_by, rng), np.arange(o.asked), self.data, CPU)

    def batches(self, size: int, salt: int) -> Batches:
        """Return training batches in an order of their own for each `salt`, with questions of all lengths in each."""
        return Batches(self.train, size, self.data, self.seed * 1000 + salt, CPU, by_length=False)

    def start(self) -> tuple[Seq2SeqGenerator, Discriminator]:
        """Return fresh models."""
        torch.manual_seed(self.seed)
        shapes = (VOCABULARY, self.data.context_tokens, self.data.reply_tokens)
        return Seq2SeqGenerator(self.options.trunk, *shapes), Discriminator(self.options.judge, *shapes)


def run_seed(options: CountingOptions, seed: int, say: Say, *, final: bool = True) -> dict[str, Score]:
    """Train every system of one seed and return its score on test questions (on validation questions if not `final`).

    Every system that goes on does so from the same MLE model, placebo and adversarial from the same D.
    """
    world = CountingWorld(options, seed)
    asked = world.test if final else world.choose_by
    generator, judge = world.start()
    found: dict[str, Score] = {}

    def keep(name: str, model: Seq2SeqGenerator, temperature: float = 1.0) -> None:
        found[name] = measure(model, asked, options.answers, temperature)
        say(f"seed {seed}, {name}: precision {found[name].precision:.3f}, coverage {found[name].coverage:.3f}")

    likelihood(world, generator, options.mle, 0)
    keep("mle", generator)
    for temperature in options.temperatures:
        keep(f"mle at temperature {temperature:g}", generator, temperature)
    longer = copy.deepcopy(generator)
    gentle = dataclasses.replace(options.mle, steps=options.adversarial.steps, warmup=0)
    likelihood(world, longer, gentle, 3)
    keep("mle continued", longer)
    pretrained = discrimination(world, generator, judge, options.discriminator)
    say(f"seed {seed}: D's held-out accuracy {pretrained['d_accuracy']:.3f}")
    rewards: tuple[tuple[str, Reward], ...] = (
        ("adversarial", "discriminator"), ("placebo", "constant"), ("placebo noise", "noise")
    )  # fmt: skip
    for name, reward in rewards:
        learner = copy.deepcopy(generator)
        adversarial(
            world, learner, generator, copy.deepcopy(judge), dataclasses.replace(options.adversarial, reward=reward)
        )
        keep(name, learner)
    return found


def likelihood(world: CountingWorld, generator: Seq2SeqGenerator, config: MLEConfig, salt: int) -> None:
    """Train by maximum likelihood; the generator ends with its best state on validation pairs, its first included."""
    objective = MaximumLikelihood(generator, world.batches(config.batch, salt), config, "fp32")
    best = _Best(generator, lambda: held_out_nll(generator, [world.valid]))
    for step in range(config.steps):
        objective.step(step / config.steps)
        if (step + 1) % config.evaluate_every == 0:
            best.look()
    best.restore()


def discrimination(
    world: CountingWorld, generator: Seq2SeqGenerator, judge: Discriminator, config: DiscriminatorConfig
) -> dict[str, float]:
    """Pretrain D; it ends with its best state on validation pairs, whose measures are returned."""
    objective = _discrimination(world, generator, judge, config)
    best = _Best(judge, lambda: objective.measure()["d_loss_held_out"])
    for step in range(config.steps):
        objective.step()
        if (step + 1) % config.evaluate_every == 0:
            best.look()
    best.restore()
    return objective.measure()


def adversarial(
    world: CountingWorld,
    generator: Seq2SeqGenerator,
    reference: Seq2SeqGenerator,
    judge: Discriminator,
    config: AdversarialConfig,
) -> None:
    """Let `generator` and `judge` take turns."""
    judging = _discrimination(world, generator, judge, world.options.discriminator)
    judging.measure()
    objective = ConditionalSeqGAN(
        generator,
        copy.deepcopy(reference),
        judging,
        world.batches(config.contexts, 2),
        config,
        "fp32",
        torch.Generator().manual_seed(world.seed + 2),
    )
    for step in range(config.steps):
        objective.step(step / config.steps)
        if (step + 1) % config.evaluate_every == 0:
            judging.measure()  # D's gate goes by it


def _discrimination(
    world: CountingWorld, generator: Seq2SeqGenerator, judge: Discriminator, config: DiscriminatorConfig
) -> Discrimination:
    held_out = Batch(world.valid.context[: config.held_out], world.valid.reply[: config.held_out])
    rng = torch.Generator().manual_seed(world.seed + 1)
    return Discrimination(judge, generator, world.batches(config.batch, 1), held_out, config, "fp32", rng)


class _Best:
    """Remember a model's state at the lowest loss seen."""

    def __init__(self, model: nn.Module, loss: Callable[[], float]) -> None:
        self._model, self._loss = model, loss
        self._lowest, self._state = loss(), copy.deepcopy(model.state_dict())

    def look(self) -> None:
        """Measure, and remember the state if it is the best one."""
        if (now := self._loss()) < self._lowest:
            self._lowest, self._state = now, copy.deepcopy(self._model.state_dict())

    def restore(self) -> None:
        """Go back to the best state."""
        self._model.load_state_dict(self._state)


@torch.no_grad()
def measure(model: Seq2SeqGenerator, asked: Sequence[Question], answers: int, temperature: float = 1.0) -> Score:
    """Return the score of `answers` answers drawn to each question."""
    model.eval()
    lanes = torch.arange(len(asked)).repeat_interleave(answers)
    seeds = draw_seeds(len(lanes), torch.Generator().manual_seed(1), CPU)
    decoding = Decoding(temperature=temperature, min_tokens=0)
    state = model.encode(contexts_of(asked)).select(lanes)
    drawn: Tensor = write_replies(model, state, Lanes([decoding] * len(lanes), seeds, ANSWER_TOKENS)).tokens
    return score(asked, drawn.view(len(asked), answers, -1))


def counting_experiment(options: CountingOptions, seeds: Sequence[int], out: Path, say: Say) -> list[dict[str, Any]]:
    """Run every seed, write `out` (JSON) with its rows and options, and return the rows."""
    rows = summarise({seed: run_seed(options, seed, say) for seed in seeds})
    out.parent.mkdir(parents=True, exist_ok=True)
    content = {"rows": rows, "seeds": list(seeds), "options": dataclasses.asdict(options)}
    write_atomically(out, (json.dumps(content, indent=1) + "\n").encode())
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Return the rows as plain text."""
    lines = [f"{'system':<26}{'precision':>10}{'gain':>9}{'coverage':>10}{'of MLE':>9}  seeds"]
    lines += [
        f"{row['system']:<26}{row['precision']['mean']:>10.3f}{row['precision_gain']['mean']:>+9.3f}"
        f"{row['coverage']['mean']:>10.3f}{row['coverage_kept']['mean']:>9.1%}  {row['seeds']}"
        for row in rows
    ]
    return "\n".join(lines)


def summarise(runs: dict[int, dict[str, Score]]) -> list[dict[str, Any]]:
    """Return one row for each system: precision and coverage, and what they are above MLE's, over seeds."""
    rows = []
    for name in next(iter(runs.values())):
        row: dict[str, Any] = {"system": name, "seeds": len(runs)}
        for measured in ("precision", "coverage"):
            values = [getattr(run[name], measured) for run in runs.values()]
            starts = [getattr(run["mle"], measured) for run in runs.values()]
            row[measured] = _numbers(values)
            row[f"{measured}_gain"] = _numbers([v - s for v, s in zip(values, starts, strict=True)])
        row["coverage_kept"] = _numbers([_share(run[name].coverage, run["mle"].coverage) for run in runs.values()])
        rows.append(row)
    return rows


def _share(part: float, whole: float) -> float:
    return part / whole if whole else float(part == whole)  # a model of two steps may find nothing at all


def _numbers(values: list[float]) -> dict[str, Any]:
    found = spread(values)
    interval = None if len(values) < 2 else [round(found.low, 4), round(found.high, 4)]
    return {"mean": round(found.mean, 4), "interval": interval, "values": [round(v, 4) for v in values]}
