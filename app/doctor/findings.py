"""What the doctor says of one thing: that it is well, or what to do about it."""

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

Status = Literal["ok", "warn", "fail"]

_MARKS: Final[dict[Status, str]] = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    status: Status
    found: str
    advice: str | None = None
    """What to do, unless it is well."""

    def line(self) -> str:
        """Return it as people read it."""
        said = f"{_MARKS[self.status]}  {self.name}: {self.found}"
        return said if self.advice is None else f"{said}\n      -> {self.advice}"

    def json(self) -> dict[str, Any]:
        """Return it as programs read it."""
        return asdict(self)


def ok(name: str, found: str) -> Finding:
    """Return that something is well."""
    return Finding(name, "ok", found)


def warn(name: str, found: str, advice: str) -> Finding:
    """Return that something works and could be better."""
    return Finding(name, "warn", found, advice)


def fail(name: str, found: str, advice: str) -> Finding:
    """Return that something does not work."""
    return Finding(name, "fail", found, advice)
