"""From sources to a prepared dataset: read and clean, split, train the tokenizer, pack, describe.

Texts pass through a spool file: memory holds a few numbers for each dialogue and the distinct replies, not the corpus.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from chatbot.bundle import WEIGHTS
from chatbot.generator.pretrained_source import fetch_tokenizer
from chatbot.tokenizer import Tokenizer
from training.corpus import splits
from training.corpus.dataset import PreparedDataset
from training.corpus.description import describe_file, describe_frequent, describe_split
from training.corpus.errors import CorpusError
from training.corpus.layout import ARRAYS, DESCRIPTION, FORMAT, REJECTED, SPLITS, TOKENIZER, VERSION
from training.corpus.options import PrepareOptions
from training.corpus.packing import SplitWriter
from training.corpus.reading import REPORT_EVERY, Progress, Reading
from training.corpus.rejection import RejectionLog
from training.corpus.sources import resolve
from training.corpus.staging import rejected_beside, staged

DIALOGUES_AT_ONCE: Final = 500
"""Dialogues encoded together: enough to keep all cores busy, little enough to need no memory."""
TOKENIZER_TEXT: Final = 12_000_000
"""Bytes of training text that the tokenizer learns from at most. Without spaces between words, as in Chinese, learning
takes about 80 MB of memory for each MB of text; beyond 8 MB the encoding gets less than 0.1 % shorter."""


@dataclass(frozen=True)
class Summary:
    """What was prepared: `document` is the `dataset.json` at `out`."""

    out: Path
    document: Mapping[str, Any]

    def pairs(self, split: str) -> int:
        """Return how many pairs the split has."""
        return int(self.document["splits"][split]["pairs"])

    @property
    def rejected(self) -> int:
        """Return how many records could not be used; they stand in `rejected.jsonl`."""
        return int(self.document["rejected"]["count"])


def prepare(sources: Sequence[str], options: PrepareOptions, progress: Progress | None = None) -> Summary:
    """Prepare a dataset at `options.out` from files, directories or the words for what is packaged.

    The same input gives the same files, byte for byte. Of two dialogues with the same turns the first is kept.
    Raises CorpusError when a source, a column or an option is wrong, too many records cannot be used, or nothing is
    left to learn from. Then `out` is as it was, and the rejected records are kept in `rejected_beside(out)`.
    """
    options.check()
    report = progress or (lambda stage, done, total: None)
    files = resolve(sources, options.format)
    borrowed = _tokenizer_of(options.tokenizer) if options.tokenizer is not None else None
    with staged(options.out, options.overwrite) as staging:
        spool = staging / "spool"
        reading = Reading()
        with RejectionLog(staging / REJECTED) as log, spool.open("w", encoding="utf-8") as file:
            for line in reading.run(files, options, log, report):
                file.write(line)
            log.check(reading.records, options.max_rejected, rejected_beside(options.out))
        if not reading.positions:
            raise CorpusError(f"no dialogue to learn from in {', '.join(sources)} ({reading.records:,} records read)")
        assigned = splits.assign(
            np.array(reading.positions), np.array(reading.given, np.int8), options.valid, options.test
        )
        sample = _tokenizer_sample(assigned, np.array(reading.positions), np.array(reading.sizes))
        tokenizer = borrowed or Tokenizer.train(_sampled_turns(spool, sample, report), options.vocabulary)
        tokenizer.save(staging / TOKENIZER)
        replies = _pack(spool, assigned, tokenizer, staging, options.max_turns, report)
        spool.unlink()
        names = [TOKENIZER, REJECTED, *(f"{split}/{name}.npy" for split in SPLITS for name in ARRAYS)]
        written = PreparedDataset(staging, {})
        document = {
            "format": FORMAT,
            "version": VERSION,
            "options": options.describe(),
            "vocabulary": {
                "asked": tokenizer.vocabulary_size if borrowed else options.vocabulary,
                "used": tokenizer.vocabulary_size,
                "learnt_from_dialogues": 0 if borrowed else int(sample.sum()),
            },
            "splits": {split: describe_split(written.split(split)) for split in SPLITS},
            "frequent_replies": describe_frequent(replies),
            **reading.describe(),
            "rejected": {"count": log.count, "kinds": dict(log.kinds)},
            "sources": [{"name": f.name, "split": f.split, **describe_file(f.path)} for f in files],
            "files": {name: describe_file(staging / name) for name in names},
        }
        text = json.dumps(document, ensure_ascii=False, indent=2)
        (staging / DESCRIPTION).write_text(text + "\n", encoding="utf-8")
    return Summary(options.out, json.loads(text))


def _tokenizer_of(source: str) -> Tokenizer:
    """Return the tokenizer of a bundle, or of a language model. Raises RejoinderError."""
    bundle = Path(source)
    return Tokenizer.load(bundle / TOKENIZER) if (bundle / WEIGHTS[0]).is_file() else fetch_tokenizer(source)


def _spooled(spool: Path) -> Iterator[tuple[list[str], list[int]]]:
    """Yield the turns of each dialogue, and which of them are replies."""
    with spool.open(encoding="utf-8", newline="\n") as file:
        for line in file:
            turns, replies = json.loads(line)
            yield turns, replies


def _tokenizer_sample(
    assigned: npt.NDArray[np.int8], positions: npt.NDArray[np.float64], sizes: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """Return [D] which dialogues the tokenizer learns from: training ones at random, up to `TOKENIZER_TEXT` bytes."""
    training = np.flatnonzero(assigned == splits.TRAIN)
    shuffled = training[np.argsort(positions[training])]  # a position is a hash, so its order is a random one
    within = np.cumsum(sizes[shuffled]) <= TOKENIZER_TEXT
    within[0] = True
    sample = np.zeros(len(assigned), np.bool_)
    sample[shuffled[within]] = True
    return sample


def _sampled_turns(spool: Path, sample: npt.NDArray[np.bool_], report: Progress) -> Iterator[str]:
    total = int(sample.sum())
    done = 0
    for chosen, (turns, _) in zip(sample, _spooled(spool), strict=True):
        if chosen:
            yield from turns
            done += 1
            if done % REPORT_EVERY == 0 or done == total:
                report("tokenizer", done, total)


def _pack(
    spool: Path,
    assigned: npt.NDArray[np.int8],
    tokenizer: Tokenizer,
    directory: Path,
    max_turns: int,
    report: Progress,
) -> Counter[str]:
    """Write the arrays of all splits; return how often each reply stands in the training part."""
    counts: Counter[str] = Counter()
    done = 0
    with ExitStack() as stack:
        writers = []
        for split in SPLITS:
            (directory / split).mkdir()
            writers.append(stack.enter_context(SplitWriter(directory / split, max_turns, tokenizer.vocabulary_size)))
        dialogues = _spooled(spool)
        while batch := list(islice(dialogues, DIALOGUES_AT_ONCE)):
            encoded = iter(tokenizer.encode_batch([turn for turns, _ in batch for turn in turns]))
            for split, (turns, replies) in zip(assigned[done : done + len(batch)], batch, strict=True):
                writers[split].add(list(islice(encoded, len(turns))), replies)
                if split == splits.TRAIN:
                    counts.update(turns[i] for i in replies)
            done += len(batch)
            report("pack", done, len(assigned))
    return counts
