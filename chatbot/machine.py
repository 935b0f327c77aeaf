"""What this machine has for the models: torch's version, the devices that it sees. Says it, and uses none of it."""

import os
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Machine:
    """What there is to compute with."""

    torch: str
    cores: int
    gpus: tuple[str, ...]
    """Each with its memory."""
    built_for: str
    """`cpu`, or the version of CUDA that torch was built for."""


def look_at_machine() -> Machine:
    """Return what torch finds here."""
    gpus = []
    if torch.cuda.is_available():  # pragma: no cover - needs a GPU
        for index in range(torch.cuda.device_count()):
            found = torch.cuda.get_device_properties(index)
            gpus.append(f"{found.name}, {found.total_memory / 2**30:.0f} GiB")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(torch.__version__, cores, tuple(gpus), torch.version.cuda or "cpu")
