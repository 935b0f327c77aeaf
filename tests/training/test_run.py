"""The run directory: what it refuses, what it forgets on resuming, and that its state never runs code."""

import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch

from training.composition import compose
from training.config import Config
from training.errors import RunError
from training.run import METRICS, SAMPLES, STATE, Run


def lines(run: Run, name: str = METRICS) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.directory / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", Config(), {"recipe": "mle"})


def test_a_run_is_reopened_with_its_config_and_what_it_was_told(tmp_path: Path) -> None:
    config = compose("cseqgan", "toy", ["seed=5"])
    Run.create(tmp_path / "a" / "b", config, {"recipe": "cseqgan", "threads": 1})
    run, found, about = Run.reopen(tmp_path / "a" / "b")
    assert run.directory == tmp_path / "a" / "b"
    assert found == config
    assert about == {"recipe": "cseqgan", "threads": 1}


def test_an_empty_directory_may_be_used_and_any_other_not(tmp_path: Path) -> None:
    Run.create(tmp_path, Config(), {})
    with pytest.raises(RunError, match="is not empty; continue that run with --resume"):
        Run.create(tmp_path, Config(), {})
    file = tmp_path / "file"
    file.write_text("mine", encoding="utf-8")
    with pytest.raises(RunError, match="is not empty"):
        Run.create(file, Config(), {})
    with pytest.raises(RunError, match="cannot be written"):
        Run.create(file / "below", Config(), {})
    assert file.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no run to resume"),
        ("{", "cannot be read as a run's config"),
        ("[]", "cannot be read as a run's config"),
        ("{}", "cannot be read as a run's config"),
        ('{"config": {"mle": {"depth": 3}}}', "unknown key 'mle.depth'"),
    ],
)
def test_what_is_no_run_cannot_be_reopened(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
    with pytest.raises(Exception, match=message) as caught:
        Run.reopen(tmp_path)
    assert type(caught.value).__module__ == "training.errors"


def test_metrics_go_to_the_file_and_to_tensorboard(run: Run) -> None:
    run.log(10, "mle", {"nll": 2.5})
    run.log(5, "adversarial", {"kl": 0.5})
    run.close()
    assert lines(run) == [{"step": 10, "stage": "mle", "nll": 2.5}, {"step": 5, "stage": "adversarial", "kl": 0.5}]
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for stage, name, step, value in (("mle", "nll", 10, 2.5), ("adversarial", "kl", 5, 0.5)):
        events = EventAccumulator(str(run.directory / "tensorboard" / stage))
        events.Reload()
        (found,) = events.Scalars(name)
        assert (found.step, found.value) == (step, value)


def test_metrics_are_json_even_when_they_are_not_finite(run: Run) -> None:
    run.log(1, "mle", {"nll": math.nan, "gradient_norm": math.inf})
    run.close()
    text = (run.directory / METRICS).read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=lambda word: pytest.fail(word)) == {
        "step": 1, "stage": "mle", "nll": None, "gradient_norm": None
    }  # fmt: skip


def test_resuming_forgets_what_was_logged_after_the_last_save(run: Run) -> None:
    run.log(1, "mle", {"nll": 3.0})
    run.show(1, "mle", [{"context": "你好", "generator": "hi"}])
    run.save_state({"value": torch.ones(2)})
    run.log(2, "mle", {"nll": 2.0})
    run.show(2, "mle", [{"context": "x", "generator": "y"}])
    run.close()
    with (run.directory / METRICS).open("a", encoding="utf-8") as file:
        file.write('{"step": 3, "st')  # killed while writing
    state = run.load_state()
    assert state is not None
    assert torch.equal(state["value"], torch.ones(2))
    assert [line["step"] for line in lines(run)] == [1]
    assert lines(run, SAMPLES) == [{"step": 1, "stage": "mle", "context": "你好", "generator": "hi"}]


def test_a_run_killed_before_its_first_save_begins_anew(run: Run) -> None:
    run.log(1, "mle", {"nll": 3.0})
    run.close()
    assert run.load_state() is None
    assert lines(run) == []


def test_the_state_is_replaced_whole_and_a_half_written_one_is_not_seen(run: Run) -> None:
    run.save_state({"value": 1})
    (run.directory / f".{STATE}.new").write_bytes(b"half")
    assert run.load_state() == {"value": 1}
    run.save_state({"value": 2})
    assert run.load_state() == {"value": 2}
    assert sorted(path.name for path in run.directory.iterdir()) == ["config.json", STATE]


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "list"])
def test_a_damaged_state_is_an_error_that_names_the_file(run: Run, damage: str) -> None:
    run.save_state({"value": torch.ones(1000)})
    path = run.directory / STATE
    if damage == "truncated":
        os.truncate(path, 700)
    elif damage == "list":
        torch.save([1], path)
    else:
        path.write_bytes(b"" if damage == "empty" else b"hello")
    with pytest.raises(RunError, match=f"{STATE}: cannot be read as a run state"):
        run.load_state()


def test_a_state_of_another_format_is_refused(run: Run) -> None:
    torch.save({"format": 99, "files": {}}, run.directory / STATE)
    with pytest.raises(RunError, match="run state of format 99, this version of Rejoinder continues format 1"):
        run.load_state()


class Evil:
    """Pickled, it would make a directory when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_state_runs_no_code_when_it_is_loaded(run: Run, tmp_path: Path) -> None:
    torch.save({"files": {}, "evil": Evil(tmp_path / "owned")}, run.directory / STATE)
    with pytest.raises(RunError, match="cannot be read as a run state"):
        run.load_state()
    assert not (tmp_path / "owned").exists()
