"""How much faster two ranks on two cores are than one rank on one core: the same steps of the same job, by gloo.

Two jobs of one rank that have nothing to do with each other run side by side too: what they lose to each other is the
machine's share of what two ranks lose.

`torchrun` starts `python -m benchmarks.ranks FILE PRECISION CONTEXTS` once for each rank; each has one thread.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import torch

from benchmarks.machine import timing_of
from benchmarks.works import CPU, Dialogue, our_dialogue
from chatbot.memory import keep_freed_memory
from training import ranks
from training.precision import Precision

WORKS = {"mle_step": 10, "generator_step": 3}
"""How often each is timed."""
_ROOT = Path(__file__).resolve().parents[1]


def efficiency(precision: Precision, rounds: int) -> list[dict[str, Any]]:
    """Return one row for each work and job; the jobs take turns for `rounds` rounds.

    Two ranks take the batch of one rank, half of it each, and then a batch of which each takes as much as one rank had.
    Rows with `beside` are of jobs of one rank while so many others like them ran.
    """
    contexts = Dialogue().contexts
    jobs = ((1, contexts), (2, contexts), (2, 2 * contexts))
    taken: dict[tuple[str, int, int, int], list[list[float]]] = {}
    for _ in range(rounds):
        for count, batch in jobs:
            for work, seconds in _job(count, batch, precision).items():
                taken.setdefault((work, count, batch, 0), []).append(seconds)
        with ThreadPoolExecutor(2) as pool:
            for found in pool.map(lambda _: _job(1, contexts, precision), range(2)):
                for work, seconds in found.items():
                    taken.setdefault((work, 1, contexts, 1), []).append(seconds)
    return [
        {
            "system": "rejoinder", "setting": "dialogue", "work": work, "ranks": count, "threads": 1, "batch": batch,
            **({"beside": beside} if beside else {}),
            "seconds": statistics.median(second for wall, _ in map(_halves, runs) for second in wall),
            "processor_seconds": statistics.median(second for _, spent in map(_halves, runs) for second in spent),
            "repeats": sum(len(run) for run in runs) // 2,
        }
        for (work, count, batch, beside), runs in taken.items()
    ]  # fmt: skip


def speed_up(rows: list[dict[str, Any]], work: str, batch: int) -> float:
    """Return how many times as many contexts a second two ranks with `batch` contexts do as one rank with its own."""
    together = [row for row in rows if row["work"] == work and "beside" not in row]
    rate = {(row["ranks"], row["batch"]): row["batch"] / row["seconds"] for row in together}
    return float(rate[2, batch] / rate[1, Dialogue().contexts])


def _halves(seconds: list[float]) -> tuple[list[float], list[float]]:
    return seconds[: len(seconds) // 2], seconds[len(seconds) // 2 :]


def _job(count: int, batch: int, precision: Precision) -> dict[str, list[float]]:
    """Return the wall's seconds of each step of rank 0, and behind them the processor's."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "seconds.json"
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT)}
        arguments = ["-m", "benchmarks.ranks", str(path), precision, str(batch)]
        subprocess.run([*command, *arguments], cwd=_ROOT, env=environment, check=True)
        found: dict[str, list[float]] = json.loads(path.read_text())
        return found


def main(path: Path, precision: Precision, batch: int) -> None:
    """Take steps together with the other ranks; rank 0 writes how long each took."""
    keep_freed_memory()
    steps = our_dialogue(replace(Dialogue(), contexts=batch), precision)
    found: dict[str, list[float]] = {}
    for work, repeats in WORKS.items():
        for _ in range(2):
            steps[work]()
        ranks.wait()
        # Every step ends with a message that all ranks must have sent: none is ahead of another by more than a step.
        taken = timing_of(steps[work], CPU, repeats)
        found[work] = taken.wall + taken.processor
    if ranks.number() == 0:
        path.write_text(json.dumps(found))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with ranks.joined():
        main(Path(sys.argv[1]), cast(Precision, sys.argv[2]), int(sys.argv[3]))
