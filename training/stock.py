"""Stock replies as training meets them, token ids: which turns are one, and which of them a model is likeliest to give.

Where the list comes from, and what counts as the same reply, is `evaluation.dullness`' business.
"""

from typing import get_args

import torch
from torch import Tensor

from chatbot.generator.interface import Generator
from chatbot.tokenizer import TURN, Tokenizer
from training.evaluation.dullness import Language, are_stock, stock_replies
from training.losses import token_log_probabilities
from training.selftalk import Dullness


def dullness_of(tokenizer: Tokenizer) -> Dullness:
    """Return what says of turns [N, T] which are stock replies, [N]; silence is one."""

    def is_dull(turns: Tensor) -> Tensor:
        texts = [tokenizer.decode(ids).strip() for ids in turns.tolist()]
        silent = torch.tensor([not text for text in texts])
        return (silent | torch.from_numpy(are_stock(texts))).to(turns.device)

    return is_dull


@torch.no_grad()
def likeliest_stock(model: Generator, context: Tensor, tokenizer: Tokenizer, count: int) -> list[Tensor]:
    """Return `count` stock replies, as ids [T] with TURN: those that `model` gives most often to contexts [B, S].

    Of all languages' lists, for of another language's replies a model thinks nothing. Replies longer than the model
    writes are left out, so there may be fewer.
    """
    texts = [text for language in get_args(Language) for text in stock_replies(language).texts]
    rows = [[*ids, TURN] for ids in tokenizer.encode_batch(texts) if 0 < len(ids) < model.reply_tokens]
    ids = [torch.tensor(row, device=context.device) for row in rows]
    model.eval()
    state = model.encode(context)
    lanes = torch.arange(len(context), device=context.device)
    chances = [
        float(token_log_probabilities(model, state.select(lanes), row.expand(len(context), -1)).sum(1).exp().mean())
        for row in ids
    ]
    order = sorted(range(len(ids)), key=lambda i: (-chances[i], i))
    return [ids[i] for i in order[:count]]
