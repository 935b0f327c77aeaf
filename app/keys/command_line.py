"""`rejoinder keys`: what can be typed. What the commands do is imported when one is called."""

from pathlib import Path
from typing import Annotated

import typer

keys = typer.Typer(no_args_is_help=True, help="API keys: who may use a service that others can reach.")

State = Annotated[Path | None, typer.Option(help="Directory of the SQLite database; ./state by default.")]
Url = Annotated[str | None, typer.Option("--database-url", help="Database instead, as in REJOINDER_DATABASE_URL.")]


@keys.command()
def create(
    scope: Annotated[
        str, typer.Option(help="Some of chat (talk, files, batches), rate (thumbs, results), metrics, admin (all).")
    ],
    expires: Annotated[str | None, typer.Option(help="How long it works: 90d, 12h, 8w; for ever by default.")] = None,
    name: Annotated[str, typer.Option(help="What it is for.")] = "",
    state: State = None,
    database_url: Url = None,
) -> None:
    """Print a new key; it is told this once.

    Example: rejoinder keys create --scope chat,rate --expires 90d --name "the web shop"
    """
    from app.keys.commands import create as run

    typer.echo(run(scope, expires, name, state=state, database_url=database_url))


@keys.command("list")
def list_all(state: State = None, database_url: Url = None) -> None:
    """List all keys, without their secrets."""
    from app.keys.commands import list_all as run

    typer.echo(run(state=state, database_url=database_url))


@keys.command()
def revoke(
    key_id: Annotated[int, typer.Argument(metavar="ID", help="As `keys list` shows it.")],
    state: State = None,
    database_url: Url = None,
) -> None:
    """End a key at once, and sign out who signed in with it."""
    from app.keys.commands import revoke as run

    typer.echo(run(key_id, state=state, database_url=database_url))
