"""Whether a reply belongs to its context: where the true context stands among random ones, as a scorer ranks them.

Knows ranks, and one scorer: a matcher of contexts and replies trained from nothing on human pairs, which is no system's
discriminator and never sees a machine's reply while it learns. Refuses to know token ids and systems.
`C` contexts, `R` replies, `N` pairs, `D` width.
"""

import re
import unicodedata
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.evaluation.feature_hashing import flatten, ngram_hashes
from training.evaluation.pairs import Pair

Floats = npt.NDArray[np.float64]
Context = tuple[str, ...]
Score = Callable[[Sequence[Context], Sequence[str]], npt.NDArray[np.floating]]
"""From C contexts and R replies to how well each fits each: [C, R], the higher the better."""

CANDIDATES: Final = 50
BUCKETS: Final = 2**16
WIDTH: Final = 64
BATCH: Final = 256
EPOCHS: Final = 4
FORGOTTEN: Final = 0.3
"""Share of the features that each training step leaves out of either side: without it, more epochs do harm."""
RATE: Final = 2e-3
_WORD: Final = re.compile(r"[\u3400-\u9fff\uf900-\ufaff]|[^\W\u3400-\u9fff\uf900-\ufaff]+|[^\w\s]")
_ASKED: Final = 1024


@dataclass(frozen=True)
class Relevance:
    """Where the true context of each of R replies stands."""

    ranks: Floats
    """[R] 1 is best; of equals, the middle of their ranks."""
    candidates: npt.NDArray[np.int64]
    """[R] among how many contexts, the true one counted."""

    @property
    def reciprocal(self) -> Floats:
        """Return 1 / rank of each reply, [R]."""
        return 1 / self.ranks

    @property
    def mean_reciprocal_rank(self) -> float:
        """Return the mean of 1 / rank; about .09 for a blind choice among 50."""
        return float(self.reciprocal.mean())

    def recall_at(self, k: int) -> npt.NDArray[np.bool_]:
        """Return for which replies the true context is among the best `k`, [R]; `recall_at(1)` are the hits."""
        return self.ranks <= k


def rank_contexts(
    score: Score, contexts: Sequence[Context], replies: Sequence[str], *, seed: int, candidates: int = CANDIDATES
) -> Relevance:
    """Return where each reply's own context stands among `candidates`: itself and random others that differ from it.

    `contexts[i]` is that of `replies[i]`. The others are drawn from `contexts` by `seed` alone, so they are the same
    for every system; where there are too few, all of them. `score` is asked once. Raises ValueError when the numbers
    of contexts and replies differ.
    """
    if len(contexts) != len(replies):
        raise ValueError(f"{len(contexts)} contexts for {len(replies)} replies")
    kinds = np.unique([hash_text("\n".join(context)) for context in contexts], return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    scores = np.asarray(score(contexts, replies), np.float64)
    ranks, among = np.empty(len(replies)), np.empty(len(replies), np.int64)
    for i in range(len(replies)):
        others = np.flatnonzero(kinds != kinds[i])
        chosen = rng.choice(others, min(candidates - 1, len(others)), replace=False)
        against = scores[chosen, i]
        ranks[i] = 1 + (against > scores[i, i]).sum() + 0.5 * (against == scores[i, i]).sum()
        among[i] = 1 + len(chosen)
    return Relevance(ranks, among)


class ContextMatcher:
    """Score contexts against replies: both are bags of hashed words, embedded and multiplied.

    Paper: Henderson et al. 2017, "Efficient Natural Language Response Suggestion for Smart Reply" (a dot product of
    n-gram embeddings, learnt with the other replies of a batch as negatives).
    """

    def __init__(self, towers: "Towers") -> None:
        """Hold trained towers; `fit` makes them."""
        self._towers = towers

    @classmethod
    def fit(cls, pairs: Sequence[Pair], seed: int, *, epochs: int = EPOCHS) -> "ContextMatcher":
        """Learn from N human pairs. Raises ValueError for fewer than two.

        In each batch every reply has to be found for its context and every context for its reply. Pairs of a batch
        with the same reply are not held against each other.
        """
        if len(pairs) < 2:
            raise ValueError(f"{len(pairs)} pairs: to match contexts and replies takes two")
        contexts, replies = bag_contexts([p.context for p in pairs]), bag_replies([p.reply for p in pairs])
        same = torch.from_numpy(np.unique([hash_text(p.reply) for p in pairs], return_inverse=True)[1])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            towers = Towers(_rarity([*contexts, *replies]))
            steps = epochs * -(-len(pairs) // BATCH)
            optimizer = torch.optim.Adam(towers.parameters(), lr=RATE, fused=True)
            slower = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, steps)
            for _ in range(epochs):
                for rows in torch.split(torch.randperm(len(pairs)), BATCH):
                    chosen = rows.tolist()
                    logits = towers([contexts[i] for i in chosen], [replies[i] for i in chosen])
                    equal = (same[rows][:, None] == same[rows][None]) & ~torch.eye(len(rows), dtype=torch.bool)
                    logits = logits.masked_fill(equal, -torch.inf)
                    wanted = torch.arange(len(rows))
                    loss = functional.cross_entropy(logits, wanted) + functional.cross_entropy(logits.T, wanted)
                    optimizer.zero_grad()
                    loss.backward()  # type: ignore[no-untyped-call]  # torch's own
                    optimizer.step()
                    slower.step()
        return cls(towers.eval())

    @torch.inference_mode()
    def scores(self, contexts: Sequence[Context], replies: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return how well each of C contexts and R replies fit, [C, R]: logits of the in-batch choice."""
        left, right = bag_contexts(contexts), bag_replies(replies)
        one = [self._towers.context(left[i : i + _ASKED]) for i in range(0, len(left), _ASKED)]
        two = [self._towers.reply(right[i : i + _ASKED]) for i in range(0, len(right), _ASKED)]
        found: npt.NDArray[np.float32] = self._towers.compare(torch.cat(one), torch.cat(two)).numpy()
        return found

    def ranks(self, pairs: Sequence[Pair], seed: int = 0) -> Floats:
        """Return the rank of each reply's context among 50 of those of `pairs`, [N]: see `rank_contexts`."""
        return rank_contexts(self.scores, [p.context for p in pairs], [p.reply for p in pairs], seed=seed).ranks


Bag = npt.NDArray[np.int64]


class Towers(nn.Module):
    """Embed contexts and replies so that those that belong together point the same way."""

    def __init__(self, rarity: Tensor) -> None:
        """`rarity` [BUCKETS] is how much each feature counts at first: at first, what stands on both sides fits."""
        super().__init__()
        self.features = nn.Embedding(BUCKETS, WIDTH)
        nn.init.normal_(self.features.weight, std=WIDTH**-0.5)
        with torch.no_grad():
            self.features.weight *= rarity[:, None]
        self.last, self.earlier, self.said = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        for layer, share in ((self.last, 1.0), (self.earlier, 0.3), (self.said, 1.0)):
            nn.init.eye_(layer.weight)
            with torch.no_grad():
                layer.weight *= share
        self.scale = nn.Parameter(torch.tensor(8.0).log())

    def context(self, bags: Sequence[tuple[Bag, Bag]]) -> Tensor:
        """Return unit vectors [B, D] of contexts: last turns, and all earlier turns."""
        last, earlier = self._bag([bag for bag, _ in bags]), self._bag([bag for _, bag in bags])
        return functional.normalize(self.last(last) + self.earlier(earlier), dim=1)

    def reply(self, bags: Sequence[Bag]) -> Tensor:
        """Return unit vectors [B, D] of replies."""
        return functional.normalize(self.said(self._bag(bags)), dim=1)

    def compare(self, contexts: Tensor, replies: Tensor) -> Tensor:
        """Return the logits of [C, D] against [R, D]: [C, R]."""
        return self.scale.exp() * contexts @ replies.T

    def forward(self, contexts: Sequence[tuple[Bag, Bag]], replies: Sequence[Bag]) -> Tensor:
        return self.compare(self.context(contexts), self.reply(replies))

    def _bag(self, bags: Sequence[Bag]) -> Tensor:
        sizes = torch.tensor([len(bag) for bag in bags])
        features = torch.from_numpy(np.concatenate(bags))
        kept = (torch.rand(len(features)) >= FORGOTTEN).float() if self.training else torch.ones(len(features))
        found: Tensor = functional.embedding_bag(
            features, self.features.weight, sizes.cumsum(0) - sizes, mode="sum", per_sample_weights=kept
        )
        return found / sizes.clamp(min=1).sqrt()[:, None]


def bag_contexts(contexts: Sequence[Context]) -> list[tuple[Bag, Bag]]:
    """Return the features of the last turn and of all earlier ones, of each context."""
    last = bag_replies([context[-1] if context else "" for context in contexts])
    return list(zip(last, bag_replies(["\n".join(context[:-1]) for context in contexts]), strict=True))


def bag_replies(texts: Sequence[str]) -> list[Bag]:
    """Return the hashed features of each text: its different words and word pairs, case aside.

    A word is a run of letters and digits, one Chinese ideograph, or one sign.
    """
    found: dict[str, int] = {}
    rows = [
        [
            found.setdefault(word, hash_text(word))
            for word in _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
        ]
        for text in texts
    ]
    symbols, lengths = flatten(rows)
    parts = [ngram_hashes(symbols, lengths, order, salt=0) for order in (1, 2)]
    owners = np.concatenate([rows for rows, _ in parts])
    buckets = (np.concatenate([hashes for _, hashes in parts]) % np.uint64(BUCKETS)).astype(np.int64)
    keys = np.sort(owners * BUCKETS + buckets)
    keys = keys[np.diff(keys, prepend=-1) > 0]
    return np.split(keys % BUCKETS, np.searchsorted(keys // BUCKETS, np.arange(1, len(texts))))


def hash_text(text: str) -> int:
    """Return a number of 32 bits for a text, the same always and everywhere."""
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))


def _rarity(bags: Sequence[Bag | tuple[Bag, Bag]]) -> Tensor:
    """Return the inverse document frequency of each feature, about one in the mean: [BUCKETS]."""
    rows = [np.unique(np.concatenate(bag)) if isinstance(bag, tuple) else bag for bag in bags]
    counts = np.bincount(np.concatenate(rows), minlength=BUCKETS)
    return torch.from_numpy(np.log((1 + len(rows)) / (1 + counts)) / np.log(1 + len(rows))).float()
