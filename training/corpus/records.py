"""What a reader gives: a dialogue as it stands in the file, or the reason why there is none. Knows no file format."""

from dataclasses import dataclass
from typing import Final

from training.corpus.errors import CorpusError

TOO_SHORT: Final = "fewer than two turns"
EXCERPT: Final = 500
"""Characters of a bad record that are kept for the user to recognise it by."""


class BadRecordError(CorpusError):
    """One record cannot be used; `kind` is the same for all records with this fault, `detail` says what was found."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {detail}" if detail else kind)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it stands in the file. A speaker's neighbouring messages become one turn later."""

    speaker: str
    text: str


@dataclass(frozen=True, slots=True)
class RawDialogue:
    """A dialogue as it stands in the file, before cleaning."""

    line: int
    messages: tuple[Message, ...]
    repliers: frozenset[str] | None = None
    """The speakers whose turns are replies; None: everybody's after the first turn."""
    split: str | None = None
    license: str | None = None
    origin: str | None = None
    system_messages: int = 0
    """How many instructions to the machine were left out: nobody said them."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that cannot be used, at `line` of its file, with the beginning of its text."""

    line: int
    kind: str
    reason: str
    text: str

    @classmethod
    def of(cls, line: int, error: BadRecordError, text: str | bytes) -> "Rejection":
        """Make the rejection that `error` stands for; `text` is shortened and made printable."""
        raw = text[:EXCERPT].encode("utf-8", "surrogatepass") if isinstance(text, str) else text[: 4 * EXCERPT]
        return cls(line, error.kind, str(error), raw.decode("utf-8", "backslashreplace")[:EXCERPT])


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A sound record that holds nothing to learn from; counted under `kind`, no fault of the file."""

    kind: str


Record = RawDialogue | Rejection | LeftOut


def alternating(texts: list[str]) -> tuple[Message, ...]:
    """Return `texts` as messages of two speakers who take turns: what a list of turns without names means."""
    return tuple(Message("ab"[i % 2], text) for i, text in enumerate(texts))
