"""How a pretrained encoder-decoder reads: the context by its encoder, the reply by its decoder.

The library's decoders count positions by the length of their cache, one for all lanes, so lanes that stand at the same
position are stepped together and those at another after them. B lanes, S prompt tokens, T reply tokens, D width.
"""

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache

from chatbot.generator.interface import Part, State
from chatbot.generator.pretrained_trunk import KeyValue, PretrainedTrunk, paired, select_pairs, started


@dataclass
class EncoderDecoderState(State):
    """Hold the encoded context, the decoder's keys and values of it, of what it began with, and of the reply."""

    encoded: Tensor  # [B, S, D]
    mask: Tensor  # [B, S], true at real tokens
    memory: list[KeyValue]  # of each layer [B, H, S, D/H], the same; empty while learning
    begun: list[KeyValue]  # of each layer, of what is read before START
    cache: list[KeyValue]  # of each layer [B, H, T, D/H], the same; empty before the first step
    position: Tensor  # [B], reply tokens read so far

    def select(self, lanes: Tensor) -> Self:
        """Return the state of `lanes`, in that order."""
        return type(self)(
            self.encoded.index_select(0, lanes),
            self.mask.index_select(0, lanes),
            select_pairs(self.memory, lanes),
            select_pairs(self.begun, lanes),
            select_pairs(self.cache, lanes),
            self.position.index_select(0, lanes),
        )

    def parts(self) -> list[Part]:
        """Return context, mask, positions, keys and values of context and beginning, then of the reply."""
        begun = [Part(tensor) for pair in self.begun for tensor in pair]
        memory = [Part(tensor, context=2) for pair in self.memory for tensor in pair]
        cache = [Part(tensor, reply=2) for pair in self.cache for tensor in pair]
        context = [Part(self.encoded, context=1), Part(self.mask, context=1)]
        return [*context, Part(self.position), *begun, *memory, *cache]

    @property
    def complete(self) -> bool:
        """Return whether the reply has begun."""
        return bool(self.cache)

    def with_parts(self, tensors: list[Tensor]) -> Self:
        """Return the state that these parts make."""
        pairs = paired(tensors[3:])
        layers = len(self.memory)
        begun, memory, cache = pairs[:layers], pairs[layers : 2 * layers], pairs[2 * layers :]
        return type(self)(tensors[0], tensors[1], memory, begun, cache, tensors[2])


class EncoderDecoderTrunk(PretrainedTrunk):
    """Read contexts and replies with an encoder-decoder."""

    def read_prompts(self, prompt: Tensor, mask: Tensor) -> EncoderDecoderState:
        """Read prompts [B, S], real where `mask` [B, S] is true, and return B lanes with empty replies."""
        encoded = self.network.get_encoder()(input_ids=prompt, attention_mask=mask.long()).last_hidden_state
        position = mask.new_zeros(len(prompt), dtype=torch.long)
        state = EncoderDecoderState(encoded, mask, [], [], [], position)
        learning = self.training and torch.is_grad_enabled()  # mostly a whole reply will be read, and nothing stepped
        return state if learning else self._remember(state)

    def _remember(self, state: EncoderDecoderState) -> EncoderDecoderState:
        """Return `state` with the decoder's keys and values of the context and of what it began with."""
        encoded, mask = state.encoded, state.mask
        begun = self.config.begun
        first = torch.tensor(begun or (self.config.start,), device=mask.device).expand(len(mask), -1)
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        self._decode(encoded, mask, cache, input_ids=first)
        own, crossed = cache.self_attention_cache.layers, cache.cross_attention_cache.layers
        kept = [(layer.keys[:, :, : len(begun)], layer.values[:, :, : len(begun)]) for layer in own]
        memory = [(layer.keys, layer.values) for layer in crossed]
        return EncoderDecoderState(encoded, mask, memory, kept, [], state.position)

    def unroll(self, state: State, tokens: Tensor) -> Tensor:
        """Read tokens [B, T], the first one START, and return hidden states [B, T, D]."""
        assert isinstance(state, EncoderDecoderState)
        begun = self._begun(len(tokens))
        hidden = self._decode(state.encoded, state.mask, None, input_ids=torch.cat((begun, self.ids(tokens)), 1))
        return hidden[:, begun.shape[1] :]

    def unroll_soft(self, state: State, soft: Tensor) -> Tensor:
        """Read START and then distributions [B, T, V] in place of tokens; return hidden states [B, 1 + T, D]."""
        assert isinstance(state, EncoderDecoderState)
        begun = self.network.get_input_embeddings()(self._begun(len(soft)))
        embedded = torch.cat((begun, self.embed(started(soft)), self.embed_soft(soft)), 1)
        return self._decode(state.encoded, state.mask, None, inputs_embeds=embedded)[:, begun.shape[1] :]

    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, EncoderDecoderState]:
        """Read one token [B] more in every lane and return its hidden state [B, D]."""
        return self._step(state, input_ids=self.ids(tokens)[:, None])

    def step_soft(self, state: State, soft: Tensor) -> tuple[Tensor, EncoderDecoderState]:
        """Read the expected embedding of a distribution over tokens [B, V] in every lane; otherwise like `step`."""
        return self._step(state, inputs_embeds=self.embed_soft(soft)[:, None])

    def _step(self, state: State, **read: Tensor) -> tuple[Tensor, EncoderDecoderState]:
        """Read one id or embedding more in every lane and return its hidden state [B, D]."""
        assert isinstance(state, EncoderDecoderState)
        if not state.memory:
            state = self._remember(state)
        cache = state.cache or [(_room(k, self.reply_tokens), _room(v, self.reply_tokens)) for k, v in state.begun]
        hidden = state.encoded.new_empty(len(state.encoded), self.width)
        for position in torch.unique(state.position).tolist():
            rows = (state.position == position).nonzero().squeeze(1)
            chosen = {name: value[rows] for name, value in read.items()}
            hidden[rows] = self._step_together(state, cache, rows, int(position), **chosen).to(hidden.dtype)
        after = EncoderDecoderState(state.encoded, state.mask, state.memory, state.begun, cache, state.position + 1)
        return hidden, after

    def _step_together(
        self, state: EncoderDecoderState, cache: list[KeyValue], rows: Tensor, position: int, **read: Tensor
    ) -> Tensor:
        """Read one step more in the n lanes `rows`, all at `position`; write the cache; return hidden states [n, D]."""
        own, crossed = DynamicCache(), DynamicCache()
        for layer, (begun, written, memory) in enumerate(zip(state.begun, cache, state.memory, strict=True)):
            before = [torch.cat((b[rows], w[rows, :, :position]), 2) for b, w in zip(begun, written, strict=True)]
            own.update(before[0], before[1], layer)
            crossed.update(memory[0][rows], memory[1][rows], layer)
        both = EncoderDecoderCache(own, crossed)
        hidden = self._decode(state.encoded[rows], state.mask[rows], both, **read)
        for (keys, values), layer in zip(cache, own.layers, strict=True):
            keys[rows, :, position] = layer.keys[:, :, -1].to(keys.dtype)
            values[rows, :, position] = layer.values[:, :, -1].to(values.dtype)
        return hidden[:, 0]

    def _begun(self, lanes: int) -> Tensor:
        """Return what each decoder has read before START [lanes, n], in the language model's ids."""
        return torch.tensor(self.config.begun, dtype=torch.long, device=self._ids.device).expand(lanes, -1)

    def _decode(self, encoded: Tensor, mask: Tensor, cache: Any, **read: Tensor) -> Tensor:
        hidden: Tensor = self.network.get_decoder()(
            **read,
            encoder_hidden_states=encoded,
            encoder_attention_mask=mask.long(),
            cache=cache,
            use_cache=cache is not None,
        ).last_hidden_state
        return hidden


def _room(like: Tensor, length: int) -> Tensor:
    count, heads, _, width = like.shape
    return like.new_zeros(count, heads, length, width)
