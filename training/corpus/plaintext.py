"""Dialogues from plain text: one turn a line, a blank line between dialogues. Knows nothing of cleaning."""

from collections.abc import Iterable, Iterator

from training.corpus.records import BadRecordError, RawDialogue, Record, Rejection, alternating


def read_plaintext(lines: Iterable[bytes]) -> Iterator[Record]:
    """Yield a dialogue, or a rejection, for every run of lines that are not blank."""
    block: list[bytes] = []
    number = 0
    for number, line in enumerate(lines, start=1):
        if line.strip():
            block.append(line.rstrip(b"\r\n"))
        elif block:
            yield _dialogue(number - len(block), block)
            block = []
    if block:
        yield _dialogue(number - len(block) + 1, block)


def _dialogue(first: int, block: list[bytes]) -> Record:
    texts: list[str] = []
    for number, line in enumerate(block, start=first):
        try:
            texts.append(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            fault = BadRecordError("not UTF-8", f"byte {line[error.start]:#04x} at position {error.start}")
            return Rejection.of(number, fault, line)
    return RawDialogue(first, alternating(texts))
