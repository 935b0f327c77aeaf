"""What all stages of a run share: data, models, random streams, and where a model is kept."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch

from chatbot.bundle import AnyGenerator, Bundle, Limits, save_bundle
from chatbot.discriminator import PairDiscriminator
from chatbot.request import Decoding
from chatbot.tokenizer import Tokenizer
from training import ranks
from training.batches import Batches, make_batch
from training.card import model_card
from training.config import Config, Stage
from training.corpus.dataset import PreparedDataset
from training.evaluation.probe import ProbeSet, spread_over
from training.feedback.encoding import TaughtFeedback
from training.feedback.records import Feedback, described
from training.objectives.discrimination import Discrimination
from training.passages import Passages
from training.precision import Precision
from training.run import Run

Report = Callable[[str, float | None, str], None]
"""Told the stage, the share of it that is done (None: unchanged), and a line for the user (empty: nothing to say)."""

PRODUCT = "bundle"
"""What a run is for: the best model so far."""
REFERENCE = "mle"
"""In adversarial runs: the model after maximum likelihood, with the pretrained discriminator once there is one."""
BACKWARD = "backward"
"""In runs with the backward stage: the model that it has made."""


@dataclass
class Session:
    """What all stages of a run share."""

    run: Run
    config: Config
    precision: Precision
    about: dict[str, Any]
    data: PreparedDataset
    tokenizer: Tokenizer
    generator: AnyGenerator
    discriminator: PairDiscriminator
    probe: ProbeSet
    rng: torch.Generator
    device: torch.device
    report: Report
    feedback: Feedback | None = None
    """What people said of replies, if the run was given it."""
    decoding: Decoding = field(default_factory=Decoding)
    """How the start bundle prefers its replies drawn: what came of it is then compared with it as it is served."""

    def keep(self, name: str, step: int, stage: Stage, metrics: dict[str, float]) -> None:
        """Write the models as the bundle `name` of the run: rank 0 does, the others wait for it."""
        if ranks.number():
            ranks.wait()
            return
        info: dict[str, Any] = {"recipe": self.about["recipe"], "stage": stage, "step": step, "metrics": metrics}
        if self.feedback is not None and stage != "mle":
            info["feedback"] = described(self.feedback, self.config.feedback)
        judged = None if stage == "mle" else self.discriminator
        limits = Limits(self.config.data.context_tokens, self.config.data.reply_tokens)
        card = model_card(self.config, self.about, self.data.summary, info)
        save_bundle(
            Bundle(self.generator, judged, self.tokenizer, limits, card, info, self.decoding), self.run.directory / name
        )
        ranks.wait()

    def batches(self, size: int, salt: int) -> Batches:
        """Return training batches of all lengths in an order of their own for each `salt`, 1 or more."""
        seed = self.config.seed * 1000 + salt
        return Batches(self.data.split("train"), size, self.config.data, seed, self.device, by_length=False)

    def likelihood_batches(self, size: int) -> Batches:
        """Return what likelihood learns from, of like length: passages if the generator can read them, else pairs."""
        kind = Passages if self.generator.reads_on else Batches
        return kind(self.data.split("train"), size, self.config.data, self.config.seed * 1000, self.device)

    @cached_property
    def discrimination(self) -> Discrimination:
        """Return how D learns: one for both of its stages, so the second goes on where the first ended.

        Its optimizer, old fakes, held-out accuracy and place in the data carry over; begun anew, the gate would know
        nothing, and D would meet in the same order the very pairs that it was pretrained on.
        """
        judge = self.config.discriminator
        split = self.data.split("valid")
        return Discrimination(
            self.discriminator,
            self.generator,
            self.batches(judge.batch, 1),
            make_batch(split, spread_over(split, judge.held_out), self.config.data, self.device),
            judge,
            self.precision,
            ranks.own_stream(self.rng),
            one_prefix=self.config.adversarial.credit == "regs",
            feedback=self._taught(),
        )

    def _taught(self) -> TaughtFeedback | None:
        if self.feedback is None:
            return None
        config = self.config
        return TaughtFeedback(self.feedback, config.feedback, self.tokenizer, config.data, self.device, config.seed)
