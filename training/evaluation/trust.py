"""Fresh evaluators in all their variants, and what they make of questions whose answers are known.

Knows which evaluator is asked about which replies; how it learns is `evaluators`'s. An evaluator that tells human from
human, or machine from machine, would make every other number of the report worthless.
"""

from collections.abc import Mapping
from typing import Final, get_args

from training.evaluation.drawing import Cell, Progress, Replies
from training.evaluation.evaluators import Kind, Variant
from training.evaluation.options import PLAIN, EvaluationOptions
from training.evaluation.report import ControlRow, EvaluatorRow, Value
from training.evaluation.systems import HUMAN, SHUFFLED
from training.evaluation.yardsticks import Yardsticks

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
VARIANTS: Final[tuple[Variant, ...]] = get_args(Variant)


def evaluator_rows(
    replies: Mapping[Cell, Replies], yardsticks: Yardsticks, options: EvaluationOptions, progress: Progress
) -> list[EvaluatorRow]:
    """Return what every evaluator said: the fast one of all cells, all kinds and variants where the slow one judges.

    Variants judge the first training seed of each system only, unless everything is asked for.
    """
    asked = [
        (cell, kind, variant)
        for cell in replies
        if cell.system != HUMAN
        for kind in KINDS
        for variant in VARIANTS
        if _is_asked(cell, kind, variant, options)
    ]
    rows: list[EvaluatorRow] = []
    for index, (cell, kind, variant) in enumerate(asked):
        progress("evaluators", index, len(asked))
        judged = yardsticks.judge(replies[cell], kind, variant)
        rows.append(
            EvaluatorRow(
                cell.system, cell.seed, cell.setting, kind, variant, judged.accuracy, judged.auc,
                Value(judged.adver_suc),
            )
        )  # fmt: skip
    progress("evaluators", len(asked), len(asked))
    return rows


def _is_asked(cell: Cell, kind: str, variant: str, options: EvaluationOptions) -> bool:
    if kind == "ngrams" and variant == "plain":
        return True
    if cell.system == SHUFFLED or not options.judged_slowly(cell.setting):
        return False
    return variant == "plain" or options.full or (cell.seed == 0 and cell.setting == PLAIN)


def control_rows(
    replies: Mapping[Cell, Replies], yardsticks: Yardsticks, baseline: str, progress: Progress
) -> list[ControlRow]:
    """Return the controls of every kind of evaluator, with the baseline's replies at temperature 1 as the machine's."""
    rows: list[ControlRow] = []
    for index, kind in enumerate(KINDS):
        progress("controls", index, len(KINDS))
        rows.extend(yardsticks.controls(replies[Cell(baseline, 0, PLAIN)], kind))
    progress("controls", len(KINDS), len(KINDS))
    return rows
