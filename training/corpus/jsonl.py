"""Dialogues from JSON lines: lists of turns, OpenAI `messages`, ShareGPT `conversations`. Knows nothing of cleaning.

In the two formats with roles only the assistant's turns are replies, since that is what their users mean; system
messages are left out and counted. A dialogue in which a tool was called is rejected: what the assistant says after a
call answers a text that the human never saw. Where a line has `replies`, as `rejoinder generate` writes them, each is
learnt as an answer to the dialogue, and nothing else of it is: a small model learns from a large one's replies
(Kim & Rush 2016, "Sequence-Level Knowledge Distillation").
"""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Final

from training.corpus.records import BadRecordError, LeftOut, Message, RawDialogue, Record, Rejection, alternating
from training.corpus.sources import SPLIT_NAMES

USER: Final = "user"
ASSISTANT: Final = "assistant"
SYSTEM: Final = "system"
TOOL: Final = "tool"
REPLIER: Final = "replier"
"""Who wrote `replies`: nobody who spoke before."""
ROLES: Final = {
    "user": USER,
    "human": USER,
    "assistant": ASSISTANT,
    "gpt": ASSISTANT,
    "chatgpt": ASSISTANT,
    "bot": ASSISTANT,
    "model": ASSISTANT,
    "system": SYSTEM,
    "developer": SYSTEM,
    "tool": TOOL,
    "function": TOOL,
    "function_call": TOOL,
    "function_response": TOOL,
    "observation": TOOL,
}


def read_jsonl(lines: Iterable[bytes]) -> Iterator[Record]:
    """Yield the dialogue, or the rejection, of every line that is not blank."""
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = parse_object(line)
            dialogue = _dialogue(number, record)
            yield from _answered(dialogue, record) if "replies" in record else (dialogue,)
        except BadRecordError as error:
            yield Rejection.of(number, error, line.rstrip(b"\r\n"))


def parse_object(line: bytes) -> dict[str, Any]:
    """Return the JSON object of a line. Raises BadRecordError when it holds none."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRecordError("not UTF-8", f"byte {line[error.start]:#04x} at position {error.start}") from None
    if "\0" in text:
        raise BadRecordError("NUL character", f"at position {text.index(chr(0))}")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:  # RecursionError: brackets nested too deeply
        raise BadRecordError("broken JSON", str(error)) from None
    if not isinstance(value, dict):
        raise BadRecordError("wrong type", f"the line is {json_kind(value)}, expected an object")
    return value


def _dialogue(number: int, record: dict[str, Any]) -> RawDialogue:
    readers: dict[str, Callable[[list[Any]], tuple[tuple[Message, ...], int]]] = {
        "turns": lambda items: (_turns(items), 0),
        "messages": lambda items: role_messages(items, "messages", "role", "content"),
        "conversations": lambda items: role_messages(items, "conversations", "from", "value"),
    }
    field = next((name for name in readers if name in record), None)
    if field is None:
        found = ", ".join(map(str, record)) or "none"
        raise BadRecordError("no turns", f"expected a field turns, messages or conversations, found {found[:200]}")
    if not isinstance(record[field], list):
        raise BadRecordError("wrong type", f"{field} is {json_kind(record[field])}, expected a list")
    if not record[field]:
        raise BadRecordError("no turns", f"{field} is empty")
    messages, system_messages = readers[field](record[field])
    return RawDialogue(
        line=number,
        messages=messages,
        repliers=None if field == "turns" else frozenset({ASSISTANT}),
        split=_split(record.get("split")),
        license=_text(record, "license"),
        origin=_text(record, "source"),
        system_messages=system_messages,
    )


def _turns(items: list[Any]) -> tuple[Message, ...]:
    for i, item in enumerate(items):
        if not isinstance(item, str):
            raise BadRecordError("wrong type", f"turns[{i}] is {json_kind(item)}, expected text")
    return alternating(items)


def _answered(dialogue: RawDialogue, record: dict[str, Any]) -> Iterator[Record]:
    """Yield the dialogue with each of the record's `replies` as its last turn, the only one to be learnt."""
    replies = record["replies"]
    if not isinstance(replies, list):
        raise BadRecordError("wrong type", f"replies is {json_kind(replies)}, expected a list")
    texts: list[str] = []
    for i, reply in enumerate(replies):
        text = reply.get("text") if isinstance(reply, dict) else reply
        if not isinstance(text, str):
            raise BadRecordError("wrong type", f"replies[{i}] is {json_kind(text)}, expected text or an object with it")
        texts.append(text)
    for reply, text in zip(replies, texts, strict=True):
        if isinstance(reply, dict) and reply.get("finish_reason") == "length":
            yield LeftOut("reply cut at its limit")
        elif not text.strip():
            yield LeftOut("empty reply")
        else:
            messages = (*dialogue.messages, Message(REPLIER, text))
            yield replace(dialogue, messages=messages, repliers=frozenset({REPLIER}), origin=_text(record, "model"))


def role_messages(items: list[Any], field: str, role_key: str, text_key: str) -> tuple[tuple[Message, ...], int]:
    """Return the messages of user and assistant in `items`, and how many system messages were left out.

    `field` is what errors call the list. Raises BadRecordError for what is no message, and for calls of tools.
    """
    messages: list[Message] = []
    system_messages = 0
    for i, item in enumerate(items):
        if not isinstance(item, dict):
            raise BadRecordError("wrong type", f"{field}[{i}] is {json_kind(item)}, expected an object")
        name = item.get(role_key)
        role = ROLES.get(name.lower()) if isinstance(name, str) else None
        if role is None:
            found = f"{name!r}"[:80] if role_key in item else f"no {role_key}"
            raise BadRecordError("unknown role", f"{field}[{i}] has {found}, expected one of {', '.join(ROLES)}")
        if role == TOOL or item.get("tool_calls") or item.get("function_call"):
            raise BadRecordError("tool call", f"{field}[{i}]; dialogues with tools cannot be learnt from")
        if role == SYSTEM:
            system_messages += 1
            continue
        messages.append(Message(role, _content(item.get(text_key), f"{field}[{i}].{text_key}")))
    return tuple(messages), system_messages


def _content(value: Any, where: str) -> str:
    """Return a message's text, which OpenAI also writes as a list of parts."""
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise BadRecordError("wrong type", f"{where} is {json_kind(value)}, expected text")
    texts = []
    for part in value:
        text = part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else None
        if not isinstance(text, str):
            found = f"a part of type {part['type']!r}" if isinstance(part, dict) and "type" in part else json_kind(part)
            raise BadRecordError("wrong type", f"{where} holds {found[:80]}, expected parts of text only")
        texts.append(text)
    return "\n".join(texts)


def _split(value: Any) -> str | None:
    if value is None:
        return None
    known = SPLIT_NAMES.get(value.lower()) if isinstance(value, str) else None
    if known is None:
        raise BadRecordError("unknown split", f"{str(value)[:80]!r}, expected one of {', '.join(SPLIT_NAMES)}")
    return known


def _text(record: dict[str, Any], field: str) -> str | None:
    value = record.get(field)
    if value is not None and not isinstance(value, str):
        raise BadRecordError("wrong type", f"{field} is {json_kind(value)}, expected text")
    return value or None


def json_kind(value: Any) -> str:
    """Return what JSON calls the type of `value`."""
    names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return "null" if value is None else names[type(value)]
