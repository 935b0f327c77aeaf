"""How a causal language model reads: the prompt once, then a reply behind it, every lane at its own position.

Keys and values of prompt and reply are kept apart, so that lanes of an engine can join and leave; the library's own
caches know one position for all. B lanes, S prompt tokens, T reply tokens, H heads, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache

from chatbot.generator.attention import causal_mask
from chatbot.generator.interface import Part, State
from chatbot.generator.pretrained_trunk import PROMPT_STEP, KeyValue, PretrainedTrunk, paired, select_pairs, started

_WORTH_READING_APART: Final = 512
"""Tokens of padding: fewer are read sooner than another group begins."""


@dataclass
class CausalState(State):
    """Hold each prompt, its keys and values, and the reply's own, written in place as it grows."""

    prompt: Tensor  # [B, S], the language model's ids
    mask: Tensor  # [B, S], true at real tokens
    memory: list[KeyValue]  # of each layer [B, H, S, D/H], the same; empty while learning with recomputing
    cache: list[KeyValue]  # of each layer [B, H, T, D/H], the same; empty before the first step
    position: Tensor  # [B], reply tokens read so far

    def select(self, lanes: Tensor) -> Self:
        """Return the state of `lanes`, in that order."""
        return type(self)(
            self.prompt.index_select(0, lanes),
            self.mask.index_select(0, lanes),
            select_pairs(self.memory, lanes),
            select_pairs(self.cache, lanes),
            self.position.index_select(0, lanes),
        )

    def parts(self) -> list[Part]:
        """Return prompts, mask, positions, keys and values of the prompt, then of the reply once it has begun."""
        memory = [Part(tensor, context=2) for pair in self.memory for tensor in pair]
        cache = [Part(tensor, reply=2) for pair in self.cache for tensor in pair]
        return [Part(self.prompt, context=1), Part(self.mask, context=1), Part(self.position), *memory, *cache]

    @property
    def complete(self) -> bool:
        """Return whether the reply has begun."""
        return bool(self.cache)

    def with_parts(self, tensors: list[Tensor]) -> Self:
        """Return the state that these parts make."""
        pairs = paired(tensors[3:])
        layers = len(self.memory)
        return type(self)(tensors[0], tensors[1], pairs[:layers], pairs[layers:], tensors[2])


class _Beside(DynamicCache):  # type: ignore[misc]  # the library is not type-checked
    """Let a whole reply see the prompt's keys and values; nothing is kept."""

    def __init__(self, memory: list[KeyValue]) -> None:
        super().__init__()
        self._memory = memory

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> KeyValue:
        """Return keys and values of prompt and reply."""
        keys, values = self._memory[layer_idx]
        return torch.cat((keys, key_states), 2), torch.cat((values, value_states), 2)


class _InPlace(DynamicCache):  # type: ignore[misc]  # the library is not type-checked
    """Write one token's keys and values at each lane's own position, behind the prompt's."""

    def __init__(self, memory: list[KeyValue], cache: list[KeyValue], position: Tensor) -> None:
        super().__init__()
        self._memory, self._cache, self._position = memory, cache, position
        self._lanes = torch.arange(len(position), device=position.device)

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> KeyValue:
        """Return keys and values of prompt and reply, places not yet written included."""
        (keys, values), (before, said) = self._cache[layer_idx], self._memory[layer_idx]
        keys[self._lanes, :, self._position] = key_states[:, :, 0].to(keys.dtype)
        values[self._lanes, :, self._position] = value_states[:, :, 0].to(values.dtype)
        return torch.cat((before, keys), 2), torch.cat((said, values), 2)


class CausalTrunk(PretrainedTrunk):
    """Read prompts and replies with a decoder-only model."""

    def read_prompts(self, prompt: Tensor, mask: Tensor) -> CausalState:
        """Read prompts [B, S], real where `mask` [B, S] is true, and return B lanes with empty replies."""
        position = mask.new_zeros(len(prompt), dtype=torch.long)
        if self.checkpointing and self.training and torch.is_grad_enabled():
            return CausalState(prompt, mask, [], [], position)  # layers that are recomputed can keep no keys
        groups = _alike(mask.sum(1).tolist(), prompt.shape[1])
        if len(groups) == 1:
            memory = self._read(prompt)
        else:
            read = [self._read(prompt[rows, :width]) for rows, width in groups]
            back = torch.tensor([row for rows, _ in groups for row in rows], device=prompt.device).argsort()
            memory = [_together(parts, prompt.shape[1], back) for parts in zip(*read, strict=True)]
        return CausalState(prompt, mask, memory, [], position)

    def _read(self, prompt: Tensor) -> list[KeyValue]:
        """Return the keys and values of prompts [b, s] at each layer; padding stands behind, so causality hides it."""
        cache = DynamicCache()
        self._body(input_ids=prompt, cache=cache, use_cache=True)
        return [(layer.keys, layer.values) for layer in cache.layers]

    def unroll(self, state: State, tokens: Tensor) -> Tensor:
        """Read tokens [B, T], the first one START, and return hidden states [B, T, D]."""
        assert isinstance(state, CausalState)
        if not state.memory:
            return self._unroll_whole(state, self.ids(tokens), state.mask.sum(1))
        return self._unroll(state, *tokens.shape, input_ids=self.ids(tokens))

    def unroll_soft(self, state: State, soft: Tensor) -> Tensor:
        """Read START and then distributions [B, T, V] in place of tokens; return hidden states [B, 1 + T, D]."""
        assert isinstance(state, CausalState)
        embedded = torch.cat((self.embed(started(soft)), self.embed_soft(soft)), 1)
        return self._unroll(state, *embedded.shape[:2], inputs_embeds=embedded)

    def _unroll(self, state: CausalState, count: int, longest: int, **read: Tensor) -> Tensor:
        """Read `longest` ids or embeddings behind the prompts of `count` lanes; return hidden states [B, T, D]."""
        before = causal_mask(longest, state.mask.device).expand(count, 1, -1, -1)
        seen = torch.cat((state.mask[:, None, None].expand(-1, -1, longest, -1), before), 3)
        hidden: Tensor = self._body(
            **read,
            attention_mask=self._mask(seen),
            position_ids=state.mask.sum(1)[:, None] + torch.arange(longest, device=state.mask.device),
            cache=_Beside(state.memory),
            use_cache=True,
        ).last_hidden_state
        return hidden

    def _unroll_whole(self, state: CausalState, ids: Tensor, lengths: Tensor) -> Tensor:
        """Read prompts and replies in one go, each reply right behind its prompt."""
        place = torch.arange(state.prompt.shape[1] + ids.shape[1], device=ids.device).expand(len(ids), -1)
        behind = place - lengths[:, None]
        prompt = state.prompt.gather(1, place.clamp(max=state.prompt.shape[1] - 1))
        reply = ids.gather(1, behind.clamp(0, ids.shape[1] - 1))
        whole = torch.where(behind < 0, prompt, reply)
        hidden: Tensor = self._body(input_ids=whole, use_cache=False).last_hidden_state
        rows = lengths[:, None] + torch.arange(ids.shape[1], device=ids.device)
        return hidden.gather(1, rows[..., None].expand(-1, -1, hidden.shape[2]))

    def step(self, state: State, tokens: Tensor) -> tuple[Tensor, CausalState]:
        """Read one token [B] more in every lane and return its hidden state [B, D], as a `TransformerTrunk`."""
        return self._step(state, input_ids=self.ids(tokens)[:, None])

    def step_soft(self, state: State, soft: Tensor) -> tuple[Tensor, CausalState]:
        """Read the expected embedding of a distribution over tokens [B, V] in every lane; otherwise like `step`."""
        return self._step(state, inputs_embeds=self.embed_soft(soft)[:, None])

    def _step(self, state: State, **read: Tensor) -> tuple[Tensor, CausalState]:
        """Read one id or embedding more in every lane and return its hidden state [B, D]."""
        assert isinstance(state, CausalState)
        cache, position = state.cache, state.position
        if not cache:
            cache = [
                (_room(keys, self.reply_tokens), _room(values, self.reply_tokens)) for keys, values in state.memory
            ]
        elif torch.is_grad_enabled():
            cache = [(keys.clone(), values.clone()) for keys, values in cache]
        length = cache[0][0].shape[2]
        seen = torch.cat((state.mask, torch.arange(length, device=position.device) <= position[:, None]), 1)
        hidden: Tensor = self._body(
            **read,
            attention_mask=self._mask(seen[:, None, None]),
            position_ids=(state.mask.sum(1) + position)[:, None],
            cache=_InPlace(state.memory, cache, position),
            use_cache=True,
        ).last_hidden_state
        return hidden[:, 0], CausalState(state.prompt, state.mask, state.memory, cache, position + 1)

    @property
    def _body(self) -> Any:
        return self.network.base_model

    def _mask(self, seen: Tensor) -> Tensor:
        """Return what the library's attention takes for seen [B, 1, T, S], true where a position may look."""
        if self.network.config._attn_implementation == "sdpa":
            return seen
        hidden = torch.zeros(seen.shape, device=seen.device)
        return hidden.masked_fill(~seen, torch.finfo(torch.float32).min)


def _alike(lengths: list[int], most: int) -> list[tuple[list[int], int]]:
    """Divide prompts of `lengths`, padded to `most`, into groups to be read apart: their rows, and the width of each.

    Prompts of half the length and less go apart where that saves enough: batches that teach a discriminator are of all
    lengths, and most of what is read of them would be padding. Widths are `most` or multiples of PROMPT_STEP.
    """
    groups = []
    left = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while left:
        width = min(most, max(1, -(-lengths[left[0]] // PROMPT_STEP)) * PROMPT_STEP)
        near = [row for row in left if lengths[row] * 2 > width or width <= PROMPT_STEP]
        apart = left[len(near) :]
        if apart and (width - lengths[apart[0]]) * len(apart) < _WORTH_READING_APART:
            near, apart = left, []
        groups.append((sorted(near), width))
        left = apart
    return groups


def _together(parts: Sequence[KeyValue], length: int, back: Tensor) -> KeyValue:
    """Return keys and values of groups as one, each `length` long, in the order `back`."""
    keys, values = (
        torch.cat([functional.pad(part[i], (0, 0, 0, length - part[i].shape[2])) for part in parts])[back]
        for i in (0, 1)
    )
    return keys, values


def _room(like: Tensor, length: int) -> Tensor:
    count, heads, _, width = like.shape
    return like.new_zeros(count, heads, length, width)
