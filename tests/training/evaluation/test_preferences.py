"""Does a system's own D agree with people? Measured only where it cannot have learnt the answer."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chatbot.bundle import load_bundle, save_bundle
from tests.training.evaluation.test_human import judged, people, results
from tests.training.evaluation.test_protocol import TINY
from tests.training.evaluation.test_systems import make_bundle
from tests.training.feedback.test_reading import preference, thumb, write
from training.errors import FeedbackError
from training.evaluation.preferences import agreements, preferences_to_measure
from training.evaluation.protocol import evaluate
from training.evaluation.systems import System, SystemSpec
from training.feedback.records import Preference, is_kept_out

CPU = torch.device("cpu")


def bundle(path: Path, tokenizer: Path, *, seed: int, judged: bool = True, **info: Any) -> Path:
    made = load_bundle(make_bundle(path, tokenizer, seed=seed, judged=judged))
    save_bundle(replace(made, info=info), path)
    return path


@pytest.fixture(scope="module")
def systems(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> list[System]:
    """Give a system that knows no feedback, one without D, and one whose run held out a tenth."""
    folder, tokenizer = tmp_path_factory.mktemp("judges"), corpus / "tokenizer.json"
    told = {"feedback": {"held_out_share": 0.1}, "metrics": {"d_feedback_agreement": 0.75}}
    return [
        System("plain", (bundle(folder / "plain", tokenizer, seed=0),)),
        System("no judge", (bundle(folder / "none", tokenizer, seed=1, judged=False),)),
        System("told", (bundle(folder / "told", tokenizer, seed=2, **told),)),
        System("told + best of 2 by D", (folder / "told",), 2),
    ]


def exported(path: Path, count: int = 200) -> Path:
    rows = [preference(f"q {i}", "the cow says moo", "woof") for i in range(count)]
    return write(path, *rows, thumb("q"))


def test_only_what_no_run_learnt_from_is_asked(systems: list[System], tmp_path: Path) -> None:
    path = exported(tmp_path / "a.jsonl")
    assert len(preferences_to_measure([path], systems[:2])) == 200
    kept = preferences_to_measure([path], systems)
    assert 5 < len(kept) < 40
    assert all(is_kept_out(p.turns, 0.1) for p in kept)
    with pytest.raises(FeedbackError, match="no preference to measure agreement on"):
        preferences_to_measure([write(tmp_path / "b.jsonl", thumb())], systems)


def test_each_judge_is_asked_once_a_twin_has_its_own_and_nobody_else_any(systems: list[System]) -> None:
    one = Preference(("a", "b"), "moo", "woof woof")
    turned = Preference(("c",), one.rejected, one.chosen)
    found = agreements(systems, [one, Preference(("c",), one.chosen, one.rejected), turned], "fp32", CPU)
    assert set(found) == {("plain", 0), ("told", 0), ("told + best of 2 by D", 0)}
    for values in found.values():
        assert values[0] in (0.0, 1.0)
        assert values[1] == 0.5  # whatever D thinks, it agrees with one of two who disagree
    assert np.array_equal(found["told", 0], found["told + best of 2 by D", 0])
    other = agreements(systems, [Preference(one.turns, one.rejected, one.chosen)], "fp32", CPU)
    assert other["plain", 0][0] == 1 - found["plain", 0][0]


def test_without_an_export_a_runs_own_figure_stands(systems: list[System]) -> None:
    found = agreements(systems, (), "fp32", CPU)
    assert {key: values.tolist() for key, values in found.items()} == {
        ("told", 0): [0.75], ("told + best of 2 by D", 0): [0.75]
    }  # fmt: skip


def test_a_report_takes_up_what_people_said_even_after_it_was_made(
    systems: list[System], corpus: Path, tmp_path: Path
) -> None:
    specs = [SystemSpec(s.name, s.bundles[0]) for s in systems[:3]]
    plain = evaluate(specs, corpus, tmp_path / "report", TINY)
    assert {r.system for r in plain.summaries if "feedback_agreement" in r.values} == {"told", "told + best of 2 by D"}
    assert plain.summary("told")["feedback_agreement"].value == 0.75
    digests = {s["name"]: s["bundles"][0]["digest"] for s in plain.systems}
    study = results(
        tmp_path / "results.json", people(2.0), judged("x", digests["plain"], 0.5, temperature=0.5),
        judged("y", digests["no judge"], 0.1, temperature=1.0), judged("z", digests["told"], 0.9, temperature=1.0),
        judged("z8", digests["told"], 1.1, temperature=1.0, best_of=2),
    )  # fmt: skip
    options = replace(TINY, feedback=(exported(tmp_path / "a.jsonl"),), human=(study,))
    report = evaluate(specs, corpus, tmp_path / "report", options)
    told = {row.system for row in report.summaries if "feedback_agreement" in row.values}
    assert told == {"plain", "plain + best of 2 by D", "told", "told + best of 2 by D"}
    agreed = report.summary("plain")["feedback_agreement"]
    assert agreed.value is not None
    assert agreed.low is not None
    assert 0 <= agreed.low <= agreed.value
    (found,) = report.human
    assert [row.system for row in found.systems] == ["human", "plain", "no judge", "told", "told + best of 2 by D"]
    assert found.n == 4
    assert {"adver_suc", "relevance", "length"} <= {row.measure for row in found.correlations}
    tree = json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))
    assert tree["human"][0]["correlations"][0]["n"] == 4
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "Feedback agreement" in page
    assert "What people found" in page
    assert "human strength (first)" in (tmp_path / "report" / "report.csv").read_text(encoding="utf-8").splitlines()[0]


def test_bad_input_leaves_nothing(systems: list[System], corpus: Path, tmp_path: Path) -> None:
    specs = [SystemSpec("plain", systems[0].bundles[0])]
    bad = write(tmp_path / "bad.jsonl", {"winner": "a"})
    for options in (replace(TINY, feedback=(bad,)), replace(TINY, human=(bad,))):
        with pytest.raises(FeedbackError, match=r"bad\.jsonl"):
            evaluate(specs, corpus, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()
