"""What a training run left beside a bundle: logged metrics, samples, a report. Reads plain JSON; knows no training.

Files may be cut off in mid-line, since a run may still be writing them: lines that cannot be read are passed over.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

METRICS: Final = "metrics.jsonl"
SAMPLES: Final = "samples.jsonl"
REPORT: Final = "report.json"
LARGEST_BYTES: Final = 32 * 2**20
"""Larger files are not read for a page."""


@dataclass(frozen=True)
class Sample:
    """What a checkpoint replied to a context, beside what a human did."""

    context: str
    human: str
    reply: str


@dataclass(frozen=True)
class RunFiles:
    """What was found; empty where there is nothing. `curves` has the (step, value) pairs of each metric and stage.

    Each stage of a run counts its steps anew; here they are counted on, one stage after the other.
    """

    curves: dict[str, dict[str, list[tuple[float, float]]]] = field(default_factory=dict)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    """By checkpoint, "STAGE STEP", in the order of training."""
    report: dict[str, Any] | None = None


def read_run(models: Path, name: str) -> RunFiles:
    """Return what lies beside the bundle `name` of the directory `models`: where it was trained, or copied from."""
    places = [(models / name).resolve().parent, models / name, models.parent / "runs" / name]
    run = next((place for place in places if (place / METRICS).is_file()), places[0])
    reports = [place / part / REPORT for place in (run, models, models.parent) for part in ("", "report")]
    report = next((path for path in reports if path.is_file()), None)
    return RunFiles(_curves(run / METRICS), _samples(run / SAMPLES), None if report is None else _object(report))


def read_info(models: Path, name: str) -> dict[str, float]:
    """Return the metrics that the bundle itself holds of its training."""
    config = _object(models / name / "config.json") or {}
    info = config.get("info")
    metrics = info.get("metrics") if isinstance(info, dict) else None
    return {} if not isinstance(metrics, dict) else {key: value for key, value in metrics.items() if _is_number(value)}


def _curves(path: Path) -> dict[str, dict[str, list[tuple[float, float]]]]:
    curves: dict[str, dict[str, list[tuple[float, float]]]] = {}
    begins: dict[str, float] = {}
    end = 0.0
    for row in _lines(path):
        step, stage = row.get("step"), str(row.get("stage", ""))
        if not _is_number(step):
            continue
        at = begins.setdefault(stage, end) + float(step or 0)
        end = max(end, at)
        for name, value in row.items():
            if name not in ("step", "stage") and _is_number(value):
                curves.setdefault(name, {}).setdefault(stage, []).append((at, float(value)))
    return curves


def _samples(path: Path) -> dict[str, list[Sample]]:
    samples: dict[str, list[Sample]] = {}
    for row in _lines(path):
        reply = row.get("generator", row.get("reply"))
        if isinstance(reply, str) and isinstance(row.get("context"), str):
            sample = Sample(row["context"], str(row.get("human") or ""), reply)
            samples.setdefault(f"{row.get('stage', '')} {row.get('step', '')}".strip(), []).append(sample)
    return samples


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            return
        with path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                try:
                    row = json.loads(line)
                except (ValueError, RecursionError):
                    continue
                if isinstance(row, dict):
                    yield row
    except OSError:
        return


def _object(path: Path) -> dict[str, Any] | None:
    try:
        if path.stat().st_size > LARGEST_BYTES:
            return None
        found = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
