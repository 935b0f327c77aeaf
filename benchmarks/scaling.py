"""How cost grows: exponents of power laws fitted to measured seconds, with intervals, and the memory of a step."""

import math
import multiprocessing
import resource
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.machine import seconds_of, timing_of
from benchmarks.works import CPU, Dialogue, our_dialogue, our_seqgan, parameters_of
from chatbot.memory import keep_freed_memory
from training.precision import Precision

_STUDENT = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26, 10: 2.23}
"""Of the t distribution: 95 % lie within, by degrees of freedom."""
_WIDTHS = (128, 256, 384, 512)
_STEPS_OF_MEMORY = 5


@dataclass(frozen=True)
class Growth:
    """Seconds of one work at several sizes; `make` returns the call to time at a size."""

    setting: str
    work: str
    size: str
    sizes: Sequence[int]
    make: Callable[[int], Callable[[], object]]


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


def growths(precision: Precision) -> list[Growth]:
    """Return what is looked at: contexts, sequences, rollouts and reply tokens of a generator's step.

    Sizes begin where the work that does not grow (reading weights, the tables of D, overheads of calls) is no longer
    most of it: an exponent fitted from smaller ones up would come out too low.
    """

    def dialogue(contexts: int = 32, reply_tokens: int = 24) -> Callable[[], object]:
        return our_dialogue(Dialogue(contexts=contexts, reply_tokens=reply_tokens), precision)["generator_step"]

    def search(batch: int, rollouts: int) -> Callable[[], object]:
        return our_seqgan(precision, batch=batch, rollouts=rollouts)["generator_step_mc"]

    return [
        Growth("dialogue", "generator_step", "B, contexts", (16, 32, 48, 64, 96), lambda n: dialogue(contexts=n)),
        Growth(
            "dialogue", "generator_step", "T, reply tokens", (6, 12, 24, 36, 48), lambda n: dialogue(reply_tokens=n)
        ),
        Growth("seqgan", "generator_step_mc", "B, sequences", (32, 64, 96, 128, 192), lambda n: search(n, 16)),
        Growth("seqgan", "generator_step_mc", "N, rollouts", (8, 16, 24, 32, 48), lambda n: search(64, n)),
    ]


def scaling(precision: Precision, repeats: int) -> list[dict[str, Any]]:
    """Return how each of `growths` grows; sizes take turns, so that a machine that slows down slows all of them."""
    found = []
    for growth in growths(precision):
        calls = [growth.make(size) for size in growth.sizes]
        taken: list[list[float]] = [[] for _ in calls]
        for call in calls:
            call()
        for _ in range(repeats):
            for times, call in zip(taken, calls, strict=True):
                times += timing_of(call, CPU, 1).wall
        entry: dict[str, Any] = {
            "setting": growth.setting, "work": growth.work, "in": growth.size, "sizes": list(growth.sizes),
            "threads": torch.get_num_threads(),
            "seconds": [statistics.median(times) for times in taken], **fit_exponent(growth.sizes, taken),
        }  # fmt: skip
        found.append(entry)
    return found


def by_model_size(precision: Precision, repeats: int) -> list[dict[str, Any]]:
    """Return parameters of the generator, and seconds of two steps, at several widths."""
    found = []
    for width in _WIDTHS:
        sizes = replace(Dialogue(contexts=32), shape=replace(Dialogue().shape, width=width, feedforward=4 * width))
        steps = our_dialogue(sizes, precision)
        entry: dict[str, Any] = {"width": width, "parameters": parameters_of(sizes)}
        for work in ("mle_step", "generator_step"):
            entry[work] = statistics.median(seconds_of(steps[work], CPU, repeats))
        found.append(entry)
    return found


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
    for _ in range(_STEPS_OF_MEMORY):
        step()
    sending.send(_peak_of_this_process())


def _peak_of_this_process() -> float:
    """Return GB. Linux's `ru_maxrss` remembers the process that this one was forked from, `VmHWM` does not."""
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
