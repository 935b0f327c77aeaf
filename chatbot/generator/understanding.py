"""Whether a language model is read here as its own library reads it: each run holds the one against the other first.

B replies, T reply tokens, V vocabulary.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from chatbot.errors import LanguageModelError
from chatbot.generator.interface import State
from chatbot.generator.pretrained import PretrainedGenerator
from chatbot.generator.pretrained_trunk import PretrainedTrunk
from chatbot.tokenizer import START


@torch.no_grad()
def check_understood(generator: PretrainedGenerator, *, softly: bool = False, most: float = 2e-3) -> None:
    """Hold our way of reading against the library's own on a short dialogue of arbitrary tokens.

    Language models differ in how they count positions, cache and scale. Raises LanguageModelError for one whose logits
    come out otherwise by more than the share `most` of their spread: nothing that it learnt here could be trusted.
    With `softly` it must read one-hot distributions as it reads tokens, too.
    Weights in 16 bits are computed with in 32: the sums of 16 differ by more than a misreading does.
    """
    was_training = generator.training
    generator.eval()
    trunk, config, device = generator.trunk, generator.trunk.config, next(generator.parameters()).device
    allowed = [i for i in range(config.tokens) if i not in config.never]
    chosen = [allowed[i * 7919 % len(allowed)] + generator.vocabulary_size - config.tokens for i in range(8)]
    context = torch.tensor([[*chosen[:3], 2, *chosen[3:5], 2], [chosen[5], 2, 0, 0, 0, 0, 0]], device=device)
    reply = torch.tensor([chosen[4:8], chosen[1:5]], device=device)[:, : generator.reply_tokens]
    try:
        with computed_in_32_bits(trunk):
            found = {"a whole reply": generator.score(generator.encode(context), reply)}
            found["a reply read token by token"] = _stepped_logits(generator.step, generator.encode(context), reply)
            if softly:
                found["a reply of distributions"] = _stepped_logits(
                    lambda state, tokens: generator.step_soft(state, one_hot(tokens, generator.vocabulary_size)),
                    generator.encode(context),
                    reply,
                )
            library = _library_logits(trunk, context, reply)
    except (ValueError, TypeError, RuntimeError, IndexError, AttributeError) as error:
        first = " ".join(str(error).split())[:120]
        raise LanguageModelError(
            f"a language model of type {config.library['model_type']!r} is not understood: it cannot be read with keys "
            f"and values of its own for every reply ({first})"
        ) from None
    written = slice(generator.vocabulary_size - config.tokens, None)
    heard = ~trunk.get_buffer("_never")
    spread = float(library.float().std())
    for name, logits in found.items():
        off = float((logits[..., written] - library)[..., heard].abs().max())
        if not off <= most * max(spread, 1e-6):
            raise LanguageModelError(
                f"a language model of type {config.library['model_type']!r} is not understood: the logits of {name} "
                f"are off by {off:.3g} where their spread is {spread:.3g}"
            )
    generator.train(was_training)


@contextmanager
def computed_in_32_bits(module: nn.Module) -> Iterator[None]:
    """Let `module` compute in 32 bits with weights kept in 16, one layer's at a time: no second copy fills the memory.

    Weights that several modules share stay shared.
    """
    kept: list[tuple[nn.Parameter, Tensor]] = []

    def widen(layer: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
        for parameter in layer.parameters(recurse=False):
            kept.append((parameter, parameter.data))
            parameter.data = parameter.data.float()
        return tuple(map(_wide, given)), {name: _wide(value) for name, value in named.items()}

    def give_back(layer: nn.Module, *_: Any) -> None:
        for _parameter in layer.parameters(recurse=False):
            parameter, data = kept.pop()
            parameter.data = data

    hooks: list[Any] = []
    if any(parameter.dtype != torch.float32 for parameter in module.parameters()):
        for layer in module.modules():
            hooks += [layer.register_forward_pre_hook(widen, with_kwargs=True), layer.register_forward_hook(give_back)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for parameter, data in reversed(kept):  # what a failure left wide
            parameter.data = data


def _wide(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


def _stepped_logits(step: Callable[[State, Tensor], tuple[Tensor, State]], state: State, reply: Tensor) -> Tensor:
    """Return logits [B, T, V] of `reply` [B, T], read one token after the other."""
    previous, logits = torch.full_like(reply[:, 0], START), []
    for token in reply.unbind(1):
        now, state = step(state, previous)
        logits.append(now)
        previous = token
    return torch.stack(logits, 1)


def _library_logits(trunk: PretrainedTrunk, context: Tensor, reply: Tensor) -> Tensor:
    """Return the logits [B, T, tokens] that the library's own model gives, one dialogue after the other, unpadded."""
    config, rows = trunk.config, []
    prompt, mask = trunk.prompts(context)
    for i in range(len(context)):
        own = prompt[i, : int(mask[i].sum())][None]
        start = torch.tensor([[*config.begun, config.start]], device=own.device)
        read = torch.cat((start, trunk.ids(reply[i : i + 1, :-1])), 1)
        if config.kind == "causal":
            logits = trunk.network(input_ids=torch.cat((own, read), 1)).logits
        else:
            logits = trunk.network(input_ids=own, decoder_input_ids=read).logits
        rows.append(logits[0, -reply.shape[1] :, : config.tokens])
    return torch.stack(rows)
