"""The evaluation protocol: which systems, settings and measures, in which order, and what may be compared.

Everything that takes long is kept in OUT/cache as soon as it is known: an interrupted evaluation, called again with the
same parameters, goes on where it stopped and gives the same report.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from chatbot.bot import choose_device
from chatbot.bundle import Limits, bundle_digest, read_config
from chatbot.tokenizer import Tokenizer
from training.corpus.dataset import PreparedDataset
from training.errors import ConfigError, RunError
from training.evaluation.assembly import Estimator, Measured, compare_with, curve_rows, over_seeds, rows_of
from training.evaluation.cache import Cache, fingerprint
from training.evaluation.drawing import Cell, Drawer, Drawn, Progress, Replies
from training.evaluation.heldout import HeldOut, held_out
from training.evaluation.human import HumanResults, beside, read_all
from training.evaluation.language_score import tokens_of
from training.evaluation.measures import MEASURES, described
from training.evaluation.options import PLAIN, EvaluationOptions
from training.evaluation.page import render
from training.evaluation.preferences import agreements, preferences_to_measure
from training.evaluation.references import Referenced, max_bleu, read_references
from training.evaluation.report import (
    CSV_NAME,
    JSON_NAME,
    PAGE_NAME,
    ControlRow,
    EvaluatorRow,
    Report,
    Sample,
    to_csv,
    to_json,
)
from training.evaluation.resampling import common_tokens, random_halves
from training.evaluation.systems import HUMAN, SHUFFLED, System, SystemSpec, common_limits, gather
from training.evaluation.training_runs import training_runs
from training.evaluation.trust import control_rows, evaluator_rows
from training.evaluation.yardsticks import VERSION, Yardsticks
from training.feedback.records import Preference
from training.precision import Precision, choose_precision
from training.run import write_atomically

PARAMETERS: Final = "parameters.json"
CACHE: Final = "cache"


def evaluate(
    specs: Sequence[SystemSpec],
    data: Path,
    out: Path,
    options: EvaluationOptions | None = None,
    progress: Progress | None = None,
) -> Report:
    """Evaluate systems on the test part of the prepared dataset `data` and write the report to the directory `out`.

    Several specs of one name are training seeds of one system. Raises ConfigError or RunError, before anything long
    is begun, when names, tokenizers or limits do not fit, and when `out` holds another evaluation; BundleError for a
    bundle that cannot be read, FeedbackError for exports and results of people's judgements that cannot.
    """
    evaluation = _Evaluation.prepare(specs, data, out, options or EvaluationOptions(), progress or _silent)
    report = evaluation.run()
    for name, text in ((JSON_NAME, to_json(report)), (CSV_NAME, to_csv(report)), (PAGE_NAME, render(report))):
        write_atomically(out / name, text.encode("utf-8", "replace"))
    return report


@dataclass(frozen=True)
class _Evaluation:
    options: EvaluationOptions
    data: PreparedDataset
    systems: list[System]
    baseline: str
    limits: Limits
    tokenizer: Tokenizer
    valid: HeldOut
    test: HeldOut
    referenced: list[Referenced]
    precision: Precision
    device: torch.device
    cache: Cache
    parameters: dict[str, Any]
    progress: Progress
    preferences: tuple[Preference, ...]
    human: list[HumanResults]

    @classmethod
    def prepare(
        cls, specs: Sequence[SystemSpec], path: Path, out: Path, options: EvaluationOptions, progress: Progress
    ) -> "_Evaluation":
        """Check everything that can be checked and claim the directory."""
        if not specs:
            raise ConfigError("no bundle to evaluate")
        data = PreparedDataset.open(path)
        limits = common_limits(specs, data)
        systems = gather(specs, options.best_of)
        baseline = options.baseline or systems[0].name
        if baseline not in {system.name for system in systems}:
            known = ", ".join(repr(system.name) for system in systems)
            raise ConfigError(f"no system is called {baseline!r} to be the baseline: there are {known}")
        referenced = read_references(options.references) if options.references else []
        # What people said decides no number that is kept in the cache: it may be added to an evaluation later.
        preferences = preferences_to_measure(options.feedback, systems) if options.feedback else ()
        human = read_all(options.human)
        tokenizer = Tokenizer.load(data.tokenizer_path)
        cut = {"context_tokens": limits.context_tokens, "reply_tokens": limits.reply_tokens}
        test = held_out("test", data.split("test"), tokenizer, options.contexts, **cut)
        valid = held_out("valid", data.split("valid"), tokenizer, options.training_contexts, **cut)
        device = torch.device(choose_device(options.device))
        wanted = {
            **_asked(options),
            "data": path.name,
            "data_fingerprint": fingerprint([json.dumps(dict(data.summary), sort_keys=True, default=str)]),
            "baseline": baseline,
            "systems": {
                s.name: {"best_of": s.best_of, "bundles": [bundle_digest(b) for b in s.bundles]} for s in systems
            },
            "references": fingerprint([[r.context, r.replies] for r in referenced]) if referenced else None,
            "context_tokens": limits.context_tokens,
            "reply_tokens": limits.reply_tokens,
            "test_contexts": len(test),
            "valid_contexts": len(valid),
            "settings": len(options.settings(1)),
            "measures_version": VERSION,
            "device": device.type,
        }
        parameters = _claim(out, wanted, device)
        return cls(
            options, data, systems, baseline, limits, tokenizer, valid, test, referenced,
            parameters["precision"], device, Cache(out / CACHE), parameters, progress, preferences, human,
        )  # fmt: skip

    def run(self) -> Report:
        """Draw, measure, compare."""
        drawer = Drawer(self.options, self.cache, self.precision, self.device, self.tokenizer, self.progress)
        drawn = drawer.draw(self.systems, self.valid, self.test, [r.context for r in self.referenced])
        self._add_human(drawn)
        yardsticks = Yardsticks(
            self.data, self.tokenizer, self.valid, self.test, self.cache, seed=self.options.seed,
            context_tokens=self.limits.context_tokens, reply_tokens=self.limits.reply_tokens,
        )  # fmt: skip
        cells = self._measure(drawn, yardsticks)
        evaluators = evaluator_rows(drawn.replies, yardsticks, self.options, self.progress)
        controls = control_rows(drawn.replies, yardsticks, self.baseline, self.progress)
        return self._report(drawn, cells, evaluators, controls, yardsticks.candidates)

    def _add_human(self, drawn: Drawn) -> None:
        """Add the human replies, and the same ones each to another context."""
        valid, test = list(self.valid.replies), list(self.test.replies)
        drawn.replies[Cell(HUMAN, 0, PLAIN)] = Replies(valid, test)
        drawn.replies[Cell(SHUFFLED, 0, PLAIN)] = Replies(_moved(valid), _moved(test))

    def _measure(self, drawn: Drawn, yardsticks: Yardsticks) -> dict[Cell, Measured]:
        cells: dict[Cell, Measured] = {}
        agreed = agreements(self.systems, self.preferences, self.precision, self.device)
        learnt = min(
            tokens_of(yardsticks.ids(replies.valid)) for cell, replies in drawn.replies.items() if cell.setting == PLAIN
        )
        for index, (cell, replies) in enumerate(drawn.replies.items()):
            self.progress("measuring", index, len(drawn.replies))
            plain = cell.setting == PLAIN
            human = cell.system == HUMAN
            slow = self.options.judged_slowly(cell.setting)
            answers = drawn.referenced.get((cell.system, cell.seed)) if plain else None
            cells[cell] = Measured(
                ids=yardsticks.ids(replies.test),
                swept=yardsticks.sweep(replies, human=human),
                tabled=yardsticks.table(replies, learnt) if plain else None,
                likelihood=drawn.likelihoods.get((cell.system, cell.seed)) if plain else None,
                slow=yardsticks.judge_slowly(replies, human=human) if slow else None,
                max_bleu=max_bleu(answers, [r.replies for r in self.referenced]) if answers else None,
                agreement=agreed.get((cell.system, cell.seed)) if plain else None,
            )
        self.progress("measuring", len(drawn.replies), len(drawn.replies))
        return cells

    def _report(
        self,
        drawn: Drawn,
        cells: Mapping[Cell, Measured],
        evaluators: Sequence[EvaluatorRow],
        controls: Sequence[ControlRow],
        candidates: int,
    ) -> Report:
        tokens = common_tokens([sum(map(len, measured.ids)) for measured in cells.values()])
        seed = self.options.seed
        estimator = Estimator(random_halves(len(self.test), self.options.draws, seed), tokens)
        rows = []
        for index, cell in enumerate(cells):
            self.progress("intervals", index, len(cells))
            rows.extend(rows_of(estimator, {cell: cells[cell]}))
        self.progress("intervals", len(cells), len(cells))
        names = [system.name for system in self.systems]
        curve = self.options.by_temperature
        summaries = [over_seeds(estimator, cells, name, PLAIN, seed) for name in (*names, HUMAN, SHUFFLED)]
        described_systems = [self._described(system) for system in self.systems]
        measured = [each.name for each in MEASURES]
        return Report(
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            parameters={
                **self.parameters,
                "distinct_tokens": tokens,
                "relevance_candidates": candidates,
                "feedback_preferences": len(self.preferences),
            },
            measures=described(),
            systems=described_systems,
            rows=rows,
            summaries=[row for row in summaries if row is not None],
            curves=[curve_rows(estimator, cells, name, curve, seed) for name in names],
            comparisons=[
                row
                for name in names
                if name != self.baseline
                for row in compare_with(estimator, cells, name, self.baseline, curve, seed)
            ],
            evaluators=evaluators,
            controls=controls,
            samples=self._samples(drawn, names),
            training=training_runs(self.systems),
            human=[beside(r, described_systems, rows, measured, self.limits.reply_tokens) for r in self.human],
        )

    def _described(self, system: System) -> dict[str, Any]:
        bundles = [
            {"path": str(path), "digest": bundle_digest(path), "info": read_config(path).get("info", {})}
            for path in system.bundles
        ]
        return {"name": system.name, "best_of": system.best_of, "bundles": bundles}

    def _samples(self, drawn: Drawn, names: Sequence[str]) -> list[Sample]:
        count = min(self.options.samples, len(self.test))
        chosen = np.unique(np.linspace(0, len(self.test) - 1, count).astype(int)).tolist() if count else []
        by_name = {name: drawn.replies[Cell(name, 0, PLAIN)].test for name in (HUMAN, *names)}
        return [Sample(self.test.contexts[i], {name: texts[i] for name, texts in by_name.items()}) for i in chosen]


def _asked(options: EvaluationOptions) -> dict[str, Any]:
    """Return the options that decide numbers, as JSON holds them."""
    names = (
        "best_of",
        "seed",
        "draws",
        "temperatures",
        "top_ps",
        "twin_temperatures",
        "second_temperature",
        "full",
        "samples",
    )
    values = {name: getattr(options, name) for name in names}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _claim(out: Path, wanted: dict[str, Any], device: torch.device) -> dict[str, Any]:
    """Write the parameters into `out`, or check that an earlier call wrote the same; return them with the precision.

    The precision is measured once: a busy machine may decide differently, and then nothing drawn would be found again.
    """
    path = out / PARAMETERS
    try:
        if path.is_file():
            found = json.loads(path.read_text(encoding="utf-8"))
            precision = found.pop("precision")
            differing = sorted(key for key in found.keys() | wanted.keys() if found.get(key) != wanted.get(key))
            if differing:
                raise RunError(
                    f"{out} holds another evaluation ({', '.join(differing)} differ); name another directory"
                )
            return {**wanted, "precision": precision}
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise RunError(f"{out} is not empty and holds no evaluation; name another directory")
        out.mkdir(parents=True, exist_ok=True)
        parameters = {**wanted, "precision": choose_precision("auto", device)}
        write_atomically(path, (json.dumps(parameters, indent=1, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise RunError(f"{out}: cannot be used ({error.strerror})") from None
    except (ValueError, KeyError, AttributeError, RecursionError) as error:
        raise RunError(f"{path}: cannot be read as an evaluation's parameters ({error})") from None
    return parameters


def _moved(replies: list[str]) -> list[str]:
    """Give every context the reply to another one, half the part away: another dialogue's, as there are several."""
    half = len(replies) // 2
    return replies[half:] + replies[:half]


def _silent(stage: str, done: int, total: int | None) -> None:
    """Show nothing."""
