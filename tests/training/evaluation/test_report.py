"""The report's files: every number finite or null, one CSV line for each row."""

import csv
import io
import json
import math
from typing import Any

from training.evaluation.intervals import Interval
from training.evaluation.measures import MEASURES, described
from training.evaluation.report import (
    ComparisonRow,
    ControlRow,
    Curve,
    EvaluatorRow,
    MatchedDifference,
    Report,
    Row,
    Sample,
    TrainingRun,
    Value,
    to_csv,
    to_json,
)
from training.evaluation.sampling import Setting

NAMES = ("MLE", "<b>GAN</b> 猫")


def made_up_report(**changes: Any) -> Report:
    """Return a report of two systems with an entry of every kind; the second one's name needs escaping."""
    settings = (Setting(0.5), Setting(), Setting(1.2))

    def values(offset: float) -> dict[str, Value]:
        curved = {"distinct_2": 0.4 + offset, "adver_suc": 0.4 - offset, "relevance": 0.2, "forward": -4 - offset}
        found = {name: Value(number, number - 0.01, number + 0.01) for name, number in curved.items()}
        return {**found, "perplexity": Value(40 + offset), "top_1": Value(None)}

    rows = [Row(name, 0, s, values(s.temperature / 10)) for name in NAMES for s in settings]
    humans = [Row(name, None, Setting(), {"adver_suc": Value(0.5), "relevance": Value(0.3)})
              for name in ("human", "human shuffled")]  # fmt: skip
    point = MatchedDifference(0.45, 0.41, 0.40, Value(0.01, -0.02, 0.04))
    made = {
        "created": "2024-01-02T03:04:05+00:00",
        "parameters": {"test_contexts": 1000, "data": "talk", "settings": 11, "distinct_tokens": 4500, "draws": 1000},
        "measures": described(),
        "systems": [{"name": name, "best_of": 1, "bundles": [{"path": "x"}]} for name in NAMES],
        "rows": rows,
        "summaries": [*(Row(name, None, Setting(), values(0.1)) for name in NAMES), *humans],
        "curves": [Curve(name, tuple(row for row in rows if row.system == name)) for name in NAMES],
        "comparisons": [
            ComparisonRow(NAMES[1], "MLE", name, (0.4, 0.5), (point,) * 5, Value(0.1, 0, 0.2), 0, 0, "neither",
                          "No difference is shown.", 1)
            for name in ("adver_suc", "relevance", "forward")
        ],
        "evaluators": [EvaluatorRow("MLE", 0, Setting(), "ngrams", "length_matched", None, None, Value(None))],
        "controls": [ControlRow("ngrams", "accuracy, human against human", 0.51, ".5")],
        "samples": [Sample(("Hello", "<script>alert(1)</script>"), {"human": "Hi", "MLE": "", NAMES[1]: "&"})],
        "training": [TrainingRun("gan", NAMES[1:], {"adversarial: gradient_norm": [(0, 1.0), (10, 1e-6)]})],
    }  # fmt: skip
    return Report(**{**made, **changes})


def test_json_has_every_part_and_no_number_that_is_none() -> None:
    tree = json.loads(to_json(made_up_report(rows=[Row("a", 0, Setting(), {"x": Value(math.nan, -math.inf, 1.0)})])))
    assert list(tree) == [
        "format", "created", "parameters", "measures", "systems", "rows", "summaries", "curves", "comparisons",
        "evaluators", "controls", "samples", "training", "human",
    ]  # fmt: skip
    (row,) = tree["rows"]
    assert row["values"] == {"x": {"value": None, "low": None, "high": 1.0}}
    assert row["setting"] == {"temperature": 1.0, "top_p": 1.0}
    assert tree["samples"][0]["replies"]["<b>GAN</b> 猫"] == "&"


def test_csv_has_a_line_for_each_row_and_columns_for_intervals() -> None:
    lines = list(csv.DictReader(io.StringIO(to_csv(made_up_report()))))
    assert len(lines) == 6
    assert lines[0]["system"] == "MLE"
    assert (lines[0]["temperature"], lines[0]["top_p"]) == ("0.5", "1.0")
    assert float(lines[0]["distinct_2"]) == 0.45
    assert float(lines[0]["distinct_2_low"]) == 0.45 - 0.01
    assert lines[0]["top_1"] == ""
    assert "perplexity" in lines[0]
    assert "perplexity_low" not in lines[0]


def test_a_value_is_a_number_or_an_interval() -> None:
    assert Value.of(Interval(1.0, 0.5, 2.0)) == Value(1.0, 0.5, 2.0)
    assert Value.of(None) == Value(None)


def test_every_measure_is_described_once() -> None:
    names = [measure["name"] for measure in described()]
    assert len(names) == len(set(names)) == len(MEASURES)
    assert all(measure["meaning"] for measure in described())
