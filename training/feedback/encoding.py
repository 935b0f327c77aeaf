"""Feedback as token ids, and what of it D sees in one step.

P preferences, N thumbs, S context tokens, T reply tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from chatbot.bot import encode_context, pad
from chatbot.tokenizer import TURN, Tokenizer
from training.config import DataConfig, FeedbackConfig
from training.feedback.records import Feedback, Preference


@dataclass(frozen=True)
class Compared:
    """Preferences: contexts [P, S], chosen and rejected replies [P, T]; `owner` [P] numbers the different contexts."""

    context: Tensor
    chosen: Tensor
    rejected: Tensor
    owner: Tensor

    def __len__(self) -> int:
        return len(self.context)

    def select(self, rows: Tensor) -> "Compared":
        """Return the preferences `rows`."""
        return Compared(self.context[rows], self.chosen[rows], self.rejected[rows], self.owner[rows])


@dataclass(frozen=True)
class Thumbed:
    """Single replies [N, T] to contexts [N, S], and whether they were liked, [N] bool."""

    context: Tensor
    reply: Tensor
    up: Tensor

    def __len__(self) -> int:
        return len(self.context)


def encode_preferences(
    preferences: Sequence[Preference], tokenizer: Tokenizer, data: DataConfig, device: torch.device
) -> Compared:
    """Return preferences as ids, cut as pairs of the dataset are. Raises ValueError without any."""
    if not preferences:
        raise ValueError("no preference to encode")
    seen: dict[tuple[str, ...], int] = {}
    owner = [seen.setdefault(p.turns, len(seen)) for p in preferences]
    replies = [text for p in preferences for text in (p.chosen, p.rejected)]
    encoded = _replies(replies, tokenizer, data, device)
    contexts = _contexts([p.turns for p in preferences], tokenizer, data, device)
    return Compared(contexts, encoded[::2], encoded[1::2], torch.tensor(owner, device=device))


class TaughtFeedback:
    """Hold the feedback that D learns from and the preferences that it is measured on, and draw what one step sees."""

    def __init__(
        self,
        feedback: Feedback,
        config: FeedbackConfig,
        tokenizer: Tokenizer,
        data: DataConfig,
        device: torch.device,
        seed: int,
    ) -> None:
        """With `config.shuffled`, which of two replies was chosen is forgotten: half of the pairs are turned round.

        Thumbs change hands likewise. Held-out preferences stay as they are.
        """
        learnt, kept_out = feedback.learnt(config.held_out), feedback.kept_out(config.held_out)
        self.config = config
        self.compared: Compared | None = None
        self.held_out: Compared | None = None
        self.thumbed: Thumbed | None = None
        if kept_out:
            self.held_out = encode_preferences(kept_out, tokenizer, data, device)
        rng = torch.Generator().manual_seed(seed)
        if learnt.preferences:
            preferences = list(learnt.preferences)
            if config.shuffled:
                for i in torch.randperm(len(preferences), generator=rng)[: len(preferences) // 2].tolist():
                    was = preferences[i]
                    preferences[i] = Preference(was.turns, was.rejected, was.chosen)
            self.compared = encode_preferences(preferences, tokenizer, data, device)
        if learnt.thumbs:
            up = torch.tensor([thumb.up for thumb in learnt.thumbs])
            if config.shuffled:
                up = up[torch.randperm(len(up), generator=rng)]
            self.thumbed = Thumbed(
                _contexts([t.turns for t in learnt.thumbs], tokenizer, data, device),
                _replies([t.reply for t in learnt.thumbs], tokenizer, data, device),
                up.to(device),
            )

    def draw_preferences(self, rng: torch.Generator) -> Compared | None:
        """Return the preferences of one step, drawn with replacement; None without any."""
        if self.compared is None or not self.config.preference:
            return None
        rows = torch.randint(len(self.compared), (self.config.batch,), generator=rng)
        return self.compared.select(rows.to(self.compared.context.device))

    def draw_thumbs(self, humans: int, rng: torch.Generator) -> Thumbed | None:
        """Return the thumbed replies that belong into a mixed batch with so many `humans`; None without any.

        As many liked as disliked ones, where there are both: how readily people hold a thumb up is no matter of taste.
        """
        count = round(self.config.thumbs * humans)
        if self.thumbed is None or not count:
            return None
        sides = [side for wanted in (True, False) if len(side := (self.thumbed.up == wanted).nonzero().squeeze(1))]
        shares = [count - count // 2, count // 2] if len(sides) == 2 else [count]
        rows = torch.cat(
            [
                side[torch.randint(len(side), (share,), generator=rng).to(side.device)]
                for side, share in zip(sides, shares, strict=True)
            ]
        )
        return Thumbed(self.thumbed.context[rows], self.thumbed.reply[rows], self.thumbed.up[rows])


def _contexts(
    histories: Sequence[tuple[str, ...]], tokenizer: Tokenizer, data: DataConfig, device: torch.device
) -> Tensor:
    return pad([encode_context(tokenizer, turns, data.context_tokens)[0] for turns in histories], device)


def _replies(texts: Sequence[str], tokenizer: Tokenizer, data: DataConfig, device: torch.device) -> Tensor:
    """Return replies [n, T], ended by TURN; one that is cut has none, as in the dataset."""
    rows = [[*ids, TURN][: data.reply_tokens] for ids in tokenizer.encode_batch(texts)]
    return pad(rows, device)
