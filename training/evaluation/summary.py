"""The short comparison that a run ends with: systems side by side on the same held-out dialogues.

Not the evaluation protocol (temperature sweeps, fresh evaluators, intervals): one table, no claim.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from chatbot.bundle import Bundle, load_bundle
from chatbot.decoding import derive_seeds, plain_sampling, write_replies
from chatbot.reranking import human_probability
from training.batches import Batch, make_batch
from training.config import DataConfig
from training.corpus.dataset import PreparedDataset, Split
from training.errors import RunError
from training.evaluation.metrics import distinct_n, mean_length, top_reply_share
from training.evaluation.ngram import KneserNey
from training.evaluation.probe import held_out_nll, spread_over, words

Progress = Callable[[str, int, int | None], None]
_LANES = 128


@dataclass(frozen=True)
class System:
    """A bundle, and how many candidates its discriminator chooses from (1: none)."""

    name: str
    bundle: Path
    best_of: int = 1


@dataclass(frozen=True)
class Row:
    """One line of the table; None where a measure makes no sense."""

    system: str
    perplexity: float | None
    distinct_1: float | None = None
    distinct_2: float | None = None
    top_reply_share: float | None = None
    mean_length: float | None = None


def summarise(data: PreparedDataset, systems: Sequence[System], contexts: int, progress: Progress) -> list[Row]:
    """Return a row for the human replies, for an n-gram model and for each system, on at most `contexts` test pairs.

    Replies are drawn at temperature 1 with the same seeds for every system; distinct-n is taken over equal numbers of
    tokens. All bundles must have the same limits and the dataset's tokenizer. Raises RunError when they have not.
    """
    bundles = {system.bundle: load_bundle(system.bundle) for system in systems}
    limits = _same_limits(list(bundles.values()))
    cut = DataConfig(limits[0], limits[1])
    split = data.split("test")
    chosen = spread_over(split, contexts)
    batches = [
        make_batch(split, chosen[i : i + _LANES], cut, torch.device("cpu")) for i in range(0, len(chosen), _LANES)
    ]
    replies = {"human": [reply for batch in batches for reply in words(batch.reply)]}
    perplexities: dict[str, float | None] = {"human": None}
    for system in systems:
        bundle = bundles[system.bundle]
        drawn: list[list[int]] = []
        for index, batch in enumerate(batches):
            progress(system.name, index, len(batches))
            drawn.extend(_answer(bundle, batch, system.best_of, seed=index * _LANES))
        progress(system.name, len(batches), len(batches))
        replies[system.name] = drawn
        # Reranking changes the distribution to one whose likelihood has no closed form.
        perplexities[system.name] = math.exp(held_out_nll(bundle.generator, batches)) if system.best_of == 1 else None
    limit = min(sum(map(len, texts)) for texts in replies.values())
    rows = [
        Row(
            name,
            perplexities[name],
            distinct_n(texts, 1, limit),
            distinct_n(texts, 2, limit),
            top_reply_share(texts),
            mean_length(texts),
        )
        for name, texts in replies.items()
    ]
    trigram = Row("Kneser-Ney trigram", trigram_perplexity(data, "test", chosen, limits[1]))
    return [rows[0], trigram, *rows[1:]]


def trigram_perplexity(data: PreparedDataset, split: str, chosen: Sequence[int] | np.ndarray, longest: int) -> float:
    """Return the perplexity of an interpolated Kneser-Ney trigram on the replies `chosen` of `split`.

    End tokens count. Trained on the replies of the training part; both sides are cut at `longest` tokens as the
    generators' are.
    """
    train, held_out = data.split("train"), data.split(split)
    model = KneserNey.fit(_cut(train, range(len(train)), longest), int(data.summary["vocabulary"]["used"]))
    return model.perplexity(_cut(held_out, chosen, longest))


def format_table(rows: Sequence[Row]) -> str:
    """Return the rows as a plain text table."""
    heads = ["system", "perplexity", "distinct-1", "distinct-2", "top reply", "length"]
    formats = ["{}", "{:.1f}", "{:.3f}", "{:.3f}", "{:.1%}", "{:.1f}"]
    table = [heads] + [
        [
            "-" if value is None else form.format(value)
            for form, value in zip(formats, asdict(row).values(), strict=True)
        ]
        for row in rows
    ]
    widths = [max(len(line[column]) for line in table) for column in range(len(heads))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in table
    )


@torch.no_grad()
def _answer(bundle: Bundle, batch: Batch, best_of: int, seed: int) -> list[list[int]]:
    count = len(batch)
    lanes = torch.arange(count).repeat_interleave(best_of)
    seeds = torch.tensor([s for i in range(count) for s in derive_seeds(seed + i, best_of)])
    state = bundle.generator.encode(batch.context).select(lanes)
    sampled = write_replies(bundle.generator, state, plain_sampling(len(lanes), seeds, bundle.generator.reply_tokens))
    tokens = sampled.tokens
    if best_of > 1:
        if bundle.discriminator is None:
            raise RunError("best of n needs a bundle with a discriminator")
        scores = human_probability(bundle.discriminator, batch.context, lanes, tokens).view(count, best_of)
        tokens = tokens.view(count, best_of, -1)[torch.arange(count), scores.argmax(1)]
    return words(tokens)


def _cut(split: Split, chosen: Sequence[int] | np.ndarray, longest: int) -> list[np.ndarray]:
    return [split.reply(int(i))[:longest] for i in chosen]


def _same_limits(bundles: Sequence[Bundle]) -> tuple[int, int]:
    limits = {(b.limits.context_tokens, b.limits.reply_tokens) for b in bundles}
    if len(limits) != 1:
        raise RunError(f"the bundles have different limits (context, reply tokens): {sorted(limits)}")
    return limits.pop()
