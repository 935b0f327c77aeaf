"""Every recipe trains end to end from the command line, and its bundle answers."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

RECIPES = {
    "cseqgan": {"reward", "kl", "d_mismatched_taken_for_human"},
    "seqgan": {"reward", "kl", "d_accuracy"},
    "gan": {"gradient_norm_through_d", "js"},
    "wgan": {"gradient_norm_through_d", "wasserstein"},
    "gumbel": {"gradient_norm_through_d", "temperature"},
    "judged": {"reward_ease", "reward_coherence", "dialogue_length", "dull_turns", "repeating_turns"},
}
"""What the last line of each recipe's metrics must name."""
SHORTER = {"seqgan": ["--set", "adversarial.rollouts=2", "--set", "adversarial.steps=5"]}


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains_and_its_bundle_answers(
    rejoinder: Callable[..., Any], prepared: Path, tmp_path: Path, recipe: str
) -> None:
    run = tmp_path / "run"
    done = rejoinder("train", recipe, "--data", prepared, "--preset", "toy", "--out", run, *SHORTER.get(recipe, []))
    assert done.returncode == 0, done.stderr
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert metrics[-1]["stage"] == "adversarial"
    assert RECIPES[recipe] <= metrics[-1].keys()
    contexts = tmp_path / "contexts.jsonl"
    contexts.write_text('{"turns": ["Do you like my cat?"]}\n', encoding="utf-8")
    done = rejoinder("generate", "--model", run / "bundle", "--in", contexts, "--out", tmp_path / "replies.jsonl")
    assert done.returncode == 0, done.stderr
    (row,) = (tmp_path / "replies.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(json.loads(row)["replies"]) == 1
