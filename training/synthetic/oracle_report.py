"""The oracle experiment's table and picture, from the parts that its seeds left.

Which point of a curve stands for a system: the last one, at temperature 1; for SeqGAN and its placebo the round with
the lowest mean NLL_oracle over the seeds, because the published number was chosen so, with the oracle's help.
"""

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from training.synthetic.frontier import Point, Spread, outside, spread

PUBLISHED = {
    "random": 10.310, "mle": 9.038, "scheduled-sampling": 8.985, "pg-bleu": 8.946, "seqgan": 8.736,
    "rankgan": 8.247, "leakgan": 7.038, "relgan": 6.680,
}  # fmt: skip
"""NLL_oracle as published (Yu et al. 2017, table 1; Lin et al. 2017; Guo et al. 2018; Nie et al. 2019); no NLL_gen."""
CHOSEN_WITH_ORACLE = ("seqgan", "placebo", "placebo_tuned")
SHOWN = ("mle", "mle_tuned", "seqgan", "best", "placebo", "placebo_tuned")
COLOURS = {
    "mle": "#8a8a8a", "mle_tuned": "#1f6fb4", "seqgan": "#c8553d", "best": "#2a8c4a", "placebo": "#b08900",
    "placebo_tuned": "#7a5195",
}  # fmt: skip

Parts = Sequence[Mapping[str, Any]]


def rows(parts: Parts) -> list[dict[str, Any]]:
    """Return a row for each system with its spread over seeds, and the published numbers beside them.

    `outside` is the frontier's NLL_oracle at the same NLL_gen minus the system's own: the frontier is, seed by seed,
    tuned MLE's epochs and temperatures, those of the paper's MLE, and both constant-reward curves. None where a system
    is part of it, or beyond it.
    """
    table: list[dict[str, Any]] = []
    for system in SHOWN:
        own = sorted((part for part in parts if part["system"] == system), key=lambda part: part["seed"])
        if not own:
            continue
        place = _place(system, own)
        points = [_point(part["curve"][place]) for part in own]
        row = {
            "system": system,
            **_numbers("nll_oracle", spread([point.nll_oracle for point in points])),
            **_numbers("nll_gen", spread([point.nll_gen for point in points])),
            "outside": None,
            "setting": _setting(own[0]["curve"][place]),
            "seeds": [part["seed"] for part in own],
        }
        if system in ("seqgan", "best"):
            gains = [outside(frontier(parts, part["seed"]), point) for part, point in zip(own, points, strict=True)]
            if all(math.isfinite(gain) for gain in gains):
                found = spread(gains)
                row |= {"outside": found.mean, "outside_interval": [_number(found.low), _number(found.high)]}
                row["outside_by_seed"] = gains
        table.append(row)
    table += [
        {"system": f"published-{name}", "nll_oracle": value, "nll_oracle_sd": None, "nll_gen": None,
         "nll_gen_sd": None, "outside": None, "seeds": []}
        for name, value in PUBLISHED.items()
    ]  # fmt: skip
    return table


def frontier(parts: Parts, seed: int) -> list[list[Point]]:
    """Return the curves of one seed that a system has to lie outside of."""
    curves: list[list[Point]] = []
    for part in parts:
        if part["seed"] == seed and part["system"] in ("mle", "mle_tuned"):
            curves += [_curve(part["curve"]), _curve(part["temperatures"])]
        elif part["seed"] == seed and part["system"] in ("placebo", "placebo_tuned"):
            curves += [_curve(part["curve"])]
    return curves


def text(table: Sequence[Mapping[str, Any]]) -> str:
    """Return the table as plain text."""
    lines = [f"{'system':<28}{'NLL_oracle':>16}{'NLL_gen':>16}{'outside':>24}  seeds"]
    for row in table:
        oracle = _plus_minus(row["nll_oracle"], row["nll_oracle_sd"])
        gen = _plus_minus(row["nll_gen"], row["nll_gen_sd"])
        gain = "-" if row["outside"] is None else f"{row['outside']:+.3f}"
        if row.get("outside_interval") and None not in row["outside_interval"]:
            gain += " [{:+.3f}, {:+.3f}]".format(*row["outside_interval"])
        lines.append(f"{row['system']:<28}{oracle:>16}{gen:>16}{gain:>24}  {len(row['seeds']) or '-'}")
    return "\n".join(lines)


def picture(parts: Parts) -> bytes:
    """Return an SVG: on the left every curve in the plane of the two likelihoods, on the right NLL_oracle by round."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    FigureCanvasSVG(figure)
    plane, rounds = figure.subplots(1, 2)
    named: set[tuple[int, str]] = set()
    for part in parts:
        system = part["system"]
        if system not in COLOURS:
            continue
        colour = COLOURS[system]
        for axes, number in ((plane, 0), (rounds, 1)):
            label = None if (number, system) in named else system.replace("_", ", ")
            curve = _curve(part["curve"])
            if number == 0:
                tempered = _curve(part["temperatures"])
                axes.plot([p.nll_gen for p in curve], [p.nll_oracle for p in curve], color=colour, label=label, lw=1.2)
                axes.plot([p.nll_gen for p in tempered], [p.nll_oracle for p in tempered], color=colour, ls=":", lw=1.2)
                named.add((number, system))
            elif "round" in part["curve"][0]:
                axes.plot([p["round"] for p in part["curve"]], [p.nll_oracle for p in curve], color=colour, label=label)
                named.add((number, system))
    plane.set_xlabel("NLL_gen: what it does not know (nats per token)")
    plane.set_ylabel("NLL_oracle: what it makes up (nats per token)")
    plane.set_title("solid: epochs or rounds; dotted: temperatures", fontsize=9)
    rounds.set_xlabel("round (one generator step; `best`: one small step)")
    rounds.set_ylabel("NLL_oracle")
    for axes in (plane, rounds):
        axes.grid(alpha=0.25)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8, frameon=False)
    out = io.BytesIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    return out.getvalue()


def _place(system: str, own: Parts) -> int:
    """Return the index in the curves of the point that stands for the system."""
    if system not in CHOSEN_WITH_ORACLE:
        return -1
    shortest = min(len(part["curve"]) for part in own)
    return min(range(shortest), key=lambda i: math.fsum(part["curve"][i]["nll_oracle"] for part in own))


def _setting(point: Mapping[str, Any]) -> dict[str, Any]:
    return {name: point[name] for name in ("epoch", "round", "temperature") if name in point}


def _point(point: Mapping[str, Any]) -> Point:
    return Point(point["nll_gen"], point["nll_oracle"], str(_setting(point)))


def _curve(points: Sequence[Mapping[str, Any]]) -> list[Point]:
    return [_point(point) for point in points]


def _numbers(name: str, found: Spread) -> dict[str, float | None]:
    return {name: found.mean, f"{name}_sd": _number(found.deviation)}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _plus_minus(value: float | None, deviation: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" + (f" +- {deviation:.3f}" if deviation is not None else "")
