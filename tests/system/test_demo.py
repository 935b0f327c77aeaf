"""The demonstration, at the size of a toy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def digests(models: Path) -> dict[str, int]:
    return {str(p.relative_to(models)): p.stat().st_mtime_ns for p in sorted(models.rglob("*.safetensors"))}


def test_the_demo_trains_both_models_prints_their_table_and_uses_them_again(
    rejoinder: Callable[..., Any], tmp_path: Path
) -> None:
    pytest.importorskip("chitchat_dataset", reason="the packaged dialogues are an extra")
    arguments = ["demo", "--directory", tmp_path, "--preset", "toy", "--limit", "60", "--no-serve"]
    done = rejoinder(*arguments)
    assert done.returncode == 0, done.stderr
    table = done.stdout.splitlines()
    starts = ["system", "human", "Kneser-Ney trigram", "MLE ", "MLE, best of 8", "adversarial ", "adversarial, best of"]
    assert [line.startswith(start) for line, start in zip(table, starts, strict=False)] == [True] * len(starts)
    assert "\x1b" not in done.stdout + done.stderr  # not a terminal: no colours, no bars
    assert len(done.stderr.splitlines()) < 60
    first = digests(tmp_path / "models")
    assert {Path(name).parts[0] for name in first} == {"mle", "cseqgan"}
    again = rejoinder(*arguments)
    assert again.returncode == 0, again.stderr
    assert digests(tmp_path / "models") == first
    assert again.stdout == done.stdout
