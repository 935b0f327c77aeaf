"""The command line's front door: the commands of training and of the service, imported only when called."""

import errno
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from app.keys.command_line import keys
from app.studies.command_line import rater, study
from chatbot.bundle_config import CONFIG, preferred_decoding, read_config
from chatbot.errors import RejoinderError, RequestError
from chatbot.request import Decoding

app = typer.Typer(
    name="rejoinder",
    help="Train your own dialogue reply generator, serve it, and let people judge its replies.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

bench = typer.Typer(no_args_is_help=True, help="Experiments whose truth is known exactly.")
app.add_typer(bench, name="bench")
app.add_typer(study, name="study")
app.add_typer(rater, name="rater")
app.add_typer(keys, name="keys")

_Temperature = Annotated[
    float | None,
    typer.Option(help="0 takes the likeliest token, 1 is the model's own distribution; else the bundle's, or 0.7."),
]
_Nucleus = Annotated[
    float | None,
    typer.Option(help="Nucleus: draw from the likeliest tokens that reach this mass; else the bundle's, or 1."),
]


@app.command()
def prepare(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Files or directories of dialogues, or what is packaged: `chitchat` (real, English), `everyday-en`, "
            "`everyday-zh` (written by a language model)."
        ),
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
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="Bundle or language model (directory, .gguf or hub name) whose tokenizer is taken, to start from it."
        ),
    ] = None,
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
        tokenizer=tokenizer,
        valid=valid,
        test=test,
        seed=seed,
        max_rejected=max_rejected,
        license=license,
        limit=limit,
        overwrite=overwrite,
    )


@app.command()
def contexts(
    data: Annotated[Path, typer.Argument(help="Prepared dataset.")],
    out: Annotated[Path, typer.Option(help="JSONL to write.")] = Path("contexts.jsonl"),
    split: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = 200,
    each: Annotated[int, typer.Option(min=1, help="How many of one dialogue at most.")] = 1,
    seed: Annotated[int, typer.Option(help="Of the choice.")] = 0,
) -> None:
    """Write contexts with their human replies, for `study create` and `generate`.

    Example: rejoinder contexts data/support --out contexts.jsonl --limit 300
    """
    from training.commands import contexts as run

    run(data, out, split=split, limit=limit, seed=seed, each=each)


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
    feedback: Annotated[
        list[Path] | None,
        typer.Option(help="Exported preferences or thumbs (JSONL) that D learns, too; may be repeated."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run at --out.")] = False,
) -> None:
    """Train a generator by a recipe. Settings are composed as defaults, preset, recipe, --set, in that order.

    The best model so far is the bundle OUT/bundle; OUT/metrics.jsonl, OUT/samples.jsonl and OUT/tensorboard tell how it
    goes. A killed run continues with --resume as if nothing had happened.

    Example: rejoinder train cseqgan --data data/support --out runs/support --preset small
    """
    from training.commands import train as run

    run(recipe, data=data, out=out, preset=preset, settings=settings or [], resume=resume, feedback=feedback or [])


@app.command()
def generate(
    model: Annotated[Path, typer.Option(help="Bundle: a directory with config.json, such as runs/support/bundle.")],
    source: Annotated[
        Path,
        typer.Option(
            "--in", help="JSONL, .csv or .parquet: rows with `turns` (a list), `messages` or `text` (a single turn)."
        ),
    ],
    target: Annotated[
        Path, typer.Option("--out", help="JSONL, .csv or .parquet, by its ending: each row with its `replies`.")
    ],
    n: Annotated[int, typer.Option(help="Replies for each context.")] = 1,
    best_of: Annotated[
        int | None, typer.Option(help="Candidates to draw; the n best by the discriminator are kept.")
    ] = None,
    temperature: _Temperature = None,
    top_p: _Nucleus = None,
    top_k: Annotated[int, typer.Option(help="Draw among the k likeliest tokens; 0 is off.")] = 0,
    max_tokens: Annotated[int | None, typer.Option(help="Longest reply, in tokens.")] = None,
    seed: Annotated[int, typer.Option(help="Line i is drawn with seed + i.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto (the fastest that stays close to fp32), fp32, bf16 or int8.")
    ] = "auto",
    engine: Annotated[
        str, typer.Option(help="local, or ray: on the Ray cluster of RAY_ADDRESS, or one begun on this machine.")
    ] = "local",
    actors: Annotated[
        int | None, typer.Option(min=1, help="With ray: copies of the model; one for each GPU, or core, by default.")
    ] = None,
) -> None:
    """Write replies to a file of contexts, in its order; the same seed and precision give the same replies.

    Killed, the same command goes on where it was.

    Example: rejoinder generate --model runs/support/bundle --in contexts.jsonl --out replies.jsonl --best-of 8
    """
    from chatbot.bot import Bot
    from chatbot.files import Answerer, answer_file
    from chatbot.progress import Display
    from chatbot.request import ReplyRequest

    if engine not in ("local", "ray"):
        raise RequestError(f"--engine is {engine!r}, expected local or ray")
    decoding = replace(_drawn(model, temperature, top_p), top_k=top_k, max_tokens=max_tokens)
    template = ReplyRequest((), decoding, seed=seed, n=n, best_of=best_of)

    def load(precision: str) -> Answerer:
        bot = Bot.load(model, device, precision=precision)
        if engine == "local":
            return bot
        from chatbot.cluster import Cluster

        return Cluster(model, bot, actors)

    with Display() as display:
        count = answer_file(model, load, source, target, template, display.count, precision)
    typer.echo(f"{target}: {count:,} contexts answered")


@app.command()
def evaluate(
    bundles: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]BUNDLE...",
            help="Systems to compare; bundles of the same NAME are training seeds of one system.",
        ),
    ],
    data: Annotated[Path, typer.Option(help="Prepared dataset that the bundles were trained on.")],
    out: Annotated[Path, typer.Option(help="Directory for the report: new, or that of the same evaluation.")],
    contexts: Annotated[int, typer.Option(help="Test contexts that every system answers.")] = 1000,
    training_contexts: Annotated[
        int | None,
        typer.Option(help="Validation contexts that fresh evaluators learn from; as many as --contexts by default."),
    ] = None,
    best_of: Annotated[
        int, typer.Option(help="Add each system with the best of so many candidates by its own D; 1 adds none.")
    ] = 8,
    baseline: Annotated[
        str | None, typer.Option(help="Name of the system to compare with; the first one by default.")
    ] = None,
    references: Annotated[
        Path | None, typer.Option(help="JSONL (also .gz) of contexts with several human replies, for BLEU.")
    ] = None,
    feedback: Annotated[
        list[Path] | None,
        typer.Option(help="Exported preferences (JSONL): how often does each D agree? May be repeated."),
    ] = None,
    human: Annotated[
        list[Path] | None,
        typer.Option(help="Results of a study (JSON) to set beside the measures; may be repeated."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the replies, the evaluators and the intervals.")] = 0,
    draws: Annotated[int, typer.Option(help="Random halves of the contexts that the intervals are made of.")] = 1000,
    full: Annotated[
        bool, typer.Option("--full", help="The Transformer evaluator over the whole sweep; several times as long.")
    ] = False,
    device: Annotated[str, typer.Option(help="auto (a GPU where there is one), cpu or cuda.")] = "auto",
) -> None:
    """Compare systems on held-out dialogues: quality against diversity over temperatures, with 95 % intervals.

    Writes report.html (opens offline), report.json and report.csv. Human replies, and human replies to other contexts,
    are measured beside the systems. An interrupted evaluation goes on where it was when it is called again.

    Example: rejoinder evaluate MLE=runs/mle/bundle GAN=runs/gan/bundle --data data/support --out reports/gan
    """
    from training.commands import evaluate as run

    run(
        bundles,
        data=data,
        out=out,
        contexts=contexts,
        training_contexts=training_contexts or contexts,
        best_of=best_of,
        baseline=baseline,
        references=references,
        feedback=tuple(feedback or ()),
        human=tuple(human or ()),
        seed=seed,
        draws=draws,
        full=full,
        device=device,
    )


@app.command()
def compare(
    data: Annotated[Path, typer.Argument(help="Prepared dataset.")],
    out: Annotated[Path, typer.Option(help="Directory of the runs and of the report.")],
    recipes: Annotated[
        str,
        typer.Option(help="Comma-separated: recipes of `train` (mle: the start, continued), placebo, noise, shuffled."),
    ] = "mle,cseqgan,placebo",
    budget: Annotated[float, typer.Option(help="Minutes of training for each recipe and seed.")] = 10.0,
    seeds: Annotated[int, typer.Option(help="Training seeds of each recipe; three for a claim.")] = 1,
    preset: Annotated[str | None, typer.Option(help="Size, as in `train`.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one setting in every run.")
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="Bundle to start from; without it one is trained by maximum likelihood.")
    ] = None,
    feedback: Annotated[
        list[Path] | None,
        typer.Option(
            help="Exported preferences or thumbs for every recipe whose D learns from them; shuffled: placebo."
        ),
    ] = None,
    contexts: Annotated[int, typer.Option(help="Test contexts of the evaluation.")] = 1000,
    best_of: Annotated[int, typer.Option(help="Candidates of the reranked twins; 1: none.")] = 8,
) -> None:
    """Train several recipes from one start with the same budget, and evaluate all in one report.

    What an interrupted comparison has finished is kept: the same command goes on.

    Example: rejoinder compare data/support --out compared --recipes mle,gan,cseqgan,placebo --budget 20 --seeds 3
    """
    from training.commands import compare as run

    run(
        data,
        out=out,
        recipes=tuple(name.strip() for name in recipes.split(",") if name.strip()),
        minutes=budget,
        seeds=seeds,
        preset=preset,
        settings=tuple(settings or ()),
        start=start,
        feedback=tuple(feedback or ()),
        contexts=contexts,
        best_of=best_of,
    )


@bench.command()
def oracle(
    oracle: Annotated[
        Path | None, typer.Option(help="The published oracle's parameters (.npz); without it one is drawn from a seed.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="JSON to write; beside it a picture (.svg) and a directory of parts.")
    ] = Path("oracle.json"),
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to run.")] = 3,
    first_seed: Annotated[int, typer.Option(min=0, help="The first of them: processes can share the seeds.")] = 0,
    systems: Annotated[
        str, typer.Option(help="Comma-separated: mle, mle_tuned, seqgan, placebo, placebo_tuned, judge, best.")
    ] = "",
    quick: Annotated[
        bool, typer.Option(help="Minutes instead of hours: fewer sequences and rounds, no claim.")
    ] = False,
) -> None:
    """Run SeqGAN's synthetic experiment: NLL_oracle and NLL_gen of every system, read together.

    An interrupted run goes on where it was. The full experiment takes hours of processor time for each seed, nearly all
    of it in SeqGAN's convolutional discriminator.

    Example: rejoinder bench oracle --oracle seqgan_oracle.npz --out results/oracle.json
    """
    from training.commands import bench_oracle as run

    run(oracle, out, seeds, first_seed, [name.strip() for name in systems.split(",") if name.strip()], quick)


@bench.command()
def counting(
    out: Annotated[Path, typer.Option(help="JSON to write.")] = Path("counting.json"),
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to run; three for a claim.")] = 3,
) -> None:
    """Run StepGAN's Counting task: exact precision and coverage, where every question has many right answers.

    Example: rejoinder bench counting --out results/counting.json
    """
    from training.commands import bench_counting as run

    run(out, seeds)


@bench.command()
def feedback(
    out: Annotated[Path, typer.Option(help="JSON to write; beside it a directory of data, exports and runs.")] = Path(
        "feedback.json"
    ),
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds to run; three for a claim.")] = 3,
    taste: Annotated[str, typer.Option(help="What the simulated raters like: question, warm or long.")] = "question",
    arms: Annotated[
        str, typer.Option(help="Comma-separated: preferences, placebo, thumbs, thumbs placebo, none. All by default.")
    ] = "",
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one setting of every arm.")
    ] = None,
    quick: Annotated[bool, typer.Option(help="A minute instead of half an hour: tiny models, no claim.")] = False,
) -> None:
    """Does feedback move the generator? Simulated raters of a known taste judge a small model on real dialogues.

    It is then trained with their judgements, with the same ones shuffled, and without any. An interrupted run goes on
    where it was.

    Example: rejoinder bench feedback --taste warm --out results/feedback.json
    """
    from training.commands import bench_feedback as run

    chosen = [name.strip() for name in arms.split(",") if name.strip()]
    run(out, seeds, taste, chosen, settings or [], quick)


@app.command()
def chat(
    bundle: Annotated[Path, typer.Argument(help="Bundle: a directory with config.json.")],
    best_of: Annotated[
        int | None, typer.Option(help="Candidates to draw, of which the discriminator picks one; none is streamed.")
    ] = None,
    temperature: _Temperature = None,
    top_p: _Nucleus = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest reply, in tokens.")] = None,
    seed: Annotated[int | None, typer.Option(help="Reply i is drawn with seed + i; drawn by default.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    precision: Annotated[
        str, typer.Option(help="auto (the fastest that stays close to fp32), fp32, bf16 or int8.")
    ] = "auto",
) -> None:
    """Talk to a bundle here in the terminal. /reset begins anew, Ctrl-D ends.

    Example: rejoinder chat runs/support/bundle
    """
    import secrets

    from chatbot.bot import Bot
    from chatbot.request import ReplyRequest
    from chatbot.terminal import converse

    decoding = replace(_drawn(bundle, temperature, top_p), max_tokens=max_tokens)
    chosen = secrets.randbelow(2**53) if seed is None else seed
    bot = Bot.load(bundle, device, precision=precision)
    at_screen = sys.stdin.isatty()

    def read() -> Iterator[str]:
        while True:
            try:
                line = input("> " if at_screen else "")
            except EOFError:
                return
            yield line

    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    converse(bot, read(), write, ReplyRequest((), decoding, seed=chosen, best_of=best_of))


@app.command()
def prefer(
    bundle: Annotated[Path, typer.Argument(help="Bundle: a directory with config.json.")],
    temperature: _Temperature = None,
    top_p: _Nucleus = None,
) -> None:
    """Say how a bundle's replies are drawn where nobody says otherwise: in chat, in generate and by the service.

    What is not given stays as it is; without options this shows how it is. The service learns of it at its next reload.

    Example: rejoinder prefer runs/support/bundle --temperature 0.7 --top-p 0.8
    """
    from chatbot.bundle_config import prefer_decoding

    decoding = _drawn(bundle, temperature, top_p)
    if temperature is not None or top_p is not None:
        prefer_decoding(bundle, decoding)
    typer.echo(f"{bundle}: temperature {decoding.temperature:g}, top_p {decoding.top_p:g}")


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
def retain(
    days: Annotated[float, typer.Option(help="How long conversations and unjudged replies are kept.")],
    state: Annotated[Path | None, typer.Option(help="Directory of the SQLite database.")] = None,
    database_url: Annotated[str | None, typer.Option(help="Database instead, as in REJOINDER_DATABASE_URL.")] = None,
) -> None:
    """Delete conversations and unjudged replies that are older; judgements and what they are about stay."""
    from app.retention.commands import retain as run

    typer.echo(run(days, state=state, database_url=database_url))


@app.command()
def doctor(
    models: Annotated[Path | None, typer.Option(help="Directory of bundles.")] = None,
    host: Annotated[str | None, typer.Option(help="Address that the service listens on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port that it listens on.")] = None,
    state: Annotated[Path | None, typer.Option(help="Directory of the database.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu or cuda.")] = None,
    database_url: Annotated[str | None, typer.Option(help="Database instead, as in REJOINDER_DATABASE_URL.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All of it, as JSON.")] = False,
) -> None:
    """Look at all that the service needs, change nothing, say what to do; exit status 1 when something is missing."""
    from app.doctor.commands import doctor as run

    said, well = run(
        as_json=as_json, models=models, host=host, port=port, state=state, device=device, database_url=database_url
    )
    typer.echo(said)
    if not well:
        raise typer.Exit(1)


@app.command()
def backup(
    out: Annotated[Path, typer.Option(help="File to write, such as backup.tar.")],
    state: Annotated[Path | None, typer.Option(help="The service's directory.")] = None,
    database_url: Annotated[str | None, typer.Option(help="Database instead, as in REJOINDER_DATABASE_URL.")] = None,
) -> None:
    """Write all that the service keeps to one file, while it runs: the database as of one moment, and the files."""
    from app.backup.commands import backup as run

    typer.echo(run(out, state=state, database_url=database_url))


@app.command()
def restore(
    archive: Annotated[Path, typer.Argument(help="What `backup` wrote.")],
    state: Annotated[Path, typer.Option(help="Directory to make: new, or empty.")],
) -> None:
    """Verify a backup and put it into a directory, for `serve --state`; all of it or nothing."""
    from app.backup.commands import restore as run

    typer.echo(run(archive, state))


@app.command()
def leaderboard(
    json: Annotated[bool, typer.Option("--json", help="All of it, as JSON.")] = False,
    again: Annotated[
        int | None, typer.Option(min=1, help="Make the stored analysis of this number again, and compare.")
    ] = None,
    state: Annotated[Path | None, typer.Option(help="Directory of the SQLite database.")] = None,
    database_url: Annotated[str | None, typer.Option(help="Database instead, as in REJOINDER_DATABASE_URL.")] = None,
) -> None:
    """Compare all systems over all studies and thumbs, with intervals."""
    from app.results.commands import results as run

    typer.echo(run(None, json=json, again=again, state=state, database_url=database_url))


@app.command()
def export(
    what: Annotated[
        str, typer.Argument(help="judgements, battles, preference or thumbs; with --to, a bundle's directory.")
    ],
    out: Annotated[Path, typer.Option(help="File to write: .jsonl, .csv or .parquet; with --to, a new directory.")],
    to: Annotated[
        str | None,
        typer.Option(
            help="Write a bundle as hf (transformers), ct2 (CTranslate2), onnx, compact (a quarter as large), or "
            "adapters (what was learnt on a pretrained model, alone)."
        ),
    ] = None,
    study: Annotated[str | None, typer.Option(help="One study alone.")] = None,
    format: Annotated[  # noqa: A002 - the option's name is what users type
        str | None, typer.Option(help="jsonl, csv or parquet; by the file's ending without it.")
    ] = None,
    state: Annotated[Path | None, typer.Option(help="Directory of the SQLite database.")] = None,
    database_url: Annotated[str | None, typer.Option(help="Database instead, as in REJOINDER_DATABASE_URL.")] = None,
) -> None:
    """Write judgements to a file, or a bundle for another runtime.

    Judgements come each with its prompt, replies and systems; raters under names made for this file. A bundle's
    directory gets a README.md that shows how to use it there.

    Example: rejoinder export preference --out preferences.jsonl

    Example: rejoinder export runs/support/bundle --to ct2 --out support-ct2
    """
    if to is not None:
        if any(option is not None for option in (study, format, state, database_url)):
            raise RequestError(
                "--to writes a bundle, and --study, --format, --state, --database-url say nothing of one"
            )
        from chatbot.export.exporting import export_bundle

        export_bundle(Path(what), to, out)
        typer.echo(f"{out}: written; see its README.md")
        return
    from app.exports.commands import export as run

    typer.echo(run(what, out, format, study, state=state, database_url=database_url))


@app.command()
def complete(
    adapters: Annotated[Path, typer.Argument(help="What `export --to adapters` wrote.")],
    model: Annotated[str, typer.Argument(help="The language model: a directory, a .gguf file or a name on the hub.")],
    out: Annotated[Path, typer.Option(help="New directory: the whole bundle.")],
) -> None:
    """Put adapters together with the language model that they learnt on: a bundle that can be served.

    Example: rejoinder complete bundles/adapters/en-smollm2 SmolLM2-135M-Instruct.Q4_1.gguf --out models/en-smollm2
    """
    from chatbot.export.adapters import complete_bundle

    complete_bundle(adapters, model, out)
    typer.echo(f"{out}: written; rejoinder chat {out}")


@app.command()
def demo(
    directory: Annotated[Path, typer.Option(help="Where data, runs and models of the demo go.")] = Path("demo"),
    preset: Annotated[
        str | None,
        typer.Option(help="Train from nothing in this size: demo (ten minutes on two cores) or toy (seconds)."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use the first N dialogues only.")] = None,
    serve: Annotated[bool, typer.Option(help="Serve the models, the first one while the second is trained.")] = True,
    host: Annotated[str | None, typer.Option(help="Address to listen on; 127.0.0.1 by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 8000 by default.")] = None,
) -> None:
    """Train adversarially on the packaged English dialogues, beginning with the released bundle; compare; serve both.

    Without released bundles, or with --preset, maximum likelihood is trained first. A second call uses what the first
    one finished.
    """
    from app.beside import ServiceBeside
    from chatbot.progress import Display
    from chatbot.released import released_bundles
    from training.demo import run_demo

    released = released_bundles() if preset is None else None
    services: list[ServiceBeside] = []

    def end(*_: object) -> None:
        sys.exit(143)

    def ready(models: Path) -> None:
        if serve and not services:
            signal.signal(signal.SIGTERM, end)  # else the service would outlive us
            services.append(ServiceBeside(models, host, port, directory / "state"))

    try:
        with Display() as display:
            start = None if released is None else released / "en-mle"
            _, table = run_demo(directory, preset, limit, display, start=start, ready=ready)
        typer.echo(table)
        for service in services:
            service.reload()
            service.wait()
    except BaseException:
        for service in services:
            service.stop()
        raise


def _drawn(bundle: Path, temperature: float | None, top_p: float | None) -> Decoding:
    """Return how the bundle's replies are drawn, with what is asked for instead."""
    preferred = preferred_decoding(read_config(bundle), bundle / CONFIG)
    return replace(
        preferred,
        temperature=preferred.temperature if temperature is None else temperature,
        top_p=preferred.top_p if top_p is None else top_p,
    )


def main(argv: list[str] | None = None) -> None:
    """Run the command line: exit status 0 done, 1 it failed, 2 it was called wrongly."""
    try:
        app(args=argv, standalone_mode=True)
    except RejoinderError as error:
        print(f"rejoinder: {error}", file=sys.stderr)  # noqa: T201 - this is the command line
        sys.exit(error.exit_status)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = f"{error.filename}: " if error.filename else ""
        print(f"rejoinder: {where}cannot be written ({error.strerror})", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except KeyboardInterrupt:
        print("rejoinder: interrupted", file=sys.stderr)  # noqa: T201
        sys.exit(130)


if __name__ == "__main__":
    main()
