"""The report as one HTML file that opens offline: verdicts, figures, table, replies side by side.

Knows the report and how to show it; computes nothing but which colour is whose. No script, no request.
"""

import json
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

from training.evaluation.figures import (
    comparison_figures,
    curve_figures,
    legend,
    training_figures,
)
from training.evaluation.human_section import render_human
from training.evaluation.measures import CURVED, MEASURES, Measure, measure
from training.evaluation.report import ComparisonRow, Report, Value
from training.evaluation.stylesheet import STYLESHEET
from training.evaluation.systems import HUMAN, SHUFFLED
from training.evaluation.verdicts import caution

_VERDICTS: Final = {
    "beats": "better", "loses": "worse", "neither": "no difference", "apart": "cannot be compared"
}  # fmt: skip
_NOTHING: Final = "–"


def render(report: Report) -> str:
    """Return the page."""
    parts = [
        _head(report),
        _verdicts(report),
        _curves(report),
        _reading(report),
        _table(report),
        render_human(report),
        _matched(report),
        _evaluators(report),
        _samples(report),
        _training(report),
        _parameters(report),
    ]
    body = "\n".join(part for part in parts if part)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Evaluation: {escape(_names(report))}</title>\n<style>{STYLESHEET}</style>\n</head>\n"
        f"<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _names(report: Report) -> str:
    return ", ".join(str(system["name"]) for system in report.systems if system["bundles"])


def _head(report: Report) -> str:
    p = report.parameters
    seeds = max((len(system["bundles"]) for system in report.systems), default=1)
    return (
        f"<header><h1>Evaluation of dialogue replies</h1>"
        f'<p class="lead">{p["test_contexts"]:,} held-out contexts of {escape(str(p["data"]))}, '
        f"{len(report.curves)} systems, {seeds} training seed{'s' if seeds > 1 else ''} at most, "
        f"{p['settings']} ways of drawing. {escape(report.created[:10])}.</p></header>"
    )


def _verdicts(report: Report) -> str:
    main = [row for row in report.comparisons if row.measure == CURVED[0]]
    if not main:
        return ""
    cards = "\n".join(_card(report, row) for row in main)
    warning = caution(min(row.seeds for row in main))
    return (
        f"<h2>What was found</h2>\n"
        f"<p>Each system against <b>{escape(main[0].baseline)}</b>, at equal diversity.</p>\n"
        f'<div class="cards">\n{cards}\n</div>' + (f'\n<p class="note">{escape(warning)}</p>' if warning else "")
    )


def _card(report: Report, row: ComparisonRow) -> str:
    tag = f'<span class="tag {row.verdict}">{_VERDICTS[row.verdict]}</span>'
    others = [
        f'<p class="note"><b>Relevance.</b> {escape(other.sentence)}</p>'
        for other in report.comparisons
        if (other.system, other.measure) == (row.system, "relevance") and other.verdict != "apart"
    ]
    return (
        f'<section class="card"><h3>{escape(row.system)} {tag}</h3>'
        f"<p>{escape(row.sentence)}</p>{''.join(others)}</section>"
    )


def _curves(report: Report) -> str:
    return (
        "<h2>Quality against diversity</h2>\n"
        "<p>Each line is one system from its coldest temperature (left) to its hottest. A system is better "
        "than another where its line lies above; moving along a line is only a change of temperature.</p>\n"
        f"{legend(report)}\n{_figures(curve_figures(report))}"
    )


def _figures(figures: Iterable[tuple[str, str, str]]) -> str:
    shown = "\n".join(
        f"<figure><figcaption><b>{escape(title)}</b><span>{escape(text)}</span></figcaption>{svg}</figure>"
        for title, text, svg in figures
    )
    return f'<div class="figures">\n{shown}\n</div>'


def _reading(report: Report) -> str:
    p = report.parameters
    best_of = any(system["best_of"] > 1 for system in report.systems)
    notes = [
        "<b>AdverSuc</b> is the share of replies that an evaluator, trained from nothing to tell this system's replies "
        "from human ones, takes for human. It rewards fluent replies that ignore the context, so read it beside "
        f"<b>relevance</b>; <b>{escape(SHUFFLED)}</b> shows what perfect language without any relevance scores.",
        "<b>Distinct-2</b> falls as text grows, so every value is taken over the same "
        f"{p['distinct_tokens']:,} tokens, a random half of the contexts at a time.",
        f"<b>Intervals</b> hold 95 % of {p['draws']:,} draws of half of the contexts, the same halves for all systems, "
        "and of training seeds where a system has several. They do not cover the evaluators' own training.",
        "<b>Better</b> means: at three or more of five values of distinct-2 that both systems reach, the whole "
        "interval of the difference lies above zero.",
    ]
    if best_of:
        notes.append(
            "<b>Best of n by D</b> draws n candidates and gives the one that the system's own discriminator likes "
            "best. It is what adversarial training has to beat, for it needs no training of the generator at all."
        )
    items = "".join(f"<p>{note}</p>" for note in notes)
    return f"<h2>How to read this</h2>\n{items}"


def _table(report: Report) -> str:
    columns = [row.system for row in report.summaries]
    heads = "".join(f"<th scope=col>{escape(name)}</th>" for name in columns)
    rows: list[str] = []
    group = ""
    for each in MEASURES:
        values = [row.values.get(each.name) for row in report.summaries]
        if all(value is None or value.value is None for value in values):
            continue
        if each.group != group:
            group = each.group
            rows.append(f'<tr class="group"><th scope=rowgroup colspan="{len(columns) + 1}">{escape(group)}</th></tr>')
        best = _best(each, columns, values)
        cells = "".join(_cell(each, value, column == best) for column, value in zip(columns, values, strict=True))
        rows.append(f"<tr><th scope=row>{escape(each.label)}<small>{escape(each.meaning)}</small></th>{cells}</tr>")
    return (
        "<h2>All measures at temperature 1</h2>\n"
        "<p>Nothing cut off, the model's own distribution. Small print: 95 % intervals. Bold: the best system where "
        "one end of the scale is better, even by less than the intervals."
        "</p>\n"
        f'<div class="scroll"><table><thead><tr><th scope=col>measure</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _best(each: Measure, columns: Sequence[str], values: Sequence[Value | None]) -> str:
    """Return the column of the best system, "" where no end of the scale is better."""
    found = {
        column: value.value
        for column, value in zip(columns, values, strict=True)
        if value is not None and value.value is not None and column not in (HUMAN, SHUFFLED)
    }
    if not each.better or len(found) < 2:
        return ""
    best = (max if each.better == "higher" else min)(found, key=lambda column: found[column])
    return best if [each.written(value) for value in found.values()].count(each.written(found[best])) == 1 else ""


def _cell(each: Measure, value: Value | None, best: bool) -> str:
    if value is None or value.value is None:
        return f"<td>{_NOTHING}</td>"
    form = "<td class=best>" if best else "<td>"
    around = ""
    if value.low is not None and value.high is not None:
        around = f"<small>{value.low:{each.form}} … {value.high:{each.form}}</small>"
    return f"{form}{value.value:{each.form}}{around}</td>"


def _matched(report: Report) -> str:
    rows = [row for row in report.comparisons if row.points]
    if not rows:
        return ""
    lines = []
    for row in rows:
        each = measure(row.measure)
        cells = "".join(
            f"<td>{point.difference.value:+{each.form}}"
            f"<small>{point.difference.low:+{each.form}} … {point.difference.high:+{each.form}}</small></td>"
            for point in row.points
        )
        reached = " … ".join(f"{value:.3f}" for value in row.overlap or ())
        volume = _NOTHING
        if row.volume is not None:
            volume = f"{row.volume.value:+.3f}<small>{row.volume.low:+.3f} … {row.volume.high:+.3f}</small>"
        lines.append(
            f"<tr><th scope=row>{escape(row.system)}<small>{escape(each.label)}</small></th>{cells}"
            f"<td>{reached}</td><td>{volume}</td>"
            f'<td class="{row.verdict}">{_VERDICTS[row.verdict]}</td></tr>'
        )
    baseline = escape(rows[0].baseline)
    return (
        f"<h2>Differences from {baseline} at equal diversity</h2>\n{_figures(comparison_figures(report))}\n"
        '<h3>The same in numbers</h3>\n<div class="scroll"><table><thead><tr><th scope=col>system and measure</th>'
        + "".join(f"<th scope=col>point {i}</th>" for i in range(1, len(rows[0].points) + 1))
        + "<th scope=col>distinct-2 of both</th><th scope=col>hypervolume</th><th scope=col>verdict</th></tr></thead>"
        f"<tbody>{''.join(lines)}</tbody></table></div>\n"
        '<p class="note">Points 1 to 5 go from the least to the most diverse that both systems reach. Hypervolume is '
        "the area under a whole curve; its difference is given for measures that are never negative.</p>"
    )


def _evaluators(report: Report) -> str:
    if not report.evaluators:
        return ""
    lines = [
        f"<tr><th scope=row>{escape(row.system)}</th><td class=text>{escape(str(row.setting))}</td>"
        f"<td class=text>{escape(row.kind)}</td><td class=text>{escape(row.variant.replace('_', ' '))}</td>"
        f"{_cell(measure('adver_suc'), Value(row.accuracy), False)}{_cell(measure('auc'), Value(row.auc), False)}"
        f"{_cell(measure('adver_suc'), row.adver_suc, False)}</tr>"
        for row in report.evaluators
        if row.seed == 0
    ]
    controls = "".join(
        f"<tr><th scope=row>{escape(row.name)}</th><td class=text>{escape(row.kind)}</td><td>{row.value:.3f}</td>"
        f"<td class=text>{escape(row.expected)}</td></tr>"
        for row in report.controls
    )
    table = (
        "<h3>Can the evaluators be trusted?</h3>\n"
        "<p>The same evaluators on questions whose answers are known.</p>\n"
        '<div class="scroll"><table><thead><tr><th scope=col>control</th><th class=text scope=col>evaluator</th>'
        "<th scope=col>found</th><th class=text scope=col>expected</th></tr></thead>"
        f"<tbody>{controls}</tbody></table></div>"
        if controls
        else ""
    )
    return (
        "<h2>Fresh evaluators</h2>\n"
        "<p>Of other architectures than D, trained from nothing for each system and setting on the validation part, "
        "asked about the test part. <i>normalised</i>: without punctuation and case; <i>length matched</i>: with equal "
        "lengths on both sides; so that format and length alone do not tell machine from human.</p>\n"
        '<details><summary>All evaluators (first training seed)</summary><div class="scroll"><table><thead><tr>'
        "<th scope=col>system</th><th class=text scope=col>setting</th><th class=text scope=col>evaluator</th>"
        "<th class=text scope=col>variant</th><th scope=col>accuracy</th><th scope=col>AUC</th>"
        f"<th scope=col>AdverSuc</th></tr></thead><tbody>{''.join(lines)}</tbody></table></div></details>\n{table}"
    )


def _samples(report: Report) -> str:
    if not report.samples:
        return ""
    cards = []
    for sample in report.samples:
        turns = "".join(f"<li>{escape(turn)}</li>" for turn in sample.context)
        replies = "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(reply) or '<i>(nothing)</i>'}</dd>"
            for name, reply in sample.replies.items()
        )
        cards.append(
            f'<section class="card sample"><ol class="turns">{turns}</ol><dl class="replies">{replies}</dl></section>'
        )
    return (
        "<h2>Replies to the same contexts</h2>\n<p>Temperature 1, not chosen: contexts at even distances over the test "
        f"part, the first training seed of each system.</p>\n{''.join(cards)}"
    )


def _training(report: Report) -> str:
    figures = list(training_figures(report))
    if not figures:
        return ""
    return (
        "<h2>How they were trained</h2>\n<p>What the runs logged, where a bundle lies in its run's directory. A "
        "gradient norm that falls to zero says that the generator no longer learns anything from D.</p>\n"
        f"{legend(report, runs=True)}\n{_figures(figures)}"
    )


def _parameters(report: Report) -> str:
    text = json.dumps(dict(report.parameters), ensure_ascii=False, indent=2)
    return (
        "<h2>Parameters</h2>\n<details><summary>All that decided these numbers</summary>"
        f"<pre>{escape(text)}</pre></details>"
    )
