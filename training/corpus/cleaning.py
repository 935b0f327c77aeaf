"""From a dialogue as it stands in a file to the turns that are learnt. Knows no file format; masks and filters nothing.

A text becomes Unicode NFC without control characters, its white space (line ends too) squeezed to single spaces: a
turn is one line. An empty message was not said: it is dropped. Then a speaker's neighbouring messages are joined by a
space to one turn, so that no turn answers its own speaker. Where speakers have no names they are taken to alternate.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from chatbot.cleaning import clean_turn
from training.corpus.records import TOO_SHORT, BadRecordError, RawDialogue


@dataclass(frozen=True, slots=True)
class CleanDialogue:
    """Turns in order, no two neighbours by one speaker, and which of them are replies (never the first)."""

    turns: tuple[str, ...]
    replies: tuple[int, ...]
    empty_messages: int
    joined_messages: int


def clean_text(text: str) -> str:
    """Return `text` as `clean_turn` does.

    Raises BadRecordError when it holds NUL or half of a surrogate pair: signs of a file that was damaged or read with
    a wrong encoding, whose other characters cannot be trusted either.
    """
    if "\0" in text:
        raise BadRecordError("NUL character", f"at position {text.index(chr(0))} of a turn")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise BadRecordError("lone surrogate", f"{error.object[error.start]!a} in a turn") from None
    return clean_turn(text)


def clean_dialogue(raw: RawDialogue) -> CleanDialogue:
    """Return the turns of `raw` and which of them are replies.

    Raises BadRecordError when fewer than two turns are left, or nobody whose turns are replies answers anybody.
    """
    texts = [(message.speaker, clean_text(message.text)) for message in raw.messages]
    spoken = [(speaker, text) for speaker, text in texts if text]
    speakers, turns = joined_turns(spoken)
    if len(turns) < 2:
        raise BadRecordError(TOO_SHORT, f"{len(turns)} after cleaning")
    replies = tuple(i for i in range(1, len(turns)) if raw.repliers is None or speakers[i] in raw.repliers)
    if not replies:
        raise BadRecordError("no reply", "no turn of the assistant answers another turn")
    return CleanDialogue(
        turns=tuple(turns),
        replies=replies,
        empty_messages=len(texts) - len(spoken),
        joined_messages=len(spoken) - len(turns),
    )


def joined_turns(spoken: Sequence[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """Return the speaker and the text of each turn: neighbours by one speaker of `spoken` are joined by a space."""
    speakers: list[str] = []
    turns: list[list[str]] = []
    for speaker, text in spoken:
        if speakers and speakers[-1] == speaker:
            turns[-1].append(text)
        else:
            speakers.append(speaker)
            turns.append([text])
    return speakers, [" ".join(parts) for parts in turns]
