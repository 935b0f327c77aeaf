"""Embeddings as rows, of contexts and of the tokens that replies go on with."""

import torch
from torch import Tensor

from chatbot.engine.fused import kernels
from chatbot.engine.fused.rows import Rows
from chatbot.generator.trunk import MARKED_TURNS, Trunk
from chatbot.tokenizer import PAD, TURN


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
        wrong = kernels.embed(
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

    def contexts(self, rows: Rows, context: Tensor, widest: int) -> Tensor:
        """Make x the embeddings of the real tokens of contexts [B, S], one context after the other.

        Return where each begins, and where the last ends [B + 1]. Raises IndexError where there is no such token.
        """
        context = context.contiguous()
        lengths = (context != PAD).sum(1)
        starts = torch.zeros(len(context) + 1, dtype=torch.int64)
        torch.cumsum(lengths, 0, out=starts[1:])
        rows.take(int(starts[-1]), widest)
        wrong = kernels.embed_contexts(
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
