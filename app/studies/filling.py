"""Filling a draft with items: has the missing replies drawn, then stores replies and items together."""

import asyncio
import uuid
from collections.abc import Sequence

from sqlalchemy.orm import Session

from app.audit.repository import OWNER, record
from app.chat import repository as chat_repository
from app.chat.schemas import Sampling
from app.chat.service import DRAWN_SEEDS, ChatService
from app.chat.storing import Drawn, keep, messages_of
from app.database import Database, now
from app.errors import BadRequestError
from app.idempotency import once
from app.studies import planning, repository, service
from app.studies.planning import Draw, Plan, Written
from app.studies.protocol import Protocol
from app.studies.schemas import ItemsAdded, ItemsRequest, StudyRequest, SystemSpec
from app.studies.service import lock_draft
from app.studies.tables import Item
from chatbot.messages import ModelCard

ADD = "POST /v1/studies/items"
DRAWN_TOGETHER = 64


class StudyFilling:
    """Adds items to drafts, with the loaded models at hand."""

    def __init__(self, chat: ChatService, database: Database) -> None:
        self._chat = chat
        self._database = database
        self._drafting = asyncio.Lock()

    async def draft(self, study: StudyRequest, items: ItemsRequest) -> None:
        """Store a study as a draft and fill it, all of it or nothing. Raises as creating and `add_items` do.

        One draft after the other: a form that is sent twice at once then finds the first one filled, or gone.
        """
        async with self._drafting:
            await self._database.write(lambda session: service.create(session, study))
            try:
                await self.add_items(study.slug, items)
            except BaseException:
                await self._database.write(lambda session: service.delete_draft(session, study.slug))
                raise

    async def add_items(self, slug: str, body: ItemsRequest, idempotency_key: str | None = None) -> ItemsAdded:
        """Add to a draft the items that `body` asks for, all or none.

        Raises NotFoundError, ConflictError when the study is frozen, BadRequestError naming what cannot be met, or what
        drawing raises.
        """
        study = await self._database.read(lambda session: lock_draft(session, slug, "filled"))
        self._check(body)
        bots = [self._bot(system, i) for i, system in enumerate(body.systems)]
        plan = planning.plan(Protocol.model_validate(study.protocol), body, study.seed)
        # No transaction is open while the models work: on SQLite it would keep every other writer waiting.
        drawn = [
            (Draw(i, context, second), one)
            for i, bot in enumerate(bots)
            if bot is not None
            for second in (False, True)
            for context, one in await self._draw(bot, body, plan, i, second=second, seed=study.seed)
        ]
        key = None if idempotency_key is None else f"{slug}/{idempotency_key}"
        return await self._database.write(
            lambda session: once(
                session, ADD, key, body, ItemsAdded, lambda: self._keep(session, slug, body, plan, drawn)
            )
        )

    def _check(self, body: ItemsRequest) -> None:
        turns = [(f"contexts[{i}]", one.turns) for i, one in enumerate(body.contexts)]
        turns += [(f"gold[{i}]", one.turns) for i, one in enumerate(body.gold)]
        for where, texts in turns:
            for position, text in enumerate(texts):
                self._chat.check_text(text, f"{where}.turns[{position}]")
        for i, gold in enumerate(body.gold):
            for position, text in enumerate(gold.replies):
                self._chat.check_text(text, f"gold[{i}].replies[{position}]")

    def _bot(self, system: SystemSpec, index: int) -> ModelCard | None:
        if system.kind != "model" or system.model is None:
            return None
        bot = self._chat.models.get(system.model)
        if system.best_of is not None and not bot.has_discriminator:
            param = f"systems[{index}].best_of"
            raise BadRequestError(f"{param}: the model {bot.name!r} has no discriminator to choose with", param=param)
        return bot

    async def _draw(
        self, bot: ModelCard, body: ItemsRequest, plan: Plan, system: int, *, second: bool, seed: int
    ) -> list[tuple[int, Drawn]]:
        contexts = plan.draws(system, second=second)
        sampling = Sampling.model_validate(body.systems[system].model_dump(exclude={"kind", "model", "name"}))
        found: list[tuple[int, Drawn]] = []
        for begin in range(0, len(contexts), DRAWN_TOGETHER):
            part = contexts[begin : begin + DRAWN_TOGETHER]
            # Far apart for each system, and for the two draws of an A/A pair; near each other within one.
            first = (seed + 1_000_003 * (2 * system + second) + begin) % DRAWN_SEEDS
            histories = [body.contexts[i].turns for i in part]
            seeded = sampling.model_copy(update={"seed": first})
            # What is judged is the model as it is: guards would hide the faults of one system more than another's.
            found += zip(part, await self._chat.draw(bot, histories, seeded, guarded=False), strict=True)
        return found

    def _keep(
        self, session: Session, slug: str, body: ItemsRequest, plan: Plan, drawn: Sequence[tuple[Draw, Drawn]]
    ) -> ItemsAdded:
        study = lock_draft(session, slug, "filled")
        contexts = _Contexts(session, plan)
        repository.note_sources(
            session,
            [
                (contexts.id_of(tuple(one.turns)), one.source, one.split)
                for one in body.contexts
                if tuple(one.turns) in contexts
            ],
        )
        replies: dict[Draw | Written, str] = {}
        for system in range(len(body.systems)):
            of_system = [(draw, one) for draw, one in drawn if draw.system == system]
            if of_system:
                keep(session, [one for _, one in of_system])
                replies |= {draw: one.reply_ids[0] for draw, one in of_system}
        written = {one for item in plan.items for one in (item.a, item.b) if isinstance(one, Written)}
        replies |= _keep_written(session, sorted(written, key=repr), contexts)
        position = repository.next_position(session, study.id)
        items = [
            Item(
                study_id=study.id,
                position=position + offset,
                kind=study.protocol["kind"],
                purpose=one.purpose,
                context_id=contexts.id_of(one.turns),
                response_a_id=replies[one.a],
                response_b_id=None if one.b is None else replies[one.b],
                gold=one.gold,
                target=None if one.purpose == "gold" else study.protocol["k"],
                done=0,
                status="open",
            )
            for offset, one in enumerate(plan.items)
        ]
        repository.add_items(session, items)
        record(session, OWNER, "add items", f"study/{slug}", items=len(items))
        purposes = [item.purpose for item in items]
        return ItemsAdded(
            normal=purposes.count("normal"),
            aa=purposes.count("aa"),
            gold=purposes.count("gold"),
            systems=[planning.label(system) for system in body.systems],
        )


class _Contexts:
    """The ids of a plan's contexts, stored at first sight."""

    def __init__(self, session: Session, plan: Plan) -> None:
        turns = sorted({item.turns for item in plan.items})
        ids = chat_repository.contexts(session, [messages_of(one) for one in turns])
        self._ids = dict(zip(turns, ids, strict=True))

    def __contains__(self, turns: tuple[str, ...]) -> bool:
        return turns in self._ids

    def id_of(self, turns: tuple[str, ...]) -> int:
        """Return the id of the context that consists of `turns`."""
        return self._ids[turns]


def _keep_written(session: Session, written: Sequence[Written], contexts: _Contexts) -> dict[Draw | Written, str]:
    """Store replies that nobody drew, and return their ids."""
    systems = {
        (one.kind, one.name): chat_repository.system_without_weights(session, one.kind, one.name) for one in written
    }
    ids: dict[Draw | Written, str] = {one: f"reply-{uuid.uuid4().hex}" for one in written}
    created_at = now()
    chat_repository.add_responses(
        session,
        [
            {
                "id": ids[one],
                "system_id": systems[one.kind, one.name],
                "context_id": contexts.id_of(one.turns),
                "text": one.text,
                "seed": 0,
                "choice": 0,
                "finish_reason": "stop",
                "tokens": 0,
                "context_tokens": 0,
                "turns_used": len(one.turns),
                "latency_ms": 0,
                "score": None,
                "created_at": created_at,
            }
            for one in written
        ],
    )
    return ids
