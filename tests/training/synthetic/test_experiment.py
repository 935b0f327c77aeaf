"""The oracle experiment end to end, small; what an interrupted one keeps; its table."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from training.errors import ConfigError, RunError
from training.synthetic.likelihood import LikelihoodSettings
from training.synthetic.oracle import draw_oracle
from training.synthetic.oracle_bench import SYSTEMS, OracleOptions, run_oracle
from training.synthetic.oracle_report import picture, rows, text
from training.synthetic.published import Schedule
from training.synthetic.recipe import RecipeSettings

TINY = OracleOptions(
    sequences=64,
    measured=64,
    size=4,
    judge_size=6,
    mle=LikelihoodSettings(epochs=3),
    tuned=LikelihoodSettings(epochs=2, early_stopping=True, decay=True),
    judge=LikelihoodSettings(epochs=2, dropout=0.1),
    seqgan=Schedule(rounds=2, batch=8, rollouts=2, pretraining=1, judge_sets=1, judge_epochs=1, evaluate_every=1),
    placebo=Schedule(rounds=2, batch=8, evaluate_every=1),
    best=RecipeSettings(rounds=4, batch=8, evaluate_every=2),
    precision="fp32",
)
ABOUT = {"drawn_from_seed": "0"}


def run(
    parts: Path, *, seeds: tuple[int, ...] = (0,), systems: tuple[str, ...] = SYSTEMS, options: OracleOptions = TINY
):  # type: ignore[no-untyped-def]
    said: list[str] = []
    return run_oracle(draw_oracle(0, 30, 5, 4), ABOUT, options, seeds, systems, parts, said.append), said


def test_every_system_takes_part_and_the_table_says_so(tmp_path: Path) -> None:
    result, _ = run(tmp_path / "parts", seeds=(0, 1))
    table = rows(result["parts"])
    assert [row["system"] for row in table][:6] == ["mle", "mle_tuned", "seqgan", "best", "placebo", "placebo_tuned"]
    for row in table[:6]:
        assert row["seeds"] == [0, 1]
        assert row["nll_oracle"] > 0
        assert row["nll_oracle_sd"] > 0
    published = {row["system"]: row["nll_oracle"] for row in table[6:]}
    assert published["published-mle"] == 9.038
    assert published["published-seqgan"] == 8.736
    assert "mle_tuned" in text(table)
    assert picture(result["parts"]).startswith(b"<?xml")
    json.dumps(table, allow_nan=False)


def test_what_is_finished_is_not_run_again_and_comes_out_the_same(tmp_path: Path) -> None:
    whole, _ = run(tmp_path / "whole")
    run(tmp_path / "parts", systems=("mle",))
    resumed, said = run(tmp_path / "parts")
    drop = ("seconds",)
    assert [{k: v for k, v in part.items() if k not in drop} for part in resumed["parts"]] == [
        {k: v for k, v in part.items() if k not in drop} for part in whole["parts"]
    ]
    assert sum(line.startswith("seed 0: epoch") for line in said) == sum(
        len(part["curve"]) for part in whole["parts"] if part["system"] in ("mle_tuned", "judge")
    )


def test_a_system_brings_what_it_starts_from(tmp_path: Path) -> None:
    result, _ = run(tmp_path / "parts", systems=("best",))
    assert sorted(part["system"] for part in result["parts"]) == ["best", "judge", "mle_tuned"]


def test_another_experiments_parts_are_refused(tmp_path: Path) -> None:
    run(tmp_path / "parts", systems=("mle",))
    with pytest.raises(RunError, match="holds another experiment"):
        run(tmp_path / "parts", systems=("mle",), options=replace(TINY, sequences=65))


def test_an_unknown_system_is_an_error_that_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="unknown system 'gan', expected some of mle, mle_tuned"):
        run(tmp_path / "parts", systems=("gan",))


def test_the_curves_end_where_the_table_reads_them(tmp_path: Path) -> None:
    result, _ = run(tmp_path / "parts", systems=("best",))
    best = next(part for part in result["parts"] if part["system"] == "best")
    assert best["curve"][-1]["round"] == 4
    assert [point["temperature"] for point in best["temperatures"]][:2] == [1.1, 1.0]
    row = next(row for row in rows(result["parts"]) if row["system"] == "best")
    assert row["nll_oracle"] == best["curve"][-1]["nll_oracle"]


def test_a_seqgan_that_is_cut_off_goes_on_in_the_middle(tmp_path: Path) -> None:
    systems = ("seqgan",)
    whole, _ = run(tmp_path / "whole", systems=systems)
    cut = "seed 0: round 1"

    def stop(line: str) -> None:
        if line.startswith(cut):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_oracle(draw_oracle(0, 30, 5, 4), ABOUT, TINY, (0,), systems, tmp_path / "parts", stop)
    assert (tmp_path / "parts" / "seed0-seqgan.state").is_file()
    resumed, said = run(tmp_path / "parts", systems=systems)
    assert "seed 0, seqgan: goes on from 0" in said
    curves = [[part["curve"] for part in one["parts"] if part["system"] == "seqgan"] for one in (whole, resumed)]
    assert curves[0] == curves[1]
    assert sorted(path.suffix for path in (tmp_path / "parts").glob("seed0-seqgan.*")) == [".json", ".safetensors"]
