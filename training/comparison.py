"""Several recipes from one start with one budget each, and one report: the table of the field.

Knows which runs belong to a comparison and how a budget is shared among a run's stages; the runs themselves are
`train`'s business, the report is `evaluation`'s.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.composition import compose, names
from training.config import Config, Stage
from training.errors import ConfigError
from training.evaluation.options import EvaluationOptions
from training.evaluation.protocol import evaluate
from training.evaluation.report import Report
from training.evaluation.systems import SystemSpec
from training.feedback.reading import read_feedback
from training.loop import CollapseError
from training.run import CONFIG
from training.session import PRODUCT, REFERENCE
from training.session import Report as Say
from training.systems import learns_from_feedback
from training.train import begin, resume

PLACEBOS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "placebo": ("cseqgan", ("adversarial.reward=constant",)),
    "noise": ("cseqgan", ("adversarial.reward=noise",)),
    "shuffled": ("cseqgan", ("feedback.shuffled=true",)),
}
"""Recipes whose reward knows nothing of the reply, or of what people said of it: what they reach, that did not add."""

SHARES: Final[Mapping[Stage, float]] = {"discriminator": 0.35, "backward": 0.15}
"""Of the budget; the recipe's last stage gets what is left."""

_NO_LIMIT: Final = 10**9
"""Steps: the budget is time."""

Count = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Comparison:
    """Say what is compared. Raises ConfigError for an unknown recipe, no budget or no seed."""

    data: Path
    out: Path
    recipes: tuple[str, ...]
    minutes: float
    """Of training for every recipe and seed, the start apart."""
    seeds: int = 1
    preset: str | None = None
    settings: tuple[str, ...] = ()
    start: Path | None = None
    """Bundle to start from; without it one is trained by maximum likelihood, as the preset says."""
    feedback: tuple[Path, ...] = ()
    """Exports of what people said of replies, for every recipe whose discriminator learns from them."""

    def __post_init__(self) -> None:
        known = [*names("recipes"), *PLACEBOS]
        for recipe in self.recipes:
            if recipe not in known:
                raise ConfigError(f"unknown recipe {recipe!r}, expected some of {', '.join(known)}")
        if len(set(self.recipes)) < len(self.recipes) or not self.recipes:
            raise ConfigError(f"recipes are {', '.join(self.recipes) or 'missing'}: expected each one once")
        if "shuffled" in self.recipes and not self.feedback:
            raise ConfigError("the recipe shuffled is the placebo of feedback: give some with --feedback")
        if self.feedback and not any(_takes_feedback(self, recipe) for recipe in self.recipes):
            raise ConfigError(f"none of {', '.join(self.recipes)} learns from feedback, expected cseqgan among them")
        if self.minutes <= 0:
            raise ConfigError(f"budget is {self.minutes:g} minutes, expected more than none")
        if self.seeds < 1:
            raise ConfigError(f"seeds are {self.seeds}, expected at least 1")


def compare(comparison: Comparison, options: EvaluationOptions, say: Say, count: Count) -> Report:
    """Train every recipe and seed from the same model, then evaluate all of them together in OUT/report.

    What an interrupted comparison has finished is kept. A run that collapses takes part with the last model
    that its safeguards kept, and the report's curves show why. Raises RejoinderError as `begin` and `evaluate` do.
    """
    feedback = read_feedback(comparison.feedback)  # what cannot be read is said before anything is trained
    share = compose("cseqgan", comparison.preset, comparison.settings).feedback.held_out
    if feedback.kept_out(share):
        options = dataclasses.replace(options, feedback=comparison.feedback)
    start = comparison.start or _trained_start(comparison, say)
    chosen = [
        SystemSpec(_label(recipe), _run(comparison, recipe, seed, start, say)) for recipe, seed in _legs(comparison)
    ]
    return evaluate([SystemSpec("MLE", _judged_start(comparison, start)), *chosen], comparison.data,
                    comparison.out / "report", options, count)  # fmt: skip


def planned(recipe: str, comparison: Comparison, seed: int, start: Path) -> Config:
    """Return the settings of one run: its stages behind the start share the budget."""
    base, extra = PLACEBOS.get(recipe, (recipe, ()))
    alone = compose(base, comparison.preset, [])
    stages: list[Stage] = [stage for stage in alone.stages if stage != "mle"] or ["mle"]
    left = 1.0
    minutes = []
    for stage in stages:
        share = left if stage == stages[-1] else SHARES[stage]
        left -= share
        section = stage
        if stage == "backward":  # its length is said as a share of the mle stage's
            section = "mle"
            minutes.append("judged.backward=1.0")
        minutes += [f"{section}.minutes={share * comparison.minutes}", f"{section}.steps={_NO_LIMIT}"]
    return compose(base, comparison.preset, [*minutes, *comparison.settings, *extra, f"start={start}", f"seed={seed}"])


def _legs(comparison: Comparison) -> list[tuple[str, int]]:
    """Return what is trained; seed by seed, so that an interrupted comparison has whole seeds."""
    return [(recipe, seed) for seed in range(comparison.seeds) for recipe in comparison.recipes]


def _label(recipe: str) -> str:
    return "MLE continued" if recipe == "mle" else recipe


def _trained_start(comparison: Comparison, say: Say) -> Path:
    directory = comparison.out / "start"
    _finish(directory, lambda: compose("mle", comparison.preset, comparison.settings), "mle", comparison.data, say)
    return directory / PRODUCT


def _run(comparison: Comparison, recipe: str, seed: int, start: Path, say: Say) -> Path:
    directory = comparison.out / "runs" / f"{recipe}-{seed}"
    say("compare", None, f"{recipe}, seed {seed}")
    base = PLACEBOS.get(recipe, (recipe, ()))[0]
    feedback = comparison.feedback if _takes_feedback(comparison, recipe) else ()
    _finish(directory, lambda: planned(recipe, comparison, seed, start), base, comparison.data, say, feedback)
    return directory / PRODUCT


def _takes_feedback(comparison: Comparison, recipe: str) -> bool:
    base, extra = PLACEBOS.get(recipe, (recipe, ()))
    return learns_from_feedback(compose(base, comparison.preset, [*comparison.settings, *extra]))


def _finish(
    directory: Path, config: Callable[[], Config], recipe: str, data: Path, say: Say, feedback: Sequence[Path] = ()
) -> None:
    try:
        if (directory / CONFIG).is_file():
            resume(directory, say, feedback=feedback)  # a finished run has nothing left to do
        else:
            begin(config(), recipe, data, directory, say, feedback)
    except CollapseError as error:
        if not (directory / PRODUCT).is_dir():
            raise
        say("compare", None, str(error))


def _judged_start(comparison: Comparison, start: Path) -> Path:
    """Return the start as some run kept it with the discriminator pretrained on it, or the start itself.

    Only so can its replies be reranked, which is what adversarial training has to beat.
    """
    for recipe, seed in _legs(comparison):
        kept = comparison.out / "runs" / f"{recipe}-{seed}" / REFERENCE
        if recipe not in PLACEBOS and (kept / "discriminator.safetensors").is_file():
            return kept
    return start
