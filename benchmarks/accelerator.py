"""Our steps on a GPU at three sizes of model: seconds, tokens a second, the share of the device's own bound, a profile.

There is no reference here: the plain programs are for CPUs, and what a GPU is to be compared with are our own figures
there. CUDA graphs are not measured: no step of ours is captured in one. This has never run on a GPU: a test runs it on
the CPU with toy sizes.
"""

import statistics
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks import machine
from benchmarks.works import Dialogue, our_dialogue, parameters_of, tokens_of_mle
from chatbot.generator.trunk import TrunkConfig

SIZES: Mapping[str, Dialogue] = {
    "dialogue": Dialogue(),
    "25M": Dialogue(vocabulary=16000, shape=TrunkConfig("transformer", 448, 3, 3, 7, 1792)),
    "100M": Dialogue(vocabulary=32000, shape=TrunkConfig("transformer", 768, 5, 4, 12, 3072)),
}
_WORKS = ("mle_step", "generator_step", "discriminator_step")
_REPEATS, _COSTS = 10, 10


def measure(device: torch.device, say: Callable[[str], None], sizes: Mapping[str, Dialogue] = SIZES) -> dict[str, Any]:
    """Return the machine and one row for each size, format of products and work, each said as soon as it is known."""
    about = machine.describe(device)
    rows = []
    for name, size in sizes.items():
        for precision in ("bf16", "fp32"):
            rows += _rows(name, size, precision, device, about["gemm_gflops"][precision])
            for row in rows[-len(_WORKS) :]:
                say(
                    f"{name} ({row['parameters'] / 1e6:.0f}M) {precision} {row['work']}: {row['seconds']:.4f} s, "
                    f"{row['tokens_per_second']:.0f} tokens/s, {row['bound_share']:.0%} of the measured bound"
                )
    return {"machine": about, "rows": rows}


def _rows(
    name: str, size: Dialogue, precision: Literal["bf16", "fp32"], device: torch.device, bound: float
) -> list[dict[str, Any]]:
    steps = our_dialogue(size, precision, device)
    tokens = {"mle_step": tokens_of_mle(size), "discriminator_step": tokens_of_mle(size)}
    drawn = float(size.contexts * size.samples * size.reply_tokens)  # an untrained model hardly ever ends a reply
    rows = []
    for work in _WORKS:
        call = steps[work]
        for _ in range(3):
            call()
        taken = machine.timing_of(call, device, _REPEATS)
        gflop, seconds = machine.flops_of(call) / 1e9, statistics.median(taken.wall)
        rows.append(
            machine.row(
                "rejoinder", name, work, taken,
                precision=precision, parameters=parameters_of(size), gflop=gflop, bound_share=gflop / seconds / bound,
                tokens_per_second=tokens.get(work, drawn) / seconds, largest_costs=_largest(call, device),
            )
        )  # fmt: skip
    return rows


def _largest(call: Callable[[], object], device: torch.device) -> list[dict[str, Any]]:
    """Return the operators that took the most of the device's own time."""
    if device.type == "cpu":
        return machine.largest_costs(call, _COSTS)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        call()
        machine.finish(device)
    found = sorted(profiler.key_averages(), key=lambda event: -event.self_device_time_total)
    total = sum(event.self_device_time_total for event in found) or 1.0
    return [{"operator": e.key, "share": round(e.self_device_time_total / total, 3)} for e in found[:_COSTS]]
