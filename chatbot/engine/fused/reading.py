"""Embeddings as rows, of contexts and of the tokens that replies go on with."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from chatbot.engine.fused.compiling import array, compiled
from chatbot.engine.fused.rows import Rows
from chatbot.generator.trunk import MARKED_TURNS, Trunk
from chatbot.tokenizer import PAD, TURN

f32 = np.float32


class Embedding:
    """The embeddings of a trunk."""

    def __init__(self, trunk: Trunk, context_positions: Tensor | None, reply_positions: Tensor | None) -> None:
        """`positions` [any, D]: what is added for each place, if anything is."""
        self._trunk = trunk
        self._table = trunk.embedding.weight
        self._marks = trunk.turn_marks.weight
        self._scale = trunk.config.width**0.5
        self._context_positions = context_positions
        self._reply_positions = reply_positions
        self.width = trunk.config.width

    def tokens(self, rows: Rows, tokens: Tensor, places: Tensor | None, longest: int) -> None:
        """Make x the embeddings of tokens [R], at `places` [R] below `longest`.

        Raises IndexError where there is no such token or place.
        """
        tokens = tokens.contiguous()
        where = tokens if places is None else places
        wrong = _embed(
            rows.x,
            tokens.data_ptr(),
            self._table.data_ptr(),
            len(self._table),
            self._scale,
            where.data_ptr(),
            0 if self._reply_positions is None else self._reply_positions.data_ptr(),
            longest,
            rows.count,
            self.width,
        )
        if wrong:
            raise IndexError(f"{wrong} of {rows.count} tokens are not in the vocabulary, or beyond the longest reply")

    def contexts(self, rows: Rows, context: Tensor) -> Tensor:
        """Make x the embeddings of the real tokens of contexts [B, S], one context after the other.

        Return where each begins, and where the last ends [B + 1]. Raises IndexError where there is no such token.
        """
        context = context.contiguous()
        lengths = (context != PAD).sum(1)
        starts = torch.zeros(len(context) + 1, dtype=torch.int64)
        torch.cumsum(lengths, 0, out=starts[1:])
        rows.take(int(starts[-1]))
        wrong = _embed_contexts(
            rows.x,
            starts.data_ptr(),
            context.data_ptr(),
            len(context),
            context.shape[1],
            self._table.data_ptr(),
            len(self._table),
            self._scale,
            self._marks.data_ptr(),
            MARKED_TURNS - 1,
            TURN,
            0 if self._context_positions is None else self._context_positions.data_ptr(),
            self._trunk.context_tokens,
            self.width,
        )
        if wrong:
            raise IndexError(f"{wrong} tokens are not in the vocabulary, or beyond the longest context")
        return starts


@compiled
def _embed(
    x_: Any,
    tokens_: Any,
    table_: Any,
    entries: Any,
    scale: Any,
    places_: Any,
    positions_: Any,
    most: Any,
    rows: Any,
    width: Any,
) -> int:
    """Write to x [R, D] each token's entry of the table, times scale, and that of its place where positions are given.

    Return how many tokens are not in the table, or stand at a place beyond `most`; then nothing is written.
    """
    x = array(x_, (rows, width), f32)
    tokens, places = array(tokens_, rows, np.int64), array(places_, rows, np.int64)
    wrong = 0
    for r in range(rows):
        wrong += not 0 <= tokens[r] < entries
        wrong += positions_ != 0 and not 0 <= places[r] < most
    if wrong:
        return wrong
    for r in range(rows):
        token = array(table_ + tokens[r] * width * 4, width, f32)
        for i in range(width):
            x[r, i] = token[i] * np.float32(scale)
        if positions_ != 0:
            position = array(positions_ + places[r] * width * 4, width, f32)
            for i in range(width):
                x[r, i] += position[i]
    return 0


@compiled
def _embed_contexts(
    x_: Any,
    starts_: Any,
    contexts_: Any,
    contexts: Any,
    longest: Any,
    table_: Any,
    entries: Any,
    scale: Any,
    marks_: Any,
    last_mark: Any,
    end_of_turn: Any,
    positions_: Any,
    most: Any,
    width: Any,
) -> int:
    """Write to x [R, D] the embedding of each real token of the contexts [B, S], with marks that count turns back.

    With positions, a token's place counts from the context's end. Return what `embed` does.
    """
    starts = array(starts_, contexts + 1, np.int64)
    x = array(x_, (starts[contexts], width), f32)
    tokens = array(contexts_, (contexts, longest), np.int64)
    wrong = 0
    for b in range(contexts):
        count = starts[b + 1] - starts[b]
        wrong += positions_ != 0 and count > most
        for t in range(count):
            wrong += not 0 <= tokens[b, t] < entries
    if wrong:
        return wrong
    for b in range(contexts):
        count = starts[b + 1] - starts[b]
        back = -1
        for t in range(count - 1, -1, -1):
            r = starts[b] + t
            back += tokens[b, t] == end_of_turn
            token = array(table_ + tokens[b, t] * width * 4, width, f32)
            mark = array(marks_ + min(max(back, 0), last_mark) * width * 4, width, f32)
            for i in range(width):
                x[r, i] = token[i] * np.float32(scale) + mark[i]
            if positions_ != 0:
                position = array(positions_ + (count - 1 - t) * width * 4, width, f32)
                for i in range(width):
                    x[r, i] += position[i]
    return 0
