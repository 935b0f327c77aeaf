"""Generators that write with narrow weights: copies of exact ones, close to them, and as blind to their neighbours.

Int8 scales each row of activations by itself, and sums of whole numbers are exact in any order; bf16 adds up each row
in one order, however many there are. N inputs, K outputs of a layer, R rows.
"""

import copy
from collections.abc import Callable
from typing import Final, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from chatbot.engine.fused import fused
from chatbot.engine.int8 import Int8Linear
from chatbot.engine.room import CONTEXT_STEP
from chatbot.engine.traced import Encode, Step, TracedEncoding, TracedStep
from chatbot.generator.interface import Generator, State
from chatbot.generator.merging import merged
from chatbot.generator.pretrained import PretrainedGenerator
from chatbot.generator.pretrained_trunk import PretrainedTrunk, build_trunk
from chatbot.generator.seq2seq import Seq2SeqGenerator
from chatbot.generator.trunk import Trunk
from chatbot.tokenizer import START

Precision = Literal["fp32", "bf16", "int8"]


class BFloat16Linear(nn.Module):
    """A linear layer whose product is computed in bfloat16."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self._weight = weight.detach().to(torch.bfloat16)
        self._bias = None if bias is None else bias.detach().to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., K] (float32) of x [..., N]."""
        rows = x.reshape(-1, x.shape[-1]).to(torch.bfloat16)
        # One row alone is another kernel's, which adds up in another order; from two on every row comes out the same.
        pair = rows.expand(2, -1) if len(rows) == 1 else rows
        out = functional.linear(pair, self._weight, self._bias)[: len(rows)].float()
        return out.view(*x.shape[:-1], -1)


_KINDS: Final[dict[Precision, Callable[[Tensor, Tensor | None], nn.Module]]] = {
    "bf16": BFloat16Linear,
    "int8": Int8Linear,
}


class NarrowGRU(nn.Module):
    """A GRU of one layer whose two products are narrow."""

    def __init__(self, gru: nn.GRU, kind: Callable[[Tensor, Tensor | None], nn.Module]) -> None:
        super().__init__()
        self.input = kind(cast(Tensor, gru.weight_ih_l0), cast(Tensor, gru.bias_ih_l0))
        self.carried = kind(cast(Tensor, gru.weight_hh_l0), cast(Tensor, gru.bias_hh_l0))
        self._width = gru.hidden_size

    def forward(self, x: Tensor, carried: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return the outputs [B, T, D] for x [B, T, N] and the last state [1, B, D]."""
        state = x.new_zeros(len(x), self._width) if carried is None else carried[0]
        outputs = []
        for step in self.input(x).unbind(dim=1):
            reset_update, new = step.split((2 * state.shape[1], state.shape[1]), dim=1)
            gates, candidate = self.carried(state).split((2 * state.shape[1], state.shape[1]), dim=1)
            reset, update = torch.sigmoid(reset_update + gates).chunk(2, dim=1)
            state = torch.lerp(torch.tanh(torch.addcmul(new, reset, candidate)), state, update)
            outputs.append(state)
        return torch.stack(outputs, dim=1), state[None]


class _NarrowGenerator(Generator):
    """What narrow copies have in common: a trunk whose layers are narrow."""

    def __init__(self, generator: Seq2SeqGenerator | PretrainedGenerator, trunk: Trunk | PretrainedTrunk) -> None:
        super().__init__()
        self.vocabulary_size = generator.vocabulary_size
        self.reply_tokens = generator.reply_tokens
        self.width = generator.width
        self._trunk = trunk

    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, State]:
        """Append one token [B] to every lane and return the logits of the next [B, V]."""
        return self._plain_step(state, tokens)

    def _plain_step(self, state: State, tokens: Tensor) -> tuple[Tensor, State]:
        hidden, state = self._trunk.step(state, tokens)
        return self.project(hidden), state

    def hidden(self, state: State, reply: Tensor) -> Tensor:
        """Return [B, T, D]: position t has read START and reply[:, :t]."""
        start = reply.new_full((len(reply), 1), START)
        return self._trunk.unroll(state, torch.cat((start, reply[:, :-1]), dim=1))


class NarrowGenerator(_NarrowGenerator):
    """A copy of an encoder-decoder generator that writes with narrow weights; it cannot be trained."""

    def __init__(self, generator: Seq2SeqGenerator, precision: Precision) -> None:
        trunk = copy.deepcopy(generator.trunk)
        super().__init__(generator, trunk)
        kind = _KINDS[precision]
        self._projection = kind(generator.trunk.embedding.weight.detach(), generator.bias.detach())
        _narrow(self._trunk, kind)
        self.eval().requires_grad_(False)
        self._encode: Encode
        self._step: Step
        if precision == "int8" and (whole := fused(trunk, self._projection)):
            self._encode, self._step, self.prepares_for_lanes = whole.encode, whole.step, False
        else:
            self._encode, self._step = TracedEncoding(trunk.encode), TracedStep(self._plain_step)

    def encode(self, context: Tensor) -> State:
        """Read contexts [B, S] and return B lanes with empty replies."""
        return self._encode(context)

    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, State]:
        """Append one token [B] to every lane and return the logits of the next [B, V]."""
        return self._step(state, tokens)

    def project(self, hidden: Tensor) -> Tensor:
        """Turn hidden states [..., D] into logits [..., V] (float32)."""
        logits: Tensor = self._projection(hidden)
        return logits


class NarrowPretrained(_NarrowGenerator):
    """A copy of a causal language model's generator that writes with narrow weights, adapters merged."""

    _trunk: PretrainedTrunk

    def __init__(self, generator: PretrainedGenerator, precision: Precision) -> None:
        """Raises LanguageModelError where the adapters cannot be merged."""
        network = merged(generator)
        trunk = build_trunk(generator.trunk.config, network, generator.context_tokens, generator.reply_tokens)
        super().__init__(generator, trunk)
        _narrow(network, _KINDS[precision])
        self.eval().requires_grad_(False)

    def encode(self, context: Tensor) -> State:
        """Read contexts [B, S] and return B lanes with empty replies.

        Prompts are read with others of their own padded length only: sums of attention differ in their last bits with
        the length, and rounding to 16 or 8 bits makes that seen.
        """
        prompt, mask = self._trunk.prompts(context)
        widths = (-(-mask.sum(1) // CONTEXT_STEP) * CONTEXT_STEP).clamp(min=CONTEXT_STEP)
        groups = [((widths == width).nonzero().squeeze(1), width) for width in torch.unique(widths).tolist()]
        states = [self._trunk.read_prompts(prompt[rows, :width], mask[rows, :width]) for rows, width in groups]
        if len(states) == 1:
            return states[0]
        order = torch.cat([rows for rows, _ in groups]).argsort()
        parts = []
        for alike in zip(*(state.parts() for state in states), strict=True):
            place = alike[0].context
            tensors = [part.tensor for part in alike]
            if place is not None:
                widest = max(tensor.shape[place] for tensor in tensors)
                tensors = [_widened(tensor, place, widest) for tensor in tensors]
            parts.append(torch.cat(tensors).index_select(0, order))
        return states[0].with_parts(parts)

    def project(self, hidden: Tensor) -> Tensor:
        """Turn hidden states [..., D] into logits [..., V] (float32)."""
        return self._trunk.project(hidden)


def _narrow(module: nn.Module, kind: Callable[[Tensor, Tensor | None], nn.Module]) -> None:
    """Replace the linear layers and GRUs of `module`.

    An encoder's GRU is as fast as it was, but its products differed in the last bits with the size of the group, and
    rounding to int8 makes such differences large enough to be seen.
    """
    for child_name, child in module.named_children():
        if isinstance(child, nn.Linear):
            bias = None if child.bias is None else child.bias.detach()
            setattr(module, child_name, kind(child.weight.detach(), bias))
        elif type(child).__name__ == "Conv1D":  # GPT-2's linear layer, of transformers, which need not be there
            weight, bias = cast(Tensor, child.weight), cast(Tensor, child.bias)
            setattr(module, child_name, kind(weight.detach().T.contiguous(), bias.detach()))
        elif isinstance(child, nn.GRU):
            setattr(module, child_name, NarrowGRU(child, kind))
        else:
            _narrow(child, kind)


def _widened(tensor: Tensor, dimension: int, size: int) -> Tensor:
    """Return `tensor` with zeros behind it along `dimension`, up to `size`."""
    shape = list(tensor.shape)
    shape[dimension] = size - shape[dimension]
    return torch.cat((tensor, tensor.new_zeros(shape)), dimension)


def can_be_narrow(generator: Generator) -> bool:
    """Say whether there is a narrow copy of `generator`: encoder-decoders of others look into their layers."""
    if isinstance(generator, PretrainedGenerator):
        config = generator.language_model.config
        return config.weights == "float32" and config.kind == "causal"
    return isinstance(generator, Seq2SeqGenerator)


def narrowed(generator: Generator, precision: Precision) -> Generator:
    """Return a copy of `generator` that writes with narrow weights."""
    if isinstance(generator, PretrainedGenerator):
        return NarrowPretrained(generator, precision)
    assert isinstance(generator, Seq2SeqGenerator)
    return NarrowGenerator(generator, precision)
