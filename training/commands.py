"""What the commands of training and evaluation do, with their progress shown to the user."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chatbot.memory import keep_freed_memory
from chatbot.progress import Display
from training.errors import ConfigError

if TYPE_CHECKING:
    from training.corpus.preparation import Summary
    from training.evaluation.report import Report


def prepare(sources: Sequence[str], **options: Any) -> None:
    """Prepare `sources`; options are those of `PrepareOptions`."""
    from training.corpus.options import PrepareOptions
    from training.corpus.preparation import prepare as run

    with Display() as display:
        summary = run(sources, PrepareOptions(**options), display.count)
    print_summary(summary)


def print_summary(summary: "Summary") -> None:
    """Print what was prepared."""
    counts = ", ".join(f"{name} {summary.pairs(name):,}" for name in ("train", "valid", "test"))
    rejected = f"; {summary.rejected} lines rejected, see {summary.out / 'rejected.jsonl'}" if summary.rejected else ""
    typer.echo(f"{summary.out}: pairs {counts}; vocabulary {summary.document['vocabulary']['used']:,}{rejected}")


def contexts(data: Path, out: Path, *, split: str, limit: int, seed: int, each: int) -> None:
    """Write contexts of a prepared dataset, with their human replies, to `out`."""
    from training.corpus.contexts import export_contexts

    count = export_contexts(data, out, split=split, limit=limit, seed=seed, each=each)
    typer.echo(f"{out}: {count:,} contexts with their human replies")


def train(
    recipe: str | None,
    *,
    data: Path | None,
    out: Path,
    preset: str | None,
    settings: Sequence[str],
    resume: bool,
    feedback: Sequence[Path] = (),
) -> None:
    """Begin a run, or continue one."""
    from training import ranks
    from training.composition import compose
    from training.session import PRODUCT
    from training.train import begin
    from training.train import resume as continue_run

    keep_freed_memory()
    with Display() as display:
        report = display.report if not ranks.number() else _nothing
        if resume:
            asked = compose(recipe, preset, settings) if recipe and (preset or settings) else None
            continue_run(out, report, asked, feedback)
        else:
            if recipe is None or data is None:
                raise ConfigError("train needs a recipe and --data (or --resume and --out)")
            begin(compose(recipe, preset, settings), recipe, data, out, report, feedback)
    if not ranks.number():
        typer.echo(f"The best model is in {out / PRODUCT}; try: rejoinder serve --models {out}")


def _nothing(stage: str, share: float | None, line: str) -> None:
    """Say nothing: one rank speaks for all."""


def bench_oracle(
    oracle: Path | None, out: Path, seeds: int, first_seed: int, systems: Sequence[str], quick: bool
) -> None:
    """Run the oracle experiment and write its table."""
    from training.synthetic.experiment import oracle_experiment

    keep_freed_memory()
    with Display() as display:
        table = oracle_experiment(oracle, out, range(first_seed, first_seed + seeds), systems, quick, display.say)
    typer.echo(table)


def bench_counting(out: Path, seeds: int) -> None:
    """Run the Counting experiment, write its rows and print them."""
    from training.synthetic.counting_bench import CountingOptions, counting_experiment, table

    keep_freed_memory()
    with Display() as display:
        rows = counting_experiment(CountingOptions(), range(seeds), out, display.say)
    typer.echo(table(rows))


def bench_feedback(
    out: Path, seeds: int, taste: str, arms: Sequence[str], settings: Sequence[str], quick: bool
) -> None:
    """Run the experiment with simulated raters, write its result and print it."""
    from training.feedback.experiment import QUICK, FeedbackOptions, feedback_experiment
    from training.feedback.experiment_table import table

    keep_freed_memory()
    chosen = QUICK if quick else FeedbackOptions()
    options = dataclasses.replace(
        chosen, taste=taste, arms=tuple(arms) or chosen.arms, settings=(*chosen.settings, *settings)
    )
    with Display() as display:
        result = feedback_experiment(options, range(seeds), out, display.report)
    typer.echo(table(result))


def evaluate(bundles: Sequence[str], *, data: Path, out: Path, **options: Any) -> None:
    """Evaluate `bundles`, each `[NAME=]BUNDLE`; options are those of `EvaluationOptions`."""
    from training.evaluation.options import EvaluationOptions
    from training.evaluation.protocol import evaluate as run
    from training.evaluation.systems import parse_systems

    keep_freed_memory()
    with Display() as display:
        report = run(parse_systems(bundles), data, out, EvaluationOptions(**options), display.count)
    _conclude(report, out)


def compare(data: Path, *, out: Path, contexts: int, best_of: int, **options: Any) -> None:
    """Compare recipes on `data`; options are those of `Comparison`."""
    from training.comparison import Comparison
    from training.comparison import compare as run
    from training.evaluation.options import EvaluationOptions

    keep_freed_memory()
    comparison = Comparison(data, out, **options)
    chosen = EvaluationOptions(contexts=contexts, training_contexts=contexts, best_of=best_of)
    with Display() as display:
        report = run(comparison, chosen, display.report, display.count)
    _conclude(report, out / "report")


def _conclude(report: "Report", out: Path) -> None:
    """Say what an evaluation found."""
    from training.evaluation.measures import CURVED
    from training.evaluation.report import PAGE_NAME
    from training.evaluation.verdicts import caution

    found = [row for row in report.comparisons if row.measure == CURVED[0]]
    for row in found:
        typer.echo(row.sentence)
    if found and (warning := caution(min(row.seeds for row in found))):
        typer.echo(warning)
    typer.echo(f"The report is in {out / PAGE_NAME}")
