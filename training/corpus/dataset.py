"""The prepared dataset as training reads it: memory-mapped arrays, and batches of contexts and replies as token ids.

Knows the layout on disk; knows no text, no model, and no order or size of batches.
`P` pairs of a split, `B` batch, `S` longest context of the batch, `T` longest reply of the batch.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from chatbot.tokenizer import PAD
from training.corpus.errors import CorpusError
from training.corpus.layout import ARRAYS, DESCRIPTION, FORMAT, MANY_TOKENS, SPLITS, TOKENIZER, VERSION

Ids = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """The pairs of one split; the arrays are those of `layout`. Pairs stand in the order of their dialogues."""

    tokens: Ids
    turns: Offsets
    dialogues: Offsets
    pairs: Offsets

    def __len__(self) -> int:
        return len(self.pairs)

    def context(self, i: int, max_tokens: int) -> Ids:
        """Return the newest turns before reply `i`, each with its TURN, at most `max_tokens` ids.

        The oldest turns are dropped first, whole. A last turn that is too long by itself keeps its last ids.
        """
        starts, ends = self._context_bounds(np.array([i]), max_tokens)
        return self.tokens[starts[0] : ends[0]]

    def reply(self, i: int) -> Ids:
        """Return the ids of reply `i`; the last one is TURN."""
        turn = self.pairs[i, 1]
        return self.tokens[self.turns[turn] : self.turns[turn + 1]]

    def lengths(self) -> tuple[Offsets, Offsets]:
        """Return the ids in the whole context and in the reply (TURN counted) of every pair, both [P]."""
        first, reply = self.pairs[:, 0], self.pairs[:, 1]
        begin = self.turns[reply]
        return begin - self.turns[first], self.turns[reply + 1] - begin

    def dialogue_of(self, i: int) -> int:
        """Return the index of the dialogue in this split that pair `i` comes from."""
        return int(np.searchsorted(self.dialogues, self.pairs[i, 1], side="right")) - 1

    def context_batch(self, indices: npt.ArrayLike, max_tokens: int) -> npt.NDArray[np.int64]:
        """Return the contexts of pairs `indices` [B] as [B, S], cut like `context`, PAD on the right."""
        return self._gather(*self._context_bounds(np.asarray(indices), max_tokens))

    def reply_batch(self, indices: npt.ArrayLike, max_tokens: int) -> npt.NDArray[np.int64]:
        """Return the replies of pairs `indices` [B] as [B, T], PAD on the right.

        A reply longer than `max_tokens` is cut and then has no TURN: nobody ended it there.
        """
        reply = self.pairs[np.asarray(indices), 1]
        starts = self.turns[reply]
        return self._gather(starts, np.minimum(self.turns[reply + 1], starts + max_tokens))

    def passages(self, max_tokens: int) -> Offsets:
        """Return where each passage begins among the pairs, and the end: [passages + 1].

        The pairs of a passage stand behind each other, and their contexts, cut like `context`, begin at the same token:
        each context is the one before it and what was said since.
        """
        starts, _ = self._context_bounds(np.arange(len(self)), max_tokens)
        goes_on = (starts[1:] == starts[:-1]) & (self.pairs[1:, 1] > self.pairs[:-1, 1])
        return np.concatenate(([0], np.flatnonzero(~goes_on) + 1, [len(self)]))

    def passage_batch(
        self, first: npt.NDArray[np.int64], behind: npt.NDArray[np.int64], max_tokens: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return what follows the first context of passages, pairs `first` to `behind` - 1 [B], and what are replies.

        Ids [B, T], PAD on the right, and [B, T], true at the tokens of replies, each cut like `reply_batch`.
        """
        replies = self.pairs[:, 1]
        begin, last = self.turns[replies[first]], replies[behind - 1]
        ids = self._gather(begin, np.minimum(self.turns[last + 1], self.turns[last] + max_tokens))
        rows = np.repeat(np.arange(len(first)), behind - first)
        taught = replies[np.concatenate([np.arange(one, end) for one, end in zip(first, behind, strict=True)])]
        start = (self.turns[taught] - begin[rows])[:, None]
        length = np.minimum(self.turns[taught + 1] - self.turns[taught], max_tokens)[:, None]
        steps = np.arange(ids.shape[1])
        mask = np.zeros(ids.shape, np.bool_)
        np.logical_or.at(mask, rows, (steps >= start) & (steps < start + length))
        return ids, mask

    def _context_bounds(self, indices: npt.NDArray[np.int64], max_tokens: int) -> tuple[Offsets, Offsets]:
        first, reply = self.pairs[indices, 0], self.pairs[indices, 1]
        ends = self.turns[reply]
        limit = ends - max_tokens
        # The first turn that begins at the limit or after it; the reply itself when not even the last turn fits.
        fitting = self.turns[np.searchsorted(self.turns, limit)]
        starts = np.where(fitting == ends, limit, np.maximum(fitting, self.turns[first]))
        return starts, ends

    def _gather(self, starts: Offsets, ends: Offsets) -> npt.NDArray[np.int64]:
        lengths = (ends - starts)[:, None]
        steps = np.arange(lengths.max(initial=0))
        batch = np.full((len(starts), len(steps)), PAD, np.int64)
        inside = steps < lengths
        batch[inside] = self.tokens[(starts[:, None] + steps)[inside]]
        return batch


@dataclass(frozen=True)
class PreparedDataset:
    """A directory that `prepare` wrote. `summary` is its `dataset.json`."""

    path: Path
    summary: Mapping[str, Any]

    @classmethod
    def open(cls, path: Path) -> "PreparedDataset":
        """Check `dataset.json`, its format version, and the size of every file it names.

        Raises CorpusError when there is no prepared dataset, it is of another version, or files are missing or altered.
        """
        summary = read_description(path)
        if summary["version"] != VERSION:
            made_by = "a newer" if summary["version"] > VERSION else "an older"
            raise CorpusError(
                f"{path}: prepared by {made_by} Rejoinder (format version {summary['version']}, expected {VERSION})"
            )
        needed = {TOKENIZER, *(f"{split}/{name}.npy" for split in SPLITS for name in ARRAYS)}
        files = summary.get("files")
        if not isinstance(files, dict) or not needed <= files.keys():
            raise CorpusError(f"{path / DESCRIPTION}: the list of files is incomplete; prepare the data again")
        for name, entry in files.items():
            file = path / name
            if not file.is_file():
                raise CorpusError(f"{file}: missing, though {DESCRIPTION} names it; prepare the data again")
            size, expected = file.stat().st_size, entry["bytes"]
            if size != expected:
                raise CorpusError(f"{file}: {size:,} bytes, expected {expected:,}; truncated or altered")
        return cls(path, summary)

    @property
    def tokenizer_path(self) -> Path:
        """Return the path of the tokenizer that the ids belong to."""
        return self.path / TOKENIZER

    def split(self, name: str) -> Split:
        """Return the split "train", "valid" or "test". Raises CorpusError for another name or a damaged array."""
        if name not in SPLITS:
            raise CorpusError(f"unknown split {name!r}: expected one of {', '.join(SPLITS)}")
        split = Split(**{array: _load(self.path / name / f"{array}.npy") for array in ARRAYS})
        if not _belong_together(split):
            raise CorpusError(f"{self.path / name}: the arrays do not belong together; prepare the data again")
        return split


def _belong_together(split: Split) -> bool:
    """Say whether turns divide the tokens, dialogues the turns, and each pair is a turn with others before it."""
    for bounds, end in ((split.turns, len(split.tokens)), (split.dialogues, len(split.turns) - 1)):
        if not len(bounds) or bounds[0] != 0 or bounds[-1] != end or (np.diff(bounds) < 1).any():
            return False
    if split.pairs.shape[1] != 2:
        return False
    first, reply = split.pairs[:, 0], split.pairs[:, 1]
    return bool(((first >= 0) & (first < reply) & (reply < len(split.turns) - 1)).all())


def read_description(path: Path) -> dict[str, Any]:
    """Return the `dataset.json` of the directory `path`, of whatever version. Raises CorpusError if it has none."""
    file = path / DESCRIPTION
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CorpusError(
            f"{path}: not a prepared dataset (no {DESCRIPTION}); make one with rejoinder prepare"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise CorpusError(f"{file}: cannot be read ({error})") from None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise CorpusError(f"{file}: not the description of a prepared dataset (expected format {FORMAT!r})")
    if not isinstance(description.get("version"), int):
        raise CorpusError(f"{file}: no format version")
    return description


def _load(path: Path) -> npt.NDArray[Any]:
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy reads the header as Python, which raises many kinds
        raise CorpusError(f"{path}: cannot be read as an array ({error})") from None
    expected, dimensions = ARRAYS[path.stem], 2 if path.stem == "pairs" else 1
    if path.stem == "tokens" and array.dtype.str == MANY_TOKENS:
        expected = MANY_TOKENS
    if array.dtype.str != expected or array.ndim != dimensions:
        raise CorpusError(f"{path}: {array.dtype.str} of {array.ndim} dimensions, expected {expected} of {dimensions}")
    # A plain view of the same mapped memory: np.memmap runs Python code at every indexing.
    return np.asarray(array)
