"""The part of the report's page that shows what people found, beside what was measured.

Knows the report and how to show it; computes nothing.
"""

from html import escape
from typing import Final

from training.evaluation.human import RANKED
from training.evaluation.measures import CURVED, measure
from training.evaluation.report import HumanRow, HumanStudy, Report, Row

_NOTHING: Final = "–"
_BESIDE: Final = (*CURVED, "distinct_2", "length")
"""Measures shown beside the strengths: those that are known at every setting."""


def render_human(report: Report) -> str:
    """Return the section; "" without a study."""
    if not report.human:
        return ""
    return (
        "<h2>What people found</h2>\n"
        "<p>Strengths as the study's own analysis gives them, small print: their intervals. Measures beside them are "
        "of the same weights with the same decoding.</p>\n" + "\n".join(_study(report, study) for study in report.human)
    )


def _study(report: Report, study: HumanStudy) -> str:
    ordered = sorted(study.systems, key=lambda row: (row.strength is None, -(row.strength or 0)))
    lines = "".join(_line(report, row) for row in ordered)
    analysis = "" if study.analysis is None else f", analysis {escape(str(study.analysis))}"
    columns = ("system", study.measure or "strength", "rank", "judgements", *(measure(name).label for name in _BESIDE))
    heads = "".join(f"<th scope=col>{escape(column)}</th>" for column in columns)
    return (
        f"<h3>{escape(study.study)}</h3>\n"
        f'<p class="note">{escape(study.kind or "study")}{analysis}.</p>\n'
        f'<div class="scroll"><table><thead><tr>{heads}</tr></thead>'
        f"<tbody>{lines}</tbody></table></div>\n{_correlations(study)}"
    )


def _line(report: Report, row: HumanRow) -> str:
    decoding = ", ".join(f"{key} {value}" for key, value in row.decoding.items() if value is not None)
    around = "" if row.low is None or row.high is None else f"<small>{row.low:.2f} … {row.high:.2f}</small>"
    strength = _NOTHING if row.strength is None else f"{row.strength:.2f}{around}"
    same = _same(report, row)
    called = row.missing if same is None else f"{row.system}, {row.setting}" if row.kind != "human" else ""
    cells = "".join(f"<td>{_value(same, name)}</td>" for name in _BESIDE)
    rank = escape(row.standing) if row.standing not in (None, RANKED) else _number(row.rank)
    return (
        f"<tr><th scope=row>{escape(row.name)}<small>{escape(called or decoding)}</small></th><td>{strength}</td>"
        f"<td>{rank}</td><td>{_number(row.judgements)}</td>{cells}</tr>"
    )


def _same(report: Report, row: HumanRow) -> Row | None:
    wanted = (row.system, row.seed, row.setting)
    return next((r for r in report.rows if (r.system, r.seed, r.setting) == wanted), None)


def _value(row: Row | None, name: str) -> str:
    value = None if row is None else row.values.get(name)
    return _NOTHING if value is None or value.value is None else measure(name).written(value.value)


def _number(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:,.0f}"


def _correlations(study: HumanStudy) -> str:
    note = f'<p class="note">{escape(study.note[0].upper() + study.note[1:])}.</p>' if study.note else ""
    if not study.correlations:
        return note
    lines = "".join(
        f"<tr><th scope=row>{escape(measure(row.measure).label)}</th><td>{row.n}</td>"
        f"<td>{_coefficient(row.spearman)}</td><td>{_coefficient(row.kendall)}</td></tr>"
        for row in study.correlations
    )
    return (
        "<p>Does a measure order the machine systems as people do? 1: just so; 0: it knows nothing of it; -1: the "
        "other way round. Rank correlations, human replies left out.</p>\n"
        f"{note}\n"
        '<div class="scroll"><table><thead><tr><th scope=col>measure</th><th scope=col>systems</th>'
        "<th scope=col>Spearman</th><th scope=col>Kendall</th></tr></thead>"
        f"<tbody>{lines}</tbody></table></div>"
    )


def _coefficient(value: float | None) -> str:
    return _NOTHING if value is None else f"{value:+.2f}"
