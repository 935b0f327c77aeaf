"""Begin or resume a run: data, models and random states are put together here, then each stage is run."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from chatbot.bot import choose_device
from chatbot.bundle import Bundle, bundle_digest, finish_interrupted_save, load_bundle
from chatbot.discriminator import Discriminator
from chatbot.generator.language_model import LanguageModel
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.request import Decoding
from chatbot.tokenizer import Tokenizer
from training import ranks
from training.composition import to_tree
from training.config import Config
from training.corpus.dataset import PreparedDataset
from training.errors import ConfigError, FeedbackError, RunError
from training.evaluation.probe import make_probe_set
from training.feedback.reading import read_feedback
from training.feedback.records import Feedback, described
from training.loop import Progress
from training.losses import negative_log_likelihood, token_log_probabilities
from training.models import (
    generator_config,
    keep_language_model,
    kept_language_model,
    language_model,
    make_discriminator,
    make_generator,
    shape_of,
)
from training.objectives.discrimination import start_from_generator
from training.objectives.policy import without_dropout
from training.precision import Precision, agreement, bf16_speed, choose_precision
from training.run import Run
from training.session import BACKWARD, PRODUCT, REFERENCE, Report, Session
from training.stages import run_one
from training.systems import advice, learns_from_feedback


def begin(config: Config, recipe: str, data: Path, out: Path, report: Report, feedback: Sequence[Path] = ()) -> None:
    """Train `config` on the prepared dataset `data` into the run directory `out`, which must be new or empty.

    `feedback` are exports of what people said of replies, which D then learns, too. Raises RejoinderError for data,
    exports, a start bundle or a directory that cannot be used, before anything is written; CollapseError when training
    fails.
    """
    dataset = PreparedDataset.open(data)
    said_by_people = _read_feedback(config, recipe, feedback)
    device = torch.device(choose_device(config.device))
    precision = choose_precision(config.precision, device)
    config = dataclasses.replace(config, device=str(device), precision=precision)
    start = _load_start(config, dataset)
    if start is not None:  # the bundle brings its own shape and limits
        config = dataclasses.replace(
            config,
            start=str(Path(config.start).resolve()),
            generator=generator_config(config, start),
            data=dataclasses.replace(
                config.data, context_tokens=start.limits.context_tokens, reply_tokens=start.limits.reply_tokens
            ),
        )
    if config.discriminator.from_generator:
        shape = dataclasses.replace(config.generator.trunk(), dropout=config.discriminator.shape.dropout)
        config = dataclasses.replace(config, discriminator=dataclasses.replace(config.discriminator, shape=shape))
    model = language_model(config, dataset, start)
    about = {
        "recipe": recipe,
        "data": str(data.resolve()),
        "data_files": dict(dataset.summary["files"]),
        "start_digest": bundle_digest(Path(config.start)) if start else None,
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "feedback": _named(said_by_people),
    }
    config, about = ranks.first((config, about))
    failed = _begun(out, config, about) if not ranks.number() else None
    if failed := ranks.first(failed):
        raise RunError(failed)
    run = Run(out)
    if model is not None and not ranks.number():
        about["language_model"] = keep_language_model(out, model)
        run.amend(config, about)
    report("start", None, f"{recipe} on {device}, {precision}")
    if said := advice(config, dataset.summary["vocabulary"]["used"]):
        report("start", None, said)
    if said_by_people is not None:
        report("start", None, _feedback_sentence(config, said_by_people))
    _train(run, config, dataset, start, about, None, report, said_by_people, model)


def resume(out: Path, report: Report, expected: Config | None = None, feedback: Sequence[Path] = ()) -> None:
    """Continue the run at `out` where its state was last saved. Raises RunError when it cannot be the same run.

    `expected` and `feedback` are what the command line asks for anew, if it does: another configuration, or other
    exports, are refused. Exports that have moved are found where `feedback` says.
    """
    run, config, about = Run.reopen(out)
    if ranks.number():
        ranks.wait()
    for name in (PRODUCT, REFERENCE, BACKWARD):
        finish_interrupted_save(out / name)
    if not ranks.number():
        ranks.wait()
    if expected is not None:
        _refuse_changes(config, expected)
    data = PreparedDataset.open(Path(about["data"]))
    if dict(data.summary["files"]) != about["data_files"]:
        raise RunError(f"{about['data']} is not the data that this run was begun with (checksums differ)")
    if config.start and bundle_digest(Path(config.start)) != about["start_digest"]:
        raise RunError(f"{config.start} is not the bundle that this run was begun with (digests differ)")
    said_by_people = _feedback_again(config, about, feedback)
    model = kept_language_model(out, about)
    _train(run, config, data, _load_start(config, data), about, run.load_state(), report, said_by_people, model)


def _train(
    run: Run,
    config: Config,
    data: PreparedDataset,
    start: Bundle | None,
    about: dict[str, Any],
    state: dict[str, Any] | None,
    report: Report,
    feedback: Feedback | None,
    model: LanguageModel | None,
) -> None:
    device = torch.device(config.device)
    precision: Precision = "bf16" if config.precision == "bf16" else "fp32"
    torch.manual_seed(config.seed)
    rng = torch.Generator().manual_seed(config.seed)
    tokenizer = Tokenizer.load(data.tokenizer_path)
    generator = make_generator(config, tokenizer.vocabulary_size, model, start)
    discriminator = make_discriminator(config, tokenizer.vocabulary_size, model)
    looked_at = config.evaluation
    probe = make_probe_set(data.split("valid"), config.data, looked_at.pairs, looked_at.probe, device)
    session = Session(
        run,
        config,
        precision,
        about,
        data,
        tokenizer,
        generator.to(device),
        discriminator.to(device),
        probe,
        rng,
        device,
        report,
        feedback,
        Decoding() if start is None else start.decoding,
    )
    ranks.same_weights((session.generator, session.discriminator))
    if ranks.count() > 1:
        torch.manual_seed(config.seed + ranks.number())  # dropout differs between ranks
    if state is None:
        _check_precision(session)
    # A start bundle has been through maximum likelihood: an adversarial recipe begins after it, `mle` continues it.
    stages = [s for s in config.stages if start is None or s != "mle" or len(config.stages) == 1]
    if start is not None and stages[0] != "mle" and not (run.directory / REFERENCE).is_dir():
        for name in (PRODUCT, REFERENCE):  # until there is a better one, the start is what the run has to show
            session.keep(name, 0, "mle", dict(start.info.get("metrics", {})))
    first_judged = next((s for s in stages if s != "mle"), None)
    progress = Progress()
    if state is not None:
        stages = stages[stages.index(state["stage"]) :]
        progress = Progress(**state["progress"])
    try:
        for stage in stages:
            if state is None and stage == first_judged:
                _begin_discriminator(session, start)
            run_one(session, stage, progress, state)
            progress, state = Progress(), None
    finally:
        run.close()


def _check_precision(session: Session) -> None:
    """Compare loss and gradient of a first batch with those in fp32, say so, and keep to fp32 if they are far off."""
    if session.precision == "fp32":
        return
    mle, many = session.config.mle, ranks.count()
    each = max(1, min(mle.batch // mle.parts, 64) // many)  # no more at once than learning has room for
    model, batch = session.generator, session.likelihood_batches(max(2, each * many)).next()

    def loss() -> torch.Tensor:
        taught = token_log_probabilities(model, model.encode(batch.context), batch.reply, batch.taught)
        return negative_log_likelihood(taught, batch.taught)

    without_dropout(model)
    found = ranks.first(agreement(model, loss, session.precision, session.device))
    said = (
        f"{session.precision} against fp32 on a first batch: loss {found.loss:.2%} off, gradient {found.gradient:.2%}"
    )
    if session.device.type == "cpu":
        said += f"; products here are {ranks.first(bf16_speed()):.1f} times as fast"
    if not found.close:
        said += "; too far off, so fp32 it is"
        session.precision = "fp32"
        session.config = dataclasses.replace(session.config, precision="fp32")
        session.run.amend(session.config, session.about)
    session.report("start", None, said)


def _begun(out: Path, config: Config, about: dict[str, Any]) -> str:
    """Make the run directory; return what stands in the way, nothing if nothing does."""
    try:
        Run.create(out, config, about)
    except RunError as error:
        return str(error)
    return ""


def _begin_discriminator(session: Session, start: Bundle | None) -> None:
    """Give D its first weights: those of the start bundle's D where the shapes agree, or G's where the config says so.

    Otherwise D begins with nothing.
    """
    config, own, judge = session.config, session.discriminator, start.discriminator if start is not None else None
    if judge is not None and shape_of(judge) == shape_of(own):
        own.load_state_dict(judge.state_dict())
        session.report("start", None, f"the discriminator goes on with the weights of the one in {config.start}")
        return
    if judge is not None:
        session.report("start", None, f"the discriminator in {config.start} has another shape and is not used")
    if config.discriminator.from_generator:
        assert isinstance(own, Discriminator)
        assert isinstance(session.generator, Seq2SeqGenerator), "the composition of a config has refused others"
        start_from_generator(own, session.generator)
        session.report("start", None, "the discriminator begins with the generator's weights")


def _read_feedback(config: Config, recipe: str, paths: Sequence[Path]) -> Feedback | None:
    """Return the feedback of the exports. Raises ConfigError where nothing could learn from it."""
    if not paths:
        return None
    if not learns_from_feedback(config):
        raise ConfigError(
            f"--feedback teaches the discriminator of cseqgan, seqgan and judged; {recipe} has none that learns so"
        )
    feedback = read_feedback(paths)
    learnt = feedback.learnt(config.feedback.held_out)
    if not (learnt.preferences or learnt.thumbs):
        raise FeedbackError(
            f"{', '.join(map(str, paths))}: nothing to learn from: {feedback.undecidable} preferences between equal "
            f"texts, {len(feedback.preferences)} others and {len(feedback.thumbs)} thumbs, all of contexts that are "
            f"held out (feedback.held_out={config.feedback.held_out:g})"
        )
    return feedback


def _named(feedback: Feedback | None) -> list[dict[str, str]]:
    files = feedback.files if feedback is not None else ()
    return [{"path": str(file.path.resolve()), "sha256": file.sha256} for file in files]


def _feedback_again(config: Config, about: dict[str, Any], paths: Sequence[Path]) -> Feedback | None:
    """Return the feedback that the run was begun with, from where it was or from `paths`."""
    begun = about.get("feedback", [])
    digests = [file["sha256"] for file in begun]
    if paths and not begun:
        raise RunError("the run was begun without feedback; begin another run with it")
    feedback = _read_feedback(config, about["recipe"], paths or [Path(file["path"]) for file in begun])
    found = [] if feedback is None else [file.sha256 for file in feedback.files]
    for number, (path, digest, expected) in enumerate(
        zip([] if feedback is None else [f.path for f in feedback.files], found, digests, strict=False)
    ):
        if digest != expected:
            raise RunError(
                f"{path} is not the feedback that this run was begun with, {begun[number]['path']} (digests differ)"
            )
    if len(found) != len(digests):
        raise RunError(f"{len(found)} exports of feedback, but the run was begun with {len(digests)}")
    return feedback


def _feedback_sentence(config: Config, feedback: Feedback) -> str:
    about = described(feedback, config.feedback)
    text = (
        f"feedback: {about['preferences']:,} preferences to learn from and {about['held_out_preferences']:,} held out, "
        f"{about['thumbs_up']:,} thumbs up and {about['thumbs_down']:,} down"
    )
    if feedback.undecidable:
        text += f"; {feedback.undecidable:,} preferences between equal texts left out"
    return text


def _load_start(config: Config, data: PreparedDataset) -> Bundle | None:
    if not config.start:
        if "mle" not in config.stages:
            raise ConfigError("stages begin without mle: name the bundle to start from with --set start=DIRECTORY")
        return None
    bundle = load_bundle(Path(config.start))
    if (Path(config.start) / "tokenizer.json").read_bytes() != data.tokenizer_path.read_bytes():
        raise ConfigError(
            f"start bundle {config.start} has another tokenizer than {data.path}: prepare the data with its tokenizer"
        )
    return bundle


def _refuse_changes(own: Config, asked: Config) -> None:
    """Raise RunError when `asked` differs from the run's own config in anything that it does not decide itself."""
    mine, yours = _flat(to_tree(own)), _flat(to_tree(asked))
    decided = {"device", "precision"}
    if own.start:
        decided |= {k for k in mine if k.startswith(("generator", "data", "start"))}
    if own.discriminator.from_generator:
        decided |= {k for k in mine if k.startswith("discriminator.shape") and not k.endswith("dropout")}
    changed = [k for k in mine if k not in decided and mine[k] != yours[k]]
    if changed:
        key = changed[0]
        raise RunError(
            f"the run was begun with {key}={mine[key]}, now {yours[key]} is asked for; "
            "resume it as it was (--resume alone is enough), or begin another run"
        )


def _flat(tree: dict[str, Any], path: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{path}{key}.")
        else:
            flat[f"{path}{key}"] = value
    return flat
