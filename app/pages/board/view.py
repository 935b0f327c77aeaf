"""An analysis as the board shows it: names told apart, numbers written out, plots. Computes no statistics."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from app.pages.charts.forest import Estimate, forest_plot, is_drawable

Entry = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """How often the row's system beat the column's; `shade` from 0 (never) to 4 (always), None where they never met."""

    text: str
    votes: int
    shade: int | None


@dataclass(frozen=True)
class BoardView:
    """All that the template needs beside the analysis itself; `order` numbers the systems, the best first."""

    entry: Entry
    names: list[str]
    order: list[int]
    forest: Markup | None
    matrix: list[list[Cell | None]]
    votes: int
    warnings: list[str]


def board_view(entry: Entry, words: Mapping[str, str]) -> BoardView:
    """Return what the board shows of an analysis."""
    entry = _within_bounds(entry)
    systems = entry["systems"]
    names = system_names(systems, words)
    order = sorted(range(len(systems)), key=lambda i: _place(systems[i]))
    drawn = [
        Estimate(names[i], systems[i]["strength"], systems[i]["low"], systems[i]["high"])
        for i in order
        if is_drawable(systems[i]["strength"]) and systems[i]["judgements"]
    ]
    reference = {"log-strength": 0.0, "pass rate": 0.5}.get(entry["measure"])
    title = words["forest"].format(measure=words[f"measure_{entry['measure']}"])
    forest = forest_plot(drawn, title, reference=reference) if drawn else None
    pairs = entry["pairs"]
    return BoardView(
        entry=entry,
        names=names,
        order=order,
        forest=forest,
        matrix=_matrix(pairs, order) if pairs else [],
        votes=sum(system["judgements"] for system in systems) // (2 if pairs else 1),
        warnings=_warnings(entry, names, words),
    )


BOUNDS = {"pass rate": (0.0, 1.0), "mean score": (1.0, 5.0)}
"""Between which a measure can lie at all; an interval that is made of few judgements may reach beyond."""


def _within_bounds(entry: Entry) -> Entry:
    bounds = BOUNDS.get(entry["measure"])
    if bounds is None:
        return entry

    low, high = bounds

    def within(one: Entry) -> dict[str, Any]:
        ends = {name: None if one[name] is None else min(max(one[name], low), high) for name in ("low", "high")}
        return {**one, **ends}

    systems = [within(system) for system in entry["systems"]]
    for system in systems:
        if "dimensions" in system:
            system["dimensions"] = {name: one and within(one) for name, one in system["dimensions"].items()}
    return {**entry, "systems": systems}


def system_names(systems: Sequence[Entry], words: Mapping[str, str]) -> list[str]:
    """Return a name for each system that no other has: with its decoding, and its weights where that is not enough."""
    short = [system_name(system, words) for system in systems]
    often = Counter(short)
    longer = [
        f"{name} #{system['weights_sha256'][:6]}" if often[name] > 1 and system["weights_sha256"] else name
        for name, system in zip(short, systems, strict=True)
    ]
    often = Counter(longer)
    return [
        f"{name} T {system['decoding'].get('temperature')}" if often[name] > 1 and system["decoding"] else name
        for name, system in zip(longer, systems, strict=True)
    ]


def system_name(system: Entry, words: Mapping[str, str]) -> str:
    """Return how a system is called."""
    if system["kind"] == "human":
        return words["human"]
    best_of = system["decoding"].get("best_of")
    return f"{system['name']} · {words['best_of'].format(n=best_of)}" if best_of else str(system["name"])


def agreement_fault(one: Entry, words: Mapping[str, str]) -> str:
    """Return why an alpha, or its interval, is undefined; empty where it is not."""
    if one["alpha"] is None:
        return words["agreement_none" if not one["items"] else "agreement_same"]
    return words["agreement_one"] if one["low"] is None else ""


def _warnings(entry: Entry, names: Sequence[str], words: Mapping[str, str]) -> list[str]:
    """Return what a reader must mind, in their language: the analysis says the same in English."""
    found = []
    if not sum(system["judgements"] for system in entry["systems"]) and entry["kind"] != "board":
        return [words["warning_nothing"]]
    kind = "pair" if entry["measure"] == "log-strength" else "mean"
    for system, name in zip(entry["systems"], names, strict=True):
        key = f"warning_{kind}_{system['standing']}"
        if key in words and (system["judgements"] or entry["kind"] != "board"):
            found.append(words[key].format(name=name))
    if (entry.get("aa") or {}).get("significant"):
        found.append(words["warning_aa"])
    return found


def _place(system: Entry) -> tuple[bool, float, float]:
    """Return the key that sorts by rank, then by strength; systems without a rank come last."""
    rank, strength = system["rank"], system["strength"]
    return rank is None, rank or 0, -(strength or 0.0)


def _matrix(pairs: Sequence[Entry], order: Sequence[int]) -> list[list[Cell | None]]:
    cells: dict[tuple[int, int], Cell] = {}
    for pair in pairs:
        votes = pair["wins"] + pair["losses"] + pair["ties"]
        if not votes:
            continue
        won = (pair["wins"] + pair["ties"] / 2) / votes
        for key, share in (((pair["a"], pair["b"]), won), ((pair["b"], pair["a"]), 1 - won)):
            cells[key] = Cell(f"{share:.0%}", votes, min(4, int(share * 5)))
    return [
        [None if row == column else cells.get((row, column), Cell("–", 0, None)) for column in order] for row in order
    ]
