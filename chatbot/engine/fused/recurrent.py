"""A recurrent generator's contexts and steps on int8 products, with everything between two products in one pass.

B lanes or contexts, S context tokens, D width, V vocabulary.
"""

from typing import cast

import torch
from torch import Tensor, nn

from chatbot.engine.fused import loops
from chatbot.engine.fused.gru import carry_contexts, carry_lanes
from chatbot.engine.fused.reading import Embedding
from chatbot.engine.fused.rows import Adding, FusedCross, FusedFeedForward, Norm, Projection, Rows, product_of
from chatbot.generator.interface import State
from chatbot.generator.recurrent import BackwardForwardGRU, DecoderLayer, EncoderLayer, RecurrentState, RecurrentTrunk
from chatbot.tokenizer import PAD


class _GRU:
    """A GRU's two products."""

    def __init__(self, layer: nn.Module) -> None:
        self.given, self.carried = product_of(cast(nn.Module, layer.input)), product_of(cast(nn.Module, layer.carried))


class _BothWays:
    """A GRU over contexts from their beginning, and one from their end."""

    def __init__(self, layer: BackwardForwardGRU) -> None:
        self.norm = Norm(layer.norm)
        self._grus = _GRU(layer.forward_gru), _GRU(layer.backward_gru)
        self._out = Adding(layer.out)
        self._half = self._grus[0].carried.inputs
        self._states = Rows(self._half, self._half)

    def __call__(self, rows: Rows, starts: Tensor, following: Norm) -> None:
        contexts = len(starts) - 1
        longest = int((starts[1:] - starts[:-1]).max())
        half, states = self._half, self._states
        both = torch.empty(rows.count, 2 * half)
        for backwards, gru in enumerate(self._grus):
            given = gru.given(rows)
            states.take(contexts)
            state = torch.zeros(contexts, half)
            loops.codes_of(state.data_ptr(), states.codes_at, states.peaks, contexts, half)
            for step in range(longest):
                carried = gru.carried(states)
                carry_contexts(
                    given.data_ptr(),
                    rows.peaks,
                    gru.given.bias,
                    carried.data_ptr(),
                    states.peaks,
                    gru.carried.bias,
                    state.data_ptr(),
                    starts.data_ptr(),
                    contexts,
                    step,
                    backwards,
                    both.data_ptr() + backwards * half * 4,
                    2 * half,
                    states.codes_at,
                    half,
                )
        loops.codes_of(both.data_ptr(), rows.codes_at, rows.peaks, rows.count, 2 * half)
        self._out(rows, following)


class _Carrying:
    """A decoder's GRU, which carries each reply so far."""

    def __init__(self, layer: DecoderLayer) -> None:
        self.norm = Norm(layer.norm)
        self._gru = _GRU(layer.gru)
        self._states = Rows(self._gru.carried.inputs, self._gru.carried.inputs)

    def __call__(self, rows: Rows, state: Tensor, following: Norm) -> None:
        """Bring `state` [B, D] forward in place, go on from this layer's codes to the norm that follows."""
        width, states = state.shape[1], self._states
        given = self._gru.given(rows)
        states.take(rows.count)
        loops.codes_of(state.data_ptr(), states.codes_at, states.peaks, rows.count, width)
        carried = self._gru.carried(states)
        carry_lanes(
            given.data_ptr(),
            rows.peaks,
            self._gru.given.bias,
            carried.data_ptr(),
            states.peaks,
            self._gru.carried.bias,
            state.data_ptr(),
            rows.x,
            rows.count,
            width,
        )
        following(rows, width)


class FusedRecurrent:
    """Encode and step as `trunk` does, whose linear layers and GRUs are on int8."""

    def __init__(self, trunk: RecurrentTrunk, projection: nn.Module) -> None:
        self._reading = Embedding(trunk, None, None)
        self._width = trunk.config.width
        encoder = [cast(EncoderLayer, layer) for layer in trunk.encoder]
        decoder = [cast(DecoderLayer, layer) for layer in trunk.decoder]
        self._encoder = [(_BothWays(layer.recurrence), FusedFeedForward(layer.feedforward)) for layer in encoder]
        self._decoder = [
            (_Carrying(layer), FusedCross(layer.cross), FusedFeedForward(layer.feedforward)) for layer in decoder
        ]
        # What each layer begins with, which the one before codes, and what the last one's output goes through.
        self._encoder_norms = [*(both_ways.norm for both_ways, _ in self._encoder), Norm(trunk.encoder_norm)]
        self._decoder_norms = [*(carrying.norm for carrying, _, _ in self._decoder), Norm(trunk.decoder_norm)]
        self._bridge, self._projection = Projection(trunk.bridge), Projection(projection)
        widest = max(self._width, trunk.config.feedforward)
        self._contexts, self._lanes = Rows(self._width, widest), Rows(self._width, widest)
        self._means = Rows(self._width, self._width)

    def encode(self, context: Tensor) -> RecurrentState:
        """Read contexts [B, S] and return B lanes with empty replies."""
        rows = self._contexts
        starts = self._reading.contexts(rows, context)
        self._encoder_norms[0](rows, self._width)
        for (both_ways, feedforward), norm in zip(self._encoder, self._encoder_norms[1:], strict=True):
            both_ways(rows, starts, feedforward.norm)
            feedforward(rows, norm)
        memory = [cross.remember(rows, starts, context.shape[1]) for _, cross, _ in self._decoder]
        return RecurrentState(memory, context != PAD, self._begin(rows, starts))

    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, RecurrentState]:
        """Append one token [B] to every lane and return the logits of the next [B, V]."""
        assert isinstance(state, RecurrentState)
        rows = self._lanes
        rows.take(len(tokens))
        self._reading.tokens(rows, tokens, None, 0)
        self._decoder_norms[0](rows, self._width)
        for index, (carrying, cross, feedforward) in enumerate(self._decoder):
            carrying(rows, state.carried[index], cross.norm)
            cross(rows, *state.memory[index], state.mask, feedforward.norm)
            feedforward(rows, self._decoder_norms[index + 1])
        return self._projection(rows), state

    def _begin(self, rows: Rows, starts: Tensor) -> list[Tensor]:
        """Return what each layer carries at first [B, D], made from the mean of the encoded context."""
        contexts, means = len(starts) - 1, self._means
        means.take(contexts)
        norm = self._encoder_norms[-1]
        loops.mean_of_norm(rows.x, norm.gain, norm.shift, norm.least, starts.data_ptr(), contexts, means.x, self._width)
        loops.codes_of(means.x, means.codes_at, means.peaks, contexts, self._width)
        return [part.contiguous() for part in torch.tanh(self._bridge(means)).chunk(len(self._decoder), dim=1)]
