"""Reads and cleans all sources in order, without duplicates. Knows nothing of token ids and of the files to write."""

import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from training.corpus import splits
from training.corpus.cleaning import CleanDialogue, clean_dialogue
from training.corpus.formats import read
from training.corpus.layout import SPLITS, TRAIN
from training.corpus.options import PrepareOptions
from training.corpus.records import BadRecordError, LeftOut, RawDialogue, Record, Rejection
from training.corpus.rejection import RejectionLog
from training.corpus.sources import SourceFile

Progress = Callable[[str, int, int | None], None]
"""Called with the stage ("read", "tokenizer", "pack"), how much of it is done, and of how much, if that is known."""
REPORT_EVERY: Final = 500
"""Dialogues between two calls of the progress function."""
UNKNOWN_LICENSE: Final = "unknown"


@dataclass
class Reading:
    """What later steps must know of each dialogue that is kept, and the counts of all."""

    positions: "array[float]" = field(default_factory=lambda: array("d"))
    given: "array[int]" = field(default_factory=lambda: array("b"))
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    seen: set[bytes] = field(default_factory=set)
    records: int = 0
    duplicates: int = 0
    joined_messages: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    licenses: Counter[str] = field(default_factory=Counter)
    origins: Counter[str] = field(default_factory=Counter)
    _limited: int = 0

    def run(
        self, files: Sequence[SourceFile], options: PrepareOptions, log: RejectionLog, report: Progress
    ) -> Iterator[str]:
        """Yield a line for the spool file for every dialogue that is kept."""
        for file, record in self._records(files, options, report):
            match record:
                case LeftOut():
                    self.left_out[record.kind] += 1
                case Rejection():
                    log.add(str(file.path), record)
                case RawDialogue():
                    try:
                        clean = clean_dialogue(record)
                    except BadRecordError as error:
                        text = "\n".join(message.text for message in record.messages)
                        log.add(str(file.path), Rejection.of(record.line, error, text))
                    else:
                        if self._note(file, record, clean, options):
                            yield json.dumps([clean.turns, clean.replies], ensure_ascii=False) + "\n"

    def describe(self) -> dict[str, Any]:
        """Return the counts for `dataset.json`."""
        return {
            "records": self.records,
            "duplicates": self.duplicates,
            "joined_messages": self.joined_messages,
            "left_out": dict(self.left_out),
            "licenses": dict(self.licenses),
            "origins": dict(self.origins),
        }

    def _records(
        self, files: Sequence[SourceFile], options: PrepareOptions, report: Progress
    ) -> Iterator[tuple[SourceFile, Record]]:
        """Yield and count the records of all files, up to the limit."""
        columns = options.table_columns()
        for file in files:
            for record in read(file, columns):
                if options.limit is not None and self._limited >= options.limit:
                    report("read", self.records, self.records)
                    return
                self.records += 1
                if self.records % REPORT_EVERY == 0:
                    report("read", self.records, None)
                yield file, record
        report("read", self.records, self.records)

    def _note(self, file: SourceFile, record: RawDialogue, clean: CleanDialogue, options: PrepareOptions) -> bool:
        """Note down a dialogue and return True, or count it as a duplicate."""
        print_of_dialogue = splits.fingerprint(clean.turns)
        if print_of_dialogue in self.seen:
            self.duplicates += 1
            return False
        self.seen.add(print_of_dialogue)
        split = record.split or file.split
        self.positions.append(splits.position(print_of_dialogue, options.seed))
        self.given.append(splits.NOT_GIVEN if split is None else SPLITS.index(split))
        self._limited += split is None or split == TRAIN
        self.sizes.append(sum(len(turn.encode("utf-8")) for turn in clean.turns))
        self.joined_messages += clean.joined_messages
        self.licenses[record.license or file.license or options.license or UNKNOWN_LICENSE] += 1
        self.origins[record.origin or file.name] += 1
        for kind, count in (("system messages", record.system_messages), ("empty messages", clean.empty_messages)):
            if count:
                self.left_out[kind] += count
        return True
