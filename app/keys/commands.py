"""What `rejoinder keys` does."""

import re
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from app.commands import opened, read_settings
from app.database import Database, now
from app.keys import repository, service
from app.keys.schemas import SCOPES, KeyEntry, KeyRequest
from chatbot.errors import RejoinderError

_HOURS: Final = {"h": 1, "d": 24, "w": 7 * 24}


def create(scopes: str, expires: str | None, name: str, **where: Any) -> str:
    """Make a key. Returns what to say, its secret included; raises RejoinderError for what cannot be."""
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    unknown = next((scope for scope in wanted if scope not in SCOPES), None)
    if unknown is not None or not wanted:
        found = "is empty" if unknown is None else f"has {unknown!r}"
        raise RejoinderError(f"--scope {found}; expected some of {', '.join(SCOPES)}, separated by commas")
    try:
        body = KeyRequest.model_validate(
            {"scopes": wanted, "name": name, "expires_in_hours": None if expires is None else _hours(expires)}
        )
    except ValidationError as error:
        fault = error.errors()[0]
        raise RejoinderError(f"--{fault['loc'][0]}: {fault['msg'].lower()}") from None
    with opened(read_settings(**where)) as database, database.writing() as session:
        made = service.create(session, body)
    ends = "never" if made.expires is None else f"on {_moment(made.expires)}"
    return f"{made.secret}\n\nKey {made.id} ({', '.join(made.scopes)}), which expires {ends}. It is shown this once."


def list_all(**where: Any) -> str:
    """Return a table of all keys."""
    with opened(read_settings(**where)) as database, database.reading() as session:
        keys = service.list_keys(session)
    if not keys:
        return "no key yet; `rejoinder keys create --scope chat` makes one"
    rows = [("id", "key", "scopes", "state", "created", "expires", "last used", "name")]
    rows += [
        (
            str(key.id),
            f"{key.prefix}...",
            ",".join(key.scopes),
            _state(key),
            _moment(key.created),
            _moment(key.expires),
            _moment(key.last_used),
            key.name,
        )
        for key in keys
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def revoke(key_id: int, **where: Any) -> str:
    """End a key. Returns what to say; raises RejoinderError for an unknown one."""
    with opened(read_settings(**where)) as database, database.writing() as session:
        key = service.revoke(session, key_id)
    return f"key {key.id} ({key.prefix}...) is revoked; a running service refuses it within seconds"


def has_usable_key(database: Database) -> bool:
    """Say whether anybody has a key that works."""
    with database.reading() as session:
        return repository.any_usable(session, now())


def _hours(text: str) -> int:
    found = re.fullmatch(r"([1-9][0-9]{0,5})([hdw])", text.strip())
    if found is None:
        raise RejoinderError(f"--expires is {text!r}; expected a number and h, d or w, such as 90d")
    return int(found[1]) * _HOURS[found[2]]


def _state(key: KeyEntry) -> str:
    if key.revoked is not None:
        return "revoked"
    return "expired" if key.expires is not None and key.expires <= now().timestamp() else "works"


def _moment(seconds: int | None) -> str:
    return "-" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
