"""How a generator computes on a CPU: as trained (fp32), or with narrower weights, chosen by measuring and checked.

Whatever is chosen, a reply does not depend on its neighbours: int8 scales each row of activations by itself, and sums
of whole numbers are exact in any order. N inputs, K outputs of a layer, R rows.
"""

import copy
import time
from collections.abc import Callable
from typing import Final, Literal, cast, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from chatbot.engine.int8 import Int8Linear
from chatbot.engine.traced import TracedEncoding, TracedStep
from chatbot.errors import RejoinderError
from chatbot.generator.interface import Generator, State
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import Trunk
from chatbot.tokenizer import RESERVED, START, TURN

Precision = Literal["fp32", "bf16", "int8"]

FARTHEST: Final = 0.01
"""Mean Kullback-Leibler divergence from fp32, in nats a token: a perplexity at most 1 % worse."""
_WORTHWHILE: Final = 1.2
"""How many times faster a step must be to be preferred: for less, the exact numbers, or int8, are kept, and so the same
machine comes to the same choice each time."""
_LANES: Final = 32


class BFloat16Linear(nn.Module):
    """A linear layer whose product is computed in bfloat16."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self._weight = weight.detach().to(torch.bfloat16)
        self._bias = None if bias is None else bias.detach().to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., K] (float32) of x [..., N]."""
        return functional.linear(x.to(torch.bfloat16), self._weight, self._bias).float()


_KINDS: Final[dict[Precision, Callable[[Tensor, Tensor | None], nn.Module]]] = {
    "bf16": BFloat16Linear,
    "int8": Int8Linear,
}


class NarrowGRU(nn.Module):
    """A GRU of one layer whose two products are narrow."""

    def __init__(self, gru: nn.GRU, kind: Callable[[Tensor, Tensor | None], nn.Module]) -> None:
        super().__init__()
        self._input = kind(cast(Tensor, gru.weight_ih_l0), cast(Tensor, gru.bias_ih_l0))
        self._carried = kind(cast(Tensor, gru.weight_hh_l0), cast(Tensor, gru.bias_hh_l0))
        self._width = gru.hidden_size

    def forward(self, x: Tensor, carried: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the outputs [B, T, D] for x [B, T, N] and the last state [1, B, D]."""
        state = x.new_zeros(len(x), self._width) if carried is None else carried[0]
        outputs = []
        for step in self._input(x).unbind(dim=1):
            reset_update, new = step.split((2 * state.shape[1], state.shape[1]), dim=1)
            gates, candidate = self._carried(state).split((2 * state.shape[1], state.shape[1]), dim=1)
            reset, update = torch.sigmoid(reset_update + gates).chunk(2, dim=1)
            state = torch.lerp(torch.tanh(torch.addcmul(new, reset, candidate)), state, update)
            outputs.append(state)
        return torch.stack(outputs, dim=1), state[None]


class NarrowGenerator(Generator):
    """A copy of an encoder-decoder generator that writes with narrow weights; it cannot be trained."""

    def __init__(self, generator: Seq2SeqGenerator, precision: Precision) -> None:
        super().__init__()
        self.vocabulary_size = generator.vocabulary_size
        self.reply_tokens = generator.reply_tokens
        self.width = generator.width
        kind = _KINDS[precision]
        self._projection = kind(generator.trunk.embedding.weight.detach(), generator.bias.detach())
        self._trunk: Trunk = copy.deepcopy(generator.trunk)
        _narrow(self._trunk, kind)
        self.eval().requires_grad_(False)
        self._step = TracedStep(self._plain_step)
        self._encode = TracedEncoding(self._trunk.encode)

    def encode(self, context: Tensor) -> State:
        """Read contexts [B, S] and return B lanes with empty replies."""
        return self._encode(context)

    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, State]:
        """Append one token [B] to every lane and return the logits of the next [B, V]."""
        return self._step(state, tokens)

    def _plain_step(self, state: State, tokens: Tensor) -> tuple[Tensor, State]:
        hidden, state = self._trunk.step(state, tokens)
        return self.project(hidden), state

    def hidden(self, state: State, reply: Tensor) -> Tensor:
        """Return [B, T, D]: position t has read START and reply[:, :t]."""
        start = reply.new_full((len(reply), 1), START)
        return self._trunk.unroll(state, torch.cat((start, reply[:, :-1]), dim=1))

    def project(self, hidden: Tensor) -> Tensor:
        """Turn hidden states [..., D] into logits [..., V] (float32)."""
        logits: Tensor = self._projection(hidden)
        return logits


def _narrow(module: nn.Module, kind: Callable[[Tensor, Tensor | None], nn.Module]) -> None:
    """Replace the linear layers and GRUs of `module`.

    An encoder's GRU is as fast as it was, but its products differed in the last bits with the size of the group, and
    rounding to int8 makes such differences large enough to be seen.
    """
    for child_name, child in module.named_children():
        if isinstance(child, nn.Linear):
            bias = None if child.bias is None else child.bias.detach()
            setattr(module, child_name, kind(child.weight.detach(), bias))
        elif isinstance(child, nn.GRU):
            setattr(module, child_name, NarrowGRU(child, kind))
        else:
            _narrow(child, kind)


@torch.inference_mode()
def divergence(exact: Generator, narrow: Generator, context_tokens: int, seed: int = 0) -> float:
    """Return the mean divergence KL(exact | narrow) in nats a token, over replies that `exact` itself writes.

    The contexts are of random tokens: a bundle carries no text of its own.
    """
    rng = torch.Generator().manual_seed(seed)
    lowest = len(RESERVED)
    context = torch.randint(lowest, exact.vocabulary_size, (_LANES, min(context_tokens, 16)), generator=rng)
    context[:, -1] = TURN
    states = exact.encode(context), narrow.encode(context)
    tokens = torch.full((_LANES,), START)
    total = torch.zeros(())
    steps = min(exact.reply_tokens, 16)
    for _ in range(steps):
        logits, first = exact.step(states[0], tokens)
        others, second = narrow.step(states[1], tokens)
        states = first, second
        own, theirs = torch.log_softmax(logits, dim=1), torch.log_softmax(others, dim=1)
        total += functional.kl_div(theirs, own, reduction="batchmean", log_target=True)
        tokens = torch.multinomial(own.exp(), 1, generator=rng).squeeze(1).clamp(min=lowest)
    return float(total / steps)


@torch.inference_mode()
def step_seconds(generator: Generator, lanes: int = _LANES) -> float:
    """Return how long one step of `lanes` lanes takes: the best of several."""
    tokens = torch.full((lanes,), START)
    _, state = generator.step(generator.encode(torch.full((lanes, 8), TURN)), tokens)
    times = []
    for _ in range(min(12, generator.reply_tokens - 1)):
        started = time.perf_counter()
        _, state = generator.step(state, tokens)
        times.append(time.perf_counter() - started)
    return min(times, default=0.0)


def choose_precision(
    generator: Generator, context_tokens: int, device: str, wanted: str
) -> tuple[Generator, Precision]:
    """Return the generator to write with, and how it computes.

    `wanted` names a precision, or `auto`: the fastest that stays within FARTHEST of fp32 and is well faster than it.
    Raises RejoinderError where the wanted one is unknown, cannot be had here or strays too far.
    """
    if wanted not in ("auto", *get_args(Precision)):
        raise RejoinderError(f"precision is {wanted!r}, expected auto, {', '.join(get_args(Precision))}")
    narrow_is_possible = isinstance(generator, Seq2SeqGenerator) and device == "cpu"
    if wanted == "fp32" or (wanted == "auto" and not narrow_is_possible):
        return generator, "fp32"
    if not narrow_is_possible:
        raise RejoinderError(f"precision {wanted} is for CPUs and our own architectures, this is {device}")
    assert isinstance(generator, Seq2SeqGenerator)
    best: tuple[Generator, Precision] = (generator, "fp32")
    least = step_seconds(generator) if wanted == "auto" else float("inf")
    for precision in ("int8", "bf16"):
        if wanted not in ("auto", precision):
            continue
        try:
            narrow = NarrowGenerator(generator, precision)
            strayed = divergence(generator, narrow, context_tokens)
        except (RuntimeError, AttributeError) as error:  # this build of torch has no such kernel for this processor
            if wanted != "auto":
                raise RejoinderError(f"precision {wanted} cannot be had here: {error}") from None
            continue
        if not strayed <= FARTHEST:
            if wanted != "auto":
                raise RejoinderError(
                    f"precision {wanted} strays {strayed:.3g} nats a token from fp32, expected at most {FARTHEST}"
                )
            continue
        seconds = step_seconds(narrow)
        if seconds * _WORTHWHILE < least:
            best, least = (narrow, precision), seconds
    return best
