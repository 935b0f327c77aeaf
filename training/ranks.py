"""Many processes as one: what each of them takes of a batch, and what all must agree on.

`torchrun` starts the processes ("ranks"). Every rank holds the whole of G and D and draws the same batches in the same
order, of which it takes every R-th row; gradients are averaged over all rows before they are clipped. In one process,
without torchrun, everything here does nothing. Knows tensors and numbers; no models, losses or files.
"""

import datetime
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from training.errors import RunError

_PATIENCE = datetime.timedelta(minutes=10)
"""How long a rank waits for the others before it gives up."""


@contextmanager
def joined() -> Iterator[None]:
    """Join the ranks that torchrun has started, and leave them at the end; without torchrun do nothing.

    NCCL carries tensors on GPUs and gloo those on CPUs. Raises RunError when there are fewer GPUs than ranks here.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        yield
        return
    backend = "gloo"
    if torch.cuda.is_available():  # pragma: no cover - needs a GPU
        local, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= count:
            raise RunError(f"rank {os.environ['RANK']} has no GPU: found {count} here, expected one for each rank")
        torch.cuda.set_device(local)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=_PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def count() -> int:
    """Return how many ranks there are."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def number() -> int:
    """Return which of them this is, from 0."""
    return dist.get_rank() if count() > 1 else 0


def share(rows: Tensor) -> Tensor:
    """Return this rank's rows: every R-th."""
    return rows[number() :: count()]


def total(value: Tensor) -> Tensor:
    """Return the sum of `value` over all ranks, without gradient."""
    if count() == 1:
        return value.detach()
    summed = value.detach().clone()
    dist.all_reduce(summed)
    return summed


def weight(own: Tensor) -> Tensor:
    """Return what this rank's mean over `own` tokens counts in a mean over ranks that is to be that over all tokens."""
    return torch.ones_like(own, dtype=torch.float32) if count() == 1 else own * count() / total(own).clamp(min=1)


def clip_gradients(parameters: Iterable[nn.Parameter], limit: float) -> Tensor:
    """Average the gradients over all ranks, then scale them to a norm of at most `limit`; return the norm before."""
    kept = list(parameters)
    average_gradients(kept)
    return clip_grad_norm_(kept, limit)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Average the gradients over all ranks, in one message."""
    if count() == 1:
        return
    learning = [p for p in parameters if p.requires_grad]
    gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in learning]
    flat = torch.cat([gradient.flatten() for gradient in gradients]) / count()
    dist.all_reduce(flat)
    start = 0
    for parameter in learning:
        part = flat[start : start + parameter.numel()].view_as(parameter)
        start += parameter.numel()
        if parameter.grad is None:
            parameter.grad = part.clone()
        else:
            parameter.grad.copy_(part)


def mean(metrics: dict[str, float]) -> dict[str, float]:
    """Return each measure averaged over ranks; one that is not finite on any rank is not finite on all."""
    if count() == 1:
        return metrics
    values = torch.tensor(list(metrics.values()), dtype=torch.float64)
    dist.all_reduce(values)
    return dict(zip(metrics, (values / count()).tolist(), strict=True))


def first(value: Any) -> Any:
    """Return what rank 0 has: how decisions are agreed on. Waits until rank 0 comes here."""
    if count() == 1:
        return value
    told = [value]
    dist.broadcast_object_list(told, src=0)
    return told[0]


def wait() -> None:
    """Go on when all ranks have come here."""
    if count() > 1:
        dist.barrier()


def same_weights(models: Iterable[nn.Module]) -> None:
    """Give every rank the weights of rank 0."""
    if count() == 1:
        return
    for model in models:
        for tensor in model.state_dict().values():
            dist.broadcast(tensor, src=0)


def own_stream(rng: torch.Generator) -> torch.Generator:
    """Return a stream for draws whose number differs between ranks; `rng` moves on by one number, on all alike."""
    if count() == 1:
        return rng
    seed = int(torch.randint(0, 2**62, (), generator=rng)) + number()
    return torch.Generator().manual_seed(seed)
