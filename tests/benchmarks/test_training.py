"""The program that times training: fits, what it writes, and that the committed page says what was measured."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import training_page
from benchmarks.accelerator import measure
from benchmarks.ranks import speed_up
from benchmarks.scaling import fit_exponent
from benchmarks.works import Dialogue, parameters_of
from chatbot.generator.trunk import TrunkConfig

RESULTS = Path(__file__).parents[2] / "docs" / "results"


def committed() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((RESULTS / "training.json").read_text())
    return found


def test_a_power_law_is_found_with_its_interval() -> None:
    exact = fit_exponent((2, 4, 8, 16), [[3 * n**1.5] for n in (2, 4, 8, 16)])
    assert exact["exponent"] == pytest.approx(1.5)
    assert exact["low"] == pytest.approx(exact["high"])
    rough = fit_exponent((1, 2, 4, 8), [[1.0], [2.2], [3.7], [8.3]])
    assert rough["low"] < 1.0 < rough["high"]
    assert rough["low"] < rough["exponent"] < rough["high"]


def test_a_second_ranks_gain_is_in_contexts_a_second() -> None:
    alone = {"work": "mle_step", "ranks": 1, "batch": 64, "seconds": 0.5}
    beside = {**alone, "beside": 1, "seconds": 9.9}  # of another job: counts for nothing here
    rows = [alone, beside, {**alone, "ranks": 2, "seconds": 0.3}, {**alone, "ranks": 2, "batch": 128}]
    assert speed_up(rows, "mle_step", 64) == pytest.approx(5 / 3)
    assert speed_up(rows, "mle_step", 128) == pytest.approx(2)


def test_steps_of_any_size_are_measured_on_a_device() -> None:
    shape = TrunkConfig("transformer", 16, 1, 1, 2, 32)
    size = Dialogue(vocabulary=60, shape=shape, context_tokens=8, reply_tokens=5, contexts=8, samples=2, searched=2)
    said: list[str] = []
    result = measure(torch.device("cpu"), said.append, {"toy": size})
    assert len(said) == len(result["rows"]) == 6
    assert {row["precision"] for row in result["rows"]} == {"bf16", "fp32"}
    for row in result["rows"]:
        assert row["parameters"] == parameters_of(size)
        assert row["tokens_per_second"] > 0
        assert 0 < row["bound_share"] < 1
        assert len(row["largest_costs"]) == 10


def test_the_page_says_what_was_measured() -> None:
    page = (RESULTS / "training.md").read_text(encoding="utf-8")
    block = page.split(training_page.BEGIN)[1].split(training_page.END)[0]
    assert block.strip() == training_page.tables(committed()).strip()


def test_the_page_is_written_between_its_marks(tmp_path: Path) -> None:
    page = tmp_path / "training.md"
    page.write_text(f"before\n{training_page.BEGIN}\nold\n{training_page.END}\nafter\n")
    growth = {
        "setting": "seqgan",
        "work": "generator_step_mc",
        "in": "N, rollouts",
        "sizes": [8, 16],
        "seconds": [1, 2],
    }
    sizes = [{"width": n, "parameters": n * 1e6, "mle_step": n * 0.1, "generator_step": n * 0.5} for n in (1, 2)]
    fitted = {**growth, "exponent": 1.0, "low": 0.9, "high": 1.1}
    full = {**committed(), "scaling": [fitted] * 4, "model_sizes": sizes, "peak_memory_gb_512_lanes": 1.1}
    (tmp_path / "result.json").write_text(json.dumps(full))
    training_page.main([str(tmp_path / "result.json"), str(page)])
    written = page.read_text()
    assert written.startswith("before")
    assert written.endswith("after\n")
    assert "old" not in written
    assert "1.00 (0.90 to 1.10)" in written
    assert "<svg" in (tmp_path / "training.svg").read_text()
    page.write_text("no marks")
    with pytest.raises(SystemExit):
        training_page.main([str(tmp_path / "result.json"), str(page)])
