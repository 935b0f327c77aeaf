"""What people found, beside the measures: joined by weights and decoding, with honest correlations."""

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.training.evaluation.test_report import made_up_report
from training.errors import FeedbackError
from training.evaluation.human import beside, note, read_all, read_results
from training.evaluation.page import render
from training.evaluation.report import HumanStudy, Row, Value, to_csv, to_json
from training.evaluation.sampling import Setting

NAMES = "ABCD"
COOL = Setting(0.7)


def judged(name: str, digest: str, strength: float | None, **decoding: Any) -> dict[str, Any]:
    """Return a system as a study's results name it, decoded as the service does by default."""
    plain = {
        "temperature": 0.7, "top_k": 0, "top_p": 1.0, "repetition_penalty": 1.0, "no_repeat_ngram": 0, "min_tokens": 1,
        "max_tokens": None, "best_of": None,
    }  # fmt: skip
    return {
        "name": name, "kind": "checkpoint", "weights_sha256": digest, "decoding": {**plain, **decoding},
        "strength": strength, "low": None if strength is None else strength - 0.5,
        "high": None if strength is None else strength + 0.5, "rank": 1, "judgements": 40,
    }  # fmt: skip


def people(strength: float) -> dict[str, Any]:
    return {**judged("human", "", strength), "kind": "human", "weights_sha256": None, "decoding": {}}


def results(path: Path, *systems: Mapping[str, Any], study: Any = "first", **more: Any) -> Path:
    tree = {
        "study": study,
        "kind": "pair",
        "measure": "log-strength",
        "analysis": 3,
        "rules": {},
        "systems": list(systems),
        "pairs": [],
        **more,
    }
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


SYSTEMS = [
    {"name": name, "best_of": best_of, "bundles": [{"digest": f"{name[0]}{seed}"} for seed in range(2)]}
    for name, best_of in (("A", 1), ("A + best of 8 by D", 8), ("B", 1), ("C", 1), ("D", 1))
]
ROWS = [
    Row(str(system["name"]), seed, setting, {"adver_suc": Value(place + seed / 10), "length": Value(3.0)})
    for place, system in enumerate(SYSTEMS)
    for seed in range(2)
    for setting in (COOL, Setting())
] + [Row("human", 0, Setting(), {"adver_suc": Value(50.0), "length": Value(9.0)})]


def joined(tmp_path: Path, *systems: Mapping[str, Any]) -> HumanStudy:
    found = read_results(results(tmp_path / "results.json", *systems))
    return beside(found, SYSTEMS, ROWS, ("adver_suc", "length", "relevance"), reply_tokens=24)


def test_a_system_is_joined_by_weights_seed_candidates_and_setting(tmp_path: Path) -> None:
    study = joined(
        tmp_path,
        judged("anything", "B1", 0.3),
        judged("hot", "A0", 0.1, temperature=1.0),
        judged("reranked", "A0", 0.4, best_of=8),
        judged("long enough", "C0", 0.2, max_tokens=24),
        people(1.0),
    )
    assert [(row.system, row.seed, row.setting) for row in study.systems] == [
        ("B", 1, COOL), ("A", 0, Setting()), ("A + best of 8 by D", 0, COOL), ("C", 0, COOL), ("human", 0, Setting())
    ]  # fmt: skip
    assert not any(row.missing for row in study.systems)
    assert (study.study, study.analysis, study.n) == ("first", 3, 4)


@pytest.mark.parametrize(
    ("system", "why"),
    [
        (judged("x", "Z9", 1.0), "these weights take no part in the evaluation"),
        (judged("x", "B0", 1.0, best_of=8), "best of 8 was not evaluated"),
        (judged("x", "B0", 1.0, top_k=40), "decoded with top_k 40"),
        (judged("x", "B0", 1.0, max_tokens=5), "decoded with max_tokens 5"),
        (judged("x", "B0", 1.0, temperature=0.65), "not evaluated at temperature 0.65"),
        (judged("x", "B0", 1.0, top_p=0.9), "not evaluated at temperature 0.7, top-p 0.9"),
        ({**judged("x", "", 1.0), "kind": "baseline"}, "no checkpoint"),
    ],
)
def test_what_was_not_measured_of_the_same_says_why(tmp_path: Path, system: dict[str, Any], why: str) -> None:
    (row,) = joined(tmp_path, system).systems
    assert (row.system, row.seed, row.setting, row.missing) == (None, None, None, why)
    assert row.strength == 1.0


def test_correlations_are_over_machine_systems_with_a_strength(tmp_path: Path) -> None:
    # adver_suc of A, B, C, D at seed 0 is 0, 2, 3, 4; people order them A, C, B, D: one neighbouring pair swapped.
    strengths = {"A0": 0.1, "B0": 0.5, "C0": 0.4, "D0": 0.9}
    machines = [judged(digest, digest, strength) for digest, strength in strengths.items()]
    study = joined(tmp_path, *machines, people(-5.0), judged("unconnected", "A1", None),
                   judged("gone", "Z0", 3.0), {**judged("loose", "B1", 9.0), "standing": "loose"})  # fmt: skip
    assert study.n == 4
    by_name = {row.measure: row for row in study.correlations}
    assert by_name["adver_suc"].n == 4
    assert by_name["adver_suc"].spearman == pytest.approx(0.8)
    assert by_name["adver_suc"].kendall == pytest.approx(4 / 6)
    assert by_name["length"].spearman is None  # all are of the same length: no order to agree with
    assert "relevance" not in by_name  # nothing has it


def test_few_systems_are_said_to_be_few() -> None:
    assert "no correlation" in note(0)
    assert "2 machine systems" in note(2)
    assert "once in 6 times" in note(3)
    assert "once in 24 times" in note(4)
    assert note(5) == ""


def test_two_systems_are_shown_without_a_correlation(tmp_path: Path) -> None:
    study = joined(tmp_path, judged("a", "A0", 1.0), judged("b", "B0", 2.0))
    assert study.correlations == ()
    assert "no correlation" in study.note


@pytest.mark.parametrize(
    ("text", "said_so"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "not the results of a study"),
        ('{"study": "x"}', "not the results of a study"),
        ('{"study": "x", "systems": []}', "no system has a strength"),
        ('{"study": 3, "systems": []}', "study is 3"),
        ('{"study": "x", "systems": [4]}', "systems[0] is no object"),
        (json.dumps({"study": "x", "systems": [{**judged("a", "A0", 1.0), "name": None}]}), "systems[0].name is None"),
        (json.dumps({"study": "x", "systems": [{**judged("a", "A0", 1.0), "standing": 1}]}), "standing is 1"),
        (json.dumps({"study": "x", "systems": [{**judged("a", "A0", 1.0), "low": "?"}]}), "systems[0].low is '?'"),
        (json.dumps({"study": "x", "systems": [judged("a", "A0", float("nan"))]}), "expected a finite number"),
        (json.dumps({"study": "x", "systems": [judged("a", "A0", 1.0, temperature="hot")]}), "temperature is 'hot'"),
        (json.dumps({"study": "x", "systems": [judged("a", "A0", None)]}), "no system has a strength"),
    ],
)
def test_what_is_no_result_of_a_study_is_named(tmp_path: Path, text: str, said_so: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(FeedbackError) as error:
        read_results(path)
    assert said_so in str(error.value)
    assert str(path) in str(error.value)


def test_one_study_cannot_be_named_twice_and_all_together_have_a_name(tmp_path: Path) -> None:
    one = results(tmp_path / "1.json", judged("a", "A0", 1.0))
    two = results(tmp_path / "2.json", judged("a", "A0", 2.0))
    board = results(tmp_path / "3.json", judged("a", "A0", 2.0), study=None)
    with pytest.raises(FeedbackError, match="results of the same study, 'first'"):
        read_all([one, two])
    assert [r.name for r in read_all([one, board])] == ["first", "all studies"]
    with pytest.raises(FeedbackError, match="cannot be read"):
        read_all([tmp_path / "none.json"])


def test_page_json_and_csv_show_them(tmp_path: Path) -> None:
    evil = results(tmp_path / "r.json", judged("<b>bot</b>", "MLE0", 1.25), people(2.0), study="<i>study</i>")
    report = made_up_report()
    systems = [{"name": "MLE", "best_of": 1, "bundles": [{"digest": "MLE0"}]}]
    rows = [*report.rows, Row("MLE", 0, COOL, {"adver_suc": Value(0.31), "forward": Value(-4.0)})]
    study = beside(read_results(evil), systems, rows, ("adver_suc",), 24)
    shown = made_up_report(rows=rows, human=[study])
    page = render(shown)
    assert "What people found" in page
    assert "&lt;b&gt;bot&lt;/b&gt;" in page
    assert "&lt;i&gt;study&lt;/i&gt;" in page
    assert "<b>bot" not in page
    assert "31.0%" in page
    assert "log-strength" in page
    assert "1.25<small>0.75 … 1.75</small>" in page
    assert "no correlation" in page
    (tree,) = json.loads(to_json(shown))["human"]
    assert tree["systems"][0]["strength"] == 1.25
    assert tree["systems"][0]["setting"] == {"temperature": 0.7, "top_p": 1.0}
    lines = list(csv.DictReader(io.StringIO(to_csv(shown))))
    column = "human strength (<i>study</i>)"
    assert [(line["system"], line["temperature"], line[column]) for line in lines if line[column]] == [
        ("MLE", "0.7", "1.25")
    ]
    assert lines[-1][f"{column} low"] == "0.75"
    assert "What people found" not in render(made_up_report())
