"""The systems of the field's history as adversarial stages: which objective each one is, put together from a session.

One builder for each; `config.System` lists their names. What a system computes is its objective's business.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from chatbot.bundle import AnyGenerator, load_bundle
from chatbot.tokenizer import SMALLEST_VOCABULARY
from training import ranks
from training.backward import load_backward
from training.config import Config, System
from training.errors import ConfigError
from training.judges import Judge
from training.objectives.cseqgan import ConditionalSeqGAN
from training.objectives.discrimination import Discrimination
from training.objectives.gan import GenerativeAdversarial
from training.objectives.gumbel import GumbelSoftmaxGAN
from training.objectives.judged import JudgedDialogues
from training.objectives.relaxed import Players
from training.objectives.wgan import BETAS, WassersteinGAN
from training.session import Session
from training.stock import dullness_of, likeliest_stock
from training.teacher import Teacher

DULL_REPLIES = 8
"""Dull replies: their likelihood measures how easy it is to answer dully, as many as in the paper; and what a turn is
expected to be after them, what would be said anyway."""


class AdversarialObjective(Protocol):
    """What an adversarial stage repeats, and what is asked of it besides."""

    @property
    def discrimination(self) -> Discrimination | None:
        """Return how D learns, where it learns as a judge of replies: its held-out accuracy is measured and logged."""

    def step(self, progress: float) -> dict[str, float]:
        """Take one step of G, and what steps of D belong to it; `progress` through the stage goes from 0 to 1."""

    def soften(self) -> None:
        """Go on more carefully: what follows a rollback."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs, weights apart."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` returned."""


def build(session: Session, reference: AnyGenerator) -> AdversarialObjective:
    """Return the objective that `session.config.system` names; `reference` is the model after maximum likelihood."""
    return BUILDERS[session.config.system](session, reference)


def _cseqgan(session: Session, reference: AnyGenerator) -> AdversarialObjective:
    adversarial = session.config.adversarial
    return ConditionalSeqGAN(
        session.generator,
        reference,
        session.discrimination,
        session.batches(adversarial.contexts, 2),
        adversarial,
        session.precision,
        session.rng,
    )


def _gan(session: Session, reference: AnyGenerator) -> AdversarialObjective:
    return GenerativeAdversarial(_players(session), session.config.gan)


def _wgan(session: Session, reference: AnyGenerator) -> AdversarialObjective:
    return WassersteinGAN(_players(session, BETAS), session.config.wgan, ranks.own_stream(session.rng))


def _gumbel(session: Session, reference: AnyGenerator) -> AdversarialObjective:
    return GumbelSoftmaxGAN(_players(session), session.config.gumbel, ranks.own_stream(session.rng))


def _judged(session: Session, reference: AnyGenerator) -> AdversarialObjective:
    adversarial, judged = session.config.adversarial, session.config.judged
    backward = load_backward(session) if judged.coherence else None
    dull = likeliest_stock(reference, session.probe.answered.context, session.tokenizer, DULL_REPLIES)
    teacher = None
    if judged.likelihood:
        teacher = Teacher(load_bundle(Path(judged.teacher), session.device), session.tokenizer)
    needing = [part for part in ("ease", "mutual") if getattr(judged, part)]
    if needing and not dull:
        part, limit = needing[0], session.config.data.reply_tokens
        raise ConfigError(
            f"judged.{part}: no dull reply fits into data.reply_tokens={limit}, expected more or {part} 0"
        )
    clip = adversarial.reward_clip
    return JudgedDialogues(
        session.generator,
        reference,
        Judge(reference, backward, session.discriminator, dull, judged, clip, teacher),
        dullness_of(session.tokenizer),
        session.discrimination if judged.discriminator else None,
        session.batches(adversarial.contexts, 2),
        adversarial,
        judged,
        session.precision,
        ranks.own_stream(session.rng),
    )


def _players(session: Session, betas: tuple[float, float] = (0.5, 0.98)) -> Players:
    config = session.config
    return Players(
        session.generator,
        session.discriminator,
        session.batches(config.adversarial.contexts, 2),
        config.adversarial,
        config.discriminator,
        session.precision,
        betas=betas,
    )


def learns_from_feedback(config: Config) -> bool:
    """Say whether a run trains a judge of whole replies, which can be told what people said of them."""
    judging = config.system == "cseqgan" or (config.system == "judged" and config.judged.discriminator > 0)
    return judging and any(stage in config.stages for stage in ("discriminator", "adversarial"))


def advice(config: Config, vocabulary_size: int) -> str | None:
    """Return what is to be said of a system on data with this vocabulary before it runs, None if nothing is."""
    if config.system != "wgan" or "adversarial" not in config.stages or vocabulary_size <= SMALLEST_VOCABULARY:
        return None
    return (
        f"wgan is meant for characters; this dataset has {vocabulary_size:,} tokens, prepare one with "
        f"--vocabulary {SMALLEST_VOCABULARY} for single bytes"
    )


BUILDERS: Mapping[System, Callable[[Session, AnyGenerator], AdversarialObjective]] = {
    "cseqgan": _cseqgan,
    "gan": _gan,
    "wgan": _wgan,
    "gumbel": _gumbel,
    "judged": _judged,
}
