"""The commands of training, where they end before any work: each says in one line what is missing."""

from pathlib import Path

import pytest

from training.__main__ import main
from training.commands import train
from training.errors import ConfigError


@pytest.mark.parametrize(("recipe", "has_data"), [(None, True), ("mle", False)])
def test_a_new_run_needs_a_recipe_and_data(tmp_path: Path, recipe: str | None, has_data: bool) -> None:
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match="train needs a recipe and --data"):
        train(recipe, data=tmp_path if has_data else None, out=out, preset=None, settings=(), resume=False)
    assert not out.exists()


def test_a_rank_says_in_one_line_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["mle", "--data", str(tmp_path / "none"), "--out", str(tmp_path / "run"), "--set", "mle.steps=many"])
    assert ended.value.code not in (0, None)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m training: ")
    assert "mle.steps" in line
    assert not (tmp_path / "run").exists()
