"""Replies for a file of contexts: JSONL in, JSONL out, in the same order. Knows files, not models."""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from chatbot.bot import Answer, Bot, ReplyRequest
from chatbot.decoding import SEED_LIMIT
from chatbot.errors import RejoinderError, RequestError


class ContextError(RejoinderError):
    """A line of the file of contexts cannot be answered."""


@dataclass(frozen=True)
class Line:
    """One context: its turns, and all that stood in its line."""

    number: int
    turns: list[str]
    row: dict[str, Any]


def answer_file(
    bot: Bot, source: Path, target: Path, template: ReplyRequest, progress: Callable[[str, int, int | None], None]
) -> int:
    """Answer every context of the JSONL file `source` into `target` and return how many there were.

    A line is an object with `turns` (oldest first) or OpenAI `messages`; it is written back with `replies`, the newest
    turns that were used and the seed. Line i is drawn with the template's seed + i, whatever the order of work. All
    lines are checked before any is answered; `target` appears only when it is whole. Raises ContextError naming file
    and line, RequestError when the template cannot be met.
    """
    lines = list(read_contexts(source))
    requests = [
        replace(template, turns=line.turns, seed=(template.seed + index) % SEED_LIMIT)
        for index, line in enumerate(lines)
    ]
    for line, request in zip(lines, requests, strict=True):
        try:
            bot.check(request)
        except RequestError as error:
            if error.param == "turns":
                raise ContextError(f"{source}, line {line.number}: {error}") from None
            raise
    temporary = target.with_name(f".{target.name}.new")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            early: dict[int, Answer] = {}
            written = 0
            progress("generate", written, len(lines))
            for index, answer in bot.answer_each(requests):
                early[index] = answer
                while written in early:  # replies end in any order, and are written in that of the lines
                    row = _row(lines[written], requests[written], early.pop(written), bot)
                    file.write(_encode(row) + "\n")
                    written += 1
                progress("generate", written, len(lines))
            progress("generate", len(lines), len(lines))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise RejoinderError(f"{target}: cannot be written ({error.strerror})") from None
    finally:
        temporary.unlink(missing_ok=True)
    return len(lines)


def read_contexts(source: Path) -> Iterator[Line]:
    """Yield the contexts of a JSONL file; empty lines are skipped. Raises ContextError naming file and line."""
    try:
        content = source.read_bytes()
    except OSError as error:
        raise ContextError(f"{source}: cannot be read ({error.strerror})") from None
    found = False
    for number, raw in enumerate(content.split(b"\n"), 1):
        if not raw.strip():
            continue
        found = True
        where = f"{source}, line {number}"
        try:
            row = json.loads(raw.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise ContextError(f"{where}: not UTF-8") from None
        except (ValueError, RecursionError) as error:
            raise ContextError(f"{where}: not JSON ({error})") from None
        yield Line(number, _turns(row, where), row)
    if not found:
        raise ContextError(f"{source}: no contexts, expected one JSON object a line")


def _turns(row: object, where: str) -> list[str]:
    if not isinstance(row, dict) or not ("turns" in row or "messages" in row):
        raise ContextError(f"{where}: expected an object with `turns` (a list of texts) or `messages`")
    if "turns" in row:
        turns = row["turns"]
    else:
        messages = row["messages"]
        if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
            raise ContextError(f"{where}: `messages` is not a list of objects")
        turns = [m.get("content") for m in messages if m.get("role") != "system"]
    if not isinstance(turns, list) or not all(isinstance(turn, str) for turn in turns):
        raise ContextError(f"{where}: a turn is not a text")
    return turns


def _encode(row: dict[str, Any]) -> str:
    text = json.dumps(row, ensure_ascii=False)
    # Half a surrogate pair, escaped in some field of the input that we only pass on, has no UTF-8: escape it again.
    return text if _has_utf8(text) else json.dumps(row)


def _has_utf8(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _row(line: Line, request: ReplyRequest, answer: Answer, bot: Bot) -> dict[str, Any]:
    replies = [
        {"text": r.text, "finish_reason": r.finish_reason, "discriminator_score": r.score} for r in answer.replies
    ]
    return {
        **line.row,
        "replies": replies,
        "turns_used": answer.turns_used,
        "seed": request.seed,
        "model": bot.name,
        "digest": bot.digest,
        "precision": bot.precision,
    }
