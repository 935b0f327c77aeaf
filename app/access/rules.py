"""What each route asks for: the only place that says so. A route that is not named here is there for nobody but
administrators, so one that is forgotten is shut.
"""

from dataclasses import dataclass
from typing import Final, Literal

from starlette.routing import compile_path

from app.keys.schemas import Scope

Allowance = Literal["", "key", "rater"]


@dataclass(frozen=True)
class Rule:
    """What a route asks for."""

    scopes: frozenset[Scope] = frozenset()
    """One of them is enough, and `admin` always is; without any, no key is asked for."""
    anonymous: bool = False
    """Whether it may be had without a key where anonymous chat is on."""
    allowance: Allowance = "key"
    """Which limit its requests count for: the key's (the address's, without one), the raters', or none."""

    @property
    def needs_key(self) -> bool:
        """Return whether anything is asked for."""
        return bool(self.scopes)


def _scopes(*scopes: Scope) -> frozenset[Scope]:
    return frozenset(scopes)


OPEN: Final = Rule(allowance="")
VISIT: Final = Rule()
"""No key, but counted by address: a key may be guessed at."""
RATER: Final = Rule(allowance="rater")
"""The session that a rater got by an invitation; the study looks at it, since it is for that study alone."""
TALK: Final = Rule(_scopes("chat"), anonymous=True)
CHAT: Final = Rule(_scopes("chat"))
VOTE: Final = Rule(_scopes("chat", "rate"), anonymous=True)
RESULTS: Final = Rule(_scopes("rate"))
METRICS: Final = Rule(_scopes("metrics"))
ADMIN: Final = Rule(_scopes("admin"))

RULES: Final[dict[str, Rule]] = {
    "GET /health/live": OPEN,
    "GET /health/ready": OPEN,
    "GET /openapi.json": OPEN,
    "GET /docs": OPEN,
    "GET /static/{path:path}": OPEN,
    "GET /metrics": METRICS,
    # Talking
    "POST /v1/chat/completions": TALK,
    "POST /v1/completions": TALK,
    "POST /v1/replies": TALK,
    "GET /v1/models": TALK,
    "GET /v1/models/{model}": TALK,
    "POST /v1/models/reload": ADMIN,
    "GET /v1/files": CHAT,
    "POST /v1/files": CHAT,
    "GET /v1/files/{file_id}": CHAT,
    "GET /v1/files/{file_id}/content": CHAT,
    "DELETE /v1/files/{file_id}": CHAT,
    "GET /v1/batches": CHAT,
    "POST /v1/batches": CHAT,
    "GET /v1/batches/{batch_id}": CHAT,
    "POST /v1/batches/{batch_id}/cancel": CHAT,
    # Judging
    "POST /v1/ratings": VOTE,
    "GET /v1/ratings": ADMIN,  # with what people wrote
    "POST /v1/raters/join": RATER,
    "GET /rate/join/{token}": RATER,
    "GET /v1/studies/{slug}/session": RATER,
    "POST /v1/studies/{slug}/consent": RATER,
    "GET /v1/studies/{slug}/next": RATER,
    "POST /v1/studies/{slug}/judgements": RATER,
    "POST /v1/studies/{slug}/skip": RATER,
    "POST /v1/studies/{slug}/flag": RATER,
    "GET /v1/studies/{slug}/results": RESULTS,
    "GET /v1/leaderboard": RESULTS,
    # Owning
    "GET /v1/studies": ADMIN,
    "POST /v1/studies": ADMIN,
    "GET /v1/studies/{slug}": ADMIN,
    "DELETE /v1/studies/{slug}": ADMIN,
    "GET /v1/studies/{slug}/items": ADMIN,
    "POST /v1/studies/{slug}/items": ADMIN,
    "POST /v1/studies/{slug}/items/{item_id}/withdraw": ADMIN,
    "POST /v1/studies/{slug}/start": ADMIN,
    "GET /v1/studies/{slug}/progress": ADMIN,
    "POST /v1/studies/{slug}/close": ADMIN,
    "GET /v1/studies/{slug}/invitations": ADMIN,
    "POST /v1/studies/{slug}/invitations": ADMIN,
    "DELETE /v1/studies/{slug}/invitations/{invitation_id}": ADMIN,
    "DELETE /v1/raters/{public_id}": ADMIN,
    "GET /v1/exports/{kind}": ADMIN,
    # Pages
    "GET /sign-in": OPEN,
    "POST /sign-in": VISIT,
    "POST /sign-out": VISIT,
    "GET /": TALK,
    "POST /chat": TALK,
    "POST /chat/again": TALK,
    "POST /chat/scale": TALK,
    "POST /chat/privacy": TALK,
    "POST /chat/delete": TALK,
    "POST /rate": TALK,
    "GET /arena": VOTE,
    "POST /arena/round": VOTE,
    "POST /arena/vote": VOTE,
    "POST /arena/skip": VOTE,
    "GET /rate/{slug}": RATER,
    "POST /rate/{slug}/consent": RATER,
    "POST /rate/{slug}/judge": RATER,
    "POST /rate/{slug}/skip": RATER,
    "POST /rate/{slug}/flag": RATER,
    "GET /board": RESULTS,
    "GET /models": CHAT,
    "GET /models/{name}": CHAT,
    "GET /batches": CHAT,
    "POST /batches": CHAT,
    "POST /batches/{batch_id}/cancel": CHAT,
    "GET /studies": ADMIN,
    "POST /studies": ADMIN,
    "GET /studies/{slug}": ADMIN,
    "POST /studies/{slug}/start": ADMIN,
    "POST /studies/{slug}/close": ADMIN,
    "POST /studies/{slug}/delete": ADMIN,
    "GET /studies/{slug}/invite": ADMIN,
    "POST /studies/{slug}/invite": ADMIN,
    "POST /studies/{slug}/invitations/{invitation_id}/revoke": ADMIN,
    "POST /studies/{slug}/items/{item_id}/withdraw": ADMIN,
}

# Starlette's own reading of a template, so that no path means one thing here and another to the router.
_TEMPLATES: Final = [
    (method, compile_path(template)[0], name)
    for name, (method, template) in ((name, name.split(" ", 1)) for name in RULES)
    if "{" in template
]


def rule_for(method: str, path: str) -> Rule | None:
    """Return the rule for a request; None where no route is named."""
    name = _name_for(method, path)
    return None if name is None else RULES[name]


def template_for(method: str, path: str) -> str | None:
    """Return the template of the route that a request asks for, its address with names for what varies; or None."""
    name = _name_for(method, path)
    return None if name is None else name.split(" ", 1)[1]


def _name_for(method: str, path: str) -> str | None:
    method = "GET" if method == "HEAD" else method
    name = f"{method} {path}"
    if name in RULES:
        return name
    return next((name for other, regex, name in _TEMPLATES if other == method and regex.match(path)), None)
