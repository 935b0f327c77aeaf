"""What one may ask for in a while, and what clients are told about it."""

import hashlib
import hmac
import ipaddress
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from limits import RateLimitItem, parse
from limits.strategies import FixedWindowRateLimiter

from app.errors import RateLimitedError
from app.rate_limits.counters import SharedCounters
from app.settings import Settings

UNKNOWN: Final = "unknown"
_DIGEST_BYTES: Final = 16


@dataclass(frozen=True)
class Limits:
    """Requests of a key, of an address without one, and of raters at an address; None is any number."""

    keys: RateLimitItem | None = None
    anonymous: RateLimitItem | None = None
    raters: RateLimitItem | None = None


def limits_of(settings: Settings) -> Limits:
    """Return the limits that are set; a service for this machine alone has none."""
    if settings.is_local:
        return Limits()
    texts = (settings.limit_keys, settings.limit_anonymous, settings.limit_raters)
    return Limits(*(None if text == "off" else parse(text) for text in texts))


class Limiter:
    """Counts requests and refuses those beyond the limit."""

    def __init__(self, limits: Limits, counters: SharedCounters, clock: Callable[[], float] = time.time) -> None:
        self._limits = limits
        self._rule = FixedWindowRateLimiter(counters)
        self._clock = clock
        self._secret = b""

    def set_secret(self, secret: bytes) -> None:
        """Hash addresses with this from now on."""
        self._secret = secret

    def count_key(self, key_id: int) -> dict[str, str]:
        """Count a key's request and return the headers that tell how many are left. Raises RateLimitedError."""
        return self._count(self._limits.keys, "key", lambda: str(key_id))

    def count_address(self, address: str | None) -> dict[str, str]:
        """Count a request without a key. Returns and raises as `count_key` does."""
        return self._count(self._limits.anonymous, "address", lambda: self._disguise(address))

    def count_rater(self, address: str | None) -> dict[str, str]:
        """Count a rater's request. Returns and raises as `count_key` does."""
        return self._count(self._limits.raters, "rater", lambda: self._disguise(address))

    def _count(self, limit: RateLimitItem | None, kind: str, name: Callable[[], str]) -> dict[str, str]:
        if limit is None:
            return {}
        who = name()
        passed = self._rule.hit(limit, kind, who)
        stats = self._rule.get_window_stats(limit, kind, who)
        left = max(1, math.ceil(stats.reset_time - self._clock()))
        headers = {
            "x-ratelimit-limit-requests": str(limit.amount),
            "x-ratelimit-remaining-requests": str(stats.remaining),
            "x-ratelimit-reset-requests": f"{left}s",
        }
        if not passed:
            raise RateLimitedError(
                f"more than {limit.amount} requests in {limit.get_expiry()} seconds; try again in {left}",
                retry_after=left,
                headers=headers,
            )
        return headers

    def _disguise(self, address: str | None) -> str:
        """Return a name for an address that nobody can turn back once the day's secret is gone."""
        return hmac.digest(self._secret, _place(address).encode(), hashlib.sha256)[:_DIGEST_BYTES].hex()


def _place(address: str | None) -> str:
    """Return what counts as one address: of IPv6 the first half, since one household has all of the second."""
    try:
        found = ipaddress.ip_address((address or "").split("%")[0])
    except ValueError:
        return address or UNKNOWN
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.IPv6Network((found, 64), strict=False))
    return str(found)
