"""The simulated raters, and the experiment with them from end to end on tiny models."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tests.training.conftest import write_dialogues
from training.errors import ConfigError, RunError
from training.feedback.experiment import QUICK, FeedbackOptions, feedback_experiment
from training.feedback.experiment_table import table
from training.feedback.raters import TASTES, Judged, RaterOptions, prefer, thumb, write_export
from training.feedback.reading import read_feedback


def shown(count: int) -> list[Judged]:
    return [
        Judged((f"Hi {i}", "Hello", f"And {i}"), ("Why?", "So.") if i % 2 else ("So.", "Why?")) for i in range(count)
    ]


def test_a_group_prefers_what_it_likes_as_consistently_as_it_is_told(tmp_path: Path) -> None:
    rows = prefer(shown(2000), TASTES["question"], RaterOptions(consistency=0.9), 0)
    assert len(rows) == 2000
    liked = sum("?" in row["chosen"][0]["content"] for row in rows)
    assert 1750 < liked < 1850  # 1800 expected, standard deviation 13
    write_export(rows, tmp_path / "export.jsonl")
    feedback = read_feedback([tmp_path / "export.jsonl"])
    assert len(feedback.preferences) == 2000
    assert feedback.preferences[1].turns == ("Hi 1", "Hello", "And 1")


def test_alike_replies_are_ties_or_a_coins_choice() -> None:
    alike = [Judged(("Hi",), ("Why?", "How?"))] * 1000
    rows = prefer(alike, TASTES["question"], RaterOptions(guesses=0.5), 0)
    assert 420 < len(rows) < 580
    assert 0.4 < sum(row["chosen"][0]["content"] == "Why?" for row in rows) / len(rows) < 0.6


def test_thumbs_follow_the_taste(tmp_path: Path) -> None:
    rows = thumb(shown(1000), TASTES["question"], RaterOptions(consistency=1.0), 0)
    assert all(row["label"] == ("?" in row["completion"][0]["content"]) for row in rows)
    write_export(rows, tmp_path / "export.jsonl")
    assert sum(thumb.up for thumb in read_feedback([tmp_path / "export.jsonl"]).thumbs) == 500


@pytest.mark.parametrize(
    ("taste", "liked", "not_liked"),
    [("question", "Really?", "Really."), ("warm", "I LOVE it", "Gloves."), ("long", "a " * 12, "a " * 11)],
)
def test_tastes(taste: str, liked: str, not_liked: str) -> None:
    assert TASTES[taste](liked)
    assert not TASTES[taste](not_liked)


def test_unknown_tastes_and_arms_are_errors() -> None:
    with pytest.raises(ConfigError, match="unknown taste 'sweet', expected one of question, warm, long"):
        FeedbackOptions(taste="sweet")
    with pytest.raises(ConfigError, match="unknown arm 'legs'"):
        FeedbackOptions(arms=("legs",))


def test_the_experiment_runs_and_goes_on_where_it_was(tmp_path: Path) -> None:
    short = ("adversarial.steps=2", "discriminator.steps=2", "feedback.batch=8")
    options = replace(
        QUICK, source=str(write_dialogues(tmp_path / "d.jsonl")), vocabulary=320, limit=None, shown=40, tested=12,
        arms=("preferences", "placebo", "thumbs"), start=(*QUICK.start, "mle.steps=10"),
        settings=(*QUICK.settings, *short), taste="long", raters=RaterOptions(guesses=1.0),
    )  # fmt: skip
    out = tmp_path / "result.json"
    result = feedback_experiment(options, [0], out, lambda stage, share, line: None)
    assert [row["arm"] for row in result["rows"]] == ["start", "preferences", "placebo", "thumbs"]
    assert [row["feedback"] and row["feedback"]["shuffled"] for row in result["rows"]] == [None, False, True, False]
    assert result["rows"][1]["agreement"] is not None
    # Half of the raters' picks between equals agree, and nine tenths of the others.
    assert 0.3 < result["rows"][1]["most_agreement"] < 1
    assert {(d["arm"], d["baseline"]) for d in result["differences"]} == {
        ("preferences", "placebo"), ("preferences", "start"), ("placebo", "start"), ("thumbs", "start")
    }  # fmt: skip
    assert "preferences - placebo" in table(result)
    said: list[str] = []
    again = feedback_experiment(options, [0], out, lambda stage, share, line: said.append(line))
    assert (
        json.loads(json.dumps(again)) == json.loads(out.read_text(encoding="utf-8")) == json.loads(json.dumps(result))
    )
    assert not any(line.startswith(("adversarial", "discriminator: step", "raters")) for line in said)
    with pytest.raises(RunError, match="another experiment"):
        feedback_experiment(replace(options, tested=13), [0], out, lambda stage, share, line: None)


def test_parts_of_another_experiment_are_left_alone(tmp_path: Path) -> None:
    out, parts = tmp_path / "result.json", tmp_path / "result.parts"
    parts.mkdir()
    for found in ("{}", None):  # None: something is in the way that is no directory
        if found is None:
            (parts / "options.json").unlink()
            parts.rmdir()
            parts.write_text("in the way", encoding="utf-8")
        else:
            (parts / "options.json").write_text(found, encoding="utf-8")
        with pytest.raises(RunError, match="another experiment" if found else "cannot be used"):
            feedback_experiment(QUICK, [0], out, lambda stage, share, line: None)
    assert not out.exists()
