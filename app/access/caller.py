"""Who asks: what the guard found out about a request, for the routes that need to know."""

from dataclasses import dataclass, field
from typing import Annotated, Final

from fastapi import Depends, Request

from app.keys.schemas import SCOPES


@dataclass(frozen=True)
class Caller:
    """A key and what it may do; `key_id` is None for whoever asks without one."""

    key_id: int | None = None
    scopes: frozenset[str] = field(default=frozenset())
    signed_in: bool = False
    """Whether it was a browser's cookie that named the key."""

    @property
    def sees_all(self) -> bool:
        """Return whether what belongs to other keys is theirs to see, too."""
        return "admin" in self.scopes

    @property
    def owner_ids(self) -> list[int] | None:
        """Return the keys whose belongings are theirs to see; None is all."""
        if self.sees_all:
            return None
        return [] if self.key_id is None else [self.key_id]

    def owns(self, owner_id: int | None) -> bool:
        """Say whether they may see what belongs to the key `owner_id`."""
        return self.owner_ids is None or owner_id in self.owner_ids

    def may(self, scopes: frozenset[str]) -> bool:
        """Say whether one of `scopes` is theirs; an administrator has all."""
        return self.sees_all or bool(scopes & self.scopes)


NOBODY: Final = Caller()
EVERYBODY: Final = Caller(scopes=frozenset(SCOPES))
"""Whoever reaches a service that asks for no keys."""


async def caller_of(request: Request) -> Caller:
    """Return who asks."""
    caller: Caller = request.state.caller
    return caller


Asking = Annotated[Caller, Depends(caller_of)]
