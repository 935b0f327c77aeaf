"""Which files the user means, and their lines as bytes. Knows suffixes, directories and gzip, not what a line says."""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from training.corpus.errors import CorpusError
from training.corpus.layout import SPLITS, TEST, TRAIN, VALID

CHITCHAT: Final = "chitchat"
EVERYDAY: Final = {"everyday-en": "en.txt", "everyday-zh": "zh.txt"}
"""The everyday conversations that were written for this project, by the word that stands for each language's."""
SUFFIXES: Final = {".jsonl": "jsonl", ".csv": "csv", ".tsv": "tsv", ".txt": "text"}
"""File suffix (each also with .gz after it) and the format that `auto` takes it for."""
FORMATS: Final = ("auto", *SUFFIXES.values(), CHITCHAT)

SPLIT_NAMES: Final = {
    "train": TRAIN,
    "training": TRAIN,
    "valid": VALID,
    "validation": VALID,
    "val": VALID,
    "dev": VALID,
    "test": TEST,
}
"""What data sets in the wild call the three splits."""


@dataclass(frozen=True)
class SourceFile:
    """One file to read: `name` is what `dataset.json` calls it (no path of this machine), `split` is given or None."""

    path: Path
    name: str
    format: str
    split: str | None = None
    license: str | None = None
    """Licence of the whole file, where it is known and the file's dialogues do not name theirs."""


def resolve(sources: Sequence[str], form: str = "auto") -> list[SourceFile]:
    """Return the files that `sources` (files, directories, or the words for what is packaged) stand for, in order.

    A directory stands for its own files, not for its sub-directories'. Where one of them is named for the training
    split and another for validation or test (`train.jsonl.gz`, `valid.jsonl.gz`), the names give the splits, and test
    and validation are read first: of a dialogue that stands in two files the held-out copy is kept.
    Raises CorpusError when a source is missing, a directory holds nothing to read, or a format is unknown.
    """
    if form not in FORMATS:
        raise CorpusError(f"unknown format {form!r}: expected one of {', '.join(FORMATS)}")
    if not sources:
        raise CorpusError(f"no source: expected files, directories, {CHITCHAT}, {' or '.join(EVERYDAY)}")
    found: list[SourceFile] = []
    for source in sources:
        path = Path(source)
        try:
            is_directory, exists = path.is_dir(), path.exists()
        except OSError as error:
            raise CorpusError(f"{source}: cannot be read ({error.strerror or error})") from None
        if form == CHITCHAT or (form == "auto" and source == CHITCHAT):
            found.append(_chitchat(source))
        elif form == "auto" and source in EVERYDAY:
            path = Path(str(files("training.corpus") / "everyday" / EVERYDAY[source]))
            found.append(SourceFile(path, source, "text", license="CC0-1.0"))
        elif is_directory:
            found.extend(_directory(path, form))
        elif not exists:
            raise CorpusError(f"{source}: no such file or directory")
        else:
            known = _format_of(path) if form == "auto" else form
            if known is None:
                expected = f"expected one of {_suffixes()}, or name the format"
                raise CorpusError(f"{source}: the format cannot be told from the name; {expected}")
            found.append(SourceFile(path, path.name, known))
    return found


def lines(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file as bytes with their ends, unpacked when it is gzip, without a byte order mark.

    Raises CorpusError when the file cannot be read, or its gzip data end early or are damaged: names the line.
    """
    number = 0
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                yield line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
    except EOFError:
        raise CorpusError(f"{path}: the gzip data end early, after line {number}; the file is truncated") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise CorpusError(f"{path}: not gzip or damaged, after line {number} ({error})") from None
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({error.strerror or error})") from None


def _chitchat(source: str) -> SourceFile:
    if source != CHITCHAT:
        raise CorpusError(f"{source}: the format chitchat has one source only, the word chitchat")
    try:
        # The file is wanted, not the package's code, but importlib.resources imports the (small) package to find it.
        path = Path(str(files("chitchat_dataset") / "dataset.json"))
    except ModuleNotFoundError:
        raise CorpusError(
            "the source chitchat needs the package chitchat-dataset: pip install 'rejoinder[train]'"
        ) from None
    return SourceFile(path, "chitchat-dataset/dataset.json", CHITCHAT)


def _directory(directory: Path, form: str) -> list[SourceFile]:
    try:
        paths = sorted(p for p in directory.iterdir() if p.is_file() and not p.name.startswith("."))
    except OSError as error:
        raise CorpusError(f"{directory}: cannot be read ({error.strerror or error})") from None
    if form == "auto":
        formats = [(p, known) for p in paths if (known := _format_of(p)) is not None]
    else:
        formats = [(p, form) for p in paths]
    if not formats:
        raise CorpusError(f"{directory}: a directory without files to read; expected names that end in {_suffixes()}")
    splits = [SPLIT_NAMES.get(p.name.split(".")[0].lower()) for p, _ in formats]
    if not {TRAIN, VALID} <= set(splits) and not {TRAIN, TEST} <= set(splits):
        splits = [None] * len(splits)
    found = [
        SourceFile(p, f"{directory.resolve().name}/{p.name}", known, split)
        for (p, known), split in zip(formats, splits, strict=True)
    ]
    order: list[str | None] = [*reversed(SPLITS), None]
    return sorted(found, key=lambda file: order.index(file.split))


def _format_of(path: Path) -> str | None:
    name = path.name.lower().removesuffix(".gz")
    return next((known for suffix, known in SUFFIXES.items() if name.endswith(suffix)), None)


def _suffixes() -> str:
    return ", ".join(SUFFIXES) + " (each also with .gz)"
