"""`rejoinder study` and `rejoinder rater`: what can be typed. What the commands do is imported when one is called."""

from pathlib import Path
from typing import Annotated

import typer

study = typer.Typer(no_args_is_help=True, help="Blind studies: people judge replies, item by item.")
rater = typer.Typer(no_args_is_help=True, help="Those who judge.")

State = Annotated[Path | None, typer.Option(help="Directory of the SQLite database; ./state by default.")]
Url = Annotated[str | None, typer.Option("--database-url", help="Database instead, as in REJOINDER_DATABASE_URL.")]
Slug = Annotated[str, typer.Argument(help="The study's short name.")]


@study.command()
def create(
    file: Annotated[Path, typer.Argument(help="TOML or JSON: slug, title, seed, [protocol], perhaps [items].")],
    contexts: Annotated[
        Path | None, typer.Option(help="JSONL of contexts for [items]: `turns`, perhaps `reply` and `replies`.")
    ] = None,
    models: Annotated[Path | None, typer.Option(help="Directory of bundles; ./models by default.")] = None,
    device: Annotated[str | None, typer.Option(help="auto (a GPU where there is one), cpu or cuda.")] = None,
    state: State = None,
    database_url: Url = None,
) -> None:
    """Draft a study, and fill it with items where the file says which; all of it or nothing.

    Example: rejoinder study create study.toml --contexts contexts.jsonl --models runs/support
    """
    from app.studies.commands import create as run

    typer.echo(run(file, contexts, models=models, device=device, state=state, database_url=database_url))


@study.command("add-items")
def add_items(
    slug: Slug,
    file: Annotated[Path, typer.Argument(help="TOML or JSON: systems, count, automatic_gold, gold.")],
    contexts: Annotated[Path | None, typer.Option(help="JSONL of contexts, as for `create`.")] = None,
    models: Annotated[Path | None, typer.Option(help="Directory of bundles; ./models by default.")] = None,
    device: Annotated[str | None, typer.Option(help="auto (a GPU where there is one), cpu or cuda.")] = None,
    state: State = None,
    database_url: Url = None,
) -> None:
    """Add items to a draft."""
    from app.studies.commands import add_items as run

    typer.echo(run(slug, file, contexts, models=models, device=device, state=state, database_url=database_url))


@study.command("list")
def list_all(state: State = None, database_url: Url = None) -> None:
    """List all studies."""
    from app.studies.commands import list_all as run

    typer.echo(run(state=state, database_url=database_url))


@study.command()
def start(slug: Slug, state: State = None, database_url: Url = None) -> None:
    """Freeze a draft and open it to its raters."""
    from app.studies.commands import start as run

    typer.echo(run(slug, state=state, database_url=database_url))


@study.command()
def invite(
    slug: Slug,
    raters: Annotated[int, typer.Option(min=1, help="How many may join by this link.")] = 1,
    days: Annotated[float, typer.Option(help="How long the link works.")] = 30.0,
    label: Annotated[str, typer.Option(help="Names the link, not a person.")] = "",
    address: Annotated[str, typer.Option(help="Address of the service, as raters reach it.")] = "http://127.0.0.1:8000",
    state: State = None,
    database_url: Url = None,
) -> None:
    """Print a link by which raters join; it is told this once."""
    from app.studies.commands import invite as run

    typer.echo(
        run(slug, raters=raters, days=days, label=label, address=address, state=state, database_url=database_url)
    )


@study.command()
def progress(slug: Slug, state: State = None, database_url: Url = None) -> None:
    """Say how far a study is."""
    from app.studies.commands import progress as run

    typer.echo(run(slug, state=state, database_url=database_url))


@study.command()
def close(slug: Slug, state: State = None, database_url: Url = None) -> None:
    """End a study."""
    from app.studies.commands import close as run

    typer.echo(run(slug, state=state, database_url=database_url))


@study.command()
def results(
    slug: Slug,
    json: Annotated[bool, typer.Option("--json", help="All of it, as JSON.")] = False,
    again: Annotated[
        int | None, typer.Option(min=1, help="Make the stored analysis of this number again, and compare.")
    ] = None,
    state: State = None,
    database_url: Url = None,
) -> None:
    """Say which system is better, with intervals, and keep the analysis.

    Example: rejoinder study results pilot --json > results.json
    """
    from app.results.commands import results as run

    typer.echo(run(slug, json=json, again=again, state=state, database_url=database_url))


@rater.command()
def erase(
    public_id: Annotated[str, typer.Argument(help="The rater's id, as their session tells it.")],
    state: State = None,
    database_url: Url = None,
) -> None:
    """Forget who a rater is and what they wrote; their numbers stay under the random id."""
    from app.raters.commands import erase as run

    typer.echo(run(public_id, state=state, database_url=database_url))
