"""Do the board's 95 % intervals hold the truth in 95 % of the studies? Simulated studies whose truth is known.

    python -m benchmarks.coverage [--quick] [--json FILE] [--runs N] [--seed N]

Each run draws new raters, contexts and votes from `population`, leaves out the raters whom the study's rules fail, and
ranks the systems. What must be covered is said in `Population.true_strengths`: the log-strength of a ranked system
minus the mean of the ranked ones, as infinitely many honest votes would have it. Two simpler intervals are counted
beside ours: from single votes, as most leaderboards have them, and the wider of raters and contexts, not widened.
"""

import argparse
import json
import platform
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy import stats

from app.statistics.battles import Battles
from app.statistics.biases import same_system_test
from app.statistics.clusters import DRAWS
from app.statistics.proportions import wilson
from app.statistics.quality import Rules, failed, judge_rater
from app.statistics.ranking import rank_systems
from app.statistics.resampling import drawn_tables, tables_of_drawn_battles
from app.statistics.strengths import fit_many
from benchmarks.population import BETTER, EVEN, LOOSE, NAMES, NEARLY_EVEN, Design, Population, draw_study

Floats = npt.NDArray[np.float64]

SCENARIOS: Final = {
    "30 raters, 120 contexts": Design(),
    "10 raters, 60 contexts": Design(honest=9, side_biased=1, clickers=0, contexts=60, items_of_a_pair=50, gold=20),
}
QUICK_RUNS: Final = 30
RUNS: Final = 300


@dataclass(frozen=True)
class Run:
    """What one simulated study gave: for each ranked system whether the interval of each method held the truth."""

    standings: tuple[str, ...]
    held: dict[int, dict[str, bool]]
    width: dict[int, float]
    """Of our interval, for each ranked system."""
    outcomes: Counter[tuple[str, str]]
    """How many raters of which kind each check excluded."""
    same_system_p: float


def one_run(population: Population, design: Design, seed: int, run: int) -> Run:
    """Simulate one study and analyse it."""
    rng = np.random.default_rng([seed, run])
    study = draw_study(population, design, rng)
    verdicts = [failed(judge_rater(conduct, Rules())) for conduct in study.conduct]
    kept = np.array([verdict is None for verdict in verdicts])
    battles = study.votes.battles(kept)
    found = rank_systems(battles, rng)
    ranked = [system for system, one in enumerate(found) if one.standing == "ranked"]
    held: dict[int, dict[str, bool]] = {system: {} for system in ranked}
    if ranked:
        truth = population.true_strengths(ranked, _met(design, study.loose_items)[np.ix_(ranked, ranked)])
        simpler = _simpler_intervals(battles.among(ranked), rng)
        for place, (system, true) in enumerate(zip(ranked, truth, strict=True)):
            one = found[system]
            assert one.low is not None
            assert one.high is not None
            assert one.strength is not None
            held[system]["ours"] = bool(one.low <= true <= one.high)
            for method, reach in simpler.items():
                held[system][method] = bool(abs(one.strength - true) <= reach[place])
    same = study.same_system
    honest = kept[same.rater]
    tested = same_system_test(1 - same.choice[honest] / 2, same.context[honest], rng)
    assert tested is not None
    return Run(
        standings=tuple(one.standing for one in found),
        held=held,
        width={system: (found[system].high or 0.0) - (found[system].low or 0.0) for system in ranked},
        outcomes=Counter(
            (design.kind_of(rater), verdict.check if verdict else "kept") for rater, verdict in enumerate(verdicts)
        ),
        same_system_p=tested.p,
    )


def summary(runs: list[Run]) -> dict[str, Any]:
    """Return what `runs` say together."""
    systems = {}
    for system, name in enumerate(NAMES):
        intervals = [run.held[system] for run in runs if system in run.held]
        systems[name] = {
            "standings": dict(sorted(Counter(run.standings[system] for run in runs).items())),
            "coverage": {method: _share(sum(one[method] for one in intervals), len(intervals)) for method in _METHODS},
            "mean_width": _rounded(float(np.mean([run.width[system] for run in runs if system in run.held])))
            if intervals
            else None,
        }
    everything = [one for run in runs for one in run.held.values()]
    outcomes: Counter[tuple[str, str]] = sum((run.outcomes for run in runs), Counter())
    significant = sum(run.same_system_p <= 0.05 for run in runs)
    return {
        "runs": len(runs),
        "systems": systems,
        "coverage": {method: _share(sum(one[method] for one in everything), len(everything)) for method in _METHODS},
        "raters": {
            kind: {check: count for (of_kind, check), count in sorted(outcomes.items()) if of_kind == kind}
            for kind in sorted({kind for kind, _ in outcomes})
        },
        "same_system_significant_at_5_percent": _share(significant, len(runs)),
    }


_METHODS: Final = ("ours", "wider of raters and contexts", "single votes")


def _simpler_intervals(battles: Battles, rng: np.random.Generator) -> dict[str, Floats]:
    """Return the half-widths [S] of intervals as others make them, around the same strengths."""
    normal = float(stats.norm.ppf(0.975))
    rater, context = (
        normal * fit_many(drawn_tables(battles, cluster, rng, DRAWS)).std(axis=0)
        for cluster in (battles.rater, battles.context)
    )
    single = normal * fit_many(tables_of_drawn_battles(battles, rng, DRAWS)).std(axis=0)
    return {"wider of raters and contexts": np.maximum(rater, context), "single votes": single}


def _met(design: Design, loose_items: int) -> Floats:
    """Return how many items each pair of systems met in."""
    met = np.zeros((len(NAMES), len(NAMES)))
    core = np.ix_((EVEN, NEARLY_EVEN, BETTER), (EVEN, NEARLY_EVEN, BETTER))
    met[core] = design.items_of_a_pair * (1 - np.eye(3))
    met[BETTER, LOOSE] = met[LOOSE, BETTER] = loose_items
    return met


def _share(part: int, whole: int) -> dict[str, Any]:
    interval = wilson(part, whole)
    if interval is None:
        return {"share": None, "of": 0}
    low, high = interval
    return {"share": _rounded(part / whole), "of": whole, "low": _rounded(low), "high": _rounded(high)}


def _rounded(number: float) -> float:
    return round(number, 4)


def main(argv: list[str] | None = None) -> None:
    """Run the experiment and print it, or write it to a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coverage", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} runs of each scenario: no claim")
    parser.add_argument("--runs", type=int, default=None, help=f"runs of each scenario; {RUNS} by default")
    parser.add_argument("--seed", type=int, default=6)
    parser.add_argument("--json", type=Path, default=None, help="write the result there")
    options = parser.parse_args(argv)
    runs = options.runs or (QUICK_RUNS if options.quick else RUNS)
    began = time.perf_counter()
    population = Population()
    result = {
        "seed": options.seed,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": f"{platform.machine()}, {platform.system()}, one core",
        "population": asdict(population),
        "scenarios": {
            name: {
                "design": asdict(design),
                **summary([one_run(population, design, options.seed, run) for run in range(runs)]),
            }
            for name, design in SCENARIOS.items()
        },
    }
    result["seconds"] = round(time.perf_counter() - began, 1)
    text = json.dumps(result, indent=2) + "\n"
    if options.json is None:
        sys.stdout.write(text)
    else:
        options.json.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
