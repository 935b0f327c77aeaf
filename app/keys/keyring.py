"""What is remembered of keys between requests, so that a busy service does not ask its database who asks.

Used on the event loop alone; the database is read in a thread.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from sqlalchemy.orm import Session

from app.access.caller import Caller
from app.database import Database, now
from app.keys import repository, service
from app.keys.tables import ApiKey

REMEMBERED: Final = 5.0
"""Seconds after which a key is looked up again: a revoked one works for that long at most."""
_MOST: Final = 10_000
"""Secrets remembered at once, wrong ones included."""

Kind = Literal["key", "browser"]
_Search = Callable[[Session, str], ApiKey | None]


@dataclass(frozen=True)
class _Memory:
    key: ApiKey | None
    until: float


class Keyring:
    """Knows the keys."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._memories: dict[tuple[Kind, str], _Memory] = {}
        self._used: set[int] = set()

    async def by_secret(self, secret: str) -> Caller:
        """Return whose secret this is. Raises UnauthorizedError for one that does not work."""
        return await self._caller("key", secret, repository.by_secret)

    async def by_cookie(self, token: str) -> Caller:
        """Return who signed in with this cookie. Raises UnauthorizedError when nobody did, or the key works no more."""

        def search(session: Session, digest: str) -> ApiKey | None:
            return repository.by_sign_in(session, digest, now())

        return await self._caller("browser", token, search)

    def forget(self, token: str) -> None:
        """Look a cookie up again when it comes next: its browser signs out."""
        self._memories.pop(("browser", service.sha256(token)), None)

    def take_used(self) -> set[int]:
        """Return the keys that were used for the first time in this hour, and forget them."""
        used, self._used = self._used, set()
        return used

    def put_back(self, used: set[int]) -> None:
        """Keep what could not be stored."""
        self._used |= used

    async def _caller(self, kind: Kind, secret: str, search: _Search) -> Caller:
        digest = service.sha256(secret)
        memory = self._memories.get((kind, digest))
        if memory is None or memory.until <= self._clock():
            key = await self._database.read(lambda session: search(session, digest))
            memory = _Memory(key, self._clock() + REMEMBERED)
            self._remember((kind, digest), memory)
            if key is not None and (key.last_used_at is None or key.last_used_at < hour_of(now())):
                self._used.add(key.id)
        key = memory.key
        service.check(key, now())
        assert key is not None  # `check` has refused it
        return Caller(key.id, frozenset(key.scopes), signed_in=kind == "browser")

    def _remember(self, name: tuple[Kind, str], memory: _Memory) -> None:
        self._memories.pop(name, None)  # to the end: the oldest stand first
        self._memories[name] = memory
        if len(self._memories) > _MOST:
            del self._memories[next(iter(self._memories))]


def hour_of(moment: datetime) -> datetime:
    """Return the beginning of the hour."""
    return moment.replace(minute=0, second=0, microsecond=0)
