"""Replies for a file of contexts, in its order; killed, it goes on where it was. Knows no model."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from chatbot.bundle import bundle_digest
from chatbot.contexts import ContextError, Line, read_contexts
from chatbot.errors import RequestError
from chatbot.journal import Journal, check_about, read_about
from chatbot.reply_files import check_target, write_rows
from chatbot.request import SEED_LIMIT, Answer, ReplyRequest


class Answerer(Protocol):
    """Whoever answers: a bot here, or many on a cluster."""

    @property
    def name(self) -> str:
        """The model's name."""

    @property
    def digest(self) -> str:
        """SHA-256 of its weights and tokenizer."""

    @property
    def precision(self) -> str:
        """How it computes."""

    def check(self, request: ReplyRequest) -> None:
        """Raise RequestError when the request cannot be met."""

    def answer_each(self, requests: Iterable[ReplyRequest]) -> Iterator[tuple[int, Answer]]:
        """Yield each request's number and its answer, in any order."""


def answer_file(
    model: Path,
    load: Callable[[str], Answerer],
    source: Path,
    target: Path,
    template: ReplyRequest,
    progress: Callable[[str, int, int | None], None],
    precision: str = "auto",
) -> int:
    """Answer every context of `source` into `target` with the bundle `model`, and return how many there were.

    `load` makes the answerer for a precision. A row is written back with its `replies`, the newest turns that were used
    and the seed; line i is drawn with the template's seed + i, whatever the order of work. All lines are checked before
    any is answered. `target` appears when it is whole; until then a journal beside it, `.NAME.partial`, holds what is
    there, and the same call goes on from it.

    Raises ContextError naming file and line, RequestError when the template cannot be met, RejoinderError when a
    journal is there and the input, the bundle or the settings are not those that it was begun with.
    """
    check_target(target)
    about = {"bundle": bundle_digest(model), "input": _sha256(source), **_settings(template)}
    path = target.with_name(f".{target.name}.partial")
    begun = read_about(path)
    if begun is not None and precision == "auto":
        precision = str(begun.get("precision"))  # measured anew it might be another, with other replies
    if begun is not None:
        check_about(path, begun, about)  # before a model is loaded
    lines = list(read_contexts(source))
    bot = load(precision)
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
    with Journal(path, {**about, "precision": bot.precision}) as journal:
        _answer(bot, lines, requests, journal, progress)
        write_rows(target, journal.rows)
    path.unlink()
    return len(lines)


def _answer(
    bot: Answerer,
    lines: list[Line],
    requests: list[ReplyRequest],
    journal: Journal,
    progress: Callable[[str, int, int | None], None],
) -> None:
    """Answer the lines that the journal has not."""
    first = journal.done
    progress("generate", first, len(lines))
    early: dict[int, Answer] = {}
    for index, answer in bot.answer_each(requests[first:]):
        early[first + index] = answer
        if first + index != journal.done:
            continue
        while (number := journal.done) in early:  # replies end in any order, and are written in that of the lines
            journal.add(_encode(_row(lines[number], requests[number], early.pop(number), bot)))
        journal.flush()
        progress("generate", journal.done, len(lines))
    journal.sync()
    progress("generate", len(lines), len(lines))


def _settings(template: ReplyRequest) -> dict[str, Any]:
    """Return what the replies depend on besides bundle and input, by the names of the options."""
    settings = {**asdict(template.decoding), "seed": template.seed, "n": template.n, "best_of": template.best_of}
    return {**settings, "stop": list(template.stop)}


def _sha256(source: Path) -> str:
    try:
        with source.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ContextError(f"{source}: cannot be read ({error.strerror})") from None


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


def _row(line: Line, request: ReplyRequest, answer: Answer, bot: Answerer) -> dict[str, Any]:
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
