"""The command line's front door: the commands of training and of the service, imported only when called."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from chatbot.errors import RejoinderError

app = typer.Typer(
    name="rejoinder",
    help="Train your own dialogue reply generator, serve it, and let people judge its replies.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command()
def prepare(
    sources: Annotated[
        list[str],
        typer.Argument(help="Files or directories of dialogues, or `chitchat` (the packaged English corpus)."),
    ],
    out: Annotated[Path, typer.Option(help="Directory to write the prepared dataset to.")],
    format: Annotated[  # noqa: A002 - the option's name is what users type
        str, typer.Option(help="auto (by file name), jsonl, csv, tsv, text or chitchat.")
    ] = "auto",
    columns: Annotated[
        str, typer.Option(help="CSV/TSV with one dialogue a row: the columns of its turns in order, comma-separated.")
    ] = "",
    dialogue_column: Annotated[
        str | None, typer.Option(help="CSV/TSV with one turn a row: the column that names the dialogue.")
    ] = None,
    text_column: Annotated[
        str | None, typer.Option(help="CSV/TSV with one turn a row: the column of its text.")
    ] = None,
    speaker_column: Annotated[
        str | None, typer.Option(help="CSV/TSV with one turn a row: the speaker; rows of one speaker are joined.")
    ] = None,
    max_turns: Annotated[int, typer.Option(min=1, help="Turns joined into a context.")] = 6,
    vocabulary: Annotated[int, typer.Option(help="Size of the tokenizer's vocabulary.")] = 8000,
    valid: Annotated[float, typer.Option(help="Share of dialogues kept for validation.")] = 0.025,
    test: Annotated[float, typer.Option(help="Share of dialogues kept for testing.")] = 0.025,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    max_rejected: Annotated[float, typer.Option(help="Fail when a larger share of the lines is unusable.")] = 0.01,
    license: Annotated[  # noqa: A002 - the option's name is what users type
        str | None, typer.Option(help="Licence of the data, recorded where the data does not say itself.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use the first N dialogues only.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace a prepared dataset at --out.")] = False,
) -> None:
    """Clean dialogues, split them, train a tokenizer and pack (context, reply) pairs for training.

    Reads JSONL (also .gz) with `turns`, OpenAI `messages` or ShareGPT `conversations`, CSV and TSV, and plain text with
    one turn a line and a blank line between dialogues. Unusable lines are reported and written to rejected.jsonl.

    Example: rejoinder prepare support.jsonl --out data/support
    """
    from training.commands import prepare as run

    run(
        sources,
        out=out,
        format=format,
        columns=tuple(name.strip() for name in columns.split(",") if name.strip()),
        dialogue_column=dialogue_column,
        text_column=text_column,
        speaker_column=speaker_column,
        max_turns=max_turns,
        vocabulary=vocabulary,
        valid=valid,
        test=test,
        seed=seed,
        max_rejected=max_rejected,
        license=license,
        limit=limit,
        overwrite=overwrite,
    )


@app.command()
def train(
    recipe: Annotated[str | None, typer.Argument(help="mle or cseqgan; left out with --resume.")] = None,
    data: Annotated[Path | None, typer.Option(help="Prepared dataset.")] = None,
    out: Annotated[Path, typer.Option(help="Run directory: new, or with --resume an interrupted one.")] = Path("run"),
    preset: Annotated[
        str | None, typer.Option(help="Size: toy (seconds), demo (minutes), small (hours on two cores), base (a GPU).")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one setting; may be repeated.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run at --out.")] = False,
) -> None:
    """Train a generator by a recipe. Settings are composed as defaults, preset, recipe, --set, in that order.

    The best model so far is the bundle OUT/bundle; OUT/metrics.jsonl, OUT/samples.jsonl and OUT/tensorboard tell how it
    goes. A killed run continues with --resume as if nothing had happened.

    Example: rejoinder train cseqgan --data data/support --out runs/support --preset small
    """
    from training.commands import train as run

    run(recipe, data=data, out=out, preset=preset, settings=settings or [], resume=resume)


@app.command()
def generate(
    model: Annotated[Path, typer.Option(help="Bundle: a directory with config.json, such as runs/support/bundle.")],
    source: Annotated[Path, typer.Option("--in", help="JSONL: one object a line with `turns` or `messages`.")],
    target: Annotated[Path, typer.Option("--out", help="JSONL to write: each line with its `replies`.")],
    n: Annotated[int, typer.Option(help="Replies for each context.")] = 1,
    best_of: Annotated[
        int | None, typer.Option(help="Candidates to draw; the n best by the discriminator are kept.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(help="0 takes the likeliest token, 1 the model's own distribution.")
    ] = 0.7,
    top_p: Annotated[float, typer.Option(help="Nucleus: draw from the likeliest tokens that reach this mass.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Draw among the k likeliest tokens; 0 is off.")] = 0,
    max_tokens: Annotated[int | None, typer.Option(help="Longest reply, in tokens.")] = None,
    seed: Annotated[int, typer.Option(help="Line i is drawn with seed + i.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
) -> None:
    """Write replies to a file of contexts, in its order; the same seed gives the same replies.

    Example: rejoinder generate --model runs/support/bundle --in contexts.jsonl --out replies.jsonl --best-of 8
    """
    from chatbot.bot import Bot, ReplyRequest
    from chatbot.decoding import Decoding
    from chatbot.files import answer_file
    from chatbot.progress import Display

    decoding = Decoding(temperature=temperature, top_k=top_k, top_p=top_p, max_tokens=max_tokens)
    template = ReplyRequest((), decoding, seed=seed, n=n, best_of=best_of)
    with Display() as display:
        count = answer_file(Bot.load(model, device), source, target, template, display.count)
    typer.echo(f"{target}: {count:,} contexts answered")


@app.command()
def serve(
    models: Annotated[
        Path | None,
        typer.Option(
            help="Directory of bundles: each sub-directory is a model and gives it its name. ./models by default."
        ),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 8000 by default.")] = None,
    state: Annotated[Path | None, typer.Option(help="Directory of the database; ./state by default.")] = None,
    device: Annotated[str | None, typer.Option(help="auto (a GPU where there is one), cpu or cuda.")] = None,
) -> None:
    """Serve chat, batch replies and ratings over HTTP, with a page to talk to the models at /.

    Everything served is stored in SQLite under --state, or in the database that REJOINDER_DATABASE_URL names.
    """
    from app.commands import serve as run

    run(models, host, port, state, device)


@app.command()
def migrate(
    state: Annotated[Path | None, typer.Option(help="Directory of the SQLite database.")] = None,
    database_url: Annotated[str | None, typer.Option(help="Database instead, as in REJOINDER_DATABASE_URL.")] = None,
) -> None:
    """Bring the database to the newest schema; `serve` does so too when it starts."""
    from app.commands import migrate as run

    run(state, database_url)


@app.command()
def demo(
    directory: Annotated[Path, typer.Option(help="Where data, runs and models of the demo go.")] = Path("demo"),
    preset: Annotated[str, typer.Option(help="Size of the models: demo (ten minutes on two cores) or toy.")] = "demo",
    limit: Annotated[int | None, typer.Option(min=1, help="Use the first N dialogues only.")] = None,
    serve: Annotated[bool, typer.Option(help="Serve both models when they are ready.")] = True,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 8000 by default.")] = None,
) -> None:
    """Train on the packaged English dialogues by maximum likelihood, then adversarially; compare; serve both.

    A second call uses what the first one finished.
    """
    from chatbot.progress import Display
    from training.demo import run_demo

    with Display() as display:
        models, table = run_demo(directory, preset, limit, display)
    typer.echo(table)
    if serve:
        from app.commands import serve as run

        run(models, host, port, directory / "state", None)


def main(argv: list[str] | None = None) -> None:
    """Run the command line: exit status 0 done, 1 it failed, 2 it was called wrongly."""
    try:
        app(args=argv, standalone_mode=True)
    except RejoinderError as error:
        print(f"rejoinder: {error}", file=sys.stderr)  # noqa: T201 - this is the command line
        sys.exit(error.exit_status)
    except KeyboardInterrupt:
        print("rejoinder: interrupted", file=sys.stderr)  # noqa: T201
        sys.exit(130)


if __name__ == "__main__":
    main()
