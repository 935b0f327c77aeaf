"""What `rejoinder study` does: the same as over HTTP, on the same database, whether a service runs or not."""

import asyncio
import json
import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.chat.service import ChatService
from app.commands import opened, read_settings
from app.database import Database
from app.errors import parameter
from app.main import build_generation
from app.raters import service as raters_service
from app.raters.schemas import InvitationRequest
from app.settings import Settings
from app.studies import service
from app.studies.filling import StudyFilling
from app.studies.schemas import ContextSpec, ItemsAdded, ItemsRequest, StudyRequest
from chatbot.contexts import read_contexts
from chatbot.errors import RejoinderError

M = TypeVar("M", bound=BaseModel)


def create(file: Path, contexts: Path | None, *, models: Path | None, device: str | None, **where: Any) -> str:
    """Draft the study of `file`, and fill it; a study that cannot be filled is not left behind. Returns what to say."""
    content = _read(file)
    items = content.pop("items", None)
    body = _validated(StudyRequest, content, file)
    request = None if items is None else _items(items, file, contexts)
    if request is None and contexts is not None:
        raise RejoinderError(f"{file}: has no [items] to use {contexts} for")
    settings = read_settings(models=models, device=device, **where)
    with opened(settings) as database:
        with database.writing() as session:
            service.create(session, body)
        if request is None:
            return f"{body.slug}: drafted, without items yet"
        try:
            added = _fill(database, settings, body.slug, request)
        except BaseException:
            with database.writing() as session:
                service.delete_draft(session, body.slug)
            raise
    return f"{body.slug}: drafted with {_said(added)}"


def add_items(
    slug: str, file: Path, contexts: Path | None, *, models: Path | None, device: str | None, **where: Any
) -> str:
    """Add to a draft the items that `file` asks for. Returns what to say."""
    request = _items(_read(file), file, contexts)
    settings = read_settings(models=models, device=device, **where)
    with opened(settings) as database:
        return f"{slug}: {_said(_fill(database, settings, slug, request))} added"


def list_all(**where: Any) -> str:
    """Return a line for each study."""
    with opened(read_settings(**where)) as database, database.reading() as session:
        found = service.list_studies(session).data
    return "\n".join(f"{one.slug}  {one.status}  {_counts(one.items)}  {one.title}" for one in found) or "no study yet"


def start(slug: str, **where: Any) -> str:
    """Start a study. Returns what to say."""
    with opened(read_settings(**where)) as database, database.writing() as session:
        entry = service.start(session, slug)
    return f"{slug}: running, {_counts(entry.items)}"


def invite(slug: str, *, raters: int, days: float, label: str, address: str, **where: Any) -> str:
    """Return a link into a study."""
    given = {"label": label, "max_raters": raters, "expires_in_days": days}
    body = _validated(InvitationRequest, given, "the invitation")
    with opened(read_settings(**where)) as database, database.writing() as session:
        invitation = raters_service.invite(session, slug, body)
    return f"{address.rstrip('/')}{invitation.path}"


def progress(slug: str, **where: Any) -> str:
    """Return how far a study is, in lines."""
    with opened(read_settings(**where)) as database, database.reading() as session:
        found = service.progress(session, slug)
    lines = [f"{slug}: {found.status}, {'complete' if found.complete else 'not complete'}"]
    for purpose, one in found.purposes.items():
        wanted = "" if one.wanted is None else f" of {one.wanted}"
        lines.append(
            f"  {purpose:<8} {one.items} items, {one.done_items} finished, {one.judgements}{wanted} judgements"
        )
    lines.append(
        f"  {found.raters_agreed} raters, {found.raters_active} active, {found.open_leases} items in their hands,"
        f" {found.skipped} skipped, {found.flagged} flagged, {found.withdrawn} withdrawn"
    )
    return "\n".join(lines)


def close(slug: str, **where: Any) -> str:
    """Close a study. Returns what to say."""
    with opened(read_settings(**where)) as database, database.writing() as session:
        service.close(session, slug)
    return f"{slug}: closed"


def _fill(database: Database, settings: Settings, slug: str, request: ItemsRequest) -> ItemsAdded:
    needs_models = any(system.kind == "model" for system in request.systems)

    async def fill() -> ItemsAdded:
        generation = build_generation(settings, engines=None if needs_models else ())
        try:
            await generation.start()
            chat = ChatService(generation.models, generation, database, settings)
            return await StudyFilling(chat, database).add_items(slug, request)
        finally:
            await generation.stop()

    return asyncio.run(fill())


def _read(file: Path) -> dict[str, Any]:
    try:
        content = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RejoinderError(f"{file}: cannot be read ({getattr(error, 'strerror', None) or 'not UTF-8'})") from None
    try:
        found = json.loads(content) if file.suffix == ".json" else tomllib.loads(content)
    except (ValueError, RecursionError) as error:
        kind = "JSON" if file.suffix == ".json" else "TOML"
        raise RejoinderError(f"{file}: not {kind} ({error})") from None
    if not isinstance(found, dict):
        raise RejoinderError(f"{file}: expected an object, found {type(found).__name__}")
    return found


def _items(given: Any, file: Path, contexts: Path | None) -> ItemsRequest:
    if not isinstance(given, dict):
        raise RejoinderError(f"{file}: items must be an object, found {type(given).__name__}")
    rows = (
        []
        if contexts is None
        else [_context(line.row, line.turns, f"{contexts}, line {line.number}") for line in read_contexts(contexts)]
    )
    request = _validated(ItemsRequest, given, file)
    return request.model_copy(update={"contexts": request.contexts + rows})


def _context(row: dict[str, Any], turns: list[str], where: str) -> ContextSpec:
    known = {name: row[name] for name in ("reply", "replies", "source", "split") if row.get(name) is not None}
    return _validated(ContextSpec, {"turns": turns, **known}, where)


def _validated(model: type[M], value: dict[str, Any], where: Path | str) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        known = f"; expected {', '.join(model.model_fields)}" if first["type"] == "extra_forbidden" else ""
        name = parameter(first["loc"])
        raise RejoinderError(
            f"{where}: {f'{name}: ' if name else ''}{first['msg'][:1].lower()}{first['msg'][1:]}{known}"
        ) from None


def _said(added: ItemsAdded) -> str:
    return _counts({"normal": added.normal, "aa": added.aa, "gold": added.gold})


def _counts(items: dict[str, int]) -> str:
    names = {"normal": "items", "aa": "A/A pairs", "gold": "gold items", "repeat": "repeats"}
    return ", ".join(f"{count} {names[purpose]}" for purpose, count in items.items() if count) or "no items"
