"""A large model that says how likely it finds what a small one says, each with a tokenizer of its own.

What it is asked goes through text: contexts and turns of the policy are decoded, and encoded anew for the teacher. N
turns, S context tokens, T tokens of a turn.
"""

import torch
from torch import Tensor

from chatbot.bot import encode_context, pad
from chatbot.bundle import Bundle
from chatbot.cleaning import clean_turn
from chatbot.tokenizer import TURN, Tokenizer
from training.losses import reply_mask, token_log_probabilities

_ROWS = 64  # turns scored together: a language model's logits are large


class Teacher:
    """A frozen bundle, asked about turns that are written with another `tokenizer`."""

    def __init__(self, bundle: Bundle, tokenizer: Tokenizer) -> None:
        """`tokenizer` is the policy's."""
        self.generator = bundle.generator.eval().requires_grad_(False)
        self.limits = bundle.limits
        self.own = bundle.tokenizer
        self.tokenizer = tokenizer

    @torch.no_grad()
    def likelihood(self, context: Tensor, turn: Tensor) -> Tensor:
        """Return log P(turn | context) in nats per token of the teacher's, [N]; context [N, S], turn [N, T].

        A turn longer than the teacher writes is scored as far as that; one that has no end is not asked for its end.
        """
        contexts = [tuple(self._context(ids)) for ids in context.tolist()]
        turns = [self._turn(ids) for ids in turn.tolist()]
        scores = torch.zeros(len(turns), device=turn.device)
        order = sorted(range(len(turns)), key=lambda i: (contexts[i], len(turns[i])))
        for first in range(0, len(order), _ROWS):
            rows = order[first : first + _ROWS]
            known = list(dict.fromkeys(contexts[i] for i in rows))
            state = self.generator.encode(pad(known, turn.device))
            lanes = torch.tensor([known.index(contexts[i]) for i in rows], device=turn.device)
            replies = pad([turns[i] for i in rows], turn.device)
            found = token_log_probabilities(self.generator, state.select(lanes), replies).sum(1)
            scores[rows] = found / reply_mask(replies).sum(1)
        return scores

    def _context(self, ids: list[int]) -> list[int]:
        texts = [text for turn in self.tokenizer.decode_turns(ids) if (text := clean_turn(turn))]
        return encode_context(self.own, texts or [""], self.limits.context_tokens)[0]

    def _turn(self, ids: list[int]) -> list[int]:
        end = [TURN] if TURN in ids else []
        said = ids[: ids.index(TURN)] if end else ids
        written = [*self.own.encode(self.tokenizer.decode(said).strip()), *end] or [TURN]
        return written[: self.limits.reply_tokens]
