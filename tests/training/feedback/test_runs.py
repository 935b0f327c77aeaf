"""Whole runs with feedback: what they keep of it, that they resume bit for bit, and what is refused at once."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from chatbot.bundle import read_config
from tests.training.feedback.test_reading import preference, thumb, write
from tests.training.test_train import SHORT, TURNS, assert_same_run, lines, quiet
from training.composition import compose
from training.errors import ConfigError, FeedbackError, RunError
from training.train import begin, resume

SETTINGS = (*SHORT, *TURNS, "feedback.batch=4")


class InterruptedRunError(Exception):
    """The user pressed a key."""


def interrupt_after(ticks: int) -> Any:
    """Return a report that ends the run in its `ticks`-th step."""
    left = [ticks]

    def report(stage: str, share: float | None, line: str) -> None:
        left[0] -= share is not None
        if not left[0]:
            raise InterruptedRunError

    return report


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("exports")
    rows = [preference(f"say {i} : cow ?", "the cow says moo", "the cow says woof") for i in range(30)]
    thumbs = [thumb(f"say {i} : dog ?", "the dog says moo", label=False) for i in range(10)]
    same = preference("say it", "moo", " moo")
    return [write(folder / "preferences.jsonl", *rows, same), write(folder / "thumbs.jsonl", *thumbs)]


@pytest.fixture(scope="module")
def told(corpus: Path, exports: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Give an uninterrupted run with feedback, and what it said."""
    out, said = tmp_path_factory.mktemp("told") / "run", []
    begin(compose("cseqgan", "toy", SETTINGS), "cseqgan", corpus, out, lambda _s, _p, line: said.append(line), exports)
    return out, said


def test_a_run_says_what_it_was_told_and_its_bundle_remembers(
    told: tuple[Path, list[str]], exports: list[Path]
) -> None:
    run, said = told
    (sentence,) = [line for line in said if line.startswith("feedback: ")]
    assert sentence.endswith("1 preferences between equal texts left out")
    info = read_config(run / "bundle")["info"]
    about = info["feedback"]
    assert about["preferences"] + about["held_out_preferences"] == 30
    assert 0 < about["held_out_preferences"] < 20
    assert about["thumbs_up"] == 0
    assert 0 < about["thumbs_down"] <= 10
    assert 0 <= info["metrics"]["d_feedback_agreement"] <= 1
    assert "feedback" in read_config(run / "mle")["info"]  # D was pretrained with it
    card = (run / "bundle" / "README.md").read_text(encoding="utf-8")
    assert f"learnt from {about['preferences']} preferences" in card
    judged = [row for row in lines(run) if row["stage"] != "mle"]
    assert all("d_feedback_agreement" in row for row in judged if "d_accuracy" in row)
    files = json.loads((run / "config.json").read_text(encoding="utf-8"))["feedback"]
    assert [file["path"] for file in files] == [str(path) for path in exports]


def test_an_interrupted_run_with_feedback_goes_on_bit_for_bit(
    corpus: Path, told: tuple[Path, list[str]], exports: list[Path], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    with pytest.raises(InterruptedRunError):
        begin(compose("cseqgan", "toy", SETTINGS), "cseqgan", corpus, out, interrupt_after(14), exports)
    with pytest.raises(InterruptedRunError):
        resume(out, interrupt_after(5), feedback=exports)
    resume(out, quiet)
    assert_same_run(told[0], out)


def test_other_feedback_is_refused_on_resuming_and_moved_feedback_is_found(
    corpus: Path, told: tuple[Path, list[str]], exports: list[Path], tmp_path: Path
) -> None:
    moved = [Path(shutil.copy(path, tmp_path / path.name)) for path in exports]
    run = tmp_path / "run"
    begin(compose("cseqgan", "toy", SETTINGS), "cseqgan", corpus, run, quiet, moved)
    with pytest.raises(RunError, match=r"1 exports of feedback, but the run was begun with 2"):
        resume(run, quiet, feedback=exports[:1])
    with pytest.raises(RunError, match="is not the feedback that this run was begun with"):
        resume(run, quiet, feedback=exports[::-1])
    write(moved[0], preference())
    with pytest.raises(RunError, match=r"digests differ"):
        resume(run, quiet)
    moved[0].unlink()
    with pytest.raises(FeedbackError, match="cannot be read"):
        resume(run, quiet)
    resume(run, quiet, feedback=exports)  # the same judgements, elsewhere
    assert_same_run(told[0], run)


def test_a_run_begun_without_feedback_takes_none_on_resuming(corpus: Path, exports: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    begin(compose("mle", "toy", ("mle.steps=2",)), "mle", corpus, out, quiet)
    with pytest.raises(RunError, match="begun without feedback"):
        resume(out, quiet, feedback=exports)


@pytest.mark.parametrize("recipe", ["mle", "gan", "gumbel", "wgan"])
def test_recipes_without_a_judge_of_replies_refuse_feedback(
    corpus: Path, exports: list[Path], tmp_path: Path, recipe: str
) -> None:
    with pytest.raises(ConfigError, match=f"--feedback teaches the discriminator.*; {recipe} has none"):
        begin(compose(recipe, "toy", ()), recipe, corpus, tmp_path / "run", quiet, exports)
    assert not (tmp_path / "run").exists()


def test_feedback_that_cannot_be_used_leaves_no_run(corpus: Path, tmp_path: Path) -> None:
    bad = write(tmp_path / "bad.jsonl", preference(), {"winner": "a"})
    equal = write(tmp_path / "equal.jsonl", preference(chosen="a", rejected="a"))
    for path, said_so in ((bad, r"bad.jsonl, line 2"), (equal, "nothing to learn from: 1 preferences between equal")):
        with pytest.raises(FeedbackError, match=said_so):
            begin(compose("cseqgan", "toy", SETTINGS), "cseqgan", corpus, tmp_path / "run", quiet, [path])
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("recipe", ["seqgan", "judged"])
def test_the_other_recipes_with_a_judge_learn_from_feedback(
    corpus: Path, exports: list[Path], tmp_path: Path, recipe: str
) -> None:
    settings = (*SETTINGS, "adversarial.steps=2", "adversarial.rollouts=1", "discriminator.steps=2", "mle.steps=4")
    begin(compose(recipe, "toy", settings), recipe, corpus, tmp_path / "run", quiet, exports)
    assert "d_feedback_agreement" in read_config(tmp_path / "run" / "bundle")["info"]["metrics"]
