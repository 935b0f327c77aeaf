"""What people found in a study, beside what was measured: joined by weights and decoding, with rank correlations.

Knows the results that the service gives of a study, and the rows of a report; computes no strength. S systems.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from training.errors import FeedbackError
from training.evaluation.correlation import kendall, spearman
from training.evaluation.report import CorrelationRow, HumanRow, HumanStudy, Row
from training.evaluation.sampling import Setting
from training.evaluation.systems import HUMAN

FEW: Final = 5
"""Systems below which a correlation says next to nothing."""
RANKED: Final = "ranked"
"""The standing of a system whose strength is known; of others (unbeaten, unconnected, loose) it would be a guess."""
LEAST: Final = 3
"""Systems below which there is no correlation: two are always in perfect order or its reverse."""
_PLAIN: Final[Mapping[str, Any]] = {
    "top_k": 0, "repetition_penalty": 1.0, "no_repeat_ngram": 0, "min_tokens": 1, "max_tokens": None
}  # fmt: skip
"""Of a decoding, what the sweep never varies, with the values that it draws at."""


@dataclass(frozen=True)
class HumanResults:
    """The results of one study as they were read."""

    path: Path
    sha256: str
    study: str | None
    kind: str
    measure: str
    """What a strength is; "" where the results do not say."""
    analysis: int | str | None
    systems: tuple[Mapping[str, Any], ...]

    @property
    def name(self) -> str:
        """Return what the study is called on pages; results without one are those of all studies together."""
        return self.study or "all studies"


def read_results(path: Path) -> HumanResults:
    """Return the results of a study (`rejoinder study results --json`).

    Raises FeedbackError, which names the file and the key, for what cannot be read as such.
    """
    try:
        content = path.read_bytes()
        tree = json.loads(content)
    except OSError as error:
        raise FeedbackError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, RecursionError) as error:
        raise FeedbackError(f"{path}: cannot be read as JSON ({error})") from None
    if not isinstance(tree, dict) or not isinstance(tree.get("systems"), list):
        raise FeedbackError(f"{path}: not the results of a study, expected an object with `systems`")
    for number, system in enumerate(tree["systems"]):
        _check(system, f"{path}: systems[{number}]")
    study, analysis = tree.get("study"), tree.get("analysis")  # the board over all studies has no name
    kind, measure = str(tree.get("kind") or ""), str(tree.get("measure") or "")
    if not (study is None or isinstance(study, str)) or not (analysis is None or isinstance(analysis, int | str)):
        raise FeedbackError(f"{path}: study is {study!r} and analysis {analysis!r}, expected a name and a number")
    if all(system.get("strength") is None for system in tree["systems"]):
        raise FeedbackError(f"{path}: no system has a strength, there is nothing to set beside the measures")
    digest = hashlib.sha256(content).hexdigest()
    return HumanResults(path, digest, study, kind, measure, analysis, tuple(tree["systems"]))


def read_all(paths: Sequence[Path]) -> list[HumanResults]:
    """Return the results of several studies. Raises FeedbackError when two go by one name."""
    found: list[HumanResults] = []
    for path in paths:
        results = read_results(path)
        if twin := next((other for other in found if other.name == results.name), None):
            raise FeedbackError(f"{path} and {twin.path} are results of the same study, {results.name!r}: name one")
        found.append(results)
    return found


def beside(
    results: HumanResults,
    systems: Sequence[Mapping[str, Any]],
    rows: Sequence[Row],
    measures: Sequence[str],
    reply_tokens: int,
) -> HumanStudy:
    """Return what people found of each system of the study with the row of the report that was measured of the same.

    `systems` are described as a report does it, `rows` are the report's; `reply_tokens` is its limit. The same means:
    equal weights, candidates, temperature and top-p, and nothing else in the decoding that the sweep does not vary.
    """
    joined = [_join(system, systems, rows, reply_tokens) for system in results.systems]
    correlations = [row for name in measures if (row := _correlate(joined, rows, name)) is not None]
    n = len(_machines(joined))
    return HumanStudy(
        results.name,
        results.kind,
        results.measure,
        results.analysis,
        results.sha256,
        tuple(joined),
        tuple(correlations),
        n,
        note(n),
    )


def note(n: int) -> str:
    """Return what is to be said of a correlation over `n` systems; "" where it stands by itself."""
    if n < LEAST:
        return f"{n} machine systems in both: no correlation, it takes at least {LEAST}"
    if n < FEW:
        return (
            f"only {n} systems: a measure that knows nothing puts them into perfect order once in {math.factorial(n)} "
            "times, and many measures are looked at. Take these correlations as a curiosity"
        )
    return ""


def _join(
    system: Mapping[str, Any], systems: Sequence[Mapping[str, Any]], rows: Sequence[Row], reply_tokens: int
) -> HumanRow:
    decoding = system["decoding"]
    setting = Setting(float(decoding.get("temperature", 1.0)), float(decoding.get("top_p", 1.0)))
    found: tuple[str, int] | None = None
    missing = ""
    if system["kind"] == "human":
        found, setting = (HUMAN, 0), Setting()
    elif system["kind"] != "checkpoint":
        missing = "no checkpoint"
    else:
        best_of = decoding.get("best_of") or 1
        same = [
            (str(s["name"]), seed, s["best_of"] == best_of)
            for s in systems
            for seed, bundle in enumerate(s["bundles"])
            if bundle["digest"] == system.get("weights_sha256")
        ]
        found = next(((name, seed) for name, seed, right in same if right), None)
        if not same:
            missing = "these weights take no part in the evaluation"
        elif found is None:
            missing = f"best of {best_of} was not evaluated"
        elif odd := [k for k, plain in _PLAIN.items() if not _as_swept(k, decoding.get(k, plain), plain, reply_tokens)]:
            found, missing = None, f"decoded with {', '.join(f'{k} {decoding[k]}' for k in odd)}"
    if found is not None and not any((r.system, r.seed, r.setting) == (*found, setting) for r in rows):
        found, missing = None, f"not evaluated at {setting}"
    return HumanRow(
        system["name"], system["kind"], system.get("weights_sha256") or "", decoding, system.get("standing"),
        system.get("strength"), system.get("low"), system.get("high"), system.get("rank"), system.get("judgements"),
        None if found is None else found[0], None if found is None else found[1],
        None if found is None else setting, missing,
    )  # fmt: skip


def _as_swept(key: str, value: Any, plain: Any, reply_tokens: int) -> bool:
    if key == "max_tokens":
        return value is None or (isinstance(value, int) and value >= reply_tokens)
    return bool(value == plain)


def _machines(joined: Sequence[HumanRow]) -> list[HumanRow]:
    """Return the systems that a correlation is over: those with a place in the order.

    Not people themselves: they need no measure to be told from machines.
    """
    return [
        row
        for row in joined
        if row.system not in (None, HUMAN) and row.strength is not None and row.standing in (None, RANKED)
    ]


def _correlate(joined: Sequence[HumanRow], rows: Sequence[Row], name: str) -> CorrelationRow | None:
    """Return the correlation of a measure with the strengths, over the systems that have both; None below LEAST."""
    values = {(row.system, row.seed, row.setting): row.values for row in rows}
    strengths, measured = [], []
    for row in _machines(joined):
        assert row.setting is not None  # it was joined
        value = values[row.system or "", row.seed, row.setting].get(name)
        if value is not None and value.value is not None and row.strength is not None:
            strengths.append(row.strength)
            measured.append(value.value)
    if len(strengths) < LEAST:
        return None
    return CorrelationRow(name, len(strengths), spearman(strengths, measured), kendall(strengths, measured))


def _check(system: Any, where: str) -> None:
    if not isinstance(system, dict):
        raise FeedbackError(f"{where} is no object")
    for key, kind, word in (("name", str, "text"), ("kind", str, "text"), ("decoding", dict, "an object")):
        if not isinstance(system.get(key), kind):
            raise FeedbackError(f"{where}.{key} is {system.get(key)!r}, expected {word}")
    for key in ("weights_sha256", "standing"):
        if not isinstance(system.get(key), str | None):
            raise FeedbackError(f"{where}.{key} is {system[key]!r}, expected text or null")
    for key in ("strength", "low", "high", "rank", "judgements"):
        value = system.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise FeedbackError(f"{where}.{key} is {value!r}, expected a number or null")
        if isinstance(value, float) and not math.isfinite(value):
            raise FeedbackError(f"{where}.{key} is {value!r}, expected a finite number or null")
    for key in ("temperature", "top_p", "best_of"):
        value = system["decoding"].get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise FeedbackError(f"{where}.decoding.{key} is {value!r}, expected a number")
