"""What a run leaves, as the models' pages read it: stages one after the other, broken lines passed over."""

from pathlib import Path

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
