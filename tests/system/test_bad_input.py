"""Mistakes of users at the command line: one line that says what was found and what was expected, no traceback."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def complain(done: Any, status: int, *expected: str) -> None:
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("rejoinder: ")]
    for part in expected:
        assert part in line


def test_a_source_that_cannot_be_read(rejoinder: Callable[..., Any], tmp_path: Path) -> None:
    done = rejoinder("prepare", tmp_path / "missing.jsonl", "--out", tmp_path / "data")
    complain(done, 1, "missing.jsonl")
    assert not (tmp_path / "data").exists()


def test_an_empty_corpus(rejoinder: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("", encoding="utf-8")
    complain(rejoinder("prepare", tmp_path / "empty.jsonl", "--out", tmp_path / "data"), 1, "empty.jsonl")


def test_a_column_that_is_not_there(rejoinder: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("question,answer\nHi,Hello\n", encoding="utf-8")
    arguments = ["prepare", tmp_path / "table.csv", "--out", tmp_path / "data", "--columns", "question,reply"]
    complain(rejoinder(*arguments), 1, "reply", "question", "answer")


def test_too_many_broken_lines(rejoinder: Callable[..., Any], tmp_path: Path) -> None:
    lines = ['{"turns": ["a", "b"]}', "broken", '{"turns": 5}']
    (tmp_path / "bad.jsonl").write_text("\n".join(lines), encoding="utf-8")
    complain(rejoinder("prepare", tmp_path / "bad.jsonl", "--out", tmp_path / "data"), 1, "2 of 3", "bad.jsonl")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "seqgun"], "cseqgan"),
        (["train", "mle", "--preset", "huge"], "toy"),
        (["train", "mle", "--set", "mle.step=5"], "mle.steps"),
        (["train", "mle", "--set", "mle.steps=many"], "mle.steps"),
        (["train", "mle", "--set", "nonsense"], "key=value"),
    ],
)
def test_recipes_presets_and_settings_that_do_not_exist(
    rejoinder: Callable[..., Any], prepared: Path, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    done = rejoinder(*arguments, "--data", prepared, "--out", tmp_path / "run")
    complain(done, 2, expected)
    assert not (tmp_path / "run").exists()


def test_training_data_that_were_not_prepared(rejoinder: Callable[..., Any], tmp_path: Path) -> None:
    done = rejoinder("train", "mle", "--data", tmp_path, "--out", tmp_path / "run", "--preset", "toy")
    complain(done, 1, "rejoinder prepare")


def test_feedback_and_results_that_cannot_be_used(
    rejoinder: Callable[..., Any], prepared: Path, runs: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "battles.jsonl"
    bad.write_text('{"model_a": "x", "winner": "a"}\n', encoding="utf-8")

    def train(recipe: str, feedback: Path) -> Any:
        run = ("--data", prepared, "--out", tmp_path / "run", "--preset", "toy")
        return rejoinder("train", recipe, *run, "--feedback", feedback)

    complain(train("cseqgan", bad), 1, "battles.jsonl, line 1", "prompt, chosen, rejected", "model_a, winner")
    complain(train("cseqgan", tmp_path / "none.jsonl"), 1, "none.jsonl: cannot be read")
    complain(train("mle", bad), 2, "--feedback teaches the discriminator", "mle has none")
    report = ("evaluate", runs / "mle", "--data", prepared, "--out", tmp_path / "run")
    complain(rejoinder(*report, "--human", bad), 1, "battles.jsonl", "not the results of a study")
    complain(rejoinder(*report, "--feedback", bad), 1, "battles.jsonl, line 1")
    assert not (tmp_path / "run").exists()


def test_bundles_missing_truncated_and_of_a_newer_format(
    rejoinder: Callable[..., Any], runs: Path, tmp_path: Path
) -> None:
    contexts = tmp_path / "contexts.jsonl"
    contexts.write_text('{"turns": ["Hello"]}\n', encoding="utf-8")

    def generate(bundle: Path, *more: str) -> Any:
        return rejoinder("generate", "--model", bundle, "--in", contexts, "--out", tmp_path / "out.jsonl", *more)

    complain(generate(tmp_path / "nowhere"), 1, "nowhere", "no such bundle")
    truncated = shutil.copytree(runs / "mle" / "bundle", tmp_path / "truncated")
    with (truncated / "generator.safetensors").open("r+b") as file:
        file.truncate(5000)
    complain(generate(truncated), 1, "generator.safetensors", "truncated")
    newer = shutil.copytree(runs / "mle" / "bundle", tmp_path / "newer")
    config = json.loads((newer / "config.json").read_text(encoding="utf-8"))
    (newer / "config.json").write_text(json.dumps({**config, "format": 99}), encoding="utf-8")
    complain(generate(newer), 1, "format 99", "upgrade")
    complain(generate(runs / "mle" / "bundle", "--best-of", "4"), 2, "no discriminator")
    complain(generate(runs / "mle" / "bundle", "--temperature", "9"), 2, "temperature", "0 to 2")
    assert not (tmp_path / "out.jsonl").exists()


def test_a_call_without_arguments_is_wrong_and_help_is_not(rejoinder: Callable[..., Any]) -> None:
    assert rejoinder().returncode == 2
    for command in ("prepare", "train", "generate", "serve", "migrate", "demo"):
        done = rejoinder(command, "--help")
        assert done.returncode == 0
        assert "Usage" in done.stdout
    assert rejoinder("prepare").returncode == 2
