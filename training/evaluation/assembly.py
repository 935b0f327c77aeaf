"""From measured cells to the report's numbers: means with intervals, curves, comparisons.

Knows what was measured of every cell; draws and measures nothing. The same random halves of the contexts serve all
systems, so differences are paired. D draws, C test contexts, S training seeds, P settings.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from training.evaluation.drawing import Cell, Likelihood
from training.evaluation.intervals import percentile_interval
from training.evaluation.measures import CURVED
from training.evaluation.report import ComparisonRow, MatchedDifference, Row, Value, Values
from training.evaluation.report import Curve as CurveRows
from training.evaluation.resampling import Ids, NgramTable, half_means, random_halves
from training.evaluation.sampling import Setting
from training.evaluation.sweep import Curve, compare
from training.evaluation.verdicts import sentence
from training.evaluation.yardsticks import Judged, Swept, Tabled

Floats = npt.NDArray[np.float64]

_LEAST: Final = 1e-12


@dataclass(frozen=True)
class Measured:
    """All that is known of one cell; what belongs to temperature 1 only is None elsewhere."""

    ids: list[list[int]]
    """C replies in the data's tokens."""
    swept: Swept
    tabled: Tabled | None = None
    likelihood: Likelihood | None = None
    slow: Judged | None = None
    max_bleu: Floats | None = None
    """Of each context with several references."""
    agreement: Floats | None = None
    """Of D with people's preferences, of each of their contexts."""


@dataclass(frozen=True)
class Estimate:
    """A number from all contexts and from every half: `draws` [D], or None where no half was measured."""

    whole: float
    draws: Floats | None = None

    @property
    def value(self) -> Value:
        """Return it with its interval."""
        return Value(self.whole) if self.draws is None else Value.of(percentile_interval(self.whole, self.draws))


@dataclass
class Estimator:
    """Estimate the measures of cells over common halves [D, H] and `tokens` for distinct-n."""

    halves: Ids
    tokens: int
    _known: dict[Cell, dict[str, Estimate]] = field(default_factory=dict)

    def estimates(self, cell: Cell, measured: Measured) -> Mapping[str, Estimate]:
        """Return every measure of a cell by its name; made once."""
        if cell not in self._known:
            self._known[cell] = dict(self._estimate(measured))
        return self._known[cell]

    def _estimate(self, measured: Measured) -> Iterable[tuple[str, Estimate]]:
        swept = measured.swept
        yield "adver_suc", self._judged(swept.judged)
        yield "auc", Estimate(_known(swept.judged.auc))
        yield "relevance", self._mean(swept.reciprocal_rank)
        yield "forward", self._ratio(swept.forward, swept.forward_tokens)
        yield "self_bleu", Estimate(swept.self_bleu)
        yield "length", self._mean([len(ids) for ids in measured.ids])
        yield "distinct_2", self._distinct(measured.ids, 2)
        if measured.slow is not None:
            yield "adver_suc_slow", self._judged(measured.slow)
        if measured.max_bleu is not None:
            yield "max_bleu", self._elsewhere(measured.max_bleu)
        if measured.agreement is not None:
            yield "feedback_agreement", self._elsewhere(measured.agreement)
        if measured.likelihood is not None:
            yield "perplexity", self._perplexity(measured.likelihood)
        if measured.tabled is not None:
            tabled = measured.tabled
            yield "distinct_1", self._distinct(measured.ids, 1)
            yield "distinct_3", self._distinct(measured.ids, 3)
            yield "ent_4", self._distinct(measured.ids, 4, entropy=True)
            yield "reverse", self._ratio(tabled.reverse, tabled.reverse_tokens)
            yield "dull", self._mean(tabled.dull)
            yield "copy_rate", self._ratio(tabled.copied, tabled.bigrams)
            for name in ("frechet_reply", "frechet_pair", "top_1", "top_10", "distinct_replies"):
                yield name, Estimate(getattr(tabled, name))

    def _judged(self, judged: Judged) -> Estimate:
        return Estimate(_known(judged.adver_suc)) if judged.passed is None else self._mean(judged.passed)

    def _elsewhere(self, values: Floats) -> Estimate:
        """Estimate a mean over other contexts than the test part's: by halves of their own."""
        if len(values) < 2:
            return Estimate(float(values.mean()))
        return Estimate(float(values.mean()), half_means(values, random_halves(len(values), len(self.halves), 0)))

    def _perplexity(self, likelihood: Likelihood) -> Estimate:
        surprise, tokens = -likelihood.log_probability, likelihood.tokens
        draws = half_means(surprise, self.halves) / half_means(tokens, self.halves)
        return Estimate(float(np.exp(surprise.sum() / tokens.sum())), np.exp(draws))

    def _mean(self, values: Sequence[float] | Floats) -> Estimate:
        return Estimate(float(np.asarray(values, np.float64).mean()), half_means(values, self.halves))

    def _ratio(self, above: npt.ArrayLike, below: npt.ArrayLike) -> Estimate:
        """Estimate a ratio of two sums; nothing of nothing is zero."""
        whole = float(np.sum(above) / max(float(np.sum(below)), _LEAST))
        return Estimate(whole, half_means(above, self.halves) / np.maximum(half_means(below, self.halves), _LEAST))

    def _distinct(self, ids: Sequence[Sequence[int]], n: int, *, entropy: bool = False) -> Estimate:
        """Count over every half; the number itself is their mean, for it falls with the tokens counted."""
        table = NgramTable.of(ids, n)
        count = table.entropy if entropy else table.distinct
        draws = np.array([count(half, self.tokens) for half in self.halves])
        return Estimate(float(draws.mean()), draws)


def rows_of(estimator: Estimator, cells: Mapping[Cell, Measured]) -> list[Row]:
    """Return one row for each cell, in their order."""
    return [Row(c.system, c.seed, c.setting, _values(estimator.estimates(c, m))) for c, m in cells.items()]


def over_seeds(
    estimator: Estimator, cells: Mapping[Cell, Measured], system: str, setting: Setting, seed: int
) -> Row | None:
    """Return the row of a system at a setting over all its training seeds; None where it was not drawn there.

    In every draw training seeds are drawn with replacement, too. A measure that a seed lacks is left out.
    """
    found = [estimator.estimates(c, m) for c, m in cells.items() if (c.system, c.setting) == (system, setting)]
    if not found:
        return None
    if len(found) == 1:
        return Row(system, None, setting, _values(found[0]))
    chosen = np.random.default_rng((seed, len(found))).integers(0, len(found), (len(estimator.halves), len(found)))
    values: dict[str, Value] = {}
    for name in found[0]:
        each = [estimates[name] for estimates in found if name in estimates]
        if len(each) < len(found):
            continue
        whole = float(np.mean([one.whole for one in each]))
        draws = [one.draws for one in each]
        if any(one is None for one in draws):
            values[name] = Value(whole)
        else:
            drawn = np.take_along_axis(np.stack([one for one in draws if one is not None], axis=1), chosen, axis=1)
            values[name] = Value.of(percentile_interval(whole, drawn.mean(axis=1)))
    return Row(system, None, setting, values)


def curve_rows(
    estimator: Estimator, cells: Mapping[Cell, Measured], system: str, settings: Sequence[Setting], seed: int
) -> CurveRows:
    """Return the points of a system over `settings`, those it was drawn at."""
    points = [over_seeds(estimator, cells, system, setting, seed) for setting in settings]
    wanted = (*CURVED, "distinct_2", "self_bleu", "length")
    return CurveRows(
        system,
        tuple(
            Row(p.system, None, p.setting, {name: v for name, v in p.values.items() if name in wanted})
            for p in points
            if p is not None
        ),
    )


def compare_with(
    estimator: Estimator,
    cells: Mapping[Cell, Measured],
    system: str,
    baseline: str,
    settings: Sequence[Setting],
    seed: int,
) -> list[ComparisonRow]:
    """Return the comparison of a system with the baseline by every curved measure."""
    rows: list[ComparisonRow] = []
    for name in CURVED:
        ours, theirs = (_curve(estimator, cells, who, settings, name) for who in (system, baseline))
        found = compare(ours, theirs, seed)
        never_negative = bool(min(ours.whole.min(), theirs.whole.min()) >= 0)
        points = [
            MatchedDifference(point.diversity, point.system, point.baseline, Value.of(point.difference))
            for point in found.points
        ]
        rows.append(
            ComparisonRow(
                system, baseline, name, found.overlap, tuple(points),
                Value.of(found.volume) if never_negative else None,
                found.better, found.worse, found.verdict,
                sentence(found, name), min(len(ours.whole), len(theirs.whole)),
            )
        )  # fmt: skip
    return rows


def _curve(
    estimator: Estimator, cells: Mapping[Cell, Measured], system: str, settings: Sequence[Setting], name: str
) -> Curve:
    seeds = sorted({cell.seed for cell in cells if cell.system == system})
    grid = [[estimator.estimates(c, cells[c]) for s in settings if (c := Cell(system, seed, s)) in cells]
            for seed in seeds]  # fmt: skip
    drawn = tuple(setting for setting in settings if Cell(system, seeds[0], setting) in cells)

    def draws(measure: str) -> Floats:
        """Return [D, S, P]; a number without halves is the same in all of them."""
        shape = len(estimator.halves)
        return np.stack(
            [np.stack([_each(e[measure], shape) for e in line], axis=-1) for line in grid], axis=1
        )  # fmt: skip

    whole = np.array([[estimates[name].whole for estimates in line] for line in grid])
    return Curve(system, drawn, draws("distinct_2"), draws(name), whole)


def _known(number: float | None) -> float:
    return float("nan") if number is None else number


def _each(estimate: Estimate, draws: int) -> Floats:
    return np.full(draws, estimate.whole) if estimate.draws is None else estimate.draws


def _values(estimates: Mapping[str, Estimate]) -> Values:
    return {name: estimate.value for name, estimate in estimates.items()}
