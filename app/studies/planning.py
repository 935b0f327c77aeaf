"""Turning a request for items into items: checks it against the protocol, and says which reply goes where.

Knows texts and systems by their index; draws nothing and stores nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from app.errors import BadRequestError
from app.studies import design
from app.studies.protocol import Protocol
from app.studies.schemas import ContextSpec, GoldAnswer, GoldSpec, ItemsRequest, SystemSpec

GOLD_SYSTEM = "gold"
UNRELATED_SYSTEM = "human reply to another context"
SHUFFLED_SYSTEM = "human reply, words shuffled"


@dataclass(frozen=True)
class Draw:
    """The reply of system `system` to context `context`; `second` for the other one of an A/A pair."""

    system: int
    context: int
    second: bool = False


@dataclass(frozen=True)
class Written:
    """A reply that is there already: its text, and the system that it is attributed to."""

    kind: str
    name: str
    turns: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class PlannedItem:
    """One item to be."""

    purpose: str
    turns: tuple[str, ...]
    a: Draw | Written
    b: Draw | Written | None = None
    gold: dict[str, Any] | None = None


@dataclass(frozen=True)
class Plan:
    """All items of a request, and what must be drawn for them."""

    items: list[PlannedItem] = field(default_factory=list)

    def draws(self, system: int, *, second: bool) -> list[int]:
        """Return the contexts to which a system must reply, in order; `second`: those with another reply for A/A."""
        replies = (reply for item in self.items for reply in (item.a, item.b))
        return sorted(
            {one.context for one in replies if isinstance(one, Draw) and (one.system, one.second) == (system, second)}
        )


def label(system: SystemSpec) -> str:
    """Return how a system is called in messages."""
    return "human" if system.kind == "human" else str(system.model or system.name)


def plan(protocol: Protocol, request: ItemsRequest, seed: int) -> Plan:
    """Return the items that `request` asks for. Raises BadRequestError naming the field that cannot be met."""
    _check_systems(request.systems, protocol)
    rng = Random(seed)
    items: list[PlannedItem] = [_given_gold(protocol, one, f"gold[{i}]") for i, one in enumerate(request.gold)]
    kept = _automatic_gold(protocol, request, rng)
    items += kept.items
    contexts = [i for i in range(len(request.contexts)) if i not in kept.contexts]
    if request.systems:
        items += _ordinary(protocol, request, contexts, rng)
    elif request.count is not None:
        raise BadRequestError("systems: is required where items are counted", param="systems", code="systems_missing")
    if not items:
        raise BadRequestError("systems: the request asks for no item at all", param="systems", code="systems_missing")
    return Plan(items)


def _check_systems(systems: Sequence[SystemSpec], protocol: Protocol) -> None:
    for i, system in enumerate(systems):
        given = {name for name, value in system.model_dump(exclude={"kind"}).items() if value is not None}
        if system.kind == "model":
            needed, banned = {"model"}, {"name", "n", "seed"}
        else:
            needed, banned = ({"name"} if system.kind == "replies" else set()), given - {"name"}
            if system.kind == "human":
                banned = given
        for name in sorted(needed - given):
            raise BadRequestError(
                f"systems[{i}].{name}: is required of kind {system.kind!r}", param=f"systems[{i}].{name}"
            )
        for name in sorted(given & banned):
            raise BadRequestError(f"systems[{i}].{name}: is not for kind {system.kind!r}", param=f"systems[{i}].{name}")
    for i, system in enumerate(systems):
        if system in systems[:i]:
            raise BadRequestError(f"systems[{i}]: is given twice", param=f"systems[{i}]")
    if not systems:
        return
    humans = sum(system.kind == "human" for system in systems)
    if protocol.kind == "pair" and len(systems) < 2:
        raise BadRequestError("systems: a pair study needs at least two", param="systems", code="systems_too_few")
    if protocol.kind == "turing" and (humans != 1 or len(systems) < 2):
        raise BadRequestError(
            "systems: human-or-machine needs the humans and at least one other",
            param="systems",
            code="systems_not_human",
        )


def _ordinary(protocol: Protocol, request: ItemsRequest, contexts: list[int], rng: Random) -> list[PlannedItem]:
    if not contexts:
        raise BadRequestError("contexts: none is left for ordinary items", param="contexts", code="contexts_missing")
    systems = request.systems
    count = request.count or len(contexts)
    match protocol.kind:
        case "pair":
            most = len(contexts) * len(systems) * (len(systems) - 1) // 2
            cells = design.pairs(len(contexts), len(systems), min(count, most), rng)
        case "scale":
            most = len(contexts) * len(systems)
            cells = design.singles(len(contexts), len(systems), min(count, most), rng)
        case "turing":
            human = next(i for i, system in enumerate(systems) if system.kind == "human")
            machines = [i for i in range(len(systems)) if i != human]
            most = len(contexts) * 2 * len(machines)
            cells = design.half_human(len(contexts), human, machines, min(count, most), rng)
    if count > most:
        raise BadRequestError(
            f"count: {count} items, but {len(contexts)} contexts and {len(systems)} systems make {most}", param="count"
        )
    models = [i for i, system in enumerate(systems) if system.kind == "model"]
    if protocol.aa_rate and not models:
        raise BadRequestError("systems: A/A items need a model that can reply twice", param="systems")
    twice = design.share_of(protocol.aa_rate, count)
    doubles = design.same_system(len(contexts), models, twice, rng) if twice else []
    planned = []
    for purpose, group in (("normal", cells), ("aa", doubles)):
        for cell in group:
            index = contexts[cell.context]
            b = None if cell.b is None else _reply(systems, request.contexts, cell.b, index, second=purpose == "aa")
            planned.append(
                PlannedItem(
                    purpose=purpose,
                    turns=tuple(request.contexts[index].turns),
                    a=_reply(systems, request.contexts, cell.a, index),
                    b=b,
                )
            )
    return planned


def _reply(
    systems: Sequence[SystemSpec], contexts: Sequence[ContextSpec], system: int, context: int, *, second: bool = False
) -> Draw | Written:
    spec, given = systems[system], contexts[context]
    turns = tuple(given.turns)
    if spec.kind == "model":
        return Draw(system, context, second)
    if spec.kind == "human":
        return Written("human", "human", turns, _human_reply(given, context))
    text = given.replies.get(spec.name or "")
    if text is None or not text.strip():
        param = f"contexts[{context}].replies"
        raise BadRequestError(f"{param}: has no reply of {spec.name!r}", param=param)
    return Written("baseline", spec.name or "", turns, text)


def _human_reply(context: ContextSpec, index: int) -> str:
    if context.reply is None or not context.reply.strip():
        raise BadRequestError(
            f"contexts[{index}].reply: is required where human replies are judged",
            param=f"contexts[{index}].reply",
            code="human_reply_missing",
        )
    return context.reply


@dataclass(frozen=True)
class _KeptForGold:
    items: list[PlannedItem]
    contexts: frozenset[int]


def _automatic_gold(protocol: Protocol, request: ItemsRequest, rng: Random) -> _KeptForGold:
    """Return gold made of human replies, and its contexts: a rater must not meet them again in an ordinary item."""
    wanted = request.automatic_gold
    if wanted == 0:
        return _KeptForGold([], frozenset())
    if protocol.kind == "scale" and "sensible" not in [one.name for one in protocol.asked()]:
        raise BadRequestError(
            "automatic_gold: needs the dimension `sensible`; give `gold` of your own", param="automatic_gold"
        )
    if len(request.contexts) < max(wanted, 2):
        raise BadRequestError(
            f"automatic_gold: {wanted} of {len(request.contexts)} contexts; at least two are needed",
            param="automatic_gold",
            code="contexts_missing",
        )
    chosen = rng.sample(range(len(request.contexts)), wanted)
    items = []
    for index in chosen:
        context = request.contexts[index]
        turns, human = tuple(context.turns), _human_reply(context, index)
        right = Written("human", "human", turns, human)
        if protocol.kind == "turing":
            words = human.split() if " " in human.strip() else list(human)
            rng.shuffle(words)
            text = (" " if " " in human.strip() else "").join(words)
            wrong = Written("baseline", SHUFFLED_SYSTEM, turns, text)
            items.append(PlannedItem("gold", turns, wrong, gold={"choice": "machine"}))
            continue
        other = rng.choice([i for i in range(len(request.contexts)) if i != index])
        wrong = Written("baseline", UNRELATED_SYSTEM, turns, _human_reply(request.contexts[other], other))
        if protocol.kind == "scale":
            items.append(PlannedItem("gold", turns, wrong, gold={"dimension": "sensible", "low": 1, "high": 2}))
        elif rng.random() < 0.5:
            items.append(PlannedItem("gold", turns, right, wrong, gold={"choice": "a"}))
        else:
            items.append(PlannedItem("gold", turns, wrong, right, gold={"choice": "b"}))
    return _KeptForGold(items, frozenset(chosen))


def _given_gold(protocol: Protocol, spec: GoldSpec, where: str) -> PlannedItem:
    needed = 2 if protocol.kind == "pair" else 1
    if len(spec.replies) != needed:
        raise BadRequestError(
            f"{where}.replies: {len(spec.replies)} replies; a {protocol.kind} study shows {needed}",
            param=f"{where}.replies",
        )
    turns = tuple(spec.turns)
    a, *rest = [Written("baseline", GOLD_SYSTEM, turns, text) for text in spec.replies]
    return PlannedItem("gold", turns, a, rest[0] if rest else None, _answer(protocol, spec.answer, f"{where}.answer"))


def _answer(protocol: Protocol, answer: GoldAnswer, where: str) -> dict[str, Any]:
    given: Mapping[str, Any] = answer.model_dump(exclude_none=True)
    choices = {"pair": ("a", "b", "tie", "both_bad"), "turing": ("human", "machine"), "scale": ()}[protocol.kind]
    if protocol.kind != "scale":
        if set(given) != {"choice"} or answer.choice not in choices:
            raise BadRequestError(f"{where}: must be a `choice`, one of {', '.join(choices)}", param=where)
        return dict(given)
    names = [one.name for one in protocol.asked()]
    if answer.dimension not in names:
        raise BadRequestError(f"{where}.dimension: must be one of {', '.join(names)}", param=f"{where}.dimension")
    if set(given) != {"dimension", "low", "high"} or (answer.low or 0) > (answer.high or 0):
        raise BadRequestError(f"{where}: must be `dimension`, `low` and `high`, low <= high", param=where)
    return dict(given)
