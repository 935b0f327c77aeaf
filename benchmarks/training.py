"""Time this project's training steps beside a plain reference, in one run.

    python benchmarks/training.py --quick --json result.json

Prints a table of medians and ratios, the machine's bounds and the share of them that each part reaches, the largest
costs of each of our steps, how cost grows, the memory of a step, and what a second rank gains.
`python -m benchmarks.training_page` makes the tables and figures of docs/results/training.md of the file.
"""

import argparse
import datetime
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # this directory's training.py would hide the package of that name
    sys.path[0] = str(Path(__file__).resolve().parents[1])


import torch

from benchmarks import accelerator, machine, ranks, scaling, works
from chatbot.memory import keep_freed_memory
from training.precision import Precision, choose_precision
from training.synthetic.oracle import LENGTH

_PATIENCE = 4.0
"""Seconds above which a first call is not thrown away as a warm-up."""
_FEW, _MANY, _MOST = 5, 15, 51
PARTS = ("seqgan", "dialogue", "growth", "ranks")

Row = dict[str, Any]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description="Time training steps beside a plain reference.")
    parser.add_argument("--quick", action="store_true", help="under ten minutes on two cores")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write machine and rows to FILE")
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16"], default="auto", help="of our steps")
    parser.add_argument("--threads", type=int, help="of both systems; all cores by default")
    parser.add_argument(
        "--only", choices=PARTS, action="append", metavar="PART",
        help=f"measure this part ({', '.join(PARTS)}) and keep what FILE holds of the others; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--work", action="append", metavar="WORK",
        help="with --only seqgan or dialogue: measure this work alone, by both systems; may be repeated",
    )  # fmt: skip
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="cuda: our steps at three sizes")
    options = parser.parse_args(arguments)
    if options.device == "cuda":
        if not torch.cuda.is_available():
            parser.error("--device cuda: found no GPU that torch can use, expected one")
        _write(options.json, accelerator.measure(torch.device("cuda"), _say))
        return
    keep_freed_memory()
    if options.threads:
        torch.set_num_threads(options.threads)
    about = machine.describe(works.CPU)
    precision = choose_precision(options.precision, works.CPU)
    about["precision"] = precision
    _say(f"{about['device']}, {about['threads']} threads, torch {about['torch']}; our precision {precision}")
    _say(f"bounds: {about['gemm_gflops']} GFLOP/s, {about['bandwidth_gbytes']} GB/s")
    result: Row = {"rows": []}
    if options.only and options.json and options.json.is_file():
        result = json.loads(options.json.read_text())
    result["machine"] = about
    for part in options.only or PARTS:
        for _ in _taking(part, result, precision, options.quick, options.work):
            result.setdefault("measured", {})[part] = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
            _write(options.json, result)  # what follows takes minutes more


def _taking(part: str, result: Row, precision: Precision, quick: bool, chosen: list[str] | None) -> Iterator[None]:
    """Measure one part, or chosen works of it, into the result, in the place of what was there; yield after each."""
    if part in ("seqgan", "dialogue"):
        for rows in measure(part, precision, result["machine"]["gemm_gflops"], quick, chosen):
            again = {_key(row) for row in rows}
            result["rows"] = [row for row in result["rows"] if _key(row) not in again] + rows
            yield
        _say(compared([row for row in result["rows"] if row["setting"] == part and "ranks" not in row]))
    elif part == "growth":
        result["scaling"] = scaling.scaling(precision, 1 if quick else 3)
        for entry in result["scaling"]:
            _say(
                f"{entry['setting']} {entry['work']} grows as ({entry['in']})^{entry['exponent']:.2f} "
                f"[{entry['low']:.2f}, {entry['high']:.2f}] over {entry['sizes']}"
            )
        yield
        result["model_sizes"] = scaling.by_model_size(precision, 1 if quick else 3)
        for entry in result["model_sizes"]:
            _say(
                f"width {entry['width']}, {entry['parameters'] / 1e6:.1f}M parameters, 32 contexts: "
                f"mle_step {entry['mle_step']:.3f} s, generator_step {entry['generator_step']:.2f} s"
            )
        result["peak_memory_gb_512_lanes"] = scaling.peak_memory(precision)
        _say(f"peak memory of generator steps of 512 lanes: {result['peak_memory_gb_512_lanes']:.2f} GB")
        yield
    else:
        rows = ranks.efficiency(precision, 1 if quick else 2)
        result["rows"] = [row for row in result["rows"] if "ranks" not in row] + rows
        for work in ranks.WORKS:
            same, twice = (ranks.speed_up(rows, work, times * works.Dialogue().contexts) for times in (1, 2))
            _say(f"{work}: two ranks do {same:.2f} times what one does on one core, with twice its batch {twice:.2f}")
        yield


def _key(row: Row) -> tuple[str, ...]:
    return row["system"], row["setting"], row["work"], "ranks" if "ranks" in row else ""


def _write(path: Path | None, result: Row) -> None:
    if path is not None:
        path.write_text(json.dumps(result, indent=1) + "\n")


def measure(
    setting: str, precision: Precision, bounds: dict[str, float], quick: bool, chosen: list[str] | None = None
) -> Iterator[list[Row]]:
    """Yield one row for each system, work by work of a setting, or for `chosen` works.

    The two systems take turns within each work, so that a machine that others disturb disturbs both.
    """
    dialogue = works.Dialogue(rollouts=4 if quick else works.ROLLOUTS)
    if setting == "seqgan":
        ours, plain = works.our_seqgan(precision), works.plain_seqgan()
    else:
        ours, plain = works.our_dialogue(dialogue, precision), works.plain_dialogue(dialogue)
    for work, call in ours.items():
        if chosen and work not in chosen:
            continue
        rows: list[Row] = []
        calls = {"rejoinder": call} | ({"reference": plain[work]} if work in plain else {})
        for system, taken in _in_turns(calls).items():
            product = precision if system == "rejoinder" else "fp32"
            row = machine.row(system, setting, work, taken, precision=product, **_amounts(setting, work, dialogue))
            for amount in ("tokens", "samples"):
                if amount in row:
                    row[f"{amount}_per_second"] = row[amount] / row["seconds"]
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
        yield rows


def _in_turns(calls: dict[str, Callable[[], object]]) -> dict[str, machine.Timing]:
    """Return how long each call took, in rounds of each system in its turn; a call that takes long is not warmed up."""
    taken, left = {}, {}
    for system, call in calls.items():
        first = machine.timing_of(call, works.CPU, 1)
        slow = first.wall[0] > _PATIENCE
        taken[system] = first if slow else machine.Timing([], [])
        left[system] = _FEW - 1 if slow else _repeats(first.wall[0])
    for rounds in range(_FEW - 1, 0, -1):
        for system, call in calls.items():
            number = -(-left[system] // rounds)
            left[system] -= number
            more = machine.timing_of(call, works.CPU, number)
            taken[system].wall.extend(more.wall)
            taken[system].processor.extend(more.processor)
    return taken


def _repeats(seconds: float) -> int:
    """Return how often a work is timed that takes so long: the shorter, the more does a moment's disturbance matter."""
    return _FEW if seconds > _PATIENCE / 10 else _MANY if seconds > _PATIENCE / 40 else _MOST


def _amounts(setting: str, work: str, dialogue: works.Dialogue) -> dict[str, float]:
    """Return how much work one call is."""
    if setting == "seqgan":
        sizes: dict[str, dict[str, float]] = {
            "mle_step": {"tokens": works.BATCH * LENGTH},
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
    if ("dialogue", "mle_step_512") in mine:
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
