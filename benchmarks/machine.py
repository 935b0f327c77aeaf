"""What the machine can do, measured in the same run as what is judged by it: matrix products and memory traffic."""

import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

Work = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """How long each call took by the clock on the wall, and of the processor's time, all threads together."""

    wall: list[float]
    processor: list[float]


def timing_of(work: Work, device: torch.device, repeats: int) -> Timing:
    """Return how long each of `repeats` calls of `work` took."""
    wall, processor = [], []
    for _ in range(repeats):
        finish(device)
        start, spent = time.perf_counter(), time.process_time()
        work()
        finish(device)
        wall.append(time.perf_counter() - start)
        processor.append(time.process_time() - spent)
    return Timing(wall, processor)


def seconds_of(work: Work, device: torch.device, repeats: int, warm_ups: int = 1) -> list[float]:
    """Return how long each of `repeats` calls of `work` took, after `warm_ups` calls that do not count."""
    for _ in range(warm_ups):
        work()
    return timing_of(work, device, repeats).wall


def best_seconds(work: Work, device: torch.device, repeats: int) -> float:
    """Return the shortest of `repeats` calls: on a CPU in processor time for each thread, whatever else is running."""
    work()
    taken = timing_of(work, device, repeats)
    return min(taken.processor) / torch.get_num_threads() if device.type == "cpu" else min(taken.wall)


def finish(device: torch.device) -> None:
    """Wait for what `device` has been asked to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def gemm_bound(device: torch.device, dtype: torch.dtype, repeats: int = 5) -> float:
    """Return the best rate of a square product, in GFLOP/s, over sizes that fill the machine."""
    best = 0.0
    for size in (1024, 2048) if device.type == "cpu" else (4096, 8192):
        left = torch.randn(size, size, device=device).to(dtype)
        right = torch.randn(size, size, device=device).to(dtype)

        def work(left: torch.Tensor = left, right: torch.Tensor = right) -> torch.Tensor:
            return torch.nn.functional.linear(left, right)

        best = max(best, 2 * size**3 / best_seconds(work, device, repeats) / 1e9)
    return best


def bandwidth(device: torch.device, repeats: int = 5) -> float:
    """Return the rate of copying memory that fits into no cache, in GB/s, reading and writing both counted."""
    source = torch.ones(2**26 if device.type == "cpu" else 2**28, device=device)
    target = torch.empty_like(source)
    return 2 * source.nbytes / best_seconds(lambda: target.copy_(source), device, repeats) / 1e9


def describe(device: torch.device) -> dict[str, Any]:
    """Return the machine's description and its bounds."""
    if device.type == "cuda":
        name, cores = torch.cuda.get_device_name(device), 1
    else:
        name, cores = _processor(), torch.get_num_threads()
    return {
        "device": name,
        "threads": cores,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "gemm_gflops": {
            "fp32": round(gemm_bound(device, torch.float32), 1),
            "bf16": round(gemm_bound(device, torch.bfloat16), 1),
        },
        "bandwidth_gbytes": round(bandwidth(device), 1),
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def flops_of(work: Work) -> int:
    """Return the floating point operations of the matrix products of one call; cells of recurrences are not counted."""
    with FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def largest_costs(work: Work, count: int = 3) -> list[dict[str, Any]]:
    """Return the operators of one call that took the most time themselves, with their share of it."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        work()
    found = sorted(profiler.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in found) or 1.0
    return [{"operator": e.key, "share": round(e.self_cpu_time_total / total, 3)} for e in found[:count]]


def row(system: str, setting: str, work: str, taken: Timing, **figures: Any) -> dict[str, Any]:
    """Return one row of a result: the median of the seconds with its range, and whatever else was measured."""
    return {
        "system": system,
        "setting": setting,
        "work": work,
        "seconds": statistics.median(taken.wall),
        "fastest": min(taken.wall),
        "slowest": max(taken.wall),
        "processor_seconds": statistics.median(taken.processor),
        "repeats": len(taken.wall),
        **figures,
    }
