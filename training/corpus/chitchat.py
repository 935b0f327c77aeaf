"""Dialogues of the package chitchat-dataset (MIT), the corpus that a fresh machine gets by itself."""

import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Final

from training.corpus.errors import CorpusError
from training.corpus.records import LeftOut, Message, RawDialogue, Record

LICENSE: Final = "MIT"
HELD_OUT: Final = "chitchat_held_out.txt"


def read_chitchat(path: Path) -> Iterator[Record]:
    """Yield the dialogues of the package's file; those in which nobody answered are left out, not faulty.

    Validation and test are the conversations that the released bundles were not trained on: whoever starts from one
    can measure. `line` of a dialogue is its place in the file. Raises CorpusError when the file is not what the
    package holds.
    """
    try:
        conversations = list(json.loads(path.read_text(encoding="utf-8")).items())
    except (OSError, ValueError, AttributeError) as error:
        raise CorpusError(f"{path}: cannot be read as the file of chitchat-dataset ({error})") from None
    held_out = _held_out()
    for place, (name, conversation) in enumerate(conversations, start=1):
        try:
            messages = tuple(Message(m["sender"], m["text"]) for group in conversation["messages"] for m in group)
        except (KeyError, TypeError) as error:
            raise CorpusError(
                f"{path}: conversation {place} is not as in chitchat-dataset 0.9.0 ({type(error).__name__}: {error})"
            ) from None
        if len({message.speaker for message in messages if message.text.strip()}) < 2:
            yield LeftOut("conversations that nobody answered")
        else:
            split = held_out.get(name, "train")
            yield RawDialogue(place, messages, split=split, license=LICENSE, origin="chitchat-dataset")


def _held_out() -> dict[str, str]:
    """Return the split of each conversation that is not for training, by its name."""
    lines = resources.files("training.corpus").joinpath(HELD_OUT).read_text(encoding="utf-8").splitlines()
    return {name: split for split, name in (line.split() for line in lines if not line.startswith("#"))}
