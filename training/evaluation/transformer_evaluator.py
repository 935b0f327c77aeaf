"""A fresh evaluator that reads: a small Transformer encoder over the context and the reply together.

Not the architecture of any system's discriminator: it looks both ways, at both texts at once, and judges whole replies
only. Trained from nothing on pairs labelled human or machine. Knows token ids through a tokenizer.
`N` pairs, `B` batch, `L` tokens of context and reply, `D` width.
"""

import copy
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from chatbot.tokenizer import PAD, START, TURN, Tokenizer
from training.evaluation.pairs import Pair

Floats = npt.NDArray[np.float64]

CONTEXT_TOKENS: Final = 40
"""Newest tokens of the context that are read."""
REPLY_TOKENS: Final = 32
WIDTH: Final = 64
LAYERS: Final = 1
HEADS: Final = 4
DROPOUT: Final = 0.1
RATE: Final = 1e-3
EPOCHS: Final = 12
PATIENCE: Final = 4
"""Epochs without a better loss on the pairs put aside, after which training stops: to relate two texts takes a few
epochs before anything shows."""
SET_ASIDE: Final = 0.15
SMALLEST_SLICE: Final = 16
"""Pairs of each side put aside, where there are so many."""
CONVINCED: Final = 2.0
"""Standard errors by which the loss on them must be below that of knowing nothing, to be taken for knowledge."""
_BATCH: Final = 64
_ASKED: Final = 256
_PARTS: Final = 4  # context or reply, and whether the token stands in the other one, too


class Reader(nn.Module):
    """Read ids [B, L] and say how human the reply is, [B]; a fresh one says zero to everything."""

    def __init__(self, vocabulary_size: int) -> None:
        super().__init__()
        self.token = nn.Embedding(vocabulary_size, WIDTH, padding_idx=PAD)
        self.part = nn.Embedding(_PARTS, WIDTH)
        self.position = nn.Embedding(CONTEXT_TOKENS + REPLY_TOKENS + 2, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, DROPOUT, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.verdict = nn.Linear(2 * WIDTH, 1)
        for embedding in (self.token, self.part, self.position):
            nn.init.normal_(embedding.weight, std=0.1)
        nn.init.zeros_(self.verdict.weight)
        nn.init.zeros_(self.verdict.bias)

    def forward(self, ids: Tensor, parts: Tensor) -> Tensor:
        """Return logits [B] of `ids` and the part that each token belongs to, both [B, L]."""
        padding = ids == PAD
        places = torch.arange(ids.shape[1], device=ids.device)
        states = self.layers(self.token(ids) + self.part(parts) + self.position(places), src_key_padding_mask=padding)
        reply = ((parts % 2 == 1) & ~padding)[..., None]
        mean = (states * reply).sum(1) / reply.sum(1).clamp(min=1)
        most = states.masked_fill(~reply, -torch.inf).amax(1)
        logits: Tensor = self.verdict(torch.cat((mean, most), dim=1))[:, 0]
        return logits


def transformer_logits(
    human: Sequence[Pair], machine: Sequence[Pair], asked: Sequence[Pair], tokenizer: Tokenizer, seed: int
) -> Floats:
    """Return how human each asked pair looks, [N], after learning from the first two; above zero is human.

    Some pairs of each side are put aside, and the state that does best on them is taken. Where its gain over knowing
    nothing may well be chance, all logits are zero: a reader that has learnt nothing leans to one side as a whole, and
    would take most replies of both sides for human, or few. Raises ValueError when a side has fewer than two pairs.
    """
    if min(len(human), len(machine)) < 2:
        raise ValueError(f"{len(human)} human and {len(machine)} machine pairs: an evaluator needs two of both")
    rng = np.random.default_rng(seed)
    learnt, aside = [], []
    for label, side in ((1.0, human), (0.0, machine)):
        count = min(max(int(SET_ASIDE * len(side)), SMALLEST_SLICE), len(side) // 2)
        order = rng.permutation(len(side))
        weight = 0.5 / (len(side) - count), 0.5 / count
        aside += [(_row(side[i], tokenizer), label, weight[1]) for i in order[:count]]
        learnt += [(_row(side[i], tokenizer), label, weight[0]) for i in order[count:]]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reader = _train(Reader(tokenizer.vocabulary_size), learnt, aside, rng)
        return _ask(reader, [_row(pair, tokenizer) for pair in asked])


Row = tuple[list[int], list[int]]
Labelled = Sequence[tuple[Row, float, float]]


def _row(pair: Pair, tokenizer: Tokenizer) -> Row:
    """Return the ids of a pair, and the part each belongs to."""
    context = [i for turn in pair.context for i in [*tokenizer.encode(turn), TURN]][-CONTEXT_TOKENS:]
    reply = tokenizer.encode(pair.reply)[:REPLY_TOKENS]
    heard, said = set(context), set(reply)
    parts = [2 * (i in said) for i in context] + [1] + [1 + 2 * (i in heard) for i in reply] + [1]
    return [*context, START, *reply, TURN], parts


def _train(reader: Reader, learnt: Labelled, aside: Labelled, rng: np.random.Generator) -> Reader:
    """Return the reader at its best on the pairs put aside."""
    optimizer = torch.optim.AdamW(reader.parameters(), lr=RATE, weight_decay=0.01, fused=True)
    nothing = copy.deepcopy(reader.state_dict())
    best, gain, waited = nothing, _gain(reader, aside), 0
    for _ in range(EPOCHS):
        reader.train()
        for rows in _batches([row for row, _, _ in learnt], rng):
            ids, parts = _pad([learnt[i][0] for i in rows])
            labels, weights = (torch.tensor([learnt[i][k] for i in rows]) for k in (1, 2))
            optimizer.zero_grad()
            scored = functional.binary_cross_entropy_with_logits(reader(ids, parts), labels, weights * len(learnt))
            scored.backward()  # type: ignore[no-untyped-call]  # torch's own
            nn.utils.clip_grad_norm_(reader.parameters(), 1.0)
            optimizer.step()
        now = _gain(reader, aside)
        if now[0] > gain[0]:
            best, gain, waited = copy.deepcopy(reader.state_dict()), now, 0
        elif (waited := waited + 1) == PATIENCE:
            break
    reader.load_state_dict(best if gain[0] > CONVINCED * gain[1] else nothing)
    return reader


def _batches(rows: Sequence[Row], rng: np.random.Generator) -> Iterator[list[int]]:
    """Yield the indices of all rows once, in random batches of rows of like length."""
    order = rng.permutation(len(rows)).tolist()
    pools = [order[i : i + 16 * _BATCH] for i in range(0, len(order), 16 * _BATCH)]
    batches = []
    for pool in pools:
        by_length = sorted(pool, key=lambda i: len(rows[i][0]))
        batches += [by_length[i : i + _BATCH] for i in range(0, len(by_length), _BATCH)]
    yield from (batches[i] for i in rng.permutation(len(batches)))


def _pad(rows: Sequence[Row]) -> tuple[Tensor, Tensor]:
    longest = max(len(ids) for ids, _ in rows)
    ids, parts = ([row[k] + [PAD] * (longest - len(row[k])) for row in rows] for k in (0, 1))
    return torch.tensor(ids), torch.tensor(parts)


def _gain(reader: Reader, pairs: Labelled) -> tuple[float, float]:
    """Return by how many nats a pair's loss is below that of knowing nothing, and the standard error of that."""
    logits = _ask(reader, [row for row, _, _ in pairs])
    labels, weights = (np.array([pair[k] for pair in pairs]) for k in (1, 2))
    gains = np.log(2) - np.logaddexp(0, np.where(labels > 0.5, -logits, logits))
    mean = float(weights @ gains)
    return mean, float(np.sqrt(weights**2 @ (gains - mean) ** 2))


@torch.inference_mode()
def _ask(reader: Reader, rows: Sequence[Row]) -> Floats:
    """Return the logits of all rows in their order, [N]."""
    reader.eval()
    logits = np.zeros(len(rows))
    order = sorted(range(len(rows)), key=lambda i: len(rows[i][0]))
    for begin in range(0, len(order), _ASKED):
        chosen = order[begin : begin + _ASKED]
        logits[chosen] = reader(*_pad([rows[i] for i in chosen])).double().numpy()
    return logits
