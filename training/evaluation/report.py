"""The report of an evaluation: every number with its interval, as `report.json` and as one CSV.

`report.json` holds

    format, created
    parameters    all that decided the numbers: options, data, tokenizer, sizes, precision, tokens distinct-n is over
    measures      name, label, better ("higher", "lower" or ""), meaning
    systems       name, best_of, and for each training seed its bundle's path, digest and what its card knows
    rows          one for each system, training seed and setting: values
    summaries     one for each system at temperature 1, over all its training seeds: values
    curves        one for each system: its points, one for each temperature, over all seeds: setting and values
    comparisons   system, baseline, measure, overlap, points, volume, better, worse, verdict, sentence, seeds
    evaluators    fresh evaluators at their settings: kind, variant, accuracy, auc, adver_suc
    controls      the evaluators themselves put to the test
    samples       contexts (turns) with the reply of each system at temperature 1
    training      the logged curves of the runs that the bundles lie in
    human         what people found in studies, one entry for each: its systems with strengths, joined by weights and
                  decoding with a row's system, seed and setting (null where there is none, and why), and the rank
                  correlations of strengths and measures over the machine systems

`values` is {measure: {value, low, high}}; low and high, the 95 % interval, are null where there is none. Every
number is finite or null. Knows no measure and no plot.
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

from training.evaluation.intervals import Interval
from training.evaluation.sampling import Setting

FORMAT: Final = 1
JSON_NAME: Final = "report.json"
CSV_NAME: Final = "report.csv"
PAGE_NAME: Final = "report.html"


@dataclass(frozen=True)
class Value:
    """A number, and the interval it lies in with 95 % where there is one."""

    value: float | None
    low: float | None = None
    high: float | None = None

    @classmethod
    def of(cls, number: "Interval | float | None") -> "Value":
        """Return a plain number or an interval as a value."""
        return cls(number.mean, number.low, number.high) if isinstance(number, Interval) else cls(number)


Values = Mapping[str, Value]


@dataclass(frozen=True)
class Row:
    """The measures of one system, training seed (None: all of them together) and setting."""

    system: str
    seed: int | None
    setting: Setting
    values: Values


@dataclass(frozen=True)
class Curve:
    """A system's points over the temperatures."""

    system: str
    points: tuple[Row, ...]


@dataclass(frozen=True)
class MatchedDifference:
    """System and baseline at equal diversity."""

    distinct_2: float
    system: float
    baseline: float
    difference: Value


@dataclass(frozen=True)
class ComparisonRow:
    """A system against the baseline by one measure."""

    system: str
    baseline: str
    measure: str
    overlap: tuple[float, float] | None
    points: tuple[MatchedDifference, ...]
    volume: Value | None
    better: int
    worse: int
    verdict: Literal["beats", "loses", "neither", "apart"]
    sentence: str
    seeds: int
    """The smaller number of training seeds of the two systems."""


@dataclass(frozen=True)
class EvaluatorRow:
    """What one fresh evaluator said of one system at one setting."""

    system: str
    seed: int
    setting: Setting
    kind: str
    variant: str
    accuracy: float | None
    auc: float | None
    adver_suc: Value


@dataclass(frozen=True)
class ControlRow:
    """A fresh evaluator on a question whose answer is known."""

    kind: str
    name: str
    value: float
    expected: str


@dataclass(frozen=True)
class Sample:
    """One context and what each system replied."""

    context: tuple[str, ...]
    replies: Mapping[str, str]


@dataclass(frozen=True)
class TrainingRun:
    """What a run logged: for each stage and metric its (step, value) pairs."""

    run: str
    systems: tuple[str, ...]
    series: Mapping[str, Sequence[tuple[float, float]]]


@dataclass(frozen=True)
class HumanRow:
    """What people found of one system of a study, and the row of the report that was measured of the same."""

    name: str
    kind: str
    weights_sha256: str
    decoding: Mapping[str, Any]
    standing: str | None
    """Whether the strength is known (`ranked`) or why not, if the study's analysis says so."""
    strength: float | None
    low: float | None
    high: float | None
    rank: float | None
    judgements: float | None
    system: str | None
    seed: int | None
    setting: Setting | None
    missing: str
    """Why there is no such row; "" where there is one."""


@dataclass(frozen=True)
class CorrelationRow:
    """How the order by a measure agrees with that by people, over `n` systems; None where one side never varies."""

    measure: str
    n: int
    spearman: float | None
    kendall: float | None


@dataclass(frozen=True)
class HumanStudy:
    """A study's results beside the measures."""

    study: str
    kind: str
    measure: str
    """What a strength is."""
    analysis: int | str | None
    sha256: str
    """Of the file of results."""
    systems: tuple[HumanRow, ...]
    correlations: tuple[CorrelationRow, ...]
    n: int
    """Machine systems in both."""
    note: str
    """What is to be said of so few; "" where nothing is."""


@dataclass(frozen=True)
class Report:
    """All of it."""

    created: str
    parameters: Mapping[str, Any]
    measures: Sequence[Mapping[str, str]]
    systems: Sequence[Mapping[str, Any]]
    rows: Sequence[Row]
    summaries: Sequence[Row]
    curves: Sequence[Curve]
    comparisons: Sequence[ComparisonRow] = ()
    evaluators: Sequence[EvaluatorRow] = ()
    controls: Sequence[ControlRow] = ()
    samples: Sequence[Sample] = ()
    training: Sequence[TrainingRun] = ()
    human: Sequence[HumanStudy] = ()
    format: int = field(default=FORMAT)

    def summary(self, system: str) -> Values:
        """Return the values of a system at temperature 1; none for a system that is not there."""
        return next((row.values for row in self.summaries if row.system == system), {})


def to_json(report: Report) -> str:
    """Return the text of `report.json`."""
    tree = asdict(report)
    ordered = {"format": tree.pop("format"), **tree}
    return json.dumps(_finite(ordered), ensure_ascii=False, indent=1, allow_nan=False) + "\n"


def to_csv(report: Report) -> str:
    """Return one line for each system, training seed and setting; an interval is two more columns.

    What people found in a study is three columns behind the measures.
    """
    names = [
        measure["name"] for measure in report.measures if any(measure["name"] in row.values for row in report.rows)
    ]
    with_interval = {n for row in report.rows for n, value in row.values.items() if value.low is not None}
    columns = [c for n in names for c in ([n, f"{n}_low", f"{n}_high"] if n in with_interval else [n])]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    found = [(study, f"human strength ({study.study})") for study in report.human]
    people = [column for _, name in found for column in (name, f"{name} low", f"{name} high")]
    writer.writerow(["system", "seed", "temperature", "top_p", *columns, *people])
    for row in report.rows:
        cells: dict[str, float | None] = {}
        for name, value in row.values.items():
            cells |= {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
        for study, name in found:
            same = next(
                (h for h in study.systems if (h.system, h.seed, h.setting) == (row.system, row.seed, row.setting)), None
            )
            if same is not None:
                cells |= {name: same.strength, f"{name} low": same.low, f"{name} high": same.high}
        numbers = [_finite(cells.get(column)) for column in (*columns, *people)]
        writer.writerow([row.system, row.seed, row.setting.temperature, row.setting.top_p, *numbers])
    return text.getvalue()


def _finite(value: Any) -> Any:
    """Return `value` with every number that JSON has no word for as None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    return value
