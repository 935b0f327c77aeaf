"""Does feedback move the generator? A simulated group with a known taste judges what a start model says; then training
from that start with their feedback, with the same feedback shuffled (the placebo), and without any.

Knows how the arms differ and what is measured of them; runs are `train`'s business, statistics `intervals`'s. What an
interrupted experiment has finished is kept.
"""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from chatbot.bot import Bot, ReplyRequest
from chatbot.bundle import load_bundle
from chatbot.decoding import Decoding
from chatbot.tokenizer import Tokenizer
from training.batches import make_batch
from training.composition import compose
from training.corpus.dataset import PreparedDataset
from training.corpus.options import PrepareOptions
from training.corpus.preparation import prepare
from training.errors import ConfigError, RunError
from training.evaluation.heldout import HeldOut, held_out
from training.evaluation.intervals import Interval, bootstrap_difference
from training.evaluation.metrics import distinct_n
from training.evaluation.probe import held_out_nll
from training.feedback.agreement import agreement
from training.feedback.raters import TASTES, Judged, RaterOptions, prefer, thumb, write_export
from training.feedback.reading import read_feedback
from training.loop import CollapseError
from training.run import CONFIG, write_atomically
from training.session import PRODUCT, Report
from training.train import begin, resume

FORGOTTEN: Final = ("feedback.shuffled=true",)
ARMS: Final = ("preferences", "placebo", "thumbs", "thumbs placebo", "none")
"""Feedback of either kind, the same shuffled, and none."""
_BATCH: Final = 250
_OPTIONS: Final = "options.json"
_WORDS: Final = 2000
"""Words that distinct-2 is taken over, for every arm the same."""


@dataclass(frozen=True)
class FeedbackOptions:
    """Hold all that decides the numbers, seeds apart. Raises ConfigError for an unknown taste or arm."""

    taste: str = "question"
    arms: tuple[str, ...] = ARMS
    source: str = "chitchat"
    """The packaged dialogues, or a file of others."""
    vocabulary: int = 2000
    limit: int | None = None
    preset: str = "demo"
    shown: int = 2000
    """Contexts of the training part to which the raters see two replies each."""
    tested: int = 1000
    """Contexts of the test part that every arm answers, at temperature 1."""
    raters: RaterOptions = field(default_factory=RaterOptions)
    start: tuple[str, ...] = (
        "generator.width=128",
        "generator.feedforward=512",
        "data.context_tokens=32",
        "data.reply_tokens=24",
        "mle.minutes=0.0",
        "mle.steps=3000",
        "precision=fp32",
        "device=cpu",
    )
    """Settings of the start, over the preset."""
    settings: tuple[str, ...] = (
        "discriminator.shape.width=64",
        "discriminator.shape.feedforward=128",
        "discriminator.batch=32",
        "discriminator.learning_rate=2e-3",
        "discriminator.minutes=0.0",
        "discriminator.steps=75",
        "discriminator.held_out=200",
        "discriminator.evaluate_every=75",
        "discriminator.extra_below=0.0",
        "adversarial.contexts=16",
        "adversarial.samples=8",
        "adversarial.learning_rate=5e-4",
        "adversarial.minutes=0.0",
        "adversarial.steps=50",
        "adversarial.evaluate_every=50",
        "evaluation.pairs=400",
        "evaluation.probe=128",
        "precision=fp32",
        "device=cpu",
        "feedback.preference=4.0",
    )
    """Settings of the arms, over the preset."""

    def __post_init__(self) -> None:
        if self.taste not in TASTES:
            raise ConfigError(f"unknown taste {self.taste!r}, expected one of {', '.join(TASTES)}")
        for arm in self.arms:
            if arm not in ARMS:
                raise ConfigError(f"unknown arm {arm!r}, expected some of {', '.join(ARMS)}")


QUICK: Final = FeedbackOptions(
    limit=300,
    vocabulary=400,
    preset="toy",
    shown=100,
    tested=50,
    start=("precision=fp32", "device=cpu"),
    settings=("precision=fp32", "device=cpu"),
)
"""For seeing the whole of it work; no claim."""


def feedback_experiment(options: FeedbackOptions, seeds: Sequence[int], out: Path, report: Report) -> dict[str, Any]:
    """Run every arm and seed, write the result to `out` (JSON) and return it.

    All arms of a seed begin with the same model and random numbers, and see the same judgements. Data, runs and exports
    stand in a directory beside `out`. Raises RunError when that directory belongs to another experiment.
    """
    parts = out.with_suffix(".parts")
    _claim(parts, options)
    data = parts / "data"
    if not data.is_dir():
        report("feedback", None, f"preparing {options.source}")
        chosen = PrepareOptions(out=data, vocabulary=options.vocabulary, limit=options.limit)
        prepare([options.source], chosen, lambda _stage, _done, _total: None)
    start = _finished(
        parts / "start", lambda d: begin(compose("mle", options.preset, options.start), "mle", data, d, report), report
    )
    dataset = PreparedDataset.open(data)
    likes = TASTES[options.taste]
    test = _contexts(dataset, "test", options.tested, start)
    replies = _answers(start, test)
    before = _liked(replies, likes)
    rows = [{"arm": "start", "seed": None, **_measured(start, replies, dataset, test, likes, None)}]
    taken: dict[str, list[list[float]]] = {arm: [] for arm in options.arms}
    for seed in seeds:
        exports = _judge(parts / f"exports-{seed}", options, dataset, start, seed, report)
        for arm in options.arms:
            report("feedback", None, f"{arm}, seed {seed}")
            bundle = _arm(parts / "runs" / f"{arm.replace(' ', '-')}-{seed}", arm, options, data, start, exports, seed,
                          report)  # fmt: skip
            replies = _answers(bundle, test)
            taken[arm].append(_liked(replies, likes))
            rows.append({"arm": arm, "seed": seed, **_measured(bundle, replies, dataset, test, likes, exports)})
            _write(out, options, seeds, rows, _differences(taken, before))
    return _write(out, options, seeds, rows, _differences(taken, before))


def _judge(
    directory: Path, options: FeedbackOptions, data: PreparedDataset, start: Path, seed: int, report: Report
) -> dict[str, Path]:
    """Return the exports of both kinds of judgement of the start's replies, by kind; made once."""
    found = {kind: directory / f"{kind}.jsonl" for kind in ("preferences", "thumbs")}
    if all(path.is_file() for path in found.values()):
        return found
    report("feedback", None, f"raters judge, seed {seed}")
    directory.mkdir(parents=True, exist_ok=True)
    train = _contexts(data, "train", options.shown, start)
    asked = [turns for turns in train.contexts if turns]
    drawn = _replies(start, asked, seed + 1, 2)
    shown = [Judged(turns, (pair[0], pair[1])) for turns, pair in zip(asked, drawn, strict=True)]
    likes = TASTES[options.taste]
    for kind, judge in (("preferences", prefer), ("thumbs", thumb)):
        write_export(judge(shown, likes, options.raters, seed), found[kind])
    return found


def _arm(
    directory: Path,
    arm: str,
    options: FeedbackOptions,
    data: Path,
    start: Path,
    exports: dict[str, Path],
    seed: int,
    report: Report,
) -> Path:
    kind = None if arm == "none" else "thumbs" if arm.startswith("thumbs") else "preferences"
    settings = [*options.settings, f"start={start}", f"seed={seed}", *(FORGOTTEN if "placebo" in arm else ())]
    feedback = [] if kind is None else [exports[kind]]
    config = compose("cseqgan", options.preset, settings)
    return _finished(directory, lambda d: begin(config, "cseqgan", data, d, report, feedback), report)


def _finished(directory: Path, make: Callable[[Path], None], report: Report) -> Path:
    """Return the bundle of the run at `directory`, begun by `make` or resumed; of a collapsed one, its last healthy."""
    try:
        if (directory / CONFIG).is_file():
            resume(directory, report)
        else:
            make(directory)
    except CollapseError as error:
        if not (directory / PRODUCT).is_dir():
            raise
        report("feedback", None, str(error))
    return directory / PRODUCT


def _contexts(data: PreparedDataset, split: str, most: int, bundle: Path) -> HeldOut:
    limits = load_bundle(bundle).limits
    return held_out(
        split, data.split(split), Tokenizer.load(data.tokenizer_path), most,
        context_tokens=limits.context_tokens, reply_tokens=limits.reply_tokens,
    )  # fmt: skip


def _replies(bundle: Path, contexts: Sequence[Sequence[str]], stream: int, n: int) -> list[list[str]]:
    """Return `n` replies to each context at temperature 1; the same random numbers for every bundle."""
    bot = Bot.load(bundle, "cpu")
    found = []
    for first in range(0, len(contexts), _BATCH):
        part = contexts[first : first + _BATCH]
        requests = [
            ReplyRequest(turns, Decoding(temperature=1.0), seed=stream * 10**6 + first + i, n=n)
            for i, turns in enumerate(part)
        ]
        found += [[reply.text for reply in answer.replies] for answer in bot.answer(requests)]
    return found


def _answers(bundle: Path, test: HeldOut) -> list[str]:
    return [only for (only,) in _replies(bundle, test.contexts, 0, 1)]


def _liked(replies: Sequence[str], likes: Callable[[str], bool]) -> list[float]:
    return [float(likes(reply)) for reply in replies]


def _measured(
    bundle: Path,
    replies: Sequence[str],
    data: PreparedDataset,
    test: HeldOut,
    likes: Callable[[str], bool],
    exports: dict[str, Path] | None,
) -> dict[str, Any]:
    """Return what is told of a bundle: how much of the taste is in its replies, and what that cost."""
    loaded = load_bundle(bundle)
    config = dataclasses.replace(compose("mle", None, []).data, **dataclasses.asdict(loaded.limits))
    batches = [
        make_batch(data.split("test"), test.chosen[i : i + _BATCH], config, next(loaded.generator.parameters()).device)
        for i in range(0, len(test), _BATCH)
    ]
    words = [reply.split() for reply in replies]
    return {
        "liked": float(np.mean(_liked(replies, likes))),
        "agreement": None if exports is None else loaded.info["metrics"].get("d_feedback_agreement"),
        "most_agreement": _most_agreement(loaded.info.get("feedback"), likes, exports),
        "perplexity": float(np.exp(held_out_nll(loaded.generator, batches))),
        "distinct_2": distinct_n(words, 2, min(_WORDS, sum(map(len, words)))),
        "words": float(np.mean([len(each) for each in words])),
        "step": loaded.info["step"],
        "feedback": loaded.info.get("feedback"),
        "samples": list(replies[:5]),
    }


def _most_agreement(
    about: dict[str, Any] | None, likes: Callable[[str], bool], exports: dict[str, Path] | None
) -> float | None:
    """Return how often the taste itself agrees with the held-out preferences: raters err, and guess between equals."""
    if about is None or exports is None or not about["held_out_preferences"]:
        return None
    kept = read_feedback([exports["preferences"]]).kept_out(about["held_out_share"])
    margin = torch.tensor([float(likes(p.chosen)) - float(likes(p.rejected)) for p in kept])
    seen: dict[tuple[str, ...], int] = {}
    owner = torch.tensor([seen.setdefault(p.turns, len(seen)) for p in kept])
    return float(agreement(margin, owner).mean())


def _differences(taken: dict[str, list[list[float]]], before: list[float]) -> list[dict[str, Any]]:
    """Return how much more of the taste an arm has than another, with the interval over contexts and seeds."""
    pairs = [(arm, other) for arm, other in (
        ("preferences", "placebo"), ("preferences", "none"), ("thumbs", "thumbs placebo"), ("thumbs", "none"),
        ("placebo", "none"), ("thumbs placebo", "none"),
    ) if taken.get(arm) and len(taken.get(other, [])) == len(taken[arm])]  # fmt: skip
    rows = [_difference(arm, other, taken[arm], taken[other]) for arm, other in pairs]
    return rows + [_difference(arm, "start", taken[arm], [before]) for arm in taken if taken[arm]]


def _difference(arm: str, other: str, ours: list[list[float]], theirs: list[list[float]]) -> dict[str, Any]:
    found: Interval = bootstrap_difference(ours, theirs)
    means = [float(np.mean(one)) for one in ours]
    others = [float(np.mean(one)) for one in theirs] * (len(means) if len(theirs) == 1 else 1)
    each = [a - b for a, b in zip(means, others, strict=True)]
    return {"arm": arm, "baseline": other, "mean": found.mean, "low": found.low, "high": found.high, "each": each}


def _write(
    out: Path, options: FeedbackOptions, seeds: Sequence[int], rows: list[dict[str, Any]], found: list[dict[str, Any]]
) -> dict[str, Any]:
    result = {"options": dataclasses.asdict(options), "seeds": list(seeds), "differences": found, "rows": rows}
    write_atomically(out, (json.dumps(result, ensure_ascii=False, indent=1) + "\n").encode("utf-8"))
    return result


def _claim(parts: Path, options: FeedbackOptions) -> None:
    """Write down whose parts these are. Raises RunError when they are another experiment's."""
    text = json.dumps(dataclasses.asdict(dataclasses.replace(options, arms=())), indent=1)
    path = parts / _OPTIONS
    try:
        if path.is_file():
            if path.read_text(encoding="utf-8") != text:
                raise RunError(f"{parts} holds another experiment; write to another file, or remove it")
            return
        parts.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RunError(f"{parts}: cannot be used ({error.strerror})") from None
