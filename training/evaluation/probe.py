"""What is looked at during training: likelihood of held-out replies, and replies to a fixed set of contexts.

B contexts, T reply tokens.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from chatbot.decoding import Sampled, plain_sampling, write_replies
from chatbot.generator.interface import Generator
from chatbot.tokenizer import PAD, TURN, Tokenizer
from training.batches import Batch, make_batch
from training.config import DataConfig
from training.corpus.dataset import Split
from training.errors import RunError
from training.evaluation.metrics import distinct_n, top_reply_share
from training.losses import kl_estimate, reply_logits, reply_mask, token_log_probabilities
from training.precision import Precision, autocast
from training.safeguards import Probe

_LANES = 256


@dataclass(frozen=True)
class ProbeSet:
    """Held-out pairs that every evaluation of a run uses, always the same."""

    scored: list[Batch]
    """Pairs whose likelihood is measured."""
    answered: Batch
    """Pairs whose contexts are answered."""
    seeds: torch.Tensor

    @property
    def human_length(self) -> float:
        """Return the mean length in tokens of the human replies to the answered contexts."""
        return float(reply_mask(self.answered.reply).sum(1).float().mean())


def make_probe_set(split: Split, data: DataConfig, pairs: int, probe: int, device: torch.device) -> ProbeSet:
    """Return a fixed choice of at most `pairs` pairs to score and `probe` contexts to answer, spread over the split.

    Raises RunError when the split is empty.
    """
    if not len(split):
        raise RunError("no validation pairs: nothing to choose the best model by; prepare the data with some")
    chosen = spread_over(split, pairs)
    _, reply_lengths = split.lengths()
    chosen = chosen[np.argsort(reply_lengths[chosen], kind="stable")]  # little padding
    scored = [make_batch(split, chosen[i : i + _LANES], data, device) for i in range(0, len(chosen), _LANES)]
    answered = spread_over(split, probe)
    seeds = torch.arange(len(answered), device=device)
    return ProbeSet(scored, make_batch(split, answered, data, device), seeds)


def spread_over(split: Split, most: int) -> NDArray[np.int64]:
    """Return at most `most` pairs at even distances over the split, so that many dialogues are among them."""
    return np.unique(np.linspace(0, len(split) - 1, min(most, len(split))).astype(np.int64))


@torch.no_grad()
def held_out_nll(generator: Generator, batches: list[Batch], precision: Precision = "fp32") -> float:
    """Return nats per token of human replies, end tokens counted."""
    generator.eval()
    total, count = 0.0, 0
    for batch in batches:
        with autocast(precision, batch.context.device):
            values = token_log_probabilities(generator, generator.encode(batch.context), batch.reply)
        total -= float(values.double().sum())
        count += int(reply_mask(batch.reply).sum())
    return total / count


@torch.no_grad()
def sample_probe(generator: Generator, probe: ProbeSet, precision: Precision = "fp32") -> Sampled:
    """Return one reply to each probe context, at temperature 1 and with the same seeds every time."""
    generator.eval()
    with autocast(precision, probe.seeds.device):
        lanes = plain_sampling(len(probe.seeds), probe.seeds, generator.reply_tokens)
        return write_replies(generator, generator.encode(probe.answered.context), lanes)


@torch.no_grad()
def measure(
    generator: Generator, probe: ProbeSet, precision: Precision, reference: Generator | None
) -> tuple[Probe, Sampled]:
    """Return all that `Probe` names, and the replies it was measured on; KL is to `reference` if there is one."""
    nll = held_out_nll(generator, probe.scored, precision)
    sampled = sample_probe(generator, probe, precision)
    mask = reply_mask(sampled.tokens)
    kl = 0.0
    with autocast(precision, sampled.tokens.device):
        logits = reply_logits(generator, generator.encode(probe.answered.context), sampled.tokens).float()
        logs = torch.log_softmax(logits, dim=-1)
        entropy = float(-(logs.exp() * logs).sum(1).mean())
        if reference is not None:
            drawn = logs.gather(1, sampled.tokens[mask][:, None]).squeeze(1)
            own = torch.zeros(mask.shape, device=mask.device).masked_scatter(mask, drawn)
            other = token_log_probabilities(reference, reference.encode(probe.answered.context), sampled.tokens)
            kl = float(kl_estimate(own, other, mask))
    replies = words(sampled.tokens)
    # Distinct-n falls with the number of tokens looked at: always the same number, so that longer replies do not pay.
    limit = min(sum(map(len, replies)), int(probe.human_length * len(replies) / 2))
    return (
        Probe(
            nll=nll,
            distinct_1=distinct_n(replies, 1, limit) if limit else 0.0,  # a generator may fall silent altogether
            distinct_2=distinct_n(replies, 2, limit) if limit else 0.0,
            top_reply_share=top_reply_share(replies),
            mean_length=float(sampled.lengths.float().mean()),
            entropy=entropy,
            kl=kl,
        ),
        sampled,
    )


def words(tokens: Tensor) -> list[list[int]]:
    """Return the ids of each reply [B, T] without the end token and the padding."""
    return [[i for i in ids if i not in (PAD, TURN)] for ids in tokens.tolist()]


def shown(probe: ProbeSet, sampled: Sampled, tokenizer: Tokenizer, count: int) -> list[dict[str, str]]:
    """Return `count` probe contexts with the human's and the generator's reply as text, for people to read."""
    every = max(1, len(probe.seeds) // max(1, count))
    return [
        {
            "context": decode_turns(tokenizer, probe.answered.context[i].tolist()),
            "human": tokenizer.decode(probe.answered.reply[i].tolist()),
            "generator": tokenizer.decode(sampled.tokens[i].tolist()),
        }
        for i in list(range(0, len(probe.seeds), every))[:count]
    ]


def decode_turns(tokenizer: Tokenizer, ids: list[int]) -> str:
    """Return a context's text, its turns separated by ` / `."""
    return " / ".join(tokenizer.decode_turns(ids))
