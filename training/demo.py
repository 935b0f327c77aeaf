"""The demonstration: real dialogues, maximum likelihood, Conditional SeqGAN and a table, in minutes on two cores."""

import shutil
from pathlib import Path

from chatbot.bundle import load_bundle, save_bundle
from chatbot.progress import Display
from training.composition import compose
from training.corpus.dataset import PreparedDataset
from training.corpus.options import PrepareOptions
from training.corpus.preparation import prepare
from training.evaluation.summary import System, format_table, summarise
from training.loop import CollapseError
from training.session import PRODUCT, REFERENCE
from training.train import begin

VOCABULARY = 4000
CANDIDATES = 8


def run_demo(directory: Path, preset: str, limit: int | None, display: Display) -> tuple[Path, str]:
    """Prepare the packaged dialogues, train both models under `directory` and return their folder and the table.

    What an earlier demo finished there is used again. Raises RejoinderError when a step cannot be done.
    """
    data, runs, models = directory / "data", directory / "runs", directory / "models"
    if not data.is_dir():
        display.say("Preparing the packaged chit-chat dialogues")
        prepare(["chitchat"], PrepareOptions(out=data, vocabulary=VOCABULARY, limit=limit), display.count)
    likelihood = models / "mle"
    if not likelihood.is_dir():
        display.say("Training by maximum likelihood")
        shutil.rmtree(runs / "mle", ignore_errors=True)
        begin(compose("mle", preset, []), "mle", data, runs / "mle", display.report)
        _publish(runs / "mle" / PRODUCT, likelihood)
    adversarial = models / "cseqgan"
    if not adversarial.is_dir():
        display.say("Training against the discriminator")
        shutil.rmtree(runs / "cseqgan", ignore_errors=True)
        try:
            config = compose("cseqgan", preset, [f"start={likelihood}"])
            begin(config, "cseqgan", data, runs / "cseqgan", display.report)
        except CollapseError as error:
            display.say(f"{error}; it is shown as it is")
        _publish(runs / "cseqgan" / PRODUCT, adversarial)
    display.say("Comparing both on held-out dialogues")
    judged = runs / "cseqgan" / REFERENCE
    contexts = 2 * compose("mle", preset, []).evaluation.probe
    rows = summarise(
        PreparedDataset.open(data),
        [
            System("MLE", likelihood),
            System(f"MLE, best of {CANDIDATES} by D", judged, CANDIDATES),
            System("adversarial", adversarial),
            System(f"adversarial, best of {CANDIDATES} by D", adversarial, CANDIDATES),
        ],
        contexts,
        display.count,
    )
    note = (
        f"At most {contexts} test contexts, temperature 1, one seed, no interval: an impression, not a result. "
        "Perplexity is that of the human replies; distinct-n is taken over equal numbers of tokens."
    )
    return models, f"{format_table(rows)}\n{note}"


def _publish(bundle: Path, target: Path) -> None:
    """Put a copy of `bundle` where the service looks for models, whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    save_bundle(load_bundle(bundle), target)
