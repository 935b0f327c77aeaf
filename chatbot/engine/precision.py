"""How a generator computes on a CPU: as trained (fp32), or with narrower weights, chosen by measuring and checked."""

import time
from typing import Final, cast, get_args

import torch
from torch.nn import functional

from chatbot.engine.narrow import Precision, can_be_narrow, narrowed
from chatbot.errors import LanguageModelError, RejoinderError
from chatbot.generator.interface import Generator
from chatbot.generator.pretrained import PretrainedGenerator
from chatbot.tokenizer import RESERVED, START, TURN

FARTHEST: Final = 0.01
"""Mean Kullback-Leibler divergence from fp32, in nats a token: a perplexity at most 1 % worse."""
_WORTHWHILE: Final = 1.2
"""How many times faster a step must be to be preferred: for less, the exact numbers, or int8, are kept, and so the same
machine comes to the same choice each time."""
_LANES: Final = 32


@torch.inference_mode()
def divergence(exact: Generator, narrow: Generator, context_tokens: int, seed: int = 0) -> float:
    """Return the mean divergence KL(exact | narrow) in nats a token, over replies that `exact` itself writes.

    The contexts are of random tokens: a bundle carries no text of its own.
    """
    rng = torch.Generator().manual_seed(seed)
    lowest = len(RESERVED)
    lanes = _measured_lanes(exact)
    context = torch.randint(lowest, exact.vocabulary_size, (lanes, min(context_tokens, 16)), generator=rng)
    context[:, -1] = TURN
    states = exact.encode(context), narrow.encode(context)
    tokens = torch.full((lanes,), START)
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


def _measured_lanes(generator: Generator) -> int:
    """Return how many lanes are measured: a language model's take seconds."""
    return 8 if isinstance(generator, PretrainedGenerator) else _LANES


def _candidates(generator: Generator) -> tuple[Precision, ...]:
    """Return what is tried without being asked for.

    A language model has a few activations so large that 8 bits leave nothing of those beside them (Dettmers et al.,
    2022, "LLM.int8()"); trying that would cost each start seconds.
    """
    return ("bf16",) if isinstance(generator, PretrainedGenerator) else ("int8", "bf16")


def choose_precision(
    generator: Generator, context_tokens: int, device: str, wanted: str
) -> tuple[Generator, Precision]:
    """Return the generator to write with, and how it computes.

    `wanted` names a precision, or `auto`: the fastest that stays within FARTHEST of fp32 and is well faster than it.
    Raises RejoinderError where the wanted one is unknown, cannot be had here or strays too far.
    """
    if wanted not in ("auto", *get_args(Precision)):
        raise RejoinderError(f"precision is {wanted!r}, expected auto, {', '.join(get_args(Precision))}")
    narrow_is_possible = device == "cpu" and can_be_narrow(generator)
    if wanted == "fp32" or (wanted == "auto" and not narrow_is_possible):
        return generator, "fp32"
    if not narrow_is_possible:
        if device != "cpu":
            raise RejoinderError(f"precision {wanted} is for CPUs, this is {device}")
        kinds = "generators of our own and causal language models of 32 bits"
        raise RejoinderError(f"precision {wanted} is for {kinds}, this is another")
    best: tuple[Generator, Precision] = (generator, "fp32")
    lanes = _measured_lanes(generator)
    least = step_seconds(generator, lanes) if wanted == "auto" else float("inf")
    for precision in _candidates(generator) if wanted == "auto" else (cast(Precision, wanted),):
        try:
            narrow = narrowed(generator, precision)
            strayed = divergence(generator, narrow, context_tokens)
        # This build of torch has no such kernel for this processor, or a language model looks into its layers.
        except (RuntimeError, AttributeError, LanguageModelError) as error:
            if wanted != "auto":
                raise RejoinderError(f"precision {wanted} cannot be had here: {error}") from None
            continue
        if not strayed <= FARTHEST:
            if wanted != "auto":
                raise RejoinderError(
                    f"precision {wanted} strays {strayed:.3g} nats a token from fp32, expected at most {FARTHEST}"
                )
            continue
        seconds = step_seconds(narrow, lanes)
        if seconds * _WORTHWHILE < least:
            best, least = (narrow, precision), seconds
    return best
