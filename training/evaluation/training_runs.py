"""What the runs logged in whose directories the evaluated bundles lie: how training went, beside how it ended.

Knows `metrics.jsonl`; reads no weights and judges nothing.
"""

import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from training.evaluation.report import TrainingRun
from training.evaluation.systems import System
from training.run import METRICS

_SHOWN: Final = ("valid_nll", "valid_distinct_2", "reward", "d_accuracy")
_ANY: Final = "gradient_norm"
"""Every metric whose name holds this is shown, too: where a generator stops learning, it shows here."""
MOST: Final = 400
"""Points of a line; a longer one is thinned out evenly."""


def training_runs(systems: Sequence[System]) -> list[TrainingRun]:
    """Return the logs of all runs that hold a bundle of `systems`, each once, in the order of the systems."""
    names: dict[Path, list[str]] = {}
    for system in systems:
        for bundle in system.bundles:
            run = bundle.resolve().parent
            if system.best_of == 1 and (run / METRICS).is_file():
                names.setdefault(run, []).append(system.name)
    runs = []
    for run, users in names.items():
        series = _series(run / METRICS)
        if series:
            same = sum(other.name == run.name for other in names) > 1
            label = f"{run.parent.name}/{run.name}" if same else run.name
            runs.append(TrainingRun(label, tuple(dict.fromkeys(users)), series))
    return runs


def _series(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Return (step, value) of each stage and metric, named `stage: metric`; what cannot be read is left out."""
    series: dict[str, list[tuple[float, float]]] = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
            step, stage = float(row["step"]), str(row["stage"])
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
            continue  # the last line of a run that is still being written
        for name, value in row.items():
            if (name in _SHOWN or _ANY in name) and _is_number(value):
                shown, number = ("valid_perplexity", math.exp(min(value, 50))) if name == "valid_nll" else (name, value)
                series.setdefault(f"{stage}: {shown}", []).append((step, float(number)))
    return {name: _thinned(points) for name, points in series.items() if len(points) > 1}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    every = max(1, math.ceil(len(points) / MOST))
    return points[::every]
