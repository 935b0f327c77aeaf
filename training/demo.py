"""The demonstration: real dialogues, maximum likelihood, Conditional SeqGAN and a table, in minutes on two cores."""

import shutil
from collections.abc import Callable
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
PRESET = "demo"
RELEASED = (
    "released",
    "discriminator.minutes=1.5",
    "discriminator.batch=24",
    "adversarial.minutes=4.0",
    "adversarial.contexts=24",
    "evaluation.pairs=800",
    "evaluation.probe=128",
)
"""Preset and settings of the adversarial training that begins with a released bundle."""


def run_demo(
    directory: Path,
    preset: str | None,
    limit: int | None,
    display: Display,
    *,
    start: Path | None = None,
    ready: Callable[[Path], None] | None = None,
) -> tuple[Path, str]:
    """Prepare the packaged dialogues, train under `directory` and return the folder of both models and the table.

    Maximum likelihood is trained first, or begins as the bundle `start`; `ready` is called with the folder when it is
    there. Without a preset sizes and minutes are those of the demo. What an earlier demo finished is used again. Raises
    RejoinderError when a step cannot be done.
    """
    data, runs, models = directory / "data", directory / "runs", directory / "models"
    likelihood, adversarial = models / "mle", models / "cseqgan"
    if start is not None and not likelihood.is_dir():
        _publish(start, likelihood)
    if ready is not None and likelihood.is_dir():
        ready(models)
    if not data.is_dir():
        display.say("Preparing the packaged chit-chat dialogues")
        tokenizer = None if start is None else str(likelihood)
        options = PrepareOptions(out=data, vocabulary=VOCABULARY, tokenizer=tokenizer, limit=limit)
        prepare(["chitchat"], options, display.count)
    if not likelihood.is_dir():
        display.say("Training by maximum likelihood")
        shutil.rmtree(runs / "mle", ignore_errors=True)
        begin(compose("mle", preset or PRESET, []), "mle", data, runs / "mle", display.report)
        _publish(runs / "mle" / PRODUCT, likelihood)
        if ready is not None:
            ready(models)
    sizes, *settings = (preset or PRESET,) if preset or start is None else RELEASED
    if not adversarial.is_dir():
        display.say("Training against the discriminator")
        shutil.rmtree(runs / "cseqgan", ignore_errors=True)
        try:
            config = compose("cseqgan", sizes, [*settings, f"start={likelihood}"])
            begin(config, "cseqgan", data, runs / "cseqgan", display.report)
        except CollapseError as error:
            display.say(f"{error}; it is shown as it is")
        _publish(runs / "cseqgan" / PRODUCT, adversarial)
    display.say("Comparing both on held-out dialogues")
    judged = runs / "cseqgan" / REFERENCE
    contexts = 2 * compose("mle", preset or PRESET, []).evaluation.probe
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
