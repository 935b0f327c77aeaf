"""How cost grows: exponents of power laws fitted to measured seconds, with intervals, and the memory of a step."""

import math
import multiprocessing
import resource
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmarks.machine import seconds_of
from benchmarks.works import CPU, Dialogue, our_dialogue, our_seqgan
from chatbot.memory import keep_freed_memory
from training.precision import Precision

_STUDENT = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23}
"""Of the t distribution: 95 % lie within, by degrees of freedom."""


def fit_exponent(sizes: Sequence[float], seconds: Sequence[Sequence[float]]) -> dict[str, float]:
    """Return the exponent of seconds in size, fitted to the medians' logarithms, with a 95 % interval of the slope."""
    x = [math.log(size) for size in sizes]
    y = [math.log(statistics.median(taken)) for taken in seconds]
    mean_x, mean_y = statistics.mean(x), statistics.mean(y)
    spread = sum((a - mean_x) ** 2 for a in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    rest = [b - mean_y - slope * (a - mean_x) for a, b in zip(x, y, strict=True)]
    freedom = len(x) - 2
    error = math.sqrt(sum(r * r for r in rest) / freedom / spread)
    reach = _STUDENT[min(freedom, 10)] * error
    return {"exponent": slope, "low": slope - reach, "high": slope + reach}


def scaling(precision: Precision, repeats: int) -> list[dict[str, Any]]:
    """Return how a generator's step grows with contexts, reply tokens, rollouts and the model's width."""
    half = Dialogue(contexts=32)
    dialogue: dict[str, tuple[str, Sequence[int], Callable[[int], Dialogue]]] = {
        "B, contexts": ("generator_step", (8, 16, 32, 64), lambda n: replace(half, contexts=n)),
        "T, reply tokens": ("generator_step", (6, 12, 24, 48), lambda n: replace(half, reply_tokens=n)),
        "width": ("mle_step", (128, 256, 384, 512), lambda n: replace(half, shape=_wide(n))),
    }
    found = []
    for name, (work, sizes, make) in dialogue.items():
        taken = [seconds_of(our_dialogue(make(size), precision)[work], CPU, repeats) for size in sizes]
        found.append(_entry("dialogue", work, name, sizes, taken))
    for name, sizes in (("N, rollouts", (2, 4, 8, 16)), ("B, sequences", (16, 32, 64))):
        taken = [
            seconds_of(
                our_seqgan(precision, **{"rollouts" if name[0] == "N" else "batch": size})["generator_step_mc"],
                CPU, repeats,
            )
            for size in sizes
        ]  # fmt: skip
        found.append(_entry("seqgan", "generator_step_mc", name, sizes, taken))
    return found


def _wide(width: int) -> Any:
    return replace(Dialogue().shape, width=width, feedforward=4 * width)


def _entry(
    setting: str, work: str, name: str, sizes: Sequence[int], taken: Sequence[Sequence[float]]
) -> dict[str, Any]:
    medians = [statistics.median(times) for times in taken]
    fit = fit_exponent(sizes, taken)
    return {"setting": setting, "work": work, "in": name, "sizes": list(sizes), "seconds": medians, **fit}


def peak_memory(precision: Precision) -> float:
    """Return the largest resident memory, in GB, of a process that takes generator steps of 512 lanes."""
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_take_steps, args=(precision, torch.get_num_threads(), sending))
    process.start()
    peak: float = receiving.recv()
    process.join()
    return peak


def _take_steps(precision: Precision, threads: int, sending: Any) -> None:
    keep_freed_memory()
    torch.set_num_threads(threads)
    step = our_dialogue(Dialogue(), precision)["generator_step"]
    for _ in range(2):
        step()
    unit = 1 if sys.platform == "darwin" else 1024
    sending.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9)
