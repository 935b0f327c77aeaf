"""A comparison in one honest sentence, made from its numbers alone."""

from typing import Final

from training.evaluation.measures import measure
from training.evaluation.sweep import MATCHED, NEEDED, Comparison

SEEDS: Final = 3
"""Training seeds of a system that a claim needs."""

_BETTER: Final = {
    "adver_suc": ("are taken for human more often than those of", "are taken for human less often than those of"),
    "relevance": ("fit their contexts better than those of", "fit their contexts less than those of"),
    "forward": ("are more fluent to an n-gram model than those of", "are less fluent to an n-gram model than those of"),
}


def sentence(comparison: Comparison, name: str) -> str:
    """Return what the comparison by the measure `name` shows."""
    system, baseline = comparison.system, comparison.baseline
    better, worse = _BETTER.get(name, (f"score more in {measure(name).label} than those of",
                                       f"score less in {measure(name).label} than those of"))  # fmt: skip
    if comparison.overlap is None:
        return (
            f"Nothing can be said: the replies of {system} and {baseline} are never equally diverse at the "
            "temperatures tried, so there is no point at which to compare them."
        )
    each = measure(name)
    differences = [point.difference.mean for point in comparison.points]
    span = f"by {each.difference(min(differences))} to {each.difference(max(differences))}"
    counted = f"at {{}} of {MATCHED} points of equal diversity the 95 % interval is {{}} zero"
    if comparison.verdict == "beats":
        said = f"Replies of {system} {better} {baseline}, {span}: " + counted.format(comparison.better, "above")
    elif comparison.verdict == "loses":
        said = f"Replies of {system} {worse} {baseline}, {span}: " + counted.format(comparison.worse, "below")
    else:
        said = (
            f"No difference between {system} and {baseline} is shown: better at {comparison.better}, worse at "
            f"{comparison.worse} of {MATCHED} points of equal diversity, {NEEDED} are needed ({span})"
        )
    return f"{said}."


def caution(seeds: int) -> str:
    """Return how far comparisons of systems with so many training seeds, the smaller number of both, carry."""
    if seeds >= SEEDS:
        return ""
    counted = "one training seed" if seeds == 1 else f"{seeds} training seeds"
    return (
        f"From {counted}: the intervals do not tell how much another run of the same recipe would differ. "
        f"A claim needs at least {SEEDS} seeds of each system, and the placebo beside them."
    )
