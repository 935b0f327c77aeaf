"""The logs of the runs that bundles lie in: found, thinned out, and never in the way."""

import json
import math
from pathlib import Path

import pytest

from training.evaluation.systems import System
from training.evaluation.training_runs import MOST, training_runs


def run(path: Path, rows: list[dict[str, object]]) -> Path:
    (path / "bundle").mkdir(parents=True)
    (path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path / "bundle"


def test_metrics_are_read_by_stage_and_name(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"step": 1, "stage": "mle", "valid_nll": 2.0, "gradient_norm": 1.0, "nll": 3.0},
        {"step": 2, "stage": "mle", "valid_nll": 1.0, "gradient_norm": None},
        {"step": 1, "stage": "adversarial", "reward": 0.5, "gradient_norm_through_d": 1e-9, "d_accuracy": 0.9},
        {"step": 2, "stage": "adversarial", "reward": 0.6, "gradient_norm_through_d": 1e-12, "d_accuracy": 1.0},
    ]
    bundle = run(tmp_path / "gan", rows)
    (found,) = training_runs([System("GAN", (bundle,)), System("GAN + best of 8 by D", (bundle,), 8)])
    assert (found.run, found.systems) == ("gan", ("GAN",))
    assert found.series["mle: valid_perplexity"] == [(1, pytest.approx(math.e**2)), (2, pytest.approx(math.e))]
    assert found.series["adversarial: gradient_norm_through_d"] == [(1, 1e-9), (2, 1e-12)]
    assert "mle: nll" not in found.series  # not asked for
    assert "mle: gradient_norm" not in found.series  # a single point is no line


def test_runs_of_one_name_are_told_apart_and_bundles_without_a_run_are_passed_over(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"step": s, "stage": "mle", "reward": float(s)} for s in range(3 * MOST)]
    one, two = run(tmp_path / "en" / "mle", rows), run(tmp_path / "zh" / "mle", rows)
    alone = tmp_path / "elsewhere" / "bundle"
    alone.mkdir(parents=True)
    found = training_runs([System("a", (one, alone)), System("b", (two,))])
    assert [log.run for log in found] == ["en/mle", "zh/mle"]
    points = found[0].series["mle: reward"]
    assert len(points) <= MOST
    assert points[:2] == [(0, 0), (3, 3)]
