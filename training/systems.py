"""The systems of the field's history as adversarial stages: which objective each one is, put together from a session.

One builder for each; `config.System` lists their names. What a system computes is its objective's business.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from chatbot.generator.seq2seq import Seq2SeqGenerator
from training.config import System
from training.objectives.cseqgan import ConditionalSeqGAN
from training.objectives.discrimination import Discrimination
from training.session import Session


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


def build(session: Session, reference: Seq2SeqGenerator) -> AdversarialObjective:
    """Return the objective that `session.config.system` names; `reference` is the model after maximum likelihood."""
    return BUILDERS[session.config.system](session, reference)


def _cseqgan(session: Session, reference: Seq2SeqGenerator) -> AdversarialObjective:
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


BUILDERS: Mapping[System, Callable[[Session, Seq2SeqGenerator], AdversarialObjective]] = {
    "cseqgan": _cseqgan,
}
