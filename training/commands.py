"""What the commands `prepare` and `train` do, with their progress shown to the user."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from chatbot.progress import Display
from training.errors import ConfigError

if TYPE_CHECKING:
    from training.corpus.preparation import Summary


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


def train(
    recipe: str | None, *, data: Path | None, out: Path, preset: str | None, settings: Sequence[str], resume: bool
) -> None:
    """Begin a run, or continue one."""
    from training.composition import compose
    from training.session import PRODUCT
    from training.train import begin
    from training.train import resume as continue_run

    with Display() as display:
        if resume:
            asked = compose(recipe, preset, settings) if recipe and (preset or settings) else None
            continue_run(out, display.report, asked)
        else:
            if recipe is None or data is None:
                raise ConfigError("train needs a recipe and --data (or --resume and --out)")
            begin(compose(recipe, preset, settings), recipe, data, out, display.report)
        typer.echo(f"The best model is in {out / PRODUCT}; try: rejoinder serve --models {out}")
