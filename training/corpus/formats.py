"""From a source file to its records: which reader reads which format. Knows nothing of cleaning and splits."""

from collections.abc import Iterator

from training.corpus.chitchat import read_chitchat
from training.corpus.errors import CorpusError
from training.corpus.jsonl import read_jsonl
from training.corpus.plaintext import read_plaintext
from training.corpus.records import Record
from training.corpus.sources import CHITCHAT, SourceFile, lines
from training.corpus.tables import TableColumns, read_table


def read(file: SourceFile, columns: TableColumns) -> Iterator[Record]:
    """Return the records of `file` in order: dialogues, rejections, and what holds nothing to learn from.

    Raises CorpusError when the file as a whole cannot be read.
    """
    match file.format:
        case "jsonl":
            return read_jsonl(lines(file.path))
        case "csv":
            return read_table(str(file.path), lines(file.path), ",", columns)
        case "tsv":
            return read_table(str(file.path), lines(file.path), "\t", columns)
        case "text":
            return read_plaintext(lines(file.path))
        case form if form == CHITCHAT:
            return read_chitchat(file.path)
        case form:
            raise CorpusError(f"{file.path}: unknown format {form!r}")
