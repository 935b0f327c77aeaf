"""Write the tables and the figure of docs/results/training.md from the file that `benchmarks/training.py` wrote.

    python -m benchmarks.training_page docs/results/training.json docs/results/training.md

Replaces what stands between the page's two marks, and draws `training.svg` beside it. Its words around them are a
person's.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

BEGIN, END = "<!-- measured: benchmarks/training_page.py writes from here -->", "<!-- to here -->"

WANTED = {
    ("seqgan", "generator_step_mc"): 20.0,
    ("seqgan", "generator_step"): 100.0,
    ("seqgan", "sampling"): 18.0,
    ("seqgan", "mle_step"): 1.6,
    ("seqgan", "discriminator_step"): 1.7,
    ("dialogue", "mle_step"): 2.5,
}
"""How many times as fast as the reference our works were to be."""

Result = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the file, write the page and its figure."""
    parser = argparse.ArgumentParser(description="Write the page of benchmarks/training.py's result.")
    parser.add_argument("json", type=Path)
    parser.add_argument("page", type=Path)
    options = parser.parse_args(arguments)
    result: Result = json.loads(options.json.read_text())
    page = options.page.read_text(encoding="utf-8")
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        parser.error(f"{options.page}: expected each of the marks {BEGIN!r} and {END!r} once")
    before, after = page.split(BEGIN)[0], page.split(END)[1]
    options.page.write_text(before + BEGIN + "\n\n" + tables(result) + "\n" + END + after, encoding="utf-8")
    draw(result, options.page.with_suffix(".svg"))


def tables(result: Result) -> str:
    """Return the page's tables as Markdown."""
    return "\n".join([*_machine(result), *_compared(result), *_costs(result), *_growth(result), *_ranks(result)])


def _machine(result: Result) -> list[str]:
    about, measured = result["machine"], result["measured"]
    bound = about["gemm_gflops"]
    return [
        f"{about['device']}, {about['threads']} threads, torch {about['torch']}, ours in {about['precision']}, "
        f"the reference in fp32. Bounds of the machine: {bound['fp32']} GFLOP/s in fp32, {bound['bf16']} in bf16 "
        f"(square products), {about['bandwidth_gbytes']} GB/s (copying). Measured: "
        + ", ".join(f"{part} {when}" for part, when in measured.items())
        + ".",
        "",
    ]


def _compared(result: Result) -> list[str]:
    rows = [row for row in result["rows"] if "ranks" not in row]
    mine = {(row["setting"], row["work"]): row for row in rows if row["system"] == "rejoinder"}
    lines = [
        "| setting | work | ours, s | reference, s | times as fast | wanted |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        key = (row["setting"], row["work"])
        if row["system"] == "reference" and key in mine:
            wanted = f"{WANTED[key]:g}" if key in WANTED else ""
            lines.append(
                f"| {key[0]} | `{key[1]}` | {_range(mine[key])} | {_range(row)} "
                f"| {row['seconds'] / mine[key]['seconds']:.1f} | {wanted} |"
            )
    lines.append("")
    if {("dialogue", "generator_step"), ("dialogue", "mle_step_512")} <= set(mine):
        step, same = mine["dialogue", "generator_step"]["seconds"], mine["dialogue", "mle_step_512"]["seconds"]
        lines += [
            f"A generator step with credit `step` at dialogue size, 512 replies, takes {step / same:.2f} times as long "
            f"as a step of maximum likelihood on the same replies ({step:.2f} and {same:.2f} s); wanted: at most 3.",
            "",
        ]
    return lines


def _range(row: Result) -> str:
    return f"{row['seconds']:.3g} ({row['fastest']:.3g} to {row['slowest']:.3g}, n {row['repeats']})"


def _costs(result: Result) -> list[str]:
    lines = ["| setting | work | share of the machine's bound | largest costs |", "|---|---|---|---|"]
    for row in result["rows"]:
        if "bound_share" in row:
            costs = ", ".join(f"`{cost['operator']}` {cost['share']:.0%}" for cost in row["largest_costs"])
            speed = [
                f"{row[name]:,.0f} {name.split('_')[0]}/s"
                for name in ("tokens_per_second", "samples_per_second")
                if name in row
            ]
            work = ", ".join([f"`{row['work']}`", *speed])
            lines.append(f"| {row['setting']} | {work} | {row['bound_share']:.0%} | {costs} |")
    return [*lines, ""]


def _growth(result: Result) -> list[str]:
    """Return nothing where growth has not been measured."""
    if "peak_memory_gb_512_lanes" not in result:
        return []
    lines = ["| cost of | in | exponent (95 %) | sizes: seconds |", "|---|---|---|---|"]
    for entry in result["scaling"]:
        seconds = ", ".join(
            f"{size}: {taken:.3g}" for size, taken in zip(entry["sizes"], entry["seconds"], strict=True)
        )
        lines.append(
            f"| {entry['setting']} `{entry['work']}` | {entry['in']} "
            f"| {entry['exponent']:.2f} ({entry['low']:.2f} to {entry['high']:.2f}) | {seconds} |"
        )
    lines += [
        "",
        "| width | parameters | `mle_step`, 32 contexts, s | `generator_step`, 256 replies, s |",
        "|---|---|---|---|",
    ]
    for entry in result["model_sizes"]:
        cells = (f"{entry['parameters'] / 1e6:.1f}M", f"{entry['mle_step']:.3f}", f"{entry['generator_step']:.2f}")
        lines.append(f"| {entry['width']} | " + " | ".join(cells) + " |")
    peak = result["peak_memory_gb_512_lanes"]
    return [
        *lines,
        "",
        f"Five generator steps of 512 lanes at dialogue size: {peak:.2f} GB resident at most; wanted: under 2.",
        "",
    ]


def _ranks(result: Result) -> list[str]:
    rows = [row for row in result["rows"] if "ranks" in row]
    if not rows:
        return []
    lines = [
        "| two gloo ranks, one thread each | contexts | s | contexts/s against one rank on one core |",
        "|---|---|---|---|",
    ]
    for row in rows:
        alone = next(r for r in rows if r["work"] == row["work"] and r["ranks"] == 1 and "beside" not in r)
        jobs = 1 + row.get("beside", 0)
        rate = jobs * row["batch"] / row["seconds"] / (alone["batch"] / alone["seconds"])
        what = f"ranks: {row['ranks']}" + (", two unrelated jobs side by side, both together" if jobs > 1 else "")
        lines.append(f"| `{row['work']}`, {what} | {row['batch']} | {row['seconds']:.3f} | {rate:.2f} |")
    return [*lines, ""]


def draw(result: Result, path: Path) -> None:
    """Draw seconds against size, both logarithmic, with a line of slope one through the largest size.

    Without growth in the result there is nothing to draw, and nothing is written.
    """
    if "model_sizes" not in result:
        return
    panels = [
        (f"{e['setting']} {e['work']}", e["in"], e["sizes"], e["seconds"], f"exponent {e['exponent']:.2f}")
        for e in result["scaling"]
    ]
    sizes = [entry["parameters"] / 1e6 for entry in result["model_sizes"]]
    for work in ("mle_step", "generator_step"):
        seconds = [entry[work] for entry in result["model_sizes"]]
        panels.append((f"dialogue {work}", "parameters, millions", sizes, seconds, ""))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rejoinder", "font.size": 9}):
        figure = Figure(figsize=(9.5, 5.4), layout="constrained")
        FigureCanvasSVG(figure)
        for axes, (title, size, x, y, note) in zip(figure.subplots(2, 3).flat, panels, strict=True):
            axes.loglog(x, [y[-1] * value / x[-1] for value in x], color="0.7", linestyle="--", label="linear")
            axes.loglog(x, y, marker="o", color="#2563eb", label=note or None)
            axes.set_xticks(list(x), [f"{value:.3g}" for value in x])
            axes.minorticks_off()
            axes.set(title=title, xlabel=size, ylabel="seconds")
            axes.grid(color="0.92")
            axes.legend(frameon=False)
        figure.savefig(path, format="svg", metadata={"Date": None})
    path.write_text("\n".join(line.rstrip() for line in path.read_text().splitlines()) + "\n")


if __name__ == "__main__":
    main()
