"""Reads the service's exports of preferences and thumbs, and cleans their texts as the training texts were cleaned.

A line is told by its keys: `prompt`, `chosen` and `rejected` make a preference, `prompt`, `completion` and `label` a
thumb. Everything is read and checked before anything is begun: the first line that cannot be used is an error.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from training.corpus.cleaning import clean_text, joined_turns
from training.corpus.jsonl import ASSISTANT, USER, json_kind, parse_object, role_messages
from training.corpus.records import BadRecordError
from training.errors import FeedbackError
from training.feedback.records import Feedback, FeedbackFile, Preference, Thumb

_PREFERENCE: Final = ("prompt", "chosen", "rejected")
_THUMB: Final = ("prompt", "completion", "label")


def read_feedback(paths: Sequence[Path]) -> Feedback:
    """Return all preferences and thumbs of the exports `paths`, in order.

    Raises FeedbackError, which names the file and the line, for what is neither a preference nor a thumb, for a file
    that cannot be read or holds nothing, and for a file given twice.
    """
    files: list[FeedbackFile] = []
    preferences: list[Preference] = []
    thumbs: list[Thumb] = []
    undecidable = 0
    for path in paths:
        try:
            content = path.read_bytes()
        except OSError as error:
            raise FeedbackError(f"{path}: cannot be read ({error.strerror})") from None
        digest = hashlib.sha256(content).hexdigest()
        if twin := next((file for file in files if file.sha256 == digest), None):
            raise FeedbackError(f"{path} is the same feedback as {twin.path}: each judgement is to count once")
        files.append(FeedbackFile(path, digest))
        rows = 0
        for number, line in enumerate(content.split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                row = _row(parse_object(line))
            except BadRecordError as error:
                raise FeedbackError(f"{path}, line {number}: {error}") from None
            rows += 1
            if isinstance(row, Thumb):
                thumbs.append(row)
            elif row.chosen == row.rejected:
                undecidable += 1
            else:
                preferences.append(row)
        if not rows:
            raise FeedbackError(f"{path}: no line in it, expected exported preferences or thumbs")
    return Feedback(tuple(files), tuple(preferences), tuple(thumbs), undecidable)


def _row(record: dict[str, Any]) -> Preference | Thumb:
    if all(key in record for key in _PREFERENCE):
        return Preference(_context(record["prompt"]), _reply(record, "chosen"), _reply(record, "rejected"))
    if all(key in record for key in _THUMB):
        label = record["label"]
        if not isinstance(label, bool):
            raise BadRecordError("wrong type", f"label is {json_kind(label)}, expected true or false")
        return Thumb(_context(record["prompt"]), _reply(record, "completion"), label)
    found = ", ".join(map(str, record)) or "no key"
    raise BadRecordError(
        "neither a preference nor a thumb",
        f"expected the keys {', '.join(_PREFERENCE)} or {', '.join(_THUMB)}, found {found[:200]}",
    )


def _context(prompt: Any) -> tuple[str, ...]:
    spoken = [(speaker, text) for speaker, text in _messages(prompt, "prompt") if text]
    speakers, turns = joined_turns(spoken)
    if not speakers or speakers[-1] != USER:
        found = "the assistant's" if speakers else "missing"
        raise BadRecordError("no turn to answer", f"the last message of prompt is {found}, expected the user's")
    return tuple(turns)


def _reply(record: dict[str, Any], field: str) -> str:
    """Return the reply's text; a machine may have said nothing, and that can be judged, too."""
    messages = _messages(record[field], field)
    if [speaker for speaker, _ in messages] != [ASSISTANT]:
        raise BadRecordError("no reply", f"{field} holds {len(messages)} messages, expected one by the assistant")
    return messages[0][1]


def _messages(value: Any, field: str) -> list[tuple[str, str]]:
    if not isinstance(value, list):
        raise BadRecordError("wrong type", f"{field} is {json_kind(value)}, expected a list of messages")
    messages, _ = role_messages(value, field, "role", "content")
    return [(message.speaker, clean_text(message.text)) for message in messages]
