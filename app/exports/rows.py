"""One judgement as a row of an export. Pure: knows the columns' meaning, no SQL and no file format."""

import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from app.exports.repository import Exported
from app.exports.schemas import Kind
from app.results.evidence import SystemRow

Row = dict[str, Any]


class Pseudonyms:
    """Random names for raters, the same for one rater throughout one export and never again."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}

    def of(self, rater: int | None) -> str | None:
        """Return the name of a rater; None for nobody in particular."""
        if rater is None:
            return None
        return self._names.setdefault(rater, f"rater-{secrets.token_hex(8)}")


def rows(
    kind: Kind, found: Iterable[Exported], systems: Mapping[int, SystemRow], excluded: Collection[int]
) -> Iterator[Row]:
    """Yield the rows of an export; `excluded` are the raters whom the rules of their study leave out."""
    names = Pseudonyms()
    make = {"judgements": _judgement, "battles": _battle, "preference": _preference, "thumbs": _thumb}[kind]
    for one in found:
        if kind != "preference" or one.rater not in excluded:
            yield make(one, systems, names.of(one.rater), one.rater in excluded)


def _judgement(one: Exported, systems: Mapping[int, SystemRow], rater: str | None, excluded: bool) -> Row:
    return {
        "id": one.id,
        "kind": one.kind,
        "study": one.study,
        "item": one.item,
        "purpose": one.purpose,
        "gold": one.gold,
        "repeats": one.repeats,
        "dimension": one.dimension or None,
        "value": one.value,
        "choice": one.choice,
        "side": one.side,
        "blind": one.blind,
        "dwell_ms": one.dwell_ms,
        "reasons": one.reasons,
        "comment": one.comment,
        "supersedes": one.supersedes,
        "superseded_by": one.superseded_by,
        "rater": rater,
        "excluded": excluded,
        "withdrawn": one.item_status == "withdrawn",
        "prompt": one.messages,
        "source": one.source,
        "split": one.split,
        "reply_id_a": one.reply_id_a,
        "reply_a": one.reply_a,
        "system_a": _system(systems[one.system_a]),
        "reply_id_b": one.reply_id_b,
        "reply_b": one.reply_b,
        "system_b": None if one.system_b is None else _system(systems[one.system_b]),
        "created": _created(one),
    }


def _battle(one: Exported, systems: Mapping[int, SystemRow], rater: str | None, excluded: bool) -> Row:
    assert one.system_b is not None  # by CHECK: a pair has two replies
    a, b = systems[one.system_a], systems[one.system_b]
    return {
        "id": one.id,
        "model_a": a.name,
        "model_b": b.name,
        "winner": one.choice,
        "system_id_a": a.id,
        "system_id_b": b.id,
        "system_a": _system(a),
        "system_b": _system(b),
        "prompt": one.messages,
        "reply_a": one.reply_a,
        "reply_b": one.reply_b,
        "study": one.study,
        "item": one.item,
        "purpose": one.purpose,
        "rater": rater,
        "side": one.side,
        "dwell_ms": one.dwell_ms,
        "excluded": excluded,
        "withdrawn": one.item_status == "withdrawn",
        "created": _created(one),
    }


def _preference(one: Exported, systems: Mapping[int, SystemRow], rater: str | None, excluded: bool) -> Row:
    assert one.system_b is not None
    a = (one.reply_a, systems[one.system_a])
    b = (one.reply_b, systems[one.system_b])
    chosen, rejected = (a, b) if one.choice == "a" else (b, a)
    return {
        "prompt": one.messages,
        "chosen": _said(chosen[0]),
        "rejected": _said(rejected[0]),
        "chosen_system": _system(chosen[1]),
        "rejected_system": _system(rejected[1]),
        "study": one.study,
        "item": one.item,
        "rater": rater,
        "created": _created(one),
    }


def _thumb(one: Exported, systems: Mapping[int, SystemRow], rater: str | None, excluded: bool) -> Row:
    return {
        "prompt": one.messages,
        "completion": _said(one.reply_a),
        "label": one.value == 1,
        "reasons": one.reasons or [],
        "comment": one.comment,
        "system": _system(systems[one.system_a]),
        "reply_id": one.reply_id_a,
        "rater": rater,
        "created": _created(one),
    }


def _system(system: SystemRow) -> Row:
    return {
        "name": system.name,
        "kind": system.kind,
        "weights_sha256": system.weights_sha256 or None,
        "decoding": system.decoding,
    }


def _said(text: str | None) -> list[dict[str, str]]:
    assert text is not None
    return [{"role": "assistant", "content": text}]


def _created(one: Exported) -> int:
    return int(one.created_at.timestamp())
