"""Time this project's training steps beside a plain reference, in one run.

    python benchmarks/training.py --quick --json result.json

Prints a table of medians and ratios, the machine's bounds and the share of them that each part reaches, the largest
costs of each of our steps, how cost grows, and the memory of a step.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # this directory's training.py would hide the package of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])


import torch

from benchmarks import machine, scaling, works
from chatbot.memory import keep_freed_memory
from training.precision import Precision, choose_precision

_PATIENCE = 4.0
"""Seconds above which a first call is not thrown away as a warm-up."""
_FEW, _MANY = 5, 15

Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Time training steps beside a plain reference.")
    parser.add_argument("--quick", action="store_true", help="under ten minutes on two cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine and rows to FILE")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto", help="of our steps")
    parser.add_argument("--threads", type=int, help="of both systems; all cores by default")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    if options.threads:
        torch.set_num_threads(options.threads)
    about = machine.describe(works.CPU)
    precision = choose_precision(options.precision, works.CPU)
    about["precision"] = precision
    _say(f"{about['device']}, {about['threads']} threads, torch {about['torch']}; our precision {precision}")
    _say(f"bounds: {about['gemm_gflops']} GFLOP/s, {about['bandwidth_gbytes']} GB/s")
    rows = measure(precision, about["gemm_gflops"], options.quick)
    _say(compared(rows))
    result: Row = {"machine": about, "rows": rows}
    _write(options.json, result)  # what follows takes minutes more
    result["scaling"] = scaling.scaling(precision, 2 if options.quick else _FEW)
    for entry in result["scaling"]:
        _say(
            f"{entry['setting']} {entry['work']} grows as ({entry['in']})^{entry['exponent']:.2f} "
            f"[{entry['low']:.2f}, {entry['high']:.2f}] over {entry['sizes']}"
        )
    result["peak_memory_gb_512_lanes"] = scaling.peak_memory(precision)
    _say(f"peak memory of generator steps of 512 lanes: {result['peak_memory_gb_512_lanes']:.2f} GB")
    _write(options.json, result)


def _write(path: Path | None, result: Row) -> None:
    if path is not None:
        path.write_text(json.dumps(result, indent=1) + "\n")


def measure(precision: Precision, bounds: dict[str, float], quick: bool) -> list[Row]:
    """Return one row for each system, setting and work."""
    dialogue = works.Dialogue(rollouts=4 if quick else works.ROLLOUTS)
    plan: list[tuple[str, str, Precision, Callable[[], works.Steps]]] = [
        ("rejoinder", "seqgan", precision, lambda: works.our_seqgan(precision)),
        ("reference", "seqgan", "fp32", works.plain_seqgan),
        ("rejoinder", "dialogue", precision, lambda: works.our_dialogue(dialogue, precision)),
        ("reference", "dialogue", "fp32", lambda: works.plain_dialogue(dialogue)),
    ]
    rows = []
    for system, setting, product, make in plan:
        for work, call in make().items():
            first = machine.timing_of(call, works.CPU, 1)
            if first.wall[0] > _PATIENCE:
                rest = machine.timing_of(call, works.CPU, _FEW - 1)
                taken = machine.Timing(first.wall + rest.wall, first.processor + rest.processor)
            else:
                taken = machine.timing_of(call, works.CPU, _FEW if first.wall[0] > _PATIENCE / 10 else _MANY)
            row = machine.row(system, setting, work, taken, precision=product, **_amounts(setting, work, dialogue))
            if "tokens" in row:
                row["tokens_per_second"] = row["tokens"] / row["seconds"]
            if "samples" in row:
                row["samples_per_second"] = row["samples"] / row["seconds"]
            if system == "rejoinder":
                row["gflop"] = machine.flops_of(call) / 1e9
                spent = row["processor_seconds"] / torch.get_num_threads()
                row["bound_share"] = row["gflop"] / spent / bounds[product]
                row["largest_costs"] = machine.largest_costs(call)
            rows.append(row)
            _say(_line(row))
            if (system, setting, work) == ("reference", "seqgan", "generator_step_mc"):
                # Its only way to a reward for each token; so it is also what credit `step` stands against.
                rows.append({**row, "work": "generator_step", "note": "the reference has no credit but rollouts"})
    return rows


def _amounts(setting: str, work: str, dialogue: works.Dialogue) -> dict[str, float]:
    """Return how much work one call is."""
    if setting == "seqgan":
        sizes: dict[str, dict[str, float]] = {
            "mle_step": {"tokens": works.BATCH * works.LENGTH},
            "generator_step_mc": {"batch": works.BATCH, "rollouts": works.ROLLOUTS},
            "sampling": {"samples": 16 * works.BATCH},
        }
        return {"batch": works.BATCH, **sizes.get(work, {})}
    sizes = {
        "mle_step": {"tokens": works.tokens_of_mle(dialogue)},
        "mle_step_512": {"batch": dialogue.contexts * dialogue.samples},
        "generator_step": {"samples": dialogue.contexts * dialogue.samples},
        "generator_step_mc": {"batch": dialogue.searched, "rollouts": dialogue.rollouts},
    }
    return {"batch": dialogue.contexts, **sizes.get(work, {})}


def compared(rows: list[Row]) -> str:
    """Return the ratios of the reference's seconds to ours as a table.

    The last column is the same ratio of processor time, which others' work on the machine disturbs less.
    """
    mine = {(row["setting"], row["work"]): row for row in rows if row["system"] == "rejoinder"}
    lines = ["setting   work                 ours s      reference s  times as fast  by processor time"]
    for row in rows:
        own = mine.get((row["setting"], row["work"]))
        if row["system"] == "reference" and own:
            ratio = row["processor_seconds"] / own["processor_seconds"]
            lines.append(
                f"{row['setting']:9} {row['work']:20} {own['seconds']:<11.4f} {row['seconds']:<12.4f} "
                f"{row['seconds'] / own['seconds']:<14.1f} {ratio:.1f}"
            )
    same = mine["dialogue", "generator_step"]["seconds"] / mine["dialogue", "mle_step_512"]["seconds"]
    lines.append(
        f"generator_step takes {same:.2f} times as long as mle_step on the same tokens (dialogue, 512 replies)"
    )
    return "\n".join(lines)


def _line(row: Row) -> str:
    text = f"{row['system']:9} {row['setting']:8} {row['work']:20} {row['seconds']:.4f} s"
    if "bound_share" in row:
        costs = ", ".join(f"{cost['operator']} {cost['share']:.0%}" for cost in row["largest_costs"])
        text += f"  {row['bound_share']:.0%} of the bound; {costs}"
    return text


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a program's own output


if __name__ == "__main__":
    main()
