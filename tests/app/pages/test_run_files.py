"""What a run leaves, as the models' pages read it: stages one after the other, broken lines passed over."""

import json
from pathlib import Path

import pytest

from app.pages.models.run_files import read_run
from tests.browser.training_run import EVIL, write_run


def test_the_stages_of_a_run_follow_each_other(tmp_path: Path) -> None:
    write_run(tmp_path / "runs" / "m")
    run = read_run(tmp_path / "models", "m")
    assert [x for x, _ in run.curves["valid_nll"]["mle"]] == [100.0 * i for i in range(1, 11)]
    assert [x for x, _ in run.curves["valid_nll"]["adversarial"]] == [1010.0, 1020.0, 1030.0]  # logged as 10, 20, 30
    assert "d_accuracy" not in run.curves  # not one number of it is finite
    assert list(run.samples) == ["mle 100", "mle 500", "mle 1000"]
    assert run.samples["mle 500"][0].reply == f"{EVIL} 500"
    assert run.report is not None


def test_where_there_is_no_run_there_is_nothing(tmp_path: Path) -> None:
    run = read_run(tmp_path / "models", "m")
    assert (run.curves, run.samples, run.report) == ({}, {}, None)


def test_lines_that_say_nothing_are_passed_over(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "m"
    run.mkdir(parents=True)
    metrics = [
        '{"step": "ten", "stage": "mle", "reward": 1}',
        "[1, 2]",
        "{",
        '{"step": 1, "stage": "mle", "reward": 2}',
    ]
    (run / "metrics.jsonl").write_text("\n".join(metrics), encoding="utf-8")
    samples: list[object] = [{"context": 7, "reply": "a"}, {"context": "hi"}, {"context": "hi", "reply": "yes"}]
    (run / "samples.jsonl").write_text("\n".join(map(json.dumps, samples)), encoding="utf-8")
    found = read_run(tmp_path / "models", "m")
    assert found.curves == {"reward": {"mle": [(1.0, 2.0)]}}
    assert [[sample.reply for sample in some] for some in found.samples.values()] == [["yes"]]


def test_files_too_large_to_be_read_for_a_page_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "runs" / "m")
    monkeypatch.setattr("app.pages.models.run_files.LARGEST_BYTES", 10)
    run = read_run(tmp_path / "models", "m")
    assert (run.curves, run.samples, run.report) == ({}, {}, None)
