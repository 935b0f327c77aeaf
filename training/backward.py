"""The backward stage: a second generator is asked, given a reply, for the turn that it answers. Only a judge uses it.

Li et al. 2016: a reply that would fit everything tells little of what was said before it, so its backward likelihood is
low. The model lives in the run as the bundle `backward`, and in the run state while it learns.
"""

from chatbot.bundle import AnyGenerator, Bundle, Limits, load_bundle, save_bundle
from chatbot.generator.pretrained import PretrainedGenerator
from training import ranks
from training.batches import Batch
from training.config import Config
from training.loop import Cadence
from training.models import make_generator
from training.objectives.mle import MaximumLikelihood
from training.session import BACKWARD, Session
from training.turns import TurnedBatches, turned_round

_CARD = "# Backward model\n\nGiven a reply, it says what may have come before. A judge's instrument, not a chatbot.\n"


def backward_cadence(config: Config) -> Cadence:
    """Return how long the stage is: a share of the mle stage."""
    mle, share = config.mle, config.judged.backward
    return Cadence(max(1, round(share * mle.steps)), share * mle.minutes, mle.evaluate_every, config.save_every)


def learn_backwards(session: Session) -> tuple[AnyGenerator, MaximumLikelihood]:
    """Return a new model, of the generator's kind and shape, and how it learns.

    Beside a pretrained generator it begins from the same language model; adapters of its own learn where those of the
    generator do.
    """
    config, generator = session.config, session.generator
    pretrained = generator.language_model if isinstance(generator, PretrainedGenerator) else None
    model = make_generator(config, session.tokenizer.vocabulary_size, pretrained, None).to(session.device)
    split = session.data.split("train")
    batches = TurnedBatches(split, config.mle.batch, config.data, config.seed * 1000 + 3, session.device)
    return model, MaximumLikelihood(model, batches, config.mle, session.precision)


def turned_pairs(session: Session) -> list[Batch]:
    """Return the validation pairs that are scored, turned round."""
    data = session.config.data
    return [turned_round(batch, data.context_tokens, data.reply_tokens) for batch in session.probe.scored]


def keep_backward(session: Session, model: AnyGenerator, step: int, metrics: dict[str, float]) -> None:
    """Write the model as the bundle `backward` of the run: rank 0 does, the others wait for it."""
    if ranks.number():
        ranks.wait()
        return
    data = session.config.data
    info = {"recipe": session.about["recipe"], "stage": "backward", "step": step, "metrics": metrics}
    limits = Limits(data.context_tokens, data.reply_tokens)
    bundle = Bundle(model, None, session.tokenizer, limits, _CARD, info)
    save_bundle(bundle, session.run.directory / BACKWARD)
    ranks.wait()


def load_backward(session: Session) -> AnyGenerator:
    """Return the model that the stage has kept. Raises BundleError when it is not there."""
    return load_bundle(session.run.directory / BACKWARD, session.device, session.generator).generator
